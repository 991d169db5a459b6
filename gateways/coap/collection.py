"""
C{/ps} as a collection of topics, and the configuration of each (draft-ietf-core-coap-pubsub 3): created, listed,
searched, read, replaced, changed and removed, in CBOR.

A topic with a configuration is also a topic of the broker: C{topic-data} is C{/ps/{topic}}, and unless the client
chooses another one, C{topic-name} is its name to MQTT clients too.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from gateways.cbor import CBORError
from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FETCH,
    FORBIDDEN,
    GET,
    IPATCH,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    PATCH,
    POST,
    PUT,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    UNSUPPORTED_CONTENT_FORMAT,
)
from gateways.coap.configuration import CONTENT_FORMAT as TOPIC_FORMAT
from gateways.coap.configuration import (
    DATA_TYPE,
    RESOURCE_TYPE,
    TOPIC_DATA,
    TOPIC_NAME,
    Submitted,
    TopicConfiguration,
    checkSegments,
    dataPath,
    decodeProperties,
    topicOf,
)
from gateways.coap.expiry import endObservations, endTopic
from gateways.coap.links import WebLink, filterLinks
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    LINK_FORMAT,
    LOCATION_PATH,
    PUBSUB_CBOR,
    URI_QUERY,
    stringOptions,
    stringsOf,
    uintOf,
    uintOption,
)
from gateways.coap.publishing import refusePublish, retainedOf
from gateways.coap.pubsub import MIME, MOST_WALKS, PubSubTopic, keyOf
from gateways.coap.query import filtersOf
from twisted_mqtt.base.listing import Listing
from twisted_mqtt.base.waiting import then
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.topics import checkTopicName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateways.coap.configuration import Value
    from gateways.coap.request import CoAPRequest
    from gateways.coap.session import CoAPClient
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.hooks.verdicts import Verdict

# Of an identifier, which must not be guessed to be a topic of somebody's.
_IDENTIFIER_BYTES: Final = 6


def serveCollection(request: CoAPRequest) -> None:
    """
    Answer a request to the collection itself: GET, FETCH, and POST of a configuration.
    """
    code = request.message.code
    if code == GET:
        listTopics(request)
    elif request.contentFormat != PUBSUB_CBOR:
        request.refuse(UNSUPPORTED_CONTENT_FORMAT, f"send application/core-pubsub+cbor, {PUBSUB_CBOR}")
    elif (submitted := _submitted(request)) is not None:
        if code == POST:
            request.withClient(lambda client: _create(request, client, submitted))
        elif submitted.filter is not None or submitted.initial is not None:
            request.refuse(BAD_REQUEST, "to a collection, FETCH sends properties with values")
        else:
            listTopics(request, submitted.values)


def serveConfiguration(request: CoAPRequest, identifier: str) -> None:
    """
    Answer a request to the configuration of a topic.
    """
    code = request.message.code
    if code == GET:
        request.withClient(lambda client: _read(request, client, identifier, None))
    elif code == DELETE:
        request.withClient(lambda client: _delete(request, client, identifier))
    elif code not in (FETCH, POST, PUT, PATCH, IPATCH):
        request.refuse(METHOD_NOT_ALLOWED, "GET, FETCH, POST, PUT, PATCH, iPATCH and DELETE only")
    elif request.contentFormat != PUBSUB_CBOR:
        request.refuse(UNSUPPORTED_CONTENT_FORMAT, f"send application/core-pubsub+cbor, {PUBSUB_CBOR}")
    elif (submitted := _submitted(request)) is not None:
        if code != FETCH:
            request.withClient(lambda client: _change(request, client, identifier, submitted, code in (POST, PUT)))
        elif submitted.filter is None or submitted.values:
            request.refuse(BAD_REQUEST, "to a topic, FETCH sends conf-filter, an array of labels, and nothing else")
        else:
            wanted = submitted.filter
            request.withClient(lambda client: _read(request, client, identifier, wanted))


def _submitted(request: CoAPRequest) -> Submitted | None:
    """
    Read the properties in a client's request; L{None} if the request is refused because of them.
    """
    try:
        return decodeProperties(request.message.payload)
    except CBORError as error:
        request.refuse(BAD_REQUEST, str(error))
        return None


# Creating


def _create(request: CoAPRequest, client: CoAPClient, submitted: Submitted) -> Maybe[None]:
    info = client.client.info
    values = dict(submitted.values)
    name, reference = values.pop(TOPIC_NAME, None), values.pop(TOPIC_DATA, None)
    if not isinstance(name, str) or RESOURCE_TYPE not in values:
        request.refuse(BAD_REQUEST, "topic-name (0) and resource-type (2) have to be there")
        return None
    if submitted.filter is not None:
        request.refuse(BAD_REQUEST, "conf-filter belongs to FETCH")
        return None
    if submitted.initial and TOPIC_FORMAT not in values:
        request.refuse(BAD_REQUEST, "initialize needs topic-content-format (3)")
        return None
    try:
        topic = topicOf(reference) if isinstance(reference, str) else name
        checkTopicName(topic, info.limits.maxTopicLevels)
        checkSegments(topic)
    except CBORError as error:
        request.refuse(BAD_REQUEST, str(error))
        return None
    if topic.startswith("$"):
        request.refuse(FORBIDDEN, "topics that begin with $ are the broker's")
        return None
    configuration = TopicConfiguration(name, topic, info.mountpoint, info.topicTree, values, submitted.initial == b"")
    if 0 < configuration.expiresAt <= request.gateway.broker.dates.now():
        request.refuse(BAD_REQUEST, "expiration-date has passed")
        return None
    allowed = request.gateway.broker.authorize(info, "publish", topic)
    return then(allowed, _create2, request, client, configuration, submitted.initial or b"")


def _create2(
    verdict: Verdict, request: CoAPRequest, client: CoAPClient, configuration: TopicConfiguration, initial: bytes
) -> Maybe[None]:
    gateway, info = request.gateway, client.client.info
    topics = gateway.topics
    known = topics.get(keyOf(info, configuration.topic))
    if not verdict.allowed:
        request.refuseFor(verdict.publishReason)
    elif topics.isNamed(info.topicTree, info.mountpoint, configuration.name):
        request.refuse(BAD_REQUEST, "there is a topic with this topic-name")
    elif known is not None and known.configuration is not None:
        request.refuse(BAD_REQUEST, "there is a topic with this topic-data")
    elif known is None and topics.isFull:
        request.refuse(SERVICE_UNAVAILABLE, "too many topics")
    else:
        identifier = _newIdentifier(request, client)
        topics.configure(identifier, configuration)
        gateway.expiry.arm()
        if not initial:
            _created(request, client, identifier)
            return None
        properties = Properties()
        properties.contentType = MIME.get(configuration.format or 0)
        published = client.client.publish(configuration.topic, initial, 0, True, properties)
        return then(published, _initialized, request, client, identifier, configuration.topic)
    return None


def _initialized(reason: int, request: CoAPRequest, client: CoAPClient, identifier: str, topic: str) -> None:
    if reason < 0x80:
        _created(request, client, identifier)
    else:
        endTopic(request.gateway, client.client.info, topic)
        refusePublish(reason, request, client)


def _newIdentifier(request: CoAPRequest, client: CoAPClient) -> str:
    """
    A name that no resource and no topic has.
    """
    topics = request.gateway.topics
    while True:
        identifier = token_hex(_IDENTIFIER_BYTES)
        taken = topics.configured(identifier) or topics.get(keyOf(client.client.info, identifier))
        if taken is None and retainedOf(request, client, identifier) is None:
            return identifier


def _created(request: CoAPRequest, client: CoAPClient, identifier: str) -> None:
    _answer(request, client, CREATED, identifier)


def _answer(request: CoAPRequest, client: CoAPClient, code: int, identifier: str) -> None:
    """
    Answer with a configuration as it is now, when it would survive a crash.
    """
    topic = request.gateway.topics.configured(identifier)
    if topic is None or topic.configuration is None:
        request.refuse(NOT_FOUND, "the topic was removed meanwhile")
        return
    payload = topic.configuration.encode()
    options = [] if code == CHANGED else stringOptions(LOCATION_PATH, ["ps", identifier])
    options.append(uintOption(CONTENT_FORMAT, PUBSUB_CBOR))
    client.client.link.whenSafe(lambda: request.answer(code, options, payload))


# Reading


def _find(request: CoAPRequest, client: CoAPClient, identifier: str) -> TopicConfiguration | None:
    """
    A configuration that a client may know of; L{None} where there is none, which it is told.
    """
    topic = request.gateway.topics.configured(identifier)
    configuration = None if topic is None else topic.configuration
    if configuration is None or not _isSeen(configuration, client.client.info, request.gateway.broker.dates.now()):
        request.refuse(NOT_FOUND, "no such topic")
        return None
    return configuration


def _isSeen(configuration: TopicConfiguration, info: ClientInfo, now: float) -> bool:
    """
    Whether a client may know of a configuration.

    @param now: the date.
    """
    if (configuration.mountpoint, configuration.topicTree) != (info.mountpoint, info.topicTree):
        return False
    return not 0 < configuration.expiresAt <= now


def _read(request: CoAPRequest, client: CoAPClient, identifier: str, wanted: list[int] | None) -> Maybe[None]:
    if uintOf(request.message.options, ACCEPT) not in (None, PUBSUB_CBOR):
        request.refuse(NOT_ACCEPTABLE, f"a configuration is in content format {PUBSUB_CBOR}")
        return None
    configuration = _find(request, client, identifier)
    if configuration is None:
        return None
    allowed = request.gateway.broker.authorize(client.client.info, "subscribe", configuration.topic)
    return then(allowed, _read2, request, configuration, wanted)


def _read2(verdict: Verdict, request: CoAPRequest, configuration: TopicConfiguration, wanted: list[int] | None) -> None:
    if verdict.allowed:
        request.answer(CONTENT, [uintOption(CONTENT_FORMAT, PUBSUB_CBOR)], configuration.encode(wanted))
    else:
        request.refuseFor(verdict.subscribeReason)


# Changing


def _change(
    request: CoAPRequest, client: CoAPClient, identifier: str, submitted: Submitted, whole: bool
) -> Maybe[None]:
    """
    @param whole: whether properties that were not sent go.
    """
    configuration = _find(request, client, identifier)
    if configuration is None:
        return None
    if submitted.filter is not None or submitted.initial is not None:
        request.refuse(BAD_REQUEST, "conf-filter belongs to FETCH, and initialize to a new topic")
        return None
    allowed = request.gateway.broker.authorize(client.client.info, "publish", configuration.topic)
    return then(allowed, _change2, request, client, identifier, submitted.values, whole)


def _change2(
    verdict: Verdict,
    request: CoAPRequest,
    client: CoAPClient,
    identifier: str,
    submitted: dict[int, Value],
    whole: bool,
) -> None:
    if not verdict.allowed:
        request.refuseFor(verdict.publishReason)
        return
    configuration = _find(request, client, identifier)
    if configuration is None:
        return
    values = dict(submitted)
    wrong = _takeFixed(values, configuration)
    if wrong:
        request.refuse(BAD_REQUEST, f"{wrong} can't be changed")
        return
    kept = {RESOURCE_TYPE: configuration.values[RESOURCE_TYPE]} if whole else configuration.values
    changed = replace(configuration, values={**kept, **values})
    gateway = request.gateway
    gateway.topics.configure(identifier, changed)
    gateway.expiry.arm()
    if changed.maxSubscribers is not None:
        key = keyOf(client.client.info, changed.topic)
        endObservations(gateway, key, changed.topic, changed.maxSubscribers)
    _answer(request, client, CHANGED, identifier)


def _takeFixed(values: dict[int, Value], configuration: TopicConfiguration) -> str:
    """
    Take out what must be as it is; returns the name of what is not.
    """
    name, reference = values.pop(TOPIC_NAME, None), values.pop(TOPIC_DATA, None)
    kind = values.pop(RESOURCE_TYPE, None)
    if name not in (None, configuration.name):
        return "topic-name"
    if kind not in (None, configuration.values[RESOURCE_TYPE]):
        return "resource-type"
    if isinstance(reference, str):
        try:
            same = topicOf(reference) == configuration.topic
        except CBORError:
            same = False
        return "" if same else "topic-data"
    return ""


# Removing


def _delete(request: CoAPRequest, client: CoAPClient, identifier: str) -> Maybe[None]:
    configuration = _find(request, client, identifier)
    if configuration is None:
        return None
    topic = configuration.topic
    if retainedOf(request, client, topic) is not None:
        # An empty value is how MQTT removes one; access rules are asked.
        return then(client.client.publish(topic, b"", 0, True), _deleted, request, client, topic)
    allowed = request.gateway.broker.authorize(client.client.info, "publish", topic)
    return then(allowed, _delete2, request, client, topic)


def _delete2(verdict: Verdict, request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    _deleted(0 if verdict.allowed else verdict.publishReason, request, client, topic)


def _deleted(reason: int, request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    if reason >= 0x80:
        refusePublish(reason, request, client)
        return
    endTopic(request.gateway, client.client.info, topic)
    client.client.link.whenSafe(lambda: request.answer(DELETED))


# Listing


def listTopics(request: CoAPRequest, wanted: dict[int, Value] | None = None) -> None:
    """
    Answer with links to the topics that a client may read: to their configurations, or to their values where the query
    asks for those.

    @param wanted: properties that they must have; L{None} for all topics.
    """
    if uintOf(request.message.options, ACCEPT) not in (None, LINK_FORMAT):
        request.refuse(NOT_ACCEPTABLE, f"links are in content format {LINK_FORMAT}")
    elif request.gateway.walks >= MOST_WALKS:
        request.refuse(SERVICE_UNAVAILABLE, "too many requests that concern many topics", 1.0)
    else:
        request.withClient(lambda client: Deferred.fromCoroutine(_list(request, client, wanted)))


async def _list(request: CoAPRequest, client: CoAPClient, wanted: dict[int, Value] | None) -> None:
    gateway, info = request.gateway, client.client.info
    filters = filtersOf(stringsOf(request.message.options, URI_QUERY))
    ofValues = f"rt={DATA_TYPE}" in filters
    longest = gateway.settings.max_body
    found: list[str] = []
    length = 0
    gateway.walks += 1
    try:
        steps = _steps(request, client, wanted, filters, ofValues)
        async for link, topic in Listing(gateway.broker.clock, steps):
            asked = gateway.broker.authorize(info, "subscribe", topic)
            verdict = await asked if isinstance(asked, Deferred) else asked
            if not verdict.allowed:
                continue
            length += len(link.encode("utf-8")) + 1
            if length > longest:
                request.refuse(REQUEST_ENTITY_TOO_LARGE, "the list is too long: use FETCH with properties")
                return
            found.append(link)
    finally:
        gateway.walks -= 1
    request.answer(CONTENT, [uintOption(CONTENT_FORMAT, LINK_FORMAT)], ",".join(found).encode("utf-8"))


def _steps(
    request: CoAPRequest,
    client: CoAPClient,
    wanted: dict[int, Value] | None,
    filters: list[str],
    ofValues: bool,
) -> Iterator[tuple[str, str] | None]:
    """
    Links, each with the topic; L{None} for a topic that is not wanted.
    """
    topics, info, now = request.gateway.topics, client.client.info, request.gateway.broker.dates.now()
    for identifier in topics.identifiers():
        topic = topics.configured(identifier)
        configuration = None if topic is None else topic.configuration
        if configuration is None or not _isSeen(configuration, info, now):
            yield None
        elif wanted is not None and not configuration.matches(wanted):
            yield None
        elif ofValues and not isFull(request, client, topic, configuration.topic):
            yield None
        else:
            link = _linkToValue(configuration) if ofValues else _linkTo(identifier)
            yield (str(link), configuration.topic) if filterLinks([link], filters) else None


def isFull(request: CoAPRequest, client: CoAPClient, known: PubSubTopic | None, topic: str) -> bool:
    """
    Whether a topic with a configuration is fully created: has a value.
    """
    if known is not None and known.configuration is not None and known.configuration.initialized:
        return True
    return retainedOf(request, client, topic) is not None


def _linkTo(identifier: str) -> WebLink:
    return WebLink(f"/ps/{identifier}", [("rt", "core.ps.conf"), ("ct", str(PUBSUB_CBOR))])


def _linkToValue(configuration: TopicConfiguration) -> WebLink:
    attributes: list[tuple[str, str | None]] = [("rt", str(configuration.values[RESOURCE_TYPE])), ("obs", None)]
    if configuration.format is not None:
        attributes.insert(1, ("ct", str(configuration.format)))
    return WebLink(dataPath(configuration.topic), attributes)
