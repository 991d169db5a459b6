"""
Publishing, and subscribing for clients (spec/rest-api.md 2.8; rest-api-nanomq.md 3.8, 3.9; cli.md 8).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, field

from twisted_mqtt.base.waiting import settled
from twisted_mqtt.core.packets import Subscribe, SubscriptionRequest, Unsubscribe
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, ProtocolError, nameOf
from twisted_mqtt.core.topics import isTopicName, scoped
from twisted_mqtt.management.builtin.shared import ClientID
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.dialects import NANOMQ
from twisted_mqtt.operations.operation import (
    INVALID,
    INVALID_TOPIC,
    MISSING,
    NOT_ONLINE,
    SUCCESS,
    UNKNOWN,
    Call,
    Operation,
    Refused,
    Route,
    operation,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted_mqtt.interfaces import IBroker, IClient

_R = TypeVar("_R", bound=Struct)

#: Items of a batch, and topics of an item.
MOST_ITEMS: Final = 10_000
MOST_TOPICS: Final = 1000
#: Bytes of a topic in MQTT.
LONGEST_TOPIC: Final = 65535

Topic = Annotated[str, Meta(description="Topic")]
Topics = Annotated[str, Meta(description="Several topics, separated by commas")]
QoS = Annotated[int, Meta(ge=0, le=2, description="Quality of service")]


class UserProperty(Struct, kw_only=True):
    """
    One user property.
    """

    key: str
    value: Any


class MessageProperties(Struct, kw_only=True):
    """
    The properties of MQTT 5 that a message may have.
    """

    payload_format_indicator: Annotated[int, Meta(ge=0, le=1)] | None = None
    message_expiry_interval: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None = None
    response_topic: str | None = None
    correlation_data: str | None = None
    subscription_identifier: Annotated[int, Meta(ge=1, le=268_435_455)] | None = None
    content_type: str | None = None
    user_properties: dict[str, Any] | list[UserProperty] = {}


class Publish(Struct, kw_only=True):
    """
    A message.
    """

    topic: Topic = ""
    topics: Topics = ""
    payload: Annotated[Any, Meta(description="What the message says: a text, or anything of JSON")] = UNSET
    encoding: Annotated[str, Meta(pattern="^(plain|base64)$", description="Whether the payload is Base64")] = "plain"
    qos: QoS = 0
    retain: Annotated[bool, Meta(description="Whether it is kept for those who subscribe later")] = False
    clientid: Annotated[
        str, Meta(description="On whose behalf, http by default; access rules are asked for this client")
    ] = ""
    properties: MessageProperties = field(default_factory=MessageProperties)


class SubscribeClient(Struct, kw_only=True):
    """
    A subscription for a client.
    """

    clientid: ClientID
    topic: Topic = ""
    topics: Topics = ""
    qos: QoS = 0


class UnsubscribeClient(Struct, kw_only=True):
    """
    The end of a subscription of a client.
    """

    clientid: ClientID
    topic: Topic = ""
    topics: Topics = ""


class Batch(Struct, kw_only=True):
    """
    Several requests in one.
    """

    items: Annotated[list[Any], Meta(max_length=MOST_ITEMS, description="The requests")]


class PublishResult(Struct, kw_only=True):
    """
    What has become of one message of a batch.
    """

    topic: str
    code: int


class SubscribeResult(Struct, kw_only=True):
    """
    What has become of one item of a batch.
    """

    clientid: str
    topic: str
    code: int


def _topicsOf(topic: str, topics: str) -> list[str]:
    """
    @raise Refused: there is none, or an empty one, or too many.
    """
    found = [topic] if topic else []
    if topics:
        found += topics.split(",")
    if not found:
        raise Refused(MISSING, "topic: this parameter is required, or topics")
    if len(found) > MOST_TOPICS:
        raise Refused(INVALID, f"topics: there are more than {MOST_TOPICS}")
    if "" in found:
        raise Refused(INVALID_TOPIC, "topics: one of them is empty")
    if any(len(one) > LONGEST_TOPIC or len(one.encode("utf-8", "replace")) > LONGEST_TOPIC for one in found):
        # No packet could carry it.
        raise Refused(INVALID_TOPIC, f"topic: it is longer than {LONGEST_TOPIC} bytes")
    return found


def _payloadOf(request: Publish) -> bytes:
    payload = "" if request.payload is UNSET else request.payload
    if not isinstance(payload, str):
        if request.encoding == "base64":
            raise Refused(INVALID, "payload: Base64 is a text")
        return msgspec.json.encode(payload)
    try:
        return b64decode(payload, validate=True) if request.encoding == "base64" else payload.encode("utf-8")
    except (binascii.Error, ValueError):
        raise Refused(INVALID, f"payload: no valid {request.encoding} text") from None


def _propertiesOf(request: Publish) -> Properties | None:
    given = request.properties
    if given == MessageProperties():
        return None
    made = Properties()
    made.payloadFormat = given.payload_format_indicator
    made.messageExpiry = given.message_expiry_interval
    made.contentType = given.content_type
    if given.response_topic is not None:
        if not isTopicName(given.response_topic):
            raise Refused(INVALID, "properties.response_topic: no topic name")
        made.responseTopic = given.response_topic
    if given.correlation_data is not None:
        made.correlationData = given.correlation_data.encode("utf-8")
    if given.user_properties:
        user = given.user_properties
        pairs = user.items() if isinstance(user, dict) else [(one.key, one.value) for one in user]
        made.userProperties = [
            (name, value if isinstance(value, str) else msgspec.json.encode(value).decode()) for name, value in pairs
        ]
    return made


async def _publish(call: Call[Any], request: Publish) -> None:
    """
    @raise Refused: the message is not accepted.
    """
    if call.dialect == NANOMQ:
        for name, absent in (("clientid", not request.clientid), ("payload", request.payload is UNSET)):
            if absent:
                raise Refused(MISSING, f"{name}: this parameter is required")
    await publishMessage(call.broker, _whoIs(call.broker, request.clientid or "http"), request)


async def publishMessage(broker: IBroker, who: IClient, request: Publish) -> None:
    """
    Publish a message.

    @param who: on whose behalf.

    @raise Refused: the message is not accepted.
    """
    topics = _topicsOf(request.topic, request.topics)
    for topic in topics:
        if not isTopicName(topic):
            raise Refused(INVALID_TOPIC, f"topic: {topic[:80]!r} is no topic name")
    payload = _payloadOf(request)
    for topic in topics:
        # Each message has properties of its own.
        properties = _propertiesOf(request)
        outcome = broker.publishAs(who, topic, payload, request.qos, request.retain, properties, patient=True)
        reason = await settled(outcome)
        if reason >= 0x80:
            status = 403 if reason == NOT_AUTHORIZED else 400
            raise Refused(UNKNOWN, f"{topic[:80]!r} was not published: {nameOf(reason)} (0x{reason:02X})", status)
    if request.qos:
        # It is acknowledged when it is kept, as that of a client is.
        safe = broker.safe()
        if safe is not None:
            await safe


def _whoIs(broker: IBroker, clientID: str) -> IClient:
    client = broker.clients.get(scoped("", clientID))
    return broker.account(clientID, protocol="http") if client is None else client


async def _subscribe(call: Call[Any], request: SubscribeClient) -> None:
    topics = _topicsOf(request.topic, request.topics)
    client = call.broker.clients.get(scoped("", request.clientid))
    if client is None:
        raise Refused(NOT_ONLINE, f"clientid: {request.clientid[:80]!r} is not online", 404)
    try:
        outcome = call.broker.subscribeClient(
            client, Subscribe(1, [SubscriptionRequest(topic, request.qos) for topic in topics]), trusted=True
        )
    except ProtocolError as error:
        raise Refused(INVALID_TOPIC, f"topic: {error}") from None
    done = await settled(outcome)
    for topic, reason in zip(topics, done.reasons, strict=True):
        if reason >= 0x80:
            raise Refused(INVALID_TOPIC, f"topic: {topic[:80]!r}: {nameOf(reason)} (0x{reason:02X})")
    done.deliverRetained()


async def _unsubscribe(call: Call[Any], request: UnsubscribeClient) -> None:
    topics = _topicsOf(request.topic, request.topics)
    client = call.broker.clients.get(scoped("", request.clientid))
    if client is None:
        raise Refused(NOT_ONLINE, f"clientid: {request.clientid[:80]!r} is not online", 404)
    try:
        outcome = call.broker.unsubscribeClient(client, Unsubscribe(1, topics))
    except ProtocolError as error:
        raise Refused(INVALID_TOPIC, f"topic: {error}") from None
    await settled(outcome)


@operation(
    "mqtt_publish",
    "Publish a message",
    "publish",
    Route("POST", "/mqtt/publish"),
    role="publish",
    positional=("topic", "payload"),
    text=lambda _: ("ok",),
)
async def publish(call: Call[Publish]) -> None:
    """
    Done when all receivers that keep it have it safe.
    """
    await _publish(call, call.request)


@operation(
    "mqtt_publish_batch",
    "Publish several messages",
    "",
    Route("POST", "/mqtt/publish_batch"),
    role="publish",
)
async def publishBatch(call: Call[Batch]) -> list[PublishResult]:
    """
    A row for each, in order; one that fails does not stop the rest.
    """
    return [PublishResult(topic=topic, code=code) for _, topic, code in await _each(call, Publish, _publish)]


@operation(
    "mqtt_subscribe",
    "Subscribe for a client that is online",
    "subscriptions add",
    Route("POST", "/mqtt/subscribe"),
    positional=("clientid", "topic", "qos"),
    refusals={404: "The client is not online"},
    text=lambda _: ("ok",),
)
async def subscribe(call: Call[SubscribeClient]) -> None:
    """
    Access rules are not asked: whoever may call this may do it.
    """
    await _subscribe(call, call.request)


@operation(
    "mqtt_subscribe_batch",
    "Subscribe for several clients",
    "",
    Route("POST", "/mqtt/subscribe_batch"),
)
async def subscribeBatch(call: Call[Batch]) -> list[SubscribeResult]:
    """
    A row for each, in order; one that fails does not stop the rest.
    """
    done = await _each(call, SubscribeClient, _subscribe)
    return [SubscribeResult(clientid=clientID, topic=topic, code=code) for clientID, topic, code in done]


@operation(
    "mqtt_unsubscribe",
    "End a subscription of a client that is online",
    "subscriptions del",
    Route("POST", "/mqtt/unsubscribe"),
    positional=("clientid", "topic"),
    refusals={404: "The client is not online"},
    text=lambda _: ("ok",),
)
async def unsubscribe(call: Call[UnsubscribeClient]) -> None:
    """
    One that there is not is no error.
    """
    await _unsubscribe(call, call.request)


@operation(
    "mqtt_unsubscribe_batch",
    "End subscriptions of several clients",
    "",
    Route("POST", "/mqtt/unsubscribe_batch"),
)
async def unsubscribeBatch(call: Call[Batch]) -> list[SubscribeResult]:
    """
    A row for each, in order; one that fails does not stop the rest.
    """
    done = await _each(call, UnsubscribeClient, _unsubscribe)
    return [SubscribeResult(clientid=clientID, topic=topic, code=code) for clientID, topic, code in done]


def _named(item: object, name: str) -> str:
    found = item.get(name) if isinstance(item, dict) else None
    return found if isinstance(found, str) else ""


async def _each(
    call: Call[Batch], request: type[_R], act: Callable[[Call[Any], _R], Awaitable[None]]
) -> list[tuple[str, str, int]]:
    """
    Do each item of a batch, in order; one that fails does not stop the rest.

    @return: of each, its client identifier and topic as it was written, and its result code.
    """
    done = []
    for item in call.request.items:
        code = SUCCESS
        try:
            await act(call, _item(item, request))
        except Refused as refusal:
            code = refusal.code
        done.append((_named(item, "clientid"), _named(item, "topics") or _named(item, "topic"), code))
    return done


def _item(item: object, request: type[_R]) -> _R:
    """
    One item of a batch.

    @raise Refused: it is none.
    """
    if not isinstance(item, dict):
        raise Refused(INVALID, "an item is an object")
    return bind(request, {}, item)


OPERATIONS: tuple[Operation, ...] = (
    publish,
    publishBatch,
    subscribe,
    subscribeBatch,
    unsubscribe,
    unsubscribeBatch,
)
