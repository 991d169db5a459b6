"""
Runs conformance vectors against a broker, wherever that broker is.

A vector is a short script over named peers; C{tests/vectors/README.md} describes it. The script knows
nothing of sockets: it sees a L{Bench}, which opens links, lets the broker come to rest and lets time pass.
L{SocketBench} is here, so that any MQTT server can be asked (C{python -m tests.vectors_runner HOST PORT});
the bench that holds this broker in memory is in C{tests/vectors_memory.py}.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from tests.vectors_packets import KINDS, Line, Malformed, Packet, Value, decode, encode, pair, parse, split, unescaped

VECTORS: Final = Path(__file__).parent / "vectors"


class Failed(AssertionError):
    """
    The broker did something else than the vector says.
    """


@dataclass(frozen=True, slots=True)
class Vector:
    """
    One vector, for one version of the protocol.
    """

    name: str
    version: int
    clauses: tuple[str, ...]
    steps: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, Any] = field(default_factory=dict)
    area: str = ""

    @property
    def key(self) -> str:
        """
        What a test run calls it.
        """
        return f"{self.area}-{self.name}-v{self.version}".replace(" ", "_")

    @property
    def waits(self) -> float:
        """
        How many seconds pass in it.
        """
        return sum(float(step.split()[1]) for step in self.steps if step.startswith("advance "))

    @property
    def inMemoryOnly(self) -> bool:
        """
        Whether it needs a clock or hooks that a socket does not reach.
        """
        return bool(self.hooks) or self.waits > 0


def load(folder: Path = VECTORS) -> list[Vector]:
    """
    Every vector of a folder, one for each version it is written for.
    """
    found: list[Vector] = []
    for path in sorted(folder.glob("*.json")):
        if path.name == "clauses.json":
            continue
        for entry in json.loads(path.read_text("utf-8")):
            versions = entry["version"] if isinstance(entry["version"], list) else [entry["version"]]
            for version in versions:
                clauses = entry["clauses"]
                if isinstance(clauses, dict):
                    clauses = clauses.get(str(version), [])
                steps = tuple(_stepsFor(version, entry["steps"]))
                settings, hooks = entry.get("settings", {}), entry.get("hooks", {})
                found.append(Vector(entry["name"], version, tuple(clauses), steps, settings, hooks, path.stem))
    return found


def _stepsFor(version: int, steps: list[str]) -> Iterator[str]:
    """
    The steps of one version: C{[5] ...} and C{[34] ...} are for those versions only.
    """
    for step in steps:
        only = re.match(r"\[([345]+)\] *", step)
        if only is None:
            yield step
        elif str(version) in only[1]:
            yield step[only.end() :]


class Link(Protocol):
    """
    One network connection, seen from the client.
    """

    def send(self, data: bytes) -> None:
        """
        Bytes to the broker.
        """

    def receive(self, wait: float) -> bytes | None:
        """
        What has come since, waiting so many seconds for the first byte; C{None} once the broker has closed.
        """

    def abort(self) -> None:
        """
        Break the connection without a word.
        """


class Bench(Protocol):
    """
    A broker and the means to reach it.
    """

    #: How long an answer may take; nothing where the broker shares our thread.
    patience: float
    #: Whether the broker works at the same time as we do, so that order between peers must be made.
    concurrent: bool

    def open(self) -> Link:
        """
        A new network connection.
        """

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """


@dataclass(slots=True)
class Peer:
    """
    One scripted client: its present connection and what it has received and not yet looked at.
    """

    name: str
    version: int
    link: Link | None = None
    buffer: bytes = b""
    inbox: list[Packet] = field(default_factory=list)
    closed: bool = False
    accepted: bool = False
    maximum: int = 0
    talked: bool = False

    def fill(self, wait: float) -> bool:
        """
        Read what there is.

        @return: Whether anything came.
        """
        if self.link is None or self.closed:
            return False
        data = self.link.receive(wait)
        if data is None:
            self.closed = True
            return False
        self.buffer += data
        while (cut := split(self.buffer)) is not None:
            whole, self.buffer = cut
            if self.maximum and len(whole) > self.maximum:
                raise Malformed(f"a packet of {len(whole)} bytes, above the client's maximum of {self.maximum}")
            packet = decode(whole, self.version)
            if packet.kind == "CONNACK" and packet.fields["reason"] == 0:
                self.accepted = True
            self.inbox.append(packet)
        return bool(data)

    def next(self, patience: float) -> Packet | None:
        """
        The next packet, or C{None} if none comes in time.
        """
        deadline = time.monotonic() + patience
        while not self.inbox and not self.closed:
            left = max(0.0, deadline - time.monotonic())
            if not self.fill(left) and not left:
                break
        return self.inbox.pop(0) if self.inbox else None


