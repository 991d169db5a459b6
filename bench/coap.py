"""
C{python -m bench.coap}: CoAP requests, notifications and DTLS handshakes a second, beside libcoap's example server,
aiocoap and node-coap.

They take turns, each round in each row, and of the rounds the median counts. The others only keep what is put there;
here a PUT is published, and an MQTT client receives every one. The generator is the same for all, and has a processor
for itself: how much of it it needed is told, so that one sees whether it was what held things up.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.brokers import COMPILED, ROOT
from bench.child import Child, freePort, twistd
from bench.coapload import Asker, Figures, LoadError, askOnce, handshakes, notifications, requests
from bench.meter import Meter
from bench.sockets import HandshakeError, TCPAddress, raiseFileLimit
from gateways.coap.codes import CHANGED, CONTENT, GET, PUT

_PAYLOAD: Final = b"0123456789abcdef" * 4
_IDENTITY: Final = b"device1"
_KEY: Final = b"0123456789abcdef"
_TOPIC: Final = "bench/topic"
_CLIENTS: Final = 50
_OBSERVERS: Final = 1000
_CONFIGURATION: Final = """\
[plugins]
load = ["psk_file", "coap"]
[psk.file]
path = "{folder}/psk.txt"
[persistence]
store = "memory"
[node]
data_dir = "{folder}"
[zone.external]
max_mqueue_len = 0
[listener.tcp.external]
bind = "127.0.0.1:{tcp}"
[coap]
port = "127.0.0.1:{udp}"
[coap.dtls]
port = "127.0.0.1:{dtls}"
certfile = "{folder}/cert.pem"
keyfile = "{folder}/key.pem"
"""


@dataclass(frozen=True)
class Ports:
    """
    Where a server listens.
    """

    udp: int
    dtls: int
    tcp: int


Start = Callable[[Path, Ports], tuple[list[str], dict[str, str]]]


def _ours(tree: Path) -> Start:
    def start(folder: Path, ports: Ports) -> tuple[list[str], dict[str, str]]:
        (folder / "psk.txt").write_text(f"{_IDENTITY.decode()}:{_KEY.hex()}\n")
        configuration = _CONFIGURATION.format(folder=folder, tcp=ports.tcp, udp=ports.udp, dtls=ports.dtls)
        (folder / "mqttbroker.toml").write_text(configuration)
        return twistd(folder / "mqttbroker.toml"), {"PYTHONPATH": str(tree)}

    return start


def _libcoap(folder: Path, ports: Ports) -> tuple[list[str], dict[str, str]]:
    # "-N": notifications that need no acknowledgement, like ours; it listens for DTLS on the port above.
    own = ["-A", "127.0.0.1", "-p", str(ports.udp), "-d", "10", "-N", "-v", "3"]
    secure = ["-k", _KEY.decode(), "-c", f"{folder}/cert.pem", "-j", f"{folder}/key.pem", "-n"]
    return [_LIBCOAP, *own, *secure], {}


def _aiocoap(folder: Path, ports: Ports) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, str(ROOT / "bench" / "coap_aiocoap.py"), str(ports.udp)], {}


def _node(folder: Path, ports: Ports) -> tuple[list[str], dict[str, str]]:
    modules = ROOT / "tests" / "node_modules"
    return ["node", str(ROOT / "bench" / "coap_node.js"), str(ports.udp)], {"NODE_PATH": str(modules)}


_LIBCOAP: Final = "coap-server-openssl"


def _libcoapVersion() -> str:
    said = subprocess.run([_LIBCOAP, "--help"], capture_output=True, text=True, check=False)
    words = (said.stdout + said.stderr).split()
    return next((word[1:] for word in words if word[:1] == "v" and word[1:2].isdigit()), "")


@dataclass(frozen=True)
class Contender:
    """
    One of the servers.

    @ivar isOurs: whether it is a broker, with topics of MQTT.
    @ivar secure: whether it speaks DTLS.
    """

    name: str
    title: str
    isThere: Callable[[], object]
    start: Start
    isOurs: bool = False
    secure: bool = False


CONTENDERS: Final = (
    Contender("ours", "this broker", lambda: True, _ours(ROOT), True, True),
    Contender(
        "compiled",
        "this broker, compiled",
        lambda: any(COMPILED.glob("twisted_mqtt/core/*.so")),
        _ours(COMPILED),
        True,
        True,
    ),
    Contender("libcoap", "libcoap", lambda: shutil.which(_LIBCOAP), _libcoap, secure=True),
    Contender("aiocoap", "aiocoap", lambda: find_spec("aiocoap"), _aiocoap),
    Contender("node", "node-coap", lambda: (ROOT / "tests" / "node_modules" / "coap").exists(), _node),
)


class Running:
    """
    A server in a child process, with a value that can be read.
    """

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self._child = Child(f"coap-{contender.name}")
        udp = _freePair()
        self.ports = Ports(udp, udp + 1, freePort())
        _makeCertificate(self._child.folder)
        arguments, environment = contender.start(self._child.folder, self.ports)
        self._child.start(arguments, environment, self._put)
        self.pid = self._child.pid

    def _put(self) -> None:
        code = askOnce(self.ports.udp, PUT, self.path("first", "/ps/bench/value"), _PAYLOAD, 0.5)
        if code >> 5 != 2:
            raise HandshakeError(f"the first PUT was refused: {code >> 5}.{code & 31:02}")

    def path(self, client: object, ours: str, more: str = "") -> str:
        """
        What a client asks for.

        @param ours: the path here; the others have C{/bench}.
        """
        return f"{ours}?c={client}{more}" if self.contender.isOurs else "/bench"

    def stop(self) -> None:
        """
        End it.
        """
        self._child.stop()


def _freePair() -> int:
    """
    A port that is free together with the one above.
    """
    while True:
        port = freePort(socket.SOCK_DGRAM)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", port + 1))
            return port
        except (OSError, OverflowError):
            continue


def _makeCertificate(folder: Path) -> None:
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


# Rows


def _get(running: Running, seconds: float) -> Figures:
    def ask(number: int) -> Asker:
        return Asker(running.ports.udp, number, GET, running.path(f"b{number}", "/ps/bench/value"), b"", CONTENT)

    return requests(running.ports.udp, running.pid, ask, _CLIENTS, seconds)


def _put(running: Running, seconds: float) -> Figures:
    def ask(number: int) -> Asker:
        path = running.path(f"b{number}", f"/mqtt/{_TOPIC}")
        return Asker(running.ports.udp, number, PUT, path, _PAYLOAD, CHANGED)

    if not running.contender.isOurs:
        return requests(running.ports.udp, running.pid, ask, _CLIENTS, seconds)
    meter = Meter(TCPAddress(running.ports.tcp), _TOPIC, _PAYLOAD)
    try:
        return requests(running.ports.udp, running.pid, ask, _CLIENTS, seconds, meter)
    finally:
        meter.socket.close()


def _notified(more: str) -> Callable[[Running, float], Figures]:
    def measure(running: Running, seconds: float) -> Figures:
        path = running.path("trigger", "/mqtt/bench/seen", more)
        trigger = Asker(running.ports.udp, 0, PUT, path, _PAYLOAD, CHANGED)
        observed = running.path("o%d", "/mqtt/bench/seen")
        return notifications(running.ports.udp, running.pid, observed, trigger, _OBSERVERS, seconds)

    return measure


def _shaken(key: tuple[bytes, bytes] | None) -> Callable[[Running, float], Figures]:
    return lambda running, seconds: handshakes(running.ports.dtls, running.pid, key, seconds)


@dataclass(frozen=True)
class Row:
    """
    What is measured.

    @ivar who: of which contenders.
    """

    name: str
    title: str
    measure: Callable[[Running, float], Figures]
    who: Callable[[Contender], bool] = lambda contender: True


ROWS: Final = (
    Row("get", f"GET of 64 bytes, {_CLIENTS} clients: requests/s", _get),
    Row("put", f"PUT of 64 bytes, {_CLIENTS} clients (here: to an MQTT subscriber): requests/s", _put),
    # Ours alone: with the others notifications were missing in each round, so that their rate was that of the waiting.
    Row(
        "notify",
        f"{_OBSERVERS:,} observers, not confirmable: notifications/s",
        _notified(""),
        lambda contender: contender.isOurs,
    ),
    Row(
        "confirm",
        f"{_OBSERVERS:,} observers, confirmable (QoS 1): notifications/s",
        _notified("&qos=1"),
        lambda contender: contender.isOurs,
    ),
    Row("psk", "DTLS with a key, one at a time: handshakes/s", _shaken((_IDENTITY, _KEY)), lambda c: c.secure),
    Row("certificate", "DTLS with a certificate, one at a time: handshakes/s", _shaken(None), lambda c: c.secure),
)

# What this broker has to reach, beside whom.
BARS: Final = (("libcoap", 0.25), ("aiocoap", 4.0), ("node", 1.0))


def _cell(found: list[Figures] | None) -> str:
    if not found:
        return "-"
    middle = _median(found)
    again = f", {middle.again} again" if middle.again else ""
    return f"{middle.rate:,.0f} ({middle.cpu:.1f}{again})"


def _median(found: list[Figures]) -> Figures:
    rate = statistics.median_low([each.rate for each in found])
    return next(each for each in found if each.rate == rate)


def main() -> None:
    """
    Measure, and print tables.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.coap", description=__doc__)
    names = ",".join(contender.name for contender in CONTENDERS)
    parser.add_argument("--brokers", default=names, help="names, by commas (default: %(default)s)")
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS), help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each run (default: %(default)s)")
    given = parser.parse_args()
    raiseFileLimit()
    contenders = [one for one in CONTENDERS if one.name in given.brokers.split(",") and one.isThere()]
    rows = [row for row in ROWS if row.name in given.rows.split(",")]
    found: dict[tuple[str, str], list[Figures]] = {}
    for _ in range(given.rounds):
        for row in rows:
            for contender in contenders:
                if not row.who(contender):
                    continue
                try:
                    running = Running(contender)
                    try:
                        figures = row.measure(running, given.seconds)
                    finally:
                        running.stop()
                except (OSError, HandshakeError, LoadError) as error:
                    print(f"{contender.name} {row.name}: {error}", file=sys.stderr)
                    continue
                print(
                    f"{contender.name} {row.name}: {figures.rate:,.0f}/s, {figures.cpu:.1f} us; server "
                    f"{figures.server:.0%}, generator {figures.generator:.0%}, again {figures.again}",
                    file=sys.stderr,
                    flush=True,
                )
                found.setdefault((row.name, contender.name), []).append(figures)
    _print(rows, contenders, found)


