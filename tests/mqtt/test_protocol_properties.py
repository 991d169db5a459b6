"""
Properties of a connection, whatever its client sends, whenever hooks answer.
"""

from __future__ import annotations

import warnings
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kits.strategies import connects, fromClient, packets, versions
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import Ack, Connect, Packet, Publish
from twisted_mqtt.hooks.verdicts import Challenge
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer

# The acts of a client besides sending packets.
_steps = st.sampled_from(("answer", "answer", "pass", "congest", "drain", "kick"))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[int, list[Any]]:
    """
    A version, and what happens on a connection: packets, bytes, and whatever else.
    """
    version = draw(versions)
    anything = st.one_of(
        fromClient(version), fromClient(version), connects(version), packets(version), _steps, st.binary(max_size=9)
    )
    steps: list[Any] = draw(st.lists(anything, max_size=12))
    if draw(st.integers(0, 5)):
        steps.insert(0, draw(connects(version)))
    return version, steps


@given(
    conversations(),
    st.sets(
        st.sampled_from(
            (
                "client.connect",
                "client.authenticate",
                "client.enhanced_authenticate",
                "client.connack",
                "client.connected",
                "client.check_acl",
                "client.subscribe",
                "client.unsubscribe",
                "message.publish",
                "message.delivered",
                "challenge",
            )
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_everyStateTimesEveryPacket(case: tuple[int, list[Any]], slow: set[str], together: bool) -> None:
    """
    Whatever a client sends in whatever state of its connection, nothing is raised out of the protocol, the broker's
    answers can be decoded, at most one CONNACK precedes everything else, and when the client is gone nothing of it is
    left but a session that lasts.
    """
    version, steps = case
    clock = Clock()
    clock.advance(1_000_000)
    broker, factory = makeBroker(clock, hook_timeout=0, max_topic_alias=5)
    waiting: list[Deferred[Any]] = []

    def wait(*args: Any) -> Deferred[Any]:
        waiting.append(Deferred())
        return waiting[-1]

    for point in slow - {"challenge"}:
        broker.hooks[point].add(wait)
    if "challenge" in slow:
        broker.hooks["client.enhanced_authenticate"].add(lambda *args: Challenge(b"?"))
    other = Peer(factory, clock)
    peer = Peer(factory, clock, version)
    if not slow & {"client.connect", "client.authenticate", "client.connack", "client.connected"}:
        other.connect("other")
    seen: list[Any] = []
    held = b""
    for step in steps:
        if isinstance(step, (Packet, bytes)):
            wire = step if isinstance(step, bytes) else encode(step, version)
            if together:
                held += wire
            elif not peer.lost:
                peer.send(wire)
        elif step == "answer":
            if waiting:
                answering = waiting.pop(0)
                if not answering.called:
                    answering.callback(None)
        elif step == "pass":
            clock.advance(1.0)
        elif peer.lost:
            continue
        elif step == "kick":
            for clientID in list(broker.clients):
                if clientID != "other":
                    broker.kick(clientID, 0x98)
        elif step == "congest":
            if not peer.transport.disconnecting:
                peer.protocol.pauseProducing()
        elif step == "drain":
            peer.protocol.resumeProducing()
        seen += peer.receive()
    if held and not peer.lost:
        peer.send(held)
    peer.protocol.resumeProducing()
    for answering in waiting:
        if not answering.called:
            answering.callback(None)
    seen += peer.receive()
    kinds = [each.type for each in seen]
    assert kinds.count(2) <= 1
    assert all(kind in (2, 15) for kind in kinds[: kinds.index(2)] if 2 in kinds) if 2 in kinds else True
    asked = [step for step in steps if isinstance(step, Connect)]
    if not asked:
        assert 2 not in kinds
    for each in seen:
        if isinstance(each, Publish):
            assert not each.qos or each.packetID
        elif isinstance(each, Ack):
            assert each.packetID
    if not peer.lost:
        peer.lose()
    for answering in waiting:
        if not answering.called:
            answering.callback(None)
    clock.advance(1.0)
    assert all(clientID == "other" for clientID in broker.clients)
    for session in broker.sessions.values():
        assert session.online == (session.clientID == "other" and not other.lost)
        assert session.online or session.expiryInterval > 0
    assert broker.router.tree.count == sum(len(session.subscriptions) for session in broker.sessions.values())
    with warnings.catch_warnings():
        broker.stopService()
    assert not factory.protocols - {other.protocol}
