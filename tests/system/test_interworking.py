"""
Each protocol's publishers reach each protocol's subscribers, through one topic space: the matrix of docs/gateways.md.
"""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateways.mqttsn.codec import decode, encode, encodePublish
from gateways.mqttsn.packets import CONNACK, PUBLISH, SUBSCRIBE, Connect, Packet, Register, Subscribe
from tests.system.conftest import configuration
from tests.system.process import PATIENCE, Broker, Program, startTwistd

stomp = pytest.importorskip("stomp")
pytestmark = pytest.mark.skipif(shutil.which("coap-client-notls") is None, reason="libcoap3-bin is not installed")

# What makes a message, and what waits for one: called with a broker and a topic.
Publish = Callable[[Broker, str, str], None]
Receive = Callable[[Broker, str], "Receiver"]


class Receiver:
    """
    A subscriber.
    """

    def __init__(self, take: Callable[[], str], close: Callable[[], object]) -> None:
        self.take = take
        self.close = close


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker with every gateway.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no gateways")
    folder = tmp_path_factory.mktemp("interworking")
    tables = {
        "plugins": {"load": ["stomp", "mqttsn", "coap"]},
        "stomp": {"listener": {"bind": "127.0.0.1:0"}},
        "mqtt": {"sn": {"port": "127.0.0.1:0"}},
        "coap": {"port": "127.0.0.1:0"},
    }
    broker = startTwistd(folder, {**configuration(folder), **tables}, listeners=4)
    yield broker
    broker.stop()


# MQTT: Mosquitto's clients


def publishMQTT(broker: Broker, topic: str, text: str) -> None:
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-t", topic, "-m", text, "-q", "1"], check=True, timeout=PATIENCE
    )


def receiveMQTT(broker: Broker, topic: str) -> Receiver:
    command = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-p", str(broker.port), "-t", topic, "-v"]
    return _program(command, "Subscribed", f"^{topic} (.*)$")


def _program(command: list[str], ready: str, line: str) -> Receiver:
    program = Program(command, Path.cwd())
    program.waitFor(ready)
    return Receiver(lambda: str(program.waitFor(line)[-1][1]), program.end)


# CoAP: libcoap's


def publishCoAP(broker: Broker, topic: str, text: str) -> None:
    uri = f"coap://127.0.0.1:{broker.ports['coap']}/mqtt/{topic}?c=putter"
    subprocess.run(["coap-client-notls", "-m", "put", "-e", text, uri], check=True, timeout=PATIENCE)


def receiveCoAP(broker: Broker, topic: str) -> Receiver:
    uri = f"coap://127.0.0.1:{broker.ports['coap']}/mqtt/{topic}?c=observer"
    command = ["stdbuf", "-oL", "coap-client-notls", "-v", "7", "-w", "-s", "20", "-m", "get", uri]
    return _program(command, r"c:2\.05", "^(from .*)$")


# STOMP: stomp.py


def _connected(broker: Broker) -> stomp.Connection12:
    connection = stomp.Connection12([(broker.host, broker.ports["stomp"])])
    return connection


def publishSTOMP(broker: Broker, topic: str, text: str) -> None:
    connection = _connected(broker)
    connection.connect("guest", "guest", wait=True)
    connection.send(topic, text)
    connection.disconnect()


def receiveSTOMP(broker: Broker, topic: str) -> Receiver:
    found: queue.Queue[str] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()

    class Listener(stomp.ConnectionListener):  # type: ignore[misc, name-defined]  # it has no annotations
        def on_message(self, frame: object) -> None:
            found.put(frame.body)  # type: ignore[attr-defined]  # likewise

        def on_receipt(self, frame: object) -> None:
            ready.put(None)

    connection = _connected(broker)
    connection.set_listener("", Listener())
    connection.connect("guest", "guest", wait=True)
    connection.subscribe(topic, id="1", ack="auto", headers={"receipt": "r"})
    ready.get(timeout=PATIENCE)
    return Receiver(lambda: found.get(timeout=PATIENCE), connection.disconnect)


# MQTT-SN: by hand


def _device(broker: Broker, name: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(PATIENCE)
    one.connect((broker.host, broker.ports["mqtt.sn"]))
    one.send(encode(Connect(name)))
    assert decode(one.recv(1000)).type == CONNACK
    return one


def publishSN(broker: Broker, topic: str, text: str) -> None:
    with closing(_device(broker, "snpub")) as one:
        one.send(encode(Register(0, 1, topic)))
        identifier = decode(one.recv(1000)).topicID
        one.send(encodePublish(0, identifier, text.encode(), 1, 2))
        one.recv(1000)


def receiveSN(broker: Broker, topic: str) -> Receiver:
    one = _device(broker, "snsub")
    one.send(encode(Subscribe(SUBSCRIBE, 1, topic)))
    one.recv(1000)

    def take() -> str:
        while True:
            packet: Packet = decode(one.recv(1000))
            if packet.type == PUBLISH:
                return packet.data.decode()

    return Receiver(take, one.close)


PUBLISHERS: dict[str, Publish] = {
    "mqtt": publishMQTT,
    "coap": publishCoAP,
    "stomp": publishSTOMP,
    "mqttsn": publishSN,
}
RECEIVERS: dict[str, Receive] = {
    "mqtt": receiveMQTT,
    "coap": receiveCoAP,
    "stomp": receiveSTOMP,
    "mqttsn": receiveSN,
}


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_everybodyHears(gateways: Broker, publisher: str) -> None:
    """
    What a client of one protocol publishes comes to those of all, once and with the same topic and payload.
    """
    topic = f"matrix/{publisher}"
    receivers = {name: receive(gateways, topic) for name, receive in RECEIVERS.items()}
    try:
        PUBLISHERS[publisher](gateways, topic, f"from {publisher}")
        assert {name: receiver.take() for name, receiver in receivers.items()} == dict.fromkeys(
            RECEIVERS, f"from {publisher}"
        )
    finally:
        for receiver in receivers.values():
            receiver.close()