def _print(rows: list[Row], contenders: list[Contender], found: dict[tuple[str, str], list[Figures]]) -> None:
    print(f"libcoap {_libcoapVersion()}, aiocoap {version('aiocoap')}, node-coap {_nodeVersion()}\n")
    print("| CoAP (server CPU us) | " + " | ".join(contender.title for contender in contenders) + " |")
    print("|---|" + "---|" * len(contenders))
    for row in rows:
        cells = [_cell(found.get((row.name, contender.name))) for contender in contenders]
        print(f"| {row.title} | " + " | ".join(cells) + " |")
    ours = next((name for name in ("compiled", "ours") if any(one.name == name for one in contenders)), None)
    if ours is None:
        return
    print("\n| by rate (by CPU) | bar | " + " | ".join(row.name for row in rows) + " |")
    print("|---|---|" + "---|" * len(rows))
    for name, bar in BARS:
        ratios = []
        for row in rows:
            mine, other = found.get((row.name, ours)), found.get((row.name, name))
            if not mine or not other:
                ratios.append("-")
                continue
            one, two = _median(mine), _median(other)
            ratios.append(f"{one.rate / two.rate:.2f} ({two.cpu / one.cpu:.2f})")
        print(f"| beside {name} | {bar} | " + " | ".join(ratios) + " |")


def _nodeVersion() -> str:
    path = ROOT / "tests" / "node_modules" / "coap" / "package.json"
    found: str = json.loads(path.read_text())["version"] if path.exists() else ""
    return found


if __name__ == "__main__":
    main()
