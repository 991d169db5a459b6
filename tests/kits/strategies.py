"""
MQTT for hypothesis: topics, filters, properties, and every packet in every version.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from twisted_mqtt.core.packets import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.properties import (
    BINARY,
    FLAG,
    FOUR,
    IN_CONNECT,
    IN_PUBLISH,
    IN_SUBSCRIBE,
    IN_UNSUBSCRIBE,
    IN_WILL,
    PAIR,
    TABLE,
    TEXT,
    TWO,
    Properties,
)

# A few levels, so that topics and filters meet; the odd ones are those that go wrong first.
_LEVELS = ("a", "b", "c", "", "$x", "é")

versions = st.sampled_from((3, 4, 5))
packetIDs = st.integers(1, 0xFFFF)
payloads = st.binary(max_size=40)
# Characters that MQTT allows in a string: no surrogates, no U+0000.
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)


def _joined(levels: list[str]) -> str:
    return "/".join(levels)


topicNames = st.lists(st.sampled_from(_LEVELS), min_size=1, max_size=5).map(_joined).filter(bool)
topicFilters = st.builds(
    lambda levels, rest: _joined(levels + rest),
    st.lists(st.sampled_from((*_LEVELS, "+")), max_size=5),
    st.sampled_from(([], ["#"])),
).filter(bool)
# Past the depth to which trees go.
deepTopicNames = st.builds(
    lambda levels, count: _joined(levels * count),
    st.lists(st.sampled_from(("a", "b")), min_size=1, max_size=2),
    st.integers(20, 70),
)
deepTopicFilters = st.builds(
    lambda levels, count, rest: _joined(levels * count + rest),
    st.lists(st.sampled_from(("a", "b", "+")), min_size=1, max_size=2),
    st.integers(20, 70),
    st.sampled_from(([], ["#"])),
)

_VALUES: dict[int, st.SearchStrategy[Any]] = {
    FLAG: st.integers(0, 1),
    TWO: st.integers(1, 0xFFFF),
    FOUR: st.integers(1, 0xFFFFFFFF),
    TEXT: texts,
    BINARY: payloads,
    PAIR: st.lists(st.tuples(texts, texts), min_size=1, max_size=3),
}
_IDENTIFIERS = st.integers(1, 268435455)


@st.composite
def properties(draw: st.DrawFn, packet: int) -> Properties | None:
    """
    Properties that the packet of this C{IN_*} bit may have; L{None} for none at all.
    """
    found = Properties()
    for name, kind, packets in TABLE.values():
        if not packets & packet or not draw(st.integers(0, 3)) == 0:
            continue
        if name == "subscriptionIDs":
            most = 1 if packet == IN_SUBSCRIBE else 3
            setattr(found, name, draw(st.lists(_IDENTIFIERS, min_size=1, max_size=most)))
        else:
            setattr(found, name, draw(_VALUES[kind]))
    if found.authData is not None and found.authMethod is None:
        found.authMethod = "m"
    return found if found.asDict() else None


def _maybe(version: int, packet: int) -> st.SearchStrategy[Properties | None]:
    return properties(packet) if version == 5 else st.none()


@st.composite
def wills(draw: st.DrawFn, version: int) -> Will:
    """
    The will of a CONNECT.
    """
    found = draw(_maybe(version, IN_WILL))
    if found is not None and found.responseTopic is not None:
        found.responseTopic = draw(topicNames)
    return Will(draw(topicNames), draw(payloads), draw(st.integers(0, 2)), draw(st.booleans()), found)


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    """
    CONNECT.
    """
    username = draw(st.none() | texts)
    password = draw(st.none() | payloads) if username is not None or version == 5 else None
    return Connect(
        "MQIsdp" if version == 3 else "MQTT",
        version,
        draw(texts),
        draw(st.booleans()),
        draw(st.integers(0, 0xFFFF)),
        username,
        password,
        draw(st.none() | wills(version)),
        draw(_maybe(version, IN_CONNECT)),
        version < 5 and draw(st.booleans()),
    )


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    """
    PUBLISH.
    """
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(topicNames),
        draw(payloads),
        qos,
        draw(st.booleans()),
        qos > 0 and draw(st.booleans()),
        draw(packetIDs) if qos else 0,
        draw(_maybe(version, IN_PUBLISH)),
    )


_RECEIVED = (0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)


@st.composite
def acks(draw: st.DrawFn, version: int) -> Ack:
    """
    PUBACK, PUBREC, PUBREL and PUBCOMP.
    """
    kind = draw(st.sampled_from((PUBACK, PUBREC, PUBREL, PUBCOMP)))
    reason = draw(st.sampled_from(_RECEIVED if kind in (PUBACK, PUBREC) else (0x00, 0x92))) if version == 5 else 0
    return Ack(kind, draw(packetIDs), reason, draw(_maybe(version, 1 << kind)))


@st.composite
def subscribes(draw: st.DrawFn, version: int) -> Subscribe:
    """
    SUBSCRIBE.
    """
    flags = st.booleans() if version == 5 else st.just(False)
    requests = st.builds(
        SubscriptionRequest,
        topicFilters,
        st.integers(0, 2),
        flags,
        flags,
        st.integers(0, 2) if version == 5 else st.just(0),
    )
    return Subscribe(
        draw(packetIDs), draw(st.lists(requests, min_size=1, max_size=4)), draw(_maybe(version, IN_SUBSCRIBE))
    )


@st.composite
def unsubscribes(draw: st.DrawFn, version: int) -> Unsubscribe:
    """
    UNSUBSCRIBE.
    """
    filters = draw(st.lists(topicFilters, min_size=1, max_size=4))
    return Unsubscribe(draw(packetIDs), filters, draw(_maybe(version, IN_UNSUBSCRIBE)))


@st.composite
def subacks(draw: st.DrawFn, version: int) -> Suback:
    """
    SUBACK and UNSUBACK; below MQTT 5 the latter has no reasons.
    """
    kind = draw(st.sampled_from((SUBACK, UNSUBACK)))
    some = st.lists(st.sampled_from((0, 1, 2, 0x80)), min_size=1, max_size=4)
    reasons = draw(some) if version == 5 or kind == SUBACK else []
    return Suback(kind, draw(packetIDs), reasons, draw(_maybe(version, 1 << kind)))


@st.composite
def lasts(draw: st.DrawFn, version: int) -> Packet:
    """
    DISCONNECT and, from MQTT 5 on, AUTH.
    """
    if version < 5:
        return Disconnect()
    kind, make = draw(st.sampled_from(((DISCONNECT, Disconnect), (AUTH, Auth))))
    return make(draw(st.sampled_from((0x00, 0x04, 0x18, 0x19, 0x81, 0x8E))), draw(properties(1 << kind)))


@st.composite
def connacks(draw: st.DrawFn, version: int) -> Connack:
    """
    CONNACK.
    """
    return Connack(draw(st.booleans()), draw(st.integers(0, 5)), draw(_maybe(version, 1 << CONNACK)))


def fromClient(version: int) -> st.SearchStrategy[Packet]:
    """
    Any packet that a client may send after its CONNECT.
    """
    return st.one_of(
        publishes(version),
        acks(version),
        subscribes(version),
        unsubscribes(version),
        st.just(Ping(PINGREQ)),
        lasts(version),
    )


def packets(version: int) -> st.SearchStrategy[Packet]:
    """
    Any packet but CONNECT, whichever side sends it.
    """
    return st.one_of(fromClient(version), subacks(version), connacks(version), st.just(Ping(PINGRESP)))
