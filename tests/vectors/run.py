"""
Runs a vector: step after step over its peers, whatever the broker is behind the bench.

C{tests/vectors/README.md} describes the steps.
"""

from __future__ import annotations

import re
import time

from tests.vectors.compare import Comparison
from tests.vectors.model import Bench, Failed, Link, Peer, Vector
from tests.vectors.packets import KINDS, Line, Malformed, Packet, encode, parse, unescaped
from tests.vectors.websocket import FramedBench, FramedLink


class Run:
    """
    One vector on its way through a broker.
    """

    def __init__(self, vector: Vector, bench: Bench, lenient: bool = False) -> None:
        self.vector = vector
        # The same twice: only one of WebSocket can be told what to offer.
        self._bench = FramedBench(bench) if vector.webSocket else None
        self.bench: Bench = bench if self._bench is None else self._bench
        self.lenient = lenient
        self.peers: dict[str, Peer] = {}
        self.comparison = Comparison()
        self.clientIDs: set[tuple[bytes, int]] = set()
        self.retained: set[bytes] = set()

    def run(self) -> None:
        """
        Every step in turn.

        @raise Failed: with the step and what came instead.
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
        matched = re.fullmatch(r"(\w+) (abort|open|>x|>t|>/\d+|>|<) ?(.*)", step)
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
                self._connected(peer, rest)
            elif verb == ">x":
                self._connected(peer).send(bytes.fromhex(self._substituted(rest, hexadecimal=True)))
                peer.talked = True
            else:
                self._send(peer, rest, verb)

    def _connected(self, peer: Peer, offered: str = "") -> Link:
        """
        The peer's link, a new one if it has none or the last was closed.

        @param offered: the subprotocols that a WebSocket offers, where the step says so.
        """
        if peer.link is None or peer.closed:
            if peer.link is not None:
                peer.link.abort()
            link = self._bench.open(offered) if offered and self._bench is not None else self.bench.open()
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
            captured = self.comparison.captured.get(match[1])
            if captured is None:
                return match[0]
            if isinstance(captured, bytes):
                return captured.hex() if hexadecimal else captured.decode("utf-8")
            return f"{captured:04x}" if hexadecimal else str(captured)

        return re.sub(r"(?<![^ =])\$([a-z]\w*)(?![^ ])", value, text)

    def _send(self, peer: Peer, text: str, verb: str = ">") -> None:
        lines = [parse(self._substituted(part)) for part in text.split(" & ")]
        for line in lines:
            if line.kind == "CONNECT":
                peer.version = int(line.settings.get("v", str(self.vector.version)))
                peer.maximum = int(dict(line.properties).get("maxpacket", "0"), 0) if peer.version == 5 else 0
                self._remember(line, peer.version)
            elif line.kind == "PUBLISH" and "retain" in line.settings:
                self.retained.add(unescaped(line.words[0]))
        link = self._connected(peer)
        data = b"".join(encode(line, peer.version) for line in lines)
        if verb == ">":
            link.send(data)
        elif not isinstance(link, FramedLink):
            raise ValueError(f"{verb} is for vectors over WebSocket")
        elif verb == ">t":
            link.sendText(data)
        else:
            link.sendCut(data, int(verb[2:]))
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
        elif word == "subprotocol":
            chosen = peer.link.subProtocol if isinstance(peer.link, FramedLink) else ""
            if chosen != arguments[0]:
                raise Failed(f"the server has selected {chosen!r}")
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
        Whatever comes before it, and in whatever version: the connection closes.
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
        difference = self.comparison.difference(text, packet)
        if difference:
            raise Failed(f"{difference}, in {packet}")

    def _expectUnordered(self, peer: Peer, texts: list[str]) -> None:
        wanted = list(texts)
        while wanted:
            packet = self._next(peer)
            for text in wanted:
                if not self.comparison.difference(text, packet):
                    wanted.remove(text)
                    break
            else:
                raise Failed(f"got {packet}, which is none of {wanted}")

    def _next(self, peer: Peer) -> Packet:
        packet = peer.next(self.bench.patience)
        if packet is None:
            raise Failed("the connection was closed" if peer.closed else "nothing came")
        return packet

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
