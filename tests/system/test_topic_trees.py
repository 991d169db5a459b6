"""
Topic trees against a real process: two listeners, two trees, one store that outlives the process.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.system.conftest import StartBroker
from tests.system.process import Broker
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
