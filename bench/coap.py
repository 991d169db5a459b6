"""
CoAP requests, notifications and DTLS handshakes a second, beside libcoap's example server, aiocoap and node-coap.

The others only keep what is put there; here a PUT is published, and an MQTT client receives every one. The generator
is the same for all, and has a processor for itself: how much of it it needed is told, so that one sees whether it was
what held things up.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.brokers import ROOT
from bench.child import freePort
from bench.coapload import Asker, askOnce, handshakes, notifications, requests
from bench.contest import OURS, Contender, Contest, Figures, Row, Server, Started, broker, ours
from bench.meter import Meter
from bench.sockets import HandshakeError, TCPAddress
from gateways.coap.codes import CHANGED, CONTENT, GET, PUT

_PAYLOAD: Final = b"0123456789abcdef" * 4
_IDENTITY: Final = b"device1"
_KEY: Final = b"0123456789abcdef"
_TOPIC: Final = "bench/topic"
_CLIENTS: Final = 50
_OBSERVERS: Final = 1000
_CONFIGURATION: Final = """\
[psk.file]
path = "{folder}/psk.txt"
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


def _ours(tree: Path) -> Running:
    def start(folder: Path, ports: Ports) -> Started:
        (folder / "psk.txt").write_text(f"{_IDENTITY.decode()}:{_KEY.hex()}\n")
        more = _CONFIGURATION.format(folder=folder, udp=ports.udp, dtls=ports.dtls)
        return broker(tree, folder, ports.tcp, ["psk_file", "coap"], more)

    return Running("ours", start, isOurs=True)


def _libcoap(folder: Path, ports: Ports) -> Started:
    # "-N": notifications that need no acknowledgement, like ours; it listens for DTLS on the port above.
    own = ["-A", "127.0.0.1", "-p", str(ports.udp), "-d", "10", "-N", "-v", "3"]
    secure = ["-k", _KEY.decode(), "-c", f"{folder}/cert.pem", "-j", f"{folder}/key.pem", "-n"]
    return Started([_LIBCOAP, *own, *secure])


def _aiocoap(folder: Path, ports: Ports) -> Started:
    return Started([sys.executable, str(ROOT / "bench" / "coap_aiocoap.py"), str(ports.udp)])


def _node(folder: Path, ports: Ports) -> Started:
    modules = ROOT / "tests" / "node_modules"
    return Started(["node", str(ROOT / "bench" / "coap_node.js"), str(ports.udp)], {"NODE_PATH": str(modules)})


_LIBCOAP: Final = "coap-server-openssl"


def _libcoapVersion() -> str:
    said = subprocess.run([_LIBCOAP, "--help"], capture_output=True, text=True, check=False)
    words = (said.stdout + said.stderr).split()
    return next((word[1:] for word in words if word[:1] == "v" and word[1:2].isdigit()), "")


class Running(Server):
    """
    A server with a value that can be read.

    @ivar isOurs: whether it is a broker, with topics of MQTT.
    """

    def __init__(self, name: str, start: Callable[[Path, Ports], Started], isOurs: bool = False) -> None:
        super().__init__(f"coap-{name}")
        self.isOurs = isOurs
        udp = _freePair()
        self.ports = Ports(udp, udp + 1, freePort())
        _makeCertificate(self.folder)
        self.run(start(self.folder, self.ports), self._put)

    def _put(self) -> None:
        code = askOnce(self.ports.udp, PUT, self.path("first", "/ps/bench/value"), _PAYLOAD, 0.5)
        if code >> 5 != 2:
            raise HandshakeError(f"the first PUT was refused: {code >> 5}.{code & 31:02}")

    def path(self, client: object, ours: str, more: str = "") -> str:
        """
        A request of a client.

        @param ours: the path here; the others have C{/bench}.
        """
        return f"{ours}?c={client}{more}" if self.isOurs else "/bench"


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

    if not running.isOurs:
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


def _nodeVersion() -> str:
    path = ROOT / "tests" / "node_modules" / "coap" / "package.json"
    found: str = json.loads(path.read_text())["version"] if path.exists() else ""
    return found


def _versions() -> str:
    aiocoap = version("aiocoap") if find_spec("aiocoap") else ""
    return f"libcoap {_libcoapVersion()}, aiocoap {aiocoap}, node-coap {_nodeVersion()}"


_SECURE: Final = (*OURS, "libcoap")

CONTEST: Final = Contest(
    "CoAP (server CPU us)",
    (
        *ours(_ours),
        Contender("libcoap", "libcoap", lambda: shutil.which(_LIBCOAP), lambda: Running("libcoap", _libcoap)),
        Contender("aiocoap", "aiocoap", lambda: find_spec("aiocoap"), lambda: Running("aiocoap", _aiocoap)),
        Contender(
            "node",
            "node-coap",
            lambda: (ROOT / "tests" / "node_modules" / "coap").exists(),
            lambda: Running("node", _node),
        ),
    ),
    (
        Row("get", f"GET of 64 bytes, {_CLIENTS} clients: requests/s", _get),
        Row("put", f"PUT of 64 bytes, {_CLIENTS} clients (here: to an MQTT subscriber): requests/s", _put),
        # Ours alone: with the others notifications were missing in each round, so that their rate was that of the
        # waiting.
        Row("notify", f"{_OBSERVERS:,} observers, not confirmable: notifications/s", _notified(""), OURS),
        Row("confirm", f"{_OBSERVERS:,} observers, confirmable (QoS 1): notifications/s", _notified("&qos=1"), OURS),
        Row("psk", "DTLS with a key, one at a time: handshakes/s", _shaken((_IDENTITY, _KEY)), _SECURE),
        Row("certificate", "DTLS with a certificate, one at a time: handshakes/s", _shaken(None), _SECURE),
    ),
    bars=(("libcoap", 0.25), ("aiocoap", 4.0), ("node", 1.0)),
    versions=_versions,
)
