"""
Other people's STOMP clients against a real process, over TCP, TLS, WebSocket and SockJS; and MQTT clients with them.
"""

import queue
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.certificates import Authority
from tests.kits.websocket import TEXT, frame, frames, request
from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import V5, VERSIONS, Peer, propertiesOf
from tests.system.process import PATIENCE, Broker, Program, startTwistd

stomp = pytest.importorskip("stomp")

from tests.system.stomp_peer import CLASSES, StompPeer  # noqa: E402 - after it is known that stomp.py is there

_HERE = Path(__file__).parent
_MODULES = _HERE.parent / "node_modules"

EVERY_VERSION = pytest.mark.parametrize("version", CLASSES)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """
    The authority of the gateway's certificate.
    """
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, authority: Authority
) -> Iterator[Broker]:
    """
    A broker with every listener that the gateway has.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no STOMP")
    folder = tmp_path_factory.mktemp("stomp")
    issued = authority.issue("localhost")
    tables = {
        "plugins": {"load": ["stomp"]},
        "stomp": {
            "listener": {"bind": "127.0.0.1:0"},
            "ssl": {"bind": "127.0.0.1:0", "certfile": issued.certfile, "keyfile": issued.keyfile},
            "ws": {"bind": "127.0.0.1:0", "secure_bind": "127.0.0.1:0"},
        },
    }
    broker = startTwistd(folder, {**configuration(folder), **tables}, listeners=5)
    yield broker
    broker.stop()


@EVERY_VERSION
@pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])
def test_stompPy(gateway: Broker, name: str, version: str, secure: bool, authority: Authority) -> None:
    """
    Messages, acknowledgements and transactions, over TCP and TLS.
    """
    cafile = authority.cafile if secure else None
    with StompPeer(gateway, version, cafile) as one, StompPeer(gateway, version, cafile) as two:
        one.subscribe(f"{name}/+", "client-individual")
        two.do("send", f"{name}/a", "first", colour="red")
        headers, body = one.message()
        assert (body, headers["destination"], headers["colour"]) == ("first", f"{name}/a", "red")
        if version != "1.0":
            one.settle("nack", headers)
            headers, body = one.message()
            assert (body, headers["redelivered"]) == ("first", "true")
        one.settle("ack", headers)
        two.do("begin", "t")
        for number in range(100):
            two.connection.send(f"{name}/a", str(number), transaction="t")
        two.do("commit", "t")
        for number in range(100):
            headers, body = one.message()
            assert body == str(number)
            one.settle("ack", headers)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_stompPyHeartBeats(gateway: Broker, version: str) -> None:
    """
    stomp.py, which ends a connection without heart-beats, hears enough of them in several periods.
    """
    lost = queue.Queue[str]()
    with StompPeer(gateway, version, heartbeats=(300, 300)) as peer:

        class Watch(stomp.ConnectionListener):  # type: ignore[misc, name-defined]  # it has no annotations
            def on_heartbeat_timeout(self) -> None:
                lost.put("timeout")

            def on_disconnected(self) -> None:
                lost.put("disconnected")

        peer.connection.set_listener("watch", Watch())
        with pytest.raises(queue.Empty):
            # Nothing happens: that is what is waited for.
            lost.get(timeout=2.5)
        peer.connection.remove_listener("watch")


@EVERY_VERSION
def test_commandLine(gateway: Broker, name: str, version: str, tmp_path: Path) -> None:
    """
    The command line of stomp.py listens, and sends.
    """
    command = [sys.executable, "-m", "stomp", "-H", gateway.host, "-P", str(gateway.ports["stomp"])]
    command += ["-U", "guest", "-W", "guest", "-S", version]
    listener = Program([*command, "-L", f"{name}/t"], tmp_path, {"PYTHONUNBUFFERED": "1"})
    try:
        with Peer(gateway, f"{name}m", V5) as mqtt:
            listener.waitFor("CONNECTED|Subscribing")
            # It says so before it has subscribed.
            with StompPeer(gateway, "1.2") as peer:
                while not any("from the command line" in line for line in listener.lines):
                    script = tmp_path / "script"
                    script.write_text(f"send {name}/t from the command line\n")
                    subprocess.run([*command, "-F", str(script)], capture_output=True, timeout=PATIENCE, check=True)
                    peer.do("send", f"{name}/other", "a turn of the broker")
            assert mqtt.publish(f"{name}/t", "from MQTT") == 0
            listener.waitFor("from MQTT")
    finally:
        listener.end()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.skipif(not (_MODULES / "@stomp" / "stompjs").exists(), reason="needs npm install in tests/")
@pytest.mark.parametrize("transport", ["ws", "websocket", "xhr-streaming", "xhr-polling", "eventsource"])
def test_stompJS(gateway: Broker, name: str, transport: str) -> None:
    """
    @stomp/stompjs over WebSocket, and over each transport of SockJS.
    """
    url = f"http://{gateway.host}:{gateway.ports['stomp.ws']}/stomp"
    command = ["node", str(_HERE / "stompjs.js"), transport, url, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not Path("/usr/share/perl5/Net/Stomp.pm").exists(), reason="needs Net::Stomp")
@EVERY_VERSION
def test_netStomp(gateway: Broker, name: str, version: str) -> None:
    """
    Perl's Net::Stomp.
    """
    command = ["perl", str(_HERE / "stomp.pl"), gateway.host, str(gateway.ports["stomp"]), name, version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "all is well\n", done.stdout + done.stderr


@pytest.mark.parametrize("mqttVersion", VERSIONS, ids=["MQTT 3.1", "MQTT 3.1.1", "MQTT 5"])
@EVERY_VERSION
def test_withMQTT(gateway: Broker, name: str, version: str, mqttVersion: int) -> None:
    """
    A message of one protocol is received by the other, with its QoS and properties.
    """
    with StompPeer(gateway, version) as peer, Peer(gateway, f"{name}m"[-20:], mqttVersion) as mqtt:
        mqtt.subscribe(f"{name}/s/#", 2)
        peer.subscribe(f"{name}/m/#")
        peer.do("send", f"{name}/s/1", "grün", content_type="text/x", persistent="true", colour="red")
        message = mqtt.receive()
        assert (message.topic, message.payload.decode(), message.qos) == (f"{name}/s/1", "grün", 1)
        if mqttVersion == V5:
            found = propertiesOf(message)
            assert found["UserProperty"] == [("colour", "red")]
            assert found["ContentType"] == "text/x"
            mqtt.publish(f"{name}/m/1", "blue", 2, UserProperty=[("k", "v")], ContentType="text/y")
        else:
            mqtt.publish(f"{name}/m/1", "blue", 2)
        headers, body = peer.message()
        assert (body, headers["destination"], headers["qos"]) == ("blue", f"{name}/m/1", "2")
        if mqttVersion == V5:
            assert (headers["k"], headers["content-type"]) == ("v", "text/y")


def test_asInTheSpecification(gateway: Broker, name: str) -> None:
    """
    One write of everything, as a shell script does it.
    """
    with Peer(gateway, f"{name}m", V5) as mqtt:
        mqtt.subscribe("t/1")
        with socket.create_connection((gateway.host, gateway.ports["stomp"]), PATIENCE) as opened:
            opened.sendall(
                b"CONNECT\naccept-version:1.2\nhost:x\nlogin:guest\npasscode:guest\n\n\0"
                b"SEND\ndestination:t/1\n\nhello\0DISCONNECT\nreceipt:1\n\n\0"
            )
            answer = b""
            while more := opened.recv(4096):
                answer += more
        assert answer.startswith(b"CONNECTED\nversion:1.2\n")
        assert answer.endswith(b"RECEIPT\nreceipt-id:1\n\n\0")
        assert mqtt.receive().payload == b"hello"


@pytest.mark.parametrize(
    "wrong, code",
    [
        (frame(b"SEND\ndestination:a\n\n" + b"x" * 112_100 + b"\0", TEXT), 1009),
        (frame(b"SEND\ndestination:a\n\n" + b"x" * 200_000 + b"\0", TEXT), 1009),
        (frame(b"SEND\ndestination:a\n\n\xff\0", TEXT), 1007),
        (frame(b"SEND\ndestination:a\n\n\0", TEXT, mask=None), 1002),
        (frame(b"SEND\ndestination:a\n\n\0", TEXT, reserved=2), 1002),
    ],
    ids=["too long", "too big", "no UTF-8", "unmasked", "reserved"],
)
@pytest.mark.parametrize("path", ["/stomp", "/stomp/000/s/websocket"])
def test_webSocketFaults(gateway: Broker, wrong: bytes, code: int, path: str) -> None:
    """
    A client over WebSocket that breaks its rules gets an ERROR frame, and the code for it.
    """
    data = talk(gateway, path, wrong)
    written = frames(data)
    if path == "/stomp":
        assert written[-2][1].startswith(b"ERROR\n")
    else:
        # A body that is too long for STOMP is no JSON here, which is found out first.
        code = 1003 if len(wrong) < 112_144 and code == 1009 else code
        assert any(payload.startswith(b'a["ERROR') for _, payload in written)
    assert written[-1][1][:2] == code.to_bytes(2, "big")


def test_brokenSockJS(gateway: Broker) -> None:
    """
    A message of SockJS that is no JSON ends its session, and nothing is raised.
    """
    written = frames(talk(gateway, "/stomp/000/s/websocket", frame(b"nonsense", TEXT)))
    assert written[-2] == (0x81, b'c[1003,"Broken JSON encoding."]')
    assert written[-1] == (0x88, b"\x03\xebBroken JSON encoding.")
    assert "Traceback" not in gateway.text


def talk(gateway: Broker, path: str, data: bytes) -> bytes:
    """
    Shake hands, send bytes, and read what comes until the end.
    """
    with socket.create_connection((gateway.host, gateway.ports["stomp.ws"]), PATIENCE) as opened:
        opened.sendall(request(path, Sec_WebSocket_Protocol="v12.stomp"))
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = opened.recv(4096)
            assert more, answer
            answer += more
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        opened.sendall(data)
        while more := opened.recv(65536):
            answer += more
        return answer.partition(b"\r\n\r\n")[2]


def test_oneByteAtATime(gateway: Broker) -> None:
    """
    100,000 writes of a byte each are taken in time that grows with their number alone.
    """
    body = b"x" * 8000
    frame = b"SEND\ndestination:a\n\n" + body + b"\0"
    with socket.create_connection((gateway.host, gateway.ports["stomp"]), PATIENCE) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.sendall(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        assert opened.recv(4096).startswith(b"CONNECTED")
        data = frame * (100_000 // len(frame))
        for at in range(len(data)):
            opened.send(data[at : at + 1])
        opened.sendall(b"DISCONNECT\nreceipt:1\n\n\0")
        assert opened.recv(4096).startswith(b"RECEIPT")


def test_accessRules(startBroker: StartBroker) -> None:
    """
    The ports of gateways have access rules and limits as those of MQTT have, streams and datagrams alike.
    """
    rules = {"access": {"1": "deny 127.0.0.2", "2": "allow all"}}
    tables = {
        "plugins": {"load": ["stomp", "mqttsn"]},
        "stomp": {"listener": {"bind": "127.0.0.1:0", "max_connections": 1, **rules}},
        "mqtt": {"sn": {"port": "127.0.0.1:0", **rules}},
    }
    broker = startBroker(tables, 3)
    connect = b"CONNECT\naccept-version:1.2\nhost:x\nlogin:guest\npasscode:guest\n\n\0"
    where = (broker.host, broker.ports["stomp"])
    with socket.create_connection(where, PATIENCE, ("127.0.0.2", 0)) as stranger:
        assert _refused(stranger, connect)
    with socket.create_connection(where, PATIENCE) as first:
        first.sendall(connect)
        assert first.recv(1000).startswith(b"CONNECTED")
        with socket.create_connection(where, PATIENCE) as second:
            assert _refused(second, connect)
    search = b"\x03\x01\x00"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as friend,
    ):
        stranger.bind(("127.0.0.2", 0))
        friend.bind(("127.0.0.1", 0))
        for one in (stranger, friend):
            one.settimeout(PATIENCE)
            one.sendto(search, (broker.host, broker.ports["mqtt.sn"]))
        # GWINFO: whoever asked first would have been answered first.
        assert friend.recv(100)[1] == 0x02
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.recv(100)


def _refused(opened: socket.socket, data: bytes) -> bool:
    """
    Whether a connection is closed without a word.
    """
    try:
        opened.sendall(data)
        return opened.recv(1000) == b""
    except ConnectionError:
        return True
