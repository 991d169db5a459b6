"""
Tests for L{twisted_mqtt.management.builtin.banned}: whom a ban sends away.
"""

from __future__ import annotations

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.testing.peer import Peer

#: The reason code of the DISCONNECT, Not authorized: a DISCONNECT has none for Banned (MQTT 5, 3.14.2.1).
NOT_AUTHORIZED = 0x87


@pytest.mark.shows("create_banned")
@pytest.mark.parametrize(("kind", "who"), [("clientid", "bad"), ("username", "eve")])
def test_sendsAway(kind: str, who: str) -> None:
    """
    Whoever is banned is sent away, the others stay.
    """
    rest = Rest()
    bad, other = rest.memory.client("bad", username="eve"), rest.memory.client("good", username="anna")
    assert rest.call("POST", "/banned", {"as": kind, "who": who}).status == 200
    bad.expectClosed(NOT_AUTHORIZED)
    assert not other.lost


@pytest.mark.shows("create_banned")
def test_sendsAwayInEachTopicTree() -> None:
    """
    A banned client identifier is sent away in whatever topic trees it is connected.
    """
    rest = Rest()
    broker, clock = rest.memory.broker, rest.memory.clock
    peers = [rest.memory.client("bad")]
    for topicTree in ("one", "two"):
        profile = ListenerProfile(topicTree, broker.settings.resolveZone("external"), topicTree=topicTree)
        peer = Peer(MQTTFactory(broker, profile), clock)
        peer.connect("bad")
        peers.append(peer)
    assert sorted(broker.directory.topicTrees()) == ["", "one", "two"]
    assert rest.call("POST", "/banned", {"as": "clientid", "who": "bad"}).status == 200
    for peer in peers:
        peer.expectClosed(NOT_AUTHORIZED)
    assert broker.directory.topicTrees() == [""]
