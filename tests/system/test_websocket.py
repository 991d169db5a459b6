"""
MQTT over WebSocket, plain, compressed and over TLS, between a real broker and other people's clients.
"""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.kits.certificates import Authority
from tests.kits.websocket import CLOSE, frame, frames, request
from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, Broker, startTwistd
from tests.system.test_mqttjs import CASES

_SCRIPT = Path(__file__).with_name("mqttjs.js")

needsMQTTjs = pytest.mark.skipif(
    shutil.which("node") is None or not _SCRIPT.parents[1].joinpath("node_modules", "mqtt").exists(),
    reason="needs node, and npm install in tests/",
)

_CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"

PLAIN, COMPRESSED, SECURE = "listener.ws.external", "listener.ws.compressed", "listener.wss.external"


class Site:
    """
    A broker with a listener of each kind.
    """

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        server = authority.issue("server")
        self.authority = authority.cafile
        tables = configuration(folder)
        tables["listener"] = {
            "tcp": {"external": {"bind": "127.0.0.1:0"}},
            "ws": {
                "external": {"bind": "127.0.0.1:0"},
                "compressed": {"bind": "127.0.0.1:0", "compress": True, "mqtt_path": "/other"},
            },
            "wss": {"external": {"bind": "127.0.0.1:0", "certfile": server.certfile, "keyfile": server.keyfile}},
        }
        tables["zone"] = {"external": {"max_mqueue_len": 100}}
        self.broker: Broker = startTwistd(folder, tables, listeners=4)

    def url(self, listener: str) -> str:
        """
        Where a listener is found.
        """
        scheme = "wss" if listener == SECURE else "ws"
        path = "/other" if listener == COMPRESSED else "/mqtt"
        return f"{scheme}://127.0.0.1:{self.broker.ports[listener]}{path}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """
    The broker of these tests.
    """
    site = Site(tmp_path_factory.mktemp("websocket"))
    yield site
    site.broker.stop()


EVERY = [(PLAIN, scenario, version) for scenario, version in CASES]
SOME = [
    (listener, scenario, version)
    for listener in (COMPRESSED, SECURE)
    for scenario, version in [("everyQoS", 4), ("everyQoS", 5), ("largePayload", 5), ("will", 5), ("flowControl", 5)]
]


@needsMQTTjs
@pytest.mark.parametrize("listener, scenario, version", EVERY + SOME)
def test_mqttjs(
    site: Site, name: str, listener: str, scenario: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Everything goes over WebSocket as it does over TCP, for MQTT.js with the WebSocket of its own.
    """
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(site.authority))
    command = ["node", str(_SCRIPT), scenario, site.url(listener), name, str(version)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("listener", [PLAIN, SECURE])
def test_paho(site: Site, name: str, listener: str, version: int) -> None:
    """
    Paho, which speaks WebSocket in its own way, gets back what it sends, from nothing to 300 KB.
    """
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=MQTTProtocolVersion(version),
        transport="websockets",
        reconnect_on_failure=False,
    )
    if listener == SECURE:
        client.tls_set(str(site.authority))
    come: queue.Queue[Any] = queue.Queue()
    client.on_subscribe = lambda *_: come.put("subscribed")
    client.on_message = lambda _client, _userdata, message: come.put(message.payload)
    client.on_disconnect = lambda *_: come.put("ended")
    client.connect("127.0.0.1", site.broker.ports[listener])
    client.loop_start()
    try:
        client.subscribe(f"{name}/a", 1)
        assert come.get(timeout=PATIENCE) == "subscribed"
        for size in (0, 1, 125, 126, 70_000, 300_000):
            payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
            client.publish(f"{name}/a", payload, 1)
            assert come.get(timeout=PATIENCE) == payload
        client.disconnect()
        assert come.get(timeout=PATIENCE) == "ended"
    finally:
        client.loop_stop()


@pytest.mark.parametrize("listener", [PLAIN, COMPRESSED])
def test_status(site: Site, listener: str) -> None:
    """
    A load balancer hears that the node runs.
    """
    with urlopen(f"http://127.0.0.1:{site.broker.ports[listener]}/status", timeout=PATIENCE) as answer:
        assert answer.status == 200 and b"is started" in answer.read()


def opened(port: int, receiveBuffer: int = 0) -> socket.socket:
    """
    A WebSocket by hand.

    @param receiveBuffer: how much the kernel may hold for us; 0 for what is usual.
    """
    link = socket.socket()
    link.settimeout(PATIENCE)
    if receiveBuffer:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
    link.connect(("127.0.0.1", port))
    link.sendall(request())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 ")
    return link


def rest(link: socket.socket) -> bytes:
    """
    All that comes until the other side closes.
    """
    data = b""
    while True:
        more = link.recv(65536)
        if not more:
            return data
        data += more


def test_text(site: Site) -> None:
    """
    Text is refused with its reason, and the connection closed.
    """
    with opened(site.broker.ports[PLAIN]) as link:
        link.sendall(frame(b"hello", 1))
        assert frames(rest(link)) == [(0x80 | CLOSE, b"\x03\xebMQTT is binary")]


def test_wrongHandshake(site: Site) -> None:
    """
    A request that is no handshake is answered, and the connection closed, without waiting for anything.
    """
    for data in (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00", request("/elsewhere")):
        with socket.create_connection(("127.0.0.1", site.broker.ports[PLAIN]), timeout=PATIENCE) as link:
            link.sendall(data)
            assert rest(link).startswith(b"HTTP/1.1 4")


def test_neverReads(site: Site, name: str) -> None:
    """
    A subscriber that never reads costs bounded memory, and keeps nobody waiting.
    """
    payload = bytes(16384)
    topicFilter = f"{name}/#".encode()
    with (
        opened(site.broker.ports[PLAIN], receiveBuffer=4096) as deaf,
        Peer(site.broker, f"{name}s") as reading,
        Peer(site.broker, f"{name}p") as sender,
    ):
        deaf.sendall(frame(_CONNECT))
        assert deaf.recv(6, socket.MSG_WAITALL) == b"\x82\x04\x20\x02\x00\x00"
        packet = b"\x00\x01" + len(topicFilter).to_bytes(2, "big") + topicFilter + b"\x00"
        deaf.sendall(frame(bytes((0x82, len(packet))) + packet))
        assert deaf.recv(7, socket.MSG_WAITALL) == b"\x82\x05\x90\x03\x00\x01\x00"
        reading.subscribe(f"{name}/#", 1)
        sender.publish(f"{name}/a", "warm up")
        assert reading.payloads(1) == ["warm up"]
        before = site.broker.residentMiB
        for _ in range(2000):
            sender.publish(f"{name}/a", payload)
            assert reading.receive().payload == payload
        # 31 MiB were sent; one MiB may wait for the socket, a hundred messages in the queue.
        assert site.broker.residentMiB - before < 16


def test_stop(startBroker: StartBroker) -> None:
    """
    The broker stops with WebSockets open, in whatever state they are.
    """
    listeners = {"tcp": {"external": {"bind": "127.0.0.1:0"}}, "ws": {"external": {"bind": "127.0.0.1:0"}}}
    broker = startBroker({"listener": listeners}, listeners=2)
    port = broker.ports[PLAIN]
    with opened(port) as silent, opened(port) as client, socket.create_connection(("127.0.0.1", port)) as early:
        client.sendall(frame(_CONNECT))
        assert client.recv(6, socket.MSG_WAITALL) == b"\x82\x04\x20\x02\x00\x00"
        broker.stop()
        for link in (silent, client, early):
            link.settimeout(PATIENCE)
            rest(link)