class Run:
    """
    One vector on its way through a broker.
    """

    def __init__(self, vector: Vector, bench: Bench, lenient: bool = False) -> None:
        self.vector = vector
        self.bench = bench
        self.lenient = lenient
        self.peers: dict[str, Peer] = {}
        self.captured: dict[str, Value] = {}
        self.clientIDs: set[tuple[bytes, int]] = set()
        self.retained: set[bytes] = set()

    def run(self) -> None:
        """
        Every step in turn.

        @raise Failed: With the step and what came instead.
        """
        step = ""
        try:
            for step in self.vector.steps:
                self._step(step)
        except (Failed, Malformed) as failure:
            raise Failed(f"{self.vector.key}, at {step!r}: {failure}") from None
        finally:
            for peer in self.peers.values():
                if peer.link is not None:
                    peer.link.abort()

    def _step(self, step: str) -> None:
        if step.startswith("advance "):
            self.bench.advance(float(step.split()[1]))
            return
        either = re.fullmatch(r"(\w+) (\w+) < one of (.*)", step)
        if either is not None:
            self._expectOneOf(self.peers[either[1]], self.peers[either[2]], either[3])
            return
        matched = re.fullmatch(r"(\w+) (abort|open|>x|>|<) ?(.*)", step)
        if matched is None:
            raise ValueError(f"not a step: {step!r}")
        name, verb, rest = matched.groups()
        peer = self.peers.setdefault(name, Peer(name, self.vector.version))
        if verb == "<":
            self._expect(peer, rest)
        elif verb == "abort":
            self._abort(peer)
        else:
            self._orderAfterOthers(peer)
            if verb == "open":
                self._connected(peer)
            elif verb == ">x":
                self._connected(peer).send(bytes.fromhex(self._substituted(rest, hexadecimal=True)))
                peer.talked = True
            else:
                self._send(peer, rest)

    def _connected(self, peer: Peer) -> Link:
        """
        The peer's link, a new one if it has none or the last was closed.
        """
        if peer.link is None or peer.closed:
            link = self.bench.open()
            self.peers[peer.name] = peer
            peer.link, peer.buffer, peer.inbox = link, b"", []
            peer.closed = peer.accepted = False
        assert peer.link is not None
        return peer.link

    def _substituted(self, text: str, hexadecimal: bool = False) -> str:
        """
        A step with its C{$names} replaced by what they captured; C{$SYS} and the like stay as they are.
        """

        def value(match: re.Match[str]) -> str:
            captured = self.captured.get(match[1])
            if captured is None:
                return match[0]
            if isinstance(captured, bytes):
                return captured.hex() if hexadecimal else captured.decode("utf-8")
            return f"{captured:04x}" if hexadecimal else str(captured)

        return re.sub(r"(?<![^ =])\$([a-z]\w*)(?![^ ])", value, text)

    def _send(self, peer: Peer, text: str) -> None:
        lines = [parse(self._substituted(part)) for part in text.split(" & ")]
        for line in lines:
            if line.kind == "CONNECT":
                peer.version = int(line.settings.get("v", str(self.vector.version)))
                peer.maximum = int(dict(line.properties).get("maxpacket", "0"), 0) if peer.version == 5 else 0
                self._remember(line, peer.version)
            elif line.kind == "PUBLISH" and "retain" in line.settings:
                self.retained.add(unescaped(line.words[0]))
        link = self._connected(peer)
        link.send(b"".join(encode(line, peer.version) for line in lines))
        peer.talked = True
        if lines[-1].kind == "DISCONNECT" and peer.accepted:
            # The broker closes after a DISCONNECT; that it has is the sign that it was processed.
            while not peer.closed and peer.fill(self.bench.patience):
                pass

    def _remember(self, line: Line, version: int) -> None:
        """
        Note what this CONNECT may leave behind in a broker that outlives the vector.
        """
        if line.words and line.words[0] != "''":
            self.clientIDs.add((unescaped(line.words[0]), version))
        if "willretain" in line.settings:
            self.retained.add(unescaped(line.settings["will"].partition(":")[0]))

    def _abort(self, peer: Peer) -> None:
        if peer.link is None:
            raise ValueError("that peer is not connected")
        self._orderAfterOthers(peer)
        self._barrier(peer)
        peer.link.abort()
        peer.closed = True
        if self.bench.concurrent:
            # Nothing tells a client when its reset has been noticed.
            time.sleep(0.05)

    def _orderAfterOthers(self, peer: Peer) -> None:
        """
        Make sure that what other peers sent has been processed before this one speaks.
        """
        for other in self.peers.values():
            if other is not peer and other.talked:
                self._barrier(other)

    def _barrier(self, peer: Peer) -> None:
        """
        Wait until the broker has answered a PINGREQ; everything it had to say before is then in the inbox.
        """
        peer.talked = False
        if not self.bench.concurrent:
            peer.fill(0)
            return
        if peer.closed or peer.link is None:
            return
        if not peer.accepted:
            peer.fill(0.1)
            return
        peer.link.send(b"\xc0\x00")
        deadline = time.monotonic() + self.bench.patience
        while not any(packet.kind == "PINGRESP" for packet in peer.inbox):
            if not peer.fill(max(0.0, deadline - time.monotonic())) and (peer.closed or time.monotonic() > deadline):
                return
        peer.inbox = [packet for packet in peer.inbox if packet.kind != "PINGRESP"]

    # Expectations.

    def _expect(self, peer: Peer, text: str) -> None:
        if peer.link is None:
            raise ValueError("that peer never connected")
        word, *arguments = text.split()
        if word == "nothing":
            self._expectNothing(peer)
        elif word == "closed":
            self._expectClosed(peer)
        elif word == "ends" or (self.lenient and word in ("fails", "refused")):
            self._expectEnd(peer)
        elif word == "fails":
            # A protocol fault after CONNACK: 5.0 says why, then every version closes.
            if peer.version == 5:
                self._expectPacket(peer, f"DISCONNECT {arguments[0]}")
            self._expectClosed(peer)
        elif word == "refused":
            # A CONNECT refused: the code of 5.0, then that of 3.x; a dash closes without a word.
            code = arguments[0] if peer.version == 5 else arguments[1]
            if code != "-":
                self._expectPacket(peer, f"CONNACK {code}")
            self._expectClosed(peer)
        elif " & " in text:
            self._expectUnordered(peer, text.split(" & "))
        elif word in KINDS:
            self._expectPacket(peer, text)
        else:
            raise ValueError(f"not an expectation: {text!r}")

    def _expectNothing(self, peer: Peer) -> None:
        for other in self.peers.values():
            if other is not peer:
                self._barrier(other)
        self._barrier(peer)
        if peer.inbox:
            raise Failed(f"got {peer.inbox[0]}")
        if peer.closed:
            raise Failed("the connection was closed")

    def _expectClosed(self, peer: Peer) -> None:
        packet = peer.next(self.bench.patience)
        if packet is not None:
            raise Failed(f"got {packet}")
        if not peer.closed:
            raise Failed("the connection is still open")

    def _expectOneOf(self, first: Peer, second: Peer, text: str) -> None:
        """
        The packet comes to one of two peers, and to one only.
        """
        for peer in (first, second):
            self._barrier(peer)
        chosen, other = (first, second) if first.inbox else (second, first)
        self._expectPacket(chosen, text)
        self._expectNothing(chosen)
        self._expectNothing(other)

    def _expectEnd(self, peer: Peer) -> None:
        """
        Whatever is said before it, and in whatever version: the connection closes.
        """
        deadline = time.monotonic() + self.bench.patience
        while not peer.closed and peer.link is not None:
            data = peer.link.receive(max(0.0, deadline - time.monotonic()))
            if data is None:
                peer.closed = True
            elif not data and time.monotonic() >= deadline:
                raise Failed("the connection is still open")

    def _expectPacket(self, peer: Peer, text: str) -> None:
        packet = self._next(peer)
        difference = self._difference(text, packet)
        if difference:
            raise Failed(f"{difference}, in {packet}")

    def _expectUnordered(self, peer: Peer, texts: list[str]) -> None:
        wanted = list(texts)
        while wanted:
            packet = self._next(peer)
            for text in wanted:
                if not self._difference(text, packet):
                    wanted.remove(text)
                    break
            else:
                raise Failed(f"got {packet}, which is none of {wanted}")

    def _next(self, peer: Peer) -> Packet:
        packet = peer.next(self.bench.patience)
        if packet is None:
            raise Failed("the connection was closed" if peer.closed else "nothing came")
        return packet

    def _difference(self, text: str, packet: Packet) -> str:
        """
        How a packet differs from the line that describes it; captures what the line names if it does not.
        """
        line = parse(text)
        if line.kind != packet.kind:
            return f"wanted {line.kind}"
        fresh: dict[str, Value] = {}
        wanted, codes = _expected(line, packet)
        for name, word in wanted.items():
            actual = packet.fields[name]
            if not self._same(word, actual, fresh):
                return f"wanted {name}={word}"
        if len(codes) != len(packet.codes) and (codes or packet.codes):
            return f"wanted {len(codes)} reason codes"
        for word, code in zip(codes, packet.codes, strict=True):
            if not self._same(word, code, fresh):
                return f"wanted the code {word}"
        difference = self._differentProperties(line, packet, fresh)
        if not difference:
            self.captured.update(fresh)
        return difference

    def _differentProperties(self, line: Line, packet: Packet, fresh: dict[str, Value]) -> str:
        """
        A PUBLISH has the properties the line says and no others; other packets have at least those.
        """
        left = list(packet.properties)
        for name, word in line.properties:
            # User Properties are compared in their order, the rest by name.
            found = next((entry for entry in left if entry[0] == name), None)
            if name == "subid":
                found = next((entry for entry in left if entry[0] == name and self._same(word, entry[1], {})), None)
            same = found is not None and (
                pair(word) == found[1] if name == "user" else self._same(word, found[1], fresh)
            )
            if found is None or not same:
                return f"wanted {name}={word}"
            left.remove(found)
        for name, word in line.optional:
            for entry in [entry for entry in left if entry[0] == name]:
                if not self._same(word, entry[1], fresh):
                    return f"wanted {name}={word} or none"
                left.remove(entry)
        for name in line.absent:
            if any(name == other for other, _ in packet.properties):
                return f"did not want {name}"
        if packet.kind == "PUBLISH" and left:
            return f"did not want {left[0][0]}"
        return ""

    def _same(self, word: str, actual: Value, fresh: dict[str, Value]) -> bool:
        """
        Whether a value is what a word asks for: C{*} anything, C{$name} the same as captured, C{!name} another
        than captured, C{1/2} either, C{<=5} at most.
        """
        base, *others = word.split("!") if re.fullmatch(r"(\$\w+)?(!\w+)+", word) else [word]
        if any(self.captured[other] == actual for other in others):
            return False
        if base in ("*", ""):
            return True
        if re.fullmatch(r"\$[a-z]\w*", base):
            known = fresh.setdefault(base[1:], self.captured.get(base[1:], actual))
            return known == actual
        if not isinstance(actual, int):
            return unescaped(word) == (actual.encode() if isinstance(actual, str) else actual)
        if word.startswith("<="):
            return actual <= int(word[2:], 0)
        return any(int(choice, 0) == actual for choice in word.split("/"))

    def cleanUp(self) -> None:
        """
        Take back what this vector left in a broker that goes on.
        """
        sweeper = Peer("sweeper", 4)
        for clientID, version in sorted(self.clientIDs):
            self._sweep(Peer("sweeper", version), clientID, [])
        if self.retained:
            self._sweep(sweeper, b"sweeper", sorted(self.retained))

    def _sweep(self, peer: Peer, clientID: bytes, topics: list[bytes]) -> None:
        connect = Line("CONNECT", ["".join(f"%{byte:02x}" for byte in clientID)])
        peer.link = self.bench.open()
        peer.link.send(encode(connect, peer.version))
        peer.next(self.bench.patience)
        if peer.accepted:
            for topic in topics:
                word = "".join(f"%{byte:02x}" for byte in topic)
                peer.link.send(encode(Line("PUBLISH", [word], {"retain": "1"}), peer.version))
            self._barrier(peer)
            peer.link.send(encode(Line("DISCONNECT"), peer.version))
            while not peer.closed and peer.fill(self.bench.patience):
                pass
        peer.link.abort()


