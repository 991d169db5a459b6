"""
The MQTT-SN gateway in a broker process: other people's clients, other protocols beside it, and very many at once.

The clients are those that could be had and work: mqtt-sn-12, and mqttsn, which is the client of the first MQTT-SN
broker, RSMB, carried over to Python 3. Of these mqtt-sn-12 acknowledges no PUBLISH of QoS 1 and 2, and mqttsn fails at
one of QoS 0, at PINGREQ and at DISCONNECT: each is tried with what it can. Debian has none (mqtt-sn-tools is not
packaged), and npm had none to give: mqttsn-packet, a codec without a client, is not to be installed from there, nor is
anything by the names of mqttsn, mqtt-sn, mqttsn-client, mqtt-sn-packet and mqtt-sn-gateway.
"""

from __future__ import annotations

import queue
import random
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gateways.mqttsn.codec import decode, encode
from gateways.mqttsn.packets import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REGACK,
    REGISTER,
    SUBACK,
    SUBSCRIBE,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSubscribe,
)
from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker, Program, startTwistd

# The command lines of the package mqtt-sn-12.
_SCRIPTS = Path(sys.executable).parent
_PUB, _SUB = _SCRIPTS / "mqtt_sn_pub", _SCRIPTS / "mqtt_sn_sub"

needsClient = pytest.mark.skipif(not _PUB.exists(), reason="needs mqtt-sn-12")
needsMosquitto = pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs mosquitto-clients")

SN = "mqtt.sn"


@pytest.fixture(scope="module")
def sn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    A broker with the gateway.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no such gateway")
    folder = tmp_path_factory.mktemp("mqttsn")
    broker = startTwistd(
        folder,
        {
            "allow_anonymous": True,
            "node": {"name": "test@127.0.0.1", "data_dir": str(folder / "data")},
            "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
            "plugins": {"load": ["mqttsn"]},
            "mqtt": {
                "sn": {
                    "port": "127.0.0.1:0",
                    "enable_qos3": True,
                    "max_conn_rate": 1_000_000,
                    "predefined": {"topic": {"1": "predefined/one"}},
                }
            },
        },
        2,
    )
    yield broker
    broker.stop()


class UDPClient:
    """
    A client over a real socket.
    """

    def __init__(self, broker: Broker, clientID: str = "") -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((broker.host, broker.ports[SN]))
        if clientID:
            assert self.ask(SNConnect(clientID)).type == CONNACK

    def say(self, packet: SNPacket | bytes) -> None:
        """
        Send a message.
        """
        self.socket.send(packet if isinstance(packet, bytes) else encode(packet))

    def hear(self) -> Any:
        """
        Wait for a message.
        """
        return decode(self.socket.recv(65536))

    def ask(self, packet: SNPacket) -> Any:
        """
        Send a message and wait for the next that comes.
        """
        self.say(packet)
        return self.hear()

    def close(self) -> None:
        """
        Go without a word.
        """
        self.socket.close()


@pytest.fixture
def client(sn: Broker, name: str) -> Iterator[UDPClient]:
    """
    A client that has connected.
    """
    client = UDPClient(sn, name)
    yield client
    client.say(SNPacket(DISCONNECT))
    client.close()


