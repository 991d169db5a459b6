"""
The access rules that ship, against a real process: what this machine may, and what strangers who call themselves
something may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import Broker
from tests.system.rawclient import ACCEPTED, opened, read
from tests.vectors.packets import counted, frame

SHIPPED = Path(__file__).parents[2] / "etc" / "acl.conf"


@pytest.fixture(params=["built-in", "etc/acl.conf"])
def behindABalancer(startBroker: StartBroker, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker that believes what a PROXY header says of an address.
    """
    listener = {"bind": "127.0.0.1:0", "proxy_protocol": True}
    rules = {} if request.param == "built-in" else {"acl_file": str(SHIPPED)}
    yield startBroker({"listener": {"tcp": {"external": listener}}, **rules})


def subscribed(broker: Broker, family: str, source: str, topicFilter: str, username: str = "") -> int:
    """
    Subscribe from an address under a name that nobody has checked.

    @return: the reason code of the SUBACK.
    """
    destination = "::1" if family == "TCP6" else "127.0.0.1"
    header = f"PROXY {family} {source} {destination} 4711 1883\r\n".encode()
    head = counted(b"MQTT") + (b"\x04\x82" if username else b"\x04\x02") + b"\x00\x00"
    body = head + counted(b"somebody") + (counted(username.encode()) if username else b"")
    with closing(opened(broker, header + frame(0x10, body))) as link:
        assert read(link, 4) == ACCEPTED
        link.sendall(frame(0x82, b"\x00\x01" + counted(topicFilter.encode()) + b"\x00"))
        answer = read(link, 5)
        assert answer[:4] == b"\x90\x03\x00\x01", answer
        return answer[4]


def test_shippedRules(behindABalancer: Broker) -> None:
    """
    This machine, by IPv6 too, reads everything; from elsewhere nobody reads the statistics by calling himself
    dashboard.
    """
    broker = behindABalancer
    for family, near in (("TCP4", "127.0.0.1"), ("TCP4", "127.9.9.9"), ("TCP6", "::1")):
        assert [subscribed(broker, family, near, topicFilter) for topicFilter in ("$SYS/#", "#")] == [0, 0], near
    for family, far in (("TCP4", "192.0.2.7"), ("TCP6", "2001:db8::1")):
        for username in ("", "dashboard"):
            asked = [subscribed(broker, family, far, each, username) for each in ("$SYS/#", "#", "plain/#")]
            assert asked == [0x80, 0x80, 0], (far, username)


def test_placeholders(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A stranger gets no topics of others by the name that it gives itself, and none that are denied to it.
    """
    file = tmp_path / "acl.conf"
    file.write_text(
        '{allow, all, subscribe, ["of/%c/#", "by/%u/#", "%c/#"]}.\n'
        '{deny, all, publish, ["cmd/%c"]}.\n{allow, all, publish, ["cmd/#", "$delayed/#"]}.\n{deny, all}.\n'
    )
    broker = startBroker({"acl_file": str(file), "zone": {"external": {"acl_deny_action": "disconnect"}}})

    def allowed(clientID: str, packet: bytes, answer: bytes) -> bool:
        head = counted(b"MQTT") + b"\x04\x82\x00\x00"
        with closing(opened(broker, frame(0x10, head + counted(clientID.encode()) + counted(b"alice")))) as link:
            assert read(link, 4) == ACCEPTED
            link.sendall(packet)
            return read(link, len(answer)) == answer

    def subscribes(clientID: str, topicFilter: str) -> bool:
        packet = frame(0x82, b"\x00\x01" + counted(topicFilter.encode()) + b"\x00")
        return allowed(clientID, packet, b"\x90\x03\x00\x01\x00")

    def publishes(clientID: str, topic: str) -> bool:
        return allowed(clientID, frame(0x32, counted(topic.encode()) + b"\x00\x01"), b"\x40\x02\x00\x01")

    assert subscribes("me", "of/me/#") and not subscribes("me", "of/you/#")
    for clientID in ("#", "+", "you/private"):
        assert not subscribes(clientID, f"of/{clientID}/#")
    assert not subscribes("$SYS", "$SYS/#") and subscribes("$SYS", "of/$SYS/#")
    # Nobody has checked that it is she.
    assert not subscribes("me", "by/alice/#")
    for clientID in ("me", "me/too"):
        assert publishes(clientID, "cmd/other") and not publishes(clientID, f"cmd/{clientID}")
        assert publishes(clientID, "$delayed/1/cmd/other") and not publishes(clientID, f"$delayed/1/cmd/{clientID}")
    assert not publishes("me", "$delayed/1/elsewhere")