def _expected(line: Line, packet: Packet) -> tuple[dict[str, str], list[str]]:
    """
    The fields a line asks for, with the defaults of its kind, and its list of codes.
    """
    wanted: dict[str, str] = {}
    words = line.words
    if line.kind == "CONNACK":
        wanted = {"present": line.settings.get("present", "0"), "reason": words[0] if words else "0"}
    elif line.kind == "PUBLISH":
        wanted = {"dup": "0", "q": "0", "retain": "0", **line.settings, "topic": words[0]}
        wanted["payload"] = words[1] if len(words) > 1 else "''"
        if wanted["q"] == "0":
            wanted.pop("id", None)
    elif line.kind in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        wanted = {"id": words[0]}
        if "reason" in packet.fields:
            wanted["reason"] = words[1] if len(words) > 1 else "0"
    elif line.kind in ("SUBACK", "UNSUBACK"):
        # UNSUBACK has no codes before 5.0.
        return {"id": words[0]}, words[1:] if packet.codes or line.kind == "SUBACK" else []
    elif line.kind in ("DISCONNECT", "AUTH"):
        wanted = {"reason": words[0] if words else "0"}
    return wanted, []


class SocketLink:
    """
    A TCP connection.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, 5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """
        Bytes to the broker; that it has closed is found out by reading.
        """
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def receive(self, wait: float) -> bytes | None:
        """
        What has come.
        """
        if self._socket.fileno() < 0:
            return None
        readable, _, _ = select.select([self._socket], [], [], wait)
        if not readable:
            return b""
        try:
            return self._socket.recv(1 << 20) or None
        except ConnectionError:
            return None

    def abort(self) -> None:
        """
        A reset instead of an orderly end.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class SocketBench:
    """
    A broker behind a TCP port.
    """

    patience = 3.0
    concurrent = True

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def open(self) -> SocketLink:
        """
        A new connection.
        """
        return SocketLink(self._address)

    def advance(self, seconds: float) -> None:
        """
        Wait in real time: only a person who asked for it does.
        """
        time.sleep(seconds)


def main(arguments: list[str]) -> int:
    """
    Ask a running server: C{HOST PORT [--slow SECONDS] [--configured] [--lenient] [part of a name...]}; prints what differs.

    C{--lenient} asks of a fault only that it closes the connection, whatever reason is given or not;
    C{--slow} takes in the vectors in which up to so many seconds pass, C{--configured} those that need settings:
    the server must then have been given them.
    """
    host, port, *rest = arguments
    configured, lenient = "--configured" in rest, "--lenient" in rest
    rest = [word for word in rest if word not in ("--configured", "--lenient")]
    longest = 0.0
    if "--slow" in rest:
        place = rest.index("--slow")
        longest = float(rest[place + 1])
        del rest[place : place + 2]
    bench = SocketBench(host, int(port))
    ran = failed = 0
    for vector in load():
        if vector.hooks or (vector.settings and not configured) or vector.waits > longest:
            continue
        if rest and not any(part in vector.key for part in rest):
            continue
        run = Run(vector, bench, lenient)
        ran += 1
        try:
            run.run()
        except Failed as failure:
            failed += 1
            print(failure)
        run.cleanUp()
    print(f"{ran} vectors, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