def publishWith(program: Path, broker: Broker, *options: str) -> None:
    """
    Run the publisher of mqtt-sn-12.
    """
    command = [str(program), "-h", broker.host, "-p", str(broker.ports[SN]), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr


# Somebody else's client


@needsClient
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_publishes(sn: Broker, client: UDPClient, name: str, qos: str) -> None:
    """
    mqtt_sn_pub publishes at every QoS, to a topic that it registers.
    """
    granted = client.ask(SNSubscribe(SUBSCRIBE, 1, f"{name}/topic", qos=2))
    publishWith(_PUB, sn, "-i", f"{name}pub", "-t", f"{name}/topic", "-m", "hello", "-q", qos)
    packet = client.hear()
    assert (packet.type, packet.topicID, packet.data, packet.qos) == (PUBLISH, granted.topicID, b"hello", int(qos))


@needsClient
@pytest.mark.parametrize("options", [["-t", "zz"], ["-T", "1"], ["-T", "1", "-q", "-1"]])
def test_waysToNameATopic(sn: Broker, client: UDPClient, name: str, options: list[str]) -> None:
    """
    It publishes to short and predefined topics, to these without a connection too.
    """
    for topic in ("zz", "predefined/one"):
        assert client.ask(SNSubscribe(SUBSCRIBE, 1, topic)).type == SUBACK
    publishWith(_PUB, sn, "-i", f"{name}pub", "-m", "hello", *options)
    assert client.hear().data == b"hello"


@needsClient
def test_subscribes(sn: Broker, client: UDPClient, name: str, tmp_path: Path) -> None:
    """
    mqtt_sn_sub receives what matches a filter, over topics that it is told of.
    """
    command = [_SUB, "-h", sn.host, "-p", str(sn.ports[SN]), "-i", f"{name}sub", "-t", f"{name}/#", "-C", "3", "-d"]
    program = Program(command, tmp_path)
    try:
        program.waitFor("Received SUBACK")
        for number in range(3):
            topicID = client.ask(SNRegister(0, number + 1, f"{name}/{number}")).topicID
            assert client.ask(SNPublish(topicID, b"m%d" % number, 1, number + 1)).type == PUBACK
        for number in range(3):
            program.waitFor(f"Payload is b'm{number}'")
    finally:
        program.end()


@needsClient
def test_library(sn: Broker, client: UDPClient, name: str) -> None:
    """
    Its library connects with a will, changes that, searches for the gateway, and sleeps; the will comes when it is
    lost.
    """
    script = f"""
from mqttsn12.client.MqttSnClient import MqttSnClient
client = MqttSnClient()
client.set_client_id("{name}lib")
client.set_keep_alive(1)
client.set_timeout(10)
client.set_will("{name}/will", "first", 1, False)
client.open("{sn.host}", {sn.ports[SN]})
client.send_search_gateway(1)
client.send_connect()
client.send_will_topic_update("{name}/other")
client.send_will_message_update("second")
client.send_publish("{name}/topic", b"data", 2)
client.send_disconnect(1)
print("asleep")
"""
    assert client.ask(SNSubscribe(SUBSCRIBE, 1, f"{name}/topic")).topicID
    other = client.ask(SNSubscribe(SUBSCRIBE, 2, f"{name}/other")).topicID
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and "asleep" in done.stdout, done.stdout + done.stderr
    assert client.hear().data == b"data"
    packet = client.hear()
    assert (packet.topicID, packet.data) == (other, b"second")


@pytest.mark.skipif(find_spec("mqttsn") is None, reason="needs mqttsn")
def test_otherClient(sn: Broker, client: UDPClient, name: str) -> None:
    """
    mqttsn registers, publishes and subscribes at QoS 1 and 2, and both sides acknowledge to the end.
    """
    script = f"""
import os, queue
from mqttsn.client import Callback, Client
came, done = queue.Queue(), queue.Queue()
class Hearing(Callback):
    def message_arrived(self, topic, payload, qos, retained, msgid):
        came.put(f"heard {{payload.decode()}} {{qos}}")
        return True
    def published(self, msgid):
        done.put(msgid)
client = Client(b"{name}other", "{sn.host}", {sn.ports[SN]})
client.register_callback(Hearing())
client.connect()
assert client.subscribe("{name}/down", 2)[0] == 0
topic = client.register(b"{name}/up")
for qos in (1, 2):
    client.publish(topic, f"up {{qos}}", qos)
    # Its messages are heard, and answered, before its last acknowledgement has come.
    done.get(timeout=20)
said = []
while len(said) < 2:
    said.append(came.get(timeout=20))
print("\\n", *sorted(said), flush=True)
os._exit(0)
"""
    granted = client.ask(SNSubscribe(SUBSCRIBE, 1, f"{name}/up", qos=2))
    down = client.ask(SNRegister(0, 2, f"{name}/down")).topicID
    program = Program([sys.executable, "-c", script], Path.cwd())
    try:
        for qos in (1, 2):
            packet = client.hear()
            assert (packet.topicID, packet.qos, packet.data) == (granted.topicID, qos, b"up %d" % qos)
            if qos == 1:
                client.say(SNPacket(PUBACK, packet.msgID, 0, packet.topicID))
            else:
                assert client.ask(SNPacket(PUBREC, packet.msgID)).type == PUBREL
                client.say(SNPacket(PUBCOMP, packet.msgID))
        assert client.ask(SNPublish(down, b"down", 1, 3)).type == PUBACK
        assert client.ask(SNPublish(down, b"down", 2, 4)).type == PUBREC
        assert client.ask(SNPacket(PUBREL, 4)).type == PUBCOMP
        program.waitFor("heard down 1 heard down 2")
        assert program.wait() == 0, program.text
    finally:
        program.end()


# Other protocols


@needsMosquitto
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_fromMQTT(sn: Broker, client: UDPClient, name: str, version: str, qos: int) -> None:
    """
    A message of an MQTT client arrives with its QoS and payload.
    """
    topicID = client.ask(SNSubscribe(SUBSCRIBE, 1, f"{name}/t", qos=2)).topicID
    command = ["mosquitto_pub", "-p", str(sn.port), "-V", version, "-q", str(qos), "-t", f"{name}/t", "-m", "hello"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    packet = client.hear()
    assert (packet.topicID, packet.qos, packet.data) == (topicID, qos, b"hello")


@needsMosquitto
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_toMQTT(sn: Broker, client: UDPClient, name: str, version: str, qos: int, tmp_path: Path) -> None:
    """
    A retained message of the device arrives at an MQTT client that comes later, with its QoS.
    """
    topicID = client.ask(SNRegister(0, 1, f"{name}/t")).topicID
    packet = SNPublish(topicID, b"hello", qos, 7 if qos else 0, retain=True)
    client.say(packet)
    if qos:
        assert client.hear().msgID == 7
    assert client.ask(SNPacket(PINGREQ)).type == PINGRESP
    command = ["mosquitto_sub", "-p", str(sn.port), "-V", version, "-q", "2", "-t", f"{name}/t", "-C", "1"]
    done = subprocess.run([*command, "-F", "%q %r %p"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.strip() == f"{qos} 1 hello"


@needsMosquitto
def test_besideStomp(startBroker: StartBroker) -> None:
    """
    With the STOMP gateway beside it, what one publishes the other receives.
    """
    stomp = pytest.importorskip("stomp")
    broker = startBroker(
        {
            "plugins": {"load": ["stomp", "mqttsn"]},
            "stomp": {"listener": {"bind": "127.0.0.1:0"}},
            "mqtt": {"sn": {"port": "127.0.0.1:0"}},
        },
        listeners=3,
    )
    device = UDPClient(broker, "device")
    came: queue.Queue[tuple[str, str]] = queue.Queue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc]  # comes without types
        """
        Hands on what comes.
        """

        def on_message(self, frame: Any) -> None:
            came.put((frame.headers["destination"], frame.body))

        def on_receipt(self, frame: Any) -> None:
            came.put(("receipt", frame.headers["receipt-id"]))

    connection = stomp.Connection12([(broker.host, broker.ports["stomp"])])
    connection.set_listener("", Listener())
    try:
        connection.connect("guest", "guest", wait=True)
        connection.subscribe("from/device", id="1", headers={"receipt": "ready"})
        assert came.get(timeout=PATIENCE) == ("receipt", "ready")
        topicID = device.ask(SNRegister(0, 1, "from/device")).topicID
        assert device.ask(SNPublish(topicID, b"up", 1, 2)).type == PUBACK
        assert came.get(timeout=PATIENCE) == ("from/device", "up")
        granted = device.ask(SNSubscribe(SUBSCRIBE, 3, "to/device", qos=1))
        connection.send("to/device", "down", headers={"qos": "1"})
        packet = device.hear()
        assert (packet.topicID, packet.data) == (granted.topicID, b"down")
    finally:
        connection.disconnect()
        device.close()


@needsMosquitto
def test_survivesACrash(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """
    A device whose session is not clean finds subscription and message after the broker was killed; of QoS 2, once.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no such gateway")
    configuration = {
        "allow_anonymous": True,
        "node": {"name": "test@127.0.0.1", "data_dir": str(tmp_path / "data")},
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
        "plugins": {"load": ["mqttsn"]},
        "mqtt": {"sn": {"port": "127.0.0.1:0"}},
    }
    broker = startTwistd(tmp_path, configuration, 2)
    try:
        device = UDPClient(broker)
        assert device.ask(SNConnect("device", cleanSession=False)).type == CONNACK
        assert device.ask(SNSubscribe(SUBSCRIBE, 1, "kept/+", qos=2)).type == SUBACK
        assert device.ask(SNPacket(DISCONNECT)).type == DISCONNECT
        for qos in ("1", "2"):
            command = ["mosquitto_pub", "-p", str(broker.port), "-t", "kept/topic", "-q", qos, "-m", f"qos {qos}"]
            subprocess.run(command, check=True, timeout=PATIENCE)
        device.close()
    finally:
        broker.end(signal.SIGKILL)
    broker = startTwistd(tmp_path, configuration, 2)
    try:
        device = UDPClient(broker)
        assert device.ask(SNConnect("device", cleanSession=False)).type == CONNACK
        register = device.hear()
        assert (register.type, register.topic) == (REGISTER, "kept/topic")
        first = device.ask(SNPacket(REGACK, register.msgID, 0, register.topicID))
        assert (first.data, first.qos) == (b"qos 1", 1)
        second = device.ask(SNPacket(PUBACK, first.msgID, 0, first.topicID))
        assert (second.data, second.qos) == (b"qos 2", 2)
        assert device.ask(SNPacket(PUBREC, second.msgID)).type == PUBREL
        device.say(SNPacket(PUBCOMP, second.msgID))
        assert device.ask(SNPacket(PINGREQ)).type == PINGRESP
        device.close()
    finally:
        broker.stop()


# Many, and malicious


def _raiseLimit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} open files, and may have {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _residentBytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")


@pytest.mark.slow
def test_tenThousand(sn: Broker, client: UDPClient, name: str) -> None:
    """
    10,000 clients connect and subscribe, each hears a message for all, and each costs less than 8 KB.
    """
    count = 10_000
    _raiseLimit(count + 500)
    before = _residentBytes(sn.process.pid)
    clients = [UDPClient(sn) for _ in range(count)]
    try:
        _allAnswer(clients, [SNConnect(f"{name}{number}") for number in range(count)], CONNACK)
        _allAnswer(clients, [SNSubscribe(SUBSCRIBE, 1, f"{name}/all")] * count, SUBACK)
        grown = _residentBytes(sn.process.pid) - before
        topicID = client.ask(SNRegister(0, 1, f"{name}/all")).topicID
        client.say(SNPublish(topicID, b"everybody"))
        for each in clients:
            assert each.hear().data == b"everybody"
        _allAnswer(clients, [SNPacket(PINGREQ)] * count, PINGRESP)
        _allAnswer(clients, [SNPacket(DISCONNECT)] * count, DISCONNECT)
    finally:
        for each in clients:
            each.close()
    print(f"{grown / count:.0f} bytes for each")
    assert grown / count < 8192


def _allAnswer(clients: list[UDPClient], packets: list[Any], kind: int) -> None:
    """
    Have each say something, a few hundred at a time, and wait until each was answered.
    """
    for start in range(0, len(clients), 250):
        some = clients[start : start + 250]
        for one, packet in zip(some, packets[start : start + 250], strict=True):
            one.say(packet)
        poll = select.epoll()
        waiting = {one.socket.fileno(): one for one in some}
        for fileno in waiting:
            poll.register(fileno, select.EPOLLIN)
        while waiting:
            ready = poll.poll(PATIENCE)
            assert ready, f"{len(waiting)} of {len(some)} were not answered"
            for fileno, _ in ready:
                answer = waiting[fileno].hear()
                assert (answer.type, answer.code) == (kind, 0), answer
                poll.unregister(fileno)
                del waiting[fileno]
        poll.close()


@pytest.mark.slow
def test_fuzz(sn: Broker, client: UDPClient, name: str) -> None:
    """
    50,000 datagrams of noise, half of them messages with something wrong, from twenty addresses: the broker serves on,
    and has logged nothing.
    """
    chance = random.Random(1884)
    genuine = [
        encode(packet)
        for packet in (
            SNConnect(f"{name}x", chance.random() < 0.5, True, 5),
            SNRegister(0, 1, "fuzz/topic"),
            SNPublish(1, b"x", 1, 2),
            SNSubscribe(SUBSCRIBE, 3, "fuzz/+", qos=2),
            SNPacket(PINGREQ, data=name.encode()),
            SNPacket(DISCONNECT),
            SNPacket(DISCONNECT, duration=5),
            SNPacket(PUBACK, 1, 2, 1),
            SNPublish(1, b"x", 2, 2),
            SNPublish(0x6162, b"", -1),
        )
    ]
    noisy = [UDPClient(sn) for _ in range(20)]
    for number in range(50_000):
        data = bytearray(chance.choice(genuine))
        if number % 2:
            for _ in range(chance.randint(1, 3)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        noisy[chance.randrange(20)].say(bytes(data))
        if number % 500 == 0:
            # Waits for the gateway, whose buffer would overflow otherwise: what is lost there is not tested.
            assert client.ask(SNPacket(PINGREQ)).type == PINGRESP
    for each in noisy:
        each.close()
    assert client.ask(SNPacket(PINGREQ)).type == PINGRESP
    assert "Traceback" not in sn.text, sn.text
