"""
Topic trees against a real process: two listeners, two trees, one store that outlives the process.
"""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import ACCEPTED, connect, opened, publish, read
from tests.vectors.packets import counted, frame


def stayingConnect(clientID: str) -> bytes:
    """
    A CONNECT of MQTT 3.1.1 with a session that stays.
    """
    return frame(0x10, counted(b"MQTT") + b"\x04\x00\x00\x00" + counted(clientID.encode()))


def subscribe(topicFilter: str) -> bytes:
    """
    A SUBSCRIBE at QoS 1.
    """
    return frame(0x82, b"\x00\x01" + counted(topicFilter.encode()) + b"\x01")


def configurationOf(folder: Path) -> dict[str, object]:
    """
    Two listeners, the second with a topic tree of its own.
    """
    tcp = {
        "external": {"bind": "127.0.0.1:0"},
        "plant": {"bind": "127.0.0.1:0", "topic_tree": "plant/"},
    }
    return {"listener": {"tcp": tcp}, "node": {"data_dir": str(folder)}}


def test_twoTrees(startBroker: StartBroker, tmp_path: Path, name: str) -> None:
    """
    The same client identifier is connected in both trees; each gets what is published in its own, live, retained and
    after a restart from its queue.
    """
    topic = f"{name}/t"
    broker: Broker = startBroker(configurationOf(tmp_path), listeners=2)
    for payload, listener in ((b"1", "tcp.external"), (b"2", "tcp.plant")):
        with closing(opened(broker, connect(f"{name}-writer"), listener=listener)) as writer:
            assert read(writer, 4) == ACCEPTED
            retained = b"\x31" + publish(topic, payload)[1:]
            writer.sendall(retained + b"\xc0\x00")
            assert read(writer, 2) == b"\xd0\x00"
    links = {each: opened(broker, stayingConnect(name), listener=each) for each in ("tcp.external", "tcp.plant")}
    for payload, listener in ((b"1", "tcp.external"), (b"2", "tcp.plant")):
        link = links[listener]
        assert read(link, 4) == ACCEPTED
        link.sendall(subscribe(topic))
        assert read(link, 5) == b"\x90\x03\x00\x01\x01"
        expected = b"\x31" + publish(topic, payload)[1:]
        assert read(link, len(expected)) == expected
    for link in links.values():
        link.sendall(b"\xc0\x00")
        assert read(link, 2) == b"\xd0\x00"
        link.close()
    for payload, listener in ((b"3", "tcp.external"), (b"4", "tcp.plant")):
        with closing(opened(broker, connect(f"{name}-writer"), listener=listener)) as writer:
            assert read(writer, 4) == ACCEPTED
            writer.sendall(publish(topic, payload, 7))
            assert read(writer, 4) == b"\x40\x02\x00\x07"
    broker.stop()
    broker = startBroker(configurationOf(tmp_path), listeners=2)
    for payload, listener in ((b"3", "tcp.external"), (b"4", "tcp.plant")):
        with closing(opened(broker, stayingConnect(name), listener=listener)) as link:
            assert read(link, 4) == b"\x20\x02\x01\x00"
            packet = publish(topic, payload, 1)
            assert read(link, len(packet)) == packet


def test_gatewaysInATree(startBroker: StartBroker, tmp_path: Path, name: str) -> None:
    """
    Clients of gateways are in the tree that the gateway's table names: MQTT clients of that tree hear them, others do
    not.
    """
    tables = configurationOf(tmp_path)
    tables |= {
        "plugins": {"load": ["stomp", "mqttsn", "coap"]},
        "stomp": {"listener": {"bind": "127.0.0.1:0"}, "topic_tree": "plant/"},
        "mqtt": {"sn": {"port": "127.0.0.1:0", "enable_qos3": True, "topic_tree": "plant/"}},
        "coap": {"port": "127.0.0.1:0", "topic_tree": "plant/"},
    }
    broker: Broker = startBroker(tables, listeners=5)
    links = {each: opened(broker, connect(name), listener=each) for each in ("tcp.external", "tcp.plant")}
    for link in links.values():
        assert read(link, 4) == ACCEPTED
        link.sendall(subscribe("+"))
        assert read(link, 5) == b"\x90\x03\x00\x01\x01"
    with socket.create_connection((broker.host, broker.ports["stomp"]), PATIENCE) as stomp:
        stomp.sendall(b"CONNECT\naccept-version:1.2\nhost:x\nlogin:guest\npasscode:guest\n\n\0")
        stomp.sendall(b"SEND\ndestination:xy\n\nstomp\0")
        assert read(links["tcp.plant"], 11) == publish("xy", b"stomp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        # A message of QoS -1 to the short topic "xy".
        datagrams.sendto(b"\x09\x0c\x62xy\x00\x00sn", (broker.host, broker.ports["mqtt.sn"]))
        assert read(links["tcp.plant"], 8) == publish("xy", b"sn")
        # PUT /mqtt/xy?c=c
        datagrams.sendto(b"\x40\x03\x00\x01\xb4mqtt\x02xy\x43c=c\xffcoap", (broker.host, broker.ports["coap"]))
        assert read(links["tcp.plant"], 10) == publish("xy", b"coap")
    for link in links.values():
        link.sendall(b"\xc0\x00")
        assert read(link, 2) == b"\xd0\x00"
        link.close()
