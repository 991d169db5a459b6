"""
The resources of the gateway and their methods: C{/mqtt}, C{/ps} and C{/.well-known/core} (spec/gateways.md 4.2, 4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FORBIDDEN,
    GET,
    METHOD_NOT_ALLOWED,
    NO_CONTENT,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    POST,
    PRECONDITION_FAILED,
    PUT,
    SERVICE_UNAVAILABLE,
)
from gateways.coap.links import LinkError, WebLink, filterLinks, formatLinks, parseLinks
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    IF_MATCH,
    IF_NONE_MATCH,
    LINK_FORMAT,
    LOCATION_PATH,
    MAX_AGE,
    OBSERVE,
    OCTET_STREAM,
    URI_QUERY,
    Option,
    stringOptions,
    stringsOf,
    uintOf,
    uintOption,
    valueOf,
)
from gateways.coap.query import QueryError, parseForm
from gateways.coap.session import CoAPClient, FormatOf, Observer, formatOfBytes
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import MESSAGE_RATE_TOO_HIGH, NOT_AUTHORIZED, SERVER_BUSY
from twisted_mqtt.core.topics import checkTopicName
from twisted_mqtt.hooks.verdicts import Verdict

if TYPE_CHECKING:
    from gateways.coap.request import CoAPRequest
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.properties import Properties

_log = Logger()

_LINKS: Final = (
    WebLink("/mqtt", [("rt", "mqtt"), ("ct", str(OCTET_STREAM)), ("obs", None)]),
    WebLink("/ps", [("rt", "core.ps"), ("ct", str(LINK_FORMAT)), ("obs", None)]),
)

_ALL_LINKS: Final = formatLinks(_LINKS)

_WILDCARDS: Final = ("+", "#")


def serve(request: CoAPRequest, path: list[str]) -> None:
    """
    Answer a request, now or later.

    @param path: the segments of its path.
    """
    root = path[0] if path else ""
    if root == "mqtt":
        _serveMQTT(request, "/".join(path[1:]))
    elif root == "ps":
        _servePubSub(request, "/".join(path[1:]))
    elif path == [".well-known", "core"]:
        _serveLinks(request)
    elif path in ([], [""]) and request.message.code == GET:
        request.answer(CONTENT, [uintOption(CONTENT_FORMAT, 0)], b"An MQTT broker: /mqtt/{topic}, /ps/{topic}\n")
    else:
        request.refuse(NOT_FOUND, "there are /mqtt, /ps and /.well-known/core")


def _serveLinks(request: CoAPRequest) -> None:
    message = request.message
    if message.code != GET:
        request.refuse(METHOD_NOT_ALLOWED, "GET only")
    elif uintOf(message.options, ACCEPT) not in (None, LINK_FORMAT):
        request.refuse(NOT_ACCEPTABLE, "links are in content format 40")
    else:
        payload = linksFor(stringsOf(message.options, URI_QUERY))
        request.answer(CONTENT, [uintOption(CONTENT_FORMAT, LINK_FORMAT)], payload)


def linksFor(query: list[str]) -> bytes:
    """
    The links of the gateway that every filter of a query lets through.
    """
    return formatLinks(filterLinks(_LINKS, query)) if query else _ALL_LINKS


# /mqtt


def _serveMQTT(request: CoAPRequest, topic: str) -> None:
    message, query = request.message, request.query
    if query.others:
        _log.debug("{names} in a query to /mqtt mean nothing", names=query.others)
    if _hasForm(request, topic):
        return
    if message.code not in (GET, PUT):
        request.refuse(METHOD_NOT_ALLOWED, "GET and PUT only; PUT and POST of a form to /mqtt itself")
    elif not query.clientID:
        request.refuse(BAD_REQUEST, "no client identifier: add ?c={clientid}")
    elif message.code == PUT:
        if not topic:
            request.refuse(BAD_REQUEST, "no topic: PUT to /mqtt/{topic}")
        elif valueOf(message.options, IF_MATCH):
            request.refuse(PRECONDITION_FAILED, "there is nothing here that could match")
        else:
            properties = request.properties(request.maxAge)
            request.withClient(
                lambda client: _publish(
                    request, client, topic, message.payload, query.qos or 0, bool(query.retain), properties
                )
            )
    elif uintOf(message.options, ACCEPT) not in (None, OCTET_STREAM):
        request.refuse(NOT_ACCEPTABLE, "messages are in content format 42")
    else:
        request.withClient(lambda client: _get(request, client, topic))


def _hasForm(request: CoAPRequest, topic: str) -> bool:
    """
    Publish what a form says, if the request is one.
    """
    message = request.message
    if topic or message.code not in (PUT, POST):
        return False
    try:
        form = parseForm(message.payload)
    except QueryError as error:
        request.refuse(BAD_REQUEST, str(error))
    else:
        request.withClient(
            lambda client: _publish(request, client, form.topic, form.message, form.qos, form.retain, None)
        )
    return True


def _get(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    observe = uintOf(request.message.options, OBSERVE)
    if observe == 0:
        if not topic:
            request.refuse(BAD_REQUEST, "no topic: GET /mqtt/{topic}")
            return None
        return _observe(request, client, topic, formatOfBytes)
    if observe == 1:
        _cancel(request, client, topic)
    # Without Observe, all that it does is to say that the client is still there.
    request.answer(CONTENT, [uintOption(CONTENT_FORMAT, OCTET_STREAM)])
    return None


def _publish(
    request: CoAPRequest,
    client: CoAPClient,
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    properties: Properties | None,
) -> Maybe[None]:
    result = client.client.publish(topic, payload, qos, retain, properties)
    return then(result, _published, request, client, CHANGED, bool(qos) or retain)


def _published(reason: int, request: CoAPRequest, client: CoAPClient, code: int, keep: bool) -> None:
    if reason >= 0x80 and reason != NOT_AUTHORIZED:
        _refusePublish(reason, request, client)
    elif keep and reason < 0x80:
        client.client.link.whenSafe(lambda: request.answer(code))
    else:
        # A message that access rules refuse is acknowledged and dropped, as with MQTT 3.1.1 (specification, 4.2).
        request.answer(code)


def _refusePublish(reason: int, request: CoAPRequest, client: CoAPClient) -> None:
    request.refuseFor(reason, client.client.wait if reason in (MESSAGE_RATE_TOO_HIGH, SERVER_BUSY) else 0.0)


# Observing, which is the same below /mqtt and /ps


def _observe(request: CoAPRequest, client: CoAPClient, topic: str, formatOf: FormatOf) -> Maybe[None]:
    observation = Observer(request.message, topic, formatOf)
    return then(client.observe(observation), _observed, request, client, observation)


def _observed(
    outcome: tuple[int, Callable[[], None]], request: CoAPRequest, client: CoAPClient, observation: Observer
) -> Maybe[None]:
    reason, told = outcome
    if reason:
        request.refuseFor(reason)
        return None
    # Numbered now: what is published while the value is fetched is newer.
    options = [observation.option()]
    # The state of the resource is the retained message, where there is one for sure (RFC 7641 1.1).
    value = _fetch(request, client, observation.topicFilter)
    return then(value, _observed2, request, observation, options, told)


def _observed2(
    value: Message | None,
    request: CoAPRequest,
    observation: Observer,
    options: list[Option],
    told: Callable[[], None],
) -> None:
    if value is None:
        options.append(uintOption(CONTENT_FORMAT, OCTET_STREAM))
        request.answer(CONTENT, options)
        told()
    else:
        options.append(uintOption(CONTENT_FORMAT, observation.formatOf(value)))
        request.answer(CONTENT, [*options, *_ageOf(request, value)], value.payload)


def _cancel(request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    if not client.forgetObservation(request.message.token):
        # From another token: everything about this topic, then.
        client.forgetTopic(topic)


def _valueOf(request: CoAPRequest, client: CoAPClient, topic: str) -> Message | None:
    """
    The retained message of a topic, perhaps without what is on disk alone.
    """
    info = client.client.info
    return _fresh(request.gateway.broker.retained.get(info.mountpoint + topic, info.topicTree), request)


def _fetch(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[Message | None]:
    """
    The whole retained message of a topic, or L{None}, or a L{Deferred} of it.
    """
    info = client.client.info
    fetched = request.gateway.broker.retained.fetch(info.mountpoint + topic, info.topicTree)
    return then(fetched, _fresh, request)


def _fresh(value: Message | None, request: CoAPRequest) -> Message | None:
    return None if value is not None and value.expiresAt and value.expiresAt <= request.now() else value


def _ageOf(request: CoAPRequest, value: Message) -> list[Option]:
    left = value.expiresAt - request.now()
    return [uintOption(MAX_AGE, max(0, int(left)))] if value.expiresAt else []


# /ps


def _servePubSub(request: CoAPRequest, topic: str) -> None:
    message = request.message
    code = message.code
    if code not in (GET, PUT, POST, DELETE):
        request.refuse(METHOD_NOT_ALLOWED, "GET, PUT, POST and DELETE only")
    elif code == POST and request.contentFormat == LINK_FORMAT:
        request.withClient(lambda client: _create(request, client, topic))
    elif not topic:
        request.refuse(BAD_REQUEST, "no topic: use /ps/{topic}")
    elif code == GET:
        request.withClient(lambda client: _read(request, client, topic))
    elif any(wildcard in topic for wildcard in _WILDCARDS):
        request.refuse(BAD_REQUEST, "a topic with a wildcard")
    elif code == DELETE:
        request.withClient(lambda client: _remove(request, client, topic))
    else:
        request.withClient(lambda client: _put(request, client, topic))


def _create(request: CoAPRequest, client: CoAPClient, prefix: str) -> Maybe[None]:
    try:
        links = parseLinks(request.message.payload)
    except LinkError as error:
        request.refuse(BAD_REQUEST, f"not in link format: {error}")
        return None
    format = links[0].get("ct") if links else None
    name = links[0].target.strip("/") if links else ""
    if len(links) != 1 or not name or (format is not None and not (format.isdecimal() and int(format) < 65536)):
        request.refuse(BAD_REQUEST, "send one link: <topic>;ct=<content format>")
        return None
    topic = f"{prefix}/{name}" if prefix else name
    checkTopicName(topic, client.client.info.limits.maxTopicLevels)
    allowed = request.gateway.broker.authorize(client.client.info, "publish", topic)
    return then(allowed, _create2, request, client, topic, None if format is None else int(format))


def _create2(verdict: Verdict, request: CoAPRequest, client: CoAPClient, topic: str, format: int | None) -> None:
    topics = request.gateway.topics
    name = client.client.info.mountpoint + topic
    known = topics.get(name)
    if not verdict.allowed:
        request.refuseFor(verdict.publishReason)
    elif known is not None and known.format != format:
        request.refuse(FORBIDDEN, "the topic exists, with another content format")
    elif not topics.make(name, format, request.maxAge):
        request.refuse(SERVICE_UNAVAILABLE, "too many topics")
    else:
        request.answer(CREATED, stringOptions(LOCATION_PATH, ["ps", *topic.split("/")]))


def _put(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    name = client.client.info.mountpoint + topic
    topics = request.gateway.topics
    known = topics.get(name)
    exists = known is not None or _valueOf(request, client, topic) is not None
    format, maxAge = request.contentFormat, request.maxAge
    options = request.message.options
    if valueOf(options, IF_MATCH) or (valueOf(options, IF_MATCH) is not None and not exists):
        request.refuse(PRECONDITION_FAILED, "no topic with such a value")
        return None
    if exists and valueOf(options, IF_NONE_MATCH) is not None:
        request.refuse(PRECONDITION_FAILED, "there is such a topic")
        return None
    if known is not None:
        if None not in (known.format, format) and known.format != format:
            request.refuse(BAD_REQUEST, f"values of this topic are in content format {known.format}")
            return None
        maxAge = known.maxAge if maxAge is None else maxAge
    qos = request.query.qos or 0
    published = client.client.publish(topic, request.message.payload, qos, True, request.properties(maxAge))
    return then(published, _put2, request, client, name, exists, format, maxAge)


def _put2(
    reason: int,
    request: CoAPRequest,
    client: CoAPClient,
    name: str,
    exists: bool,
    format: int | None,
    maxAge: int | None,
) -> None:
    if reason == NOT_AUTHORIZED:
        # Unlike /mqtt: what makes a topic must not seem to have made one.
        request.refuseFor(reason)
        return
    if reason < 0x80 and request.gateway.topics.get(name) is None:
        # If there is no room, the value still exists as a retained message.
        request.gateway.topics.make(name, format, maxAge)
    _published(reason, request, client, CHANGED if exists else CREATED, True)


def _read(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    observe = uintOf(request.message.options, OBSERVE)
    if observe == 0:
        return _observe(request, client, topic, request.gateway.topics.formatOf)
    if observe == 1:
        _cancel(request, client, topic)
    if any(wildcard in topic for wildcard in _WILDCARDS):
        request.refuse(BAD_REQUEST, "a topic with a wildcard can only be observed")
        return None
    allowed = request.gateway.broker.authorize(client.client.info, "subscribe", topic)
    return then(allowed, _read2, request, client, topic)


def _read2(verdict: Verdict, request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    if not verdict.allowed:
        request.refuseFor(verdict.subscribeReason)
        return None
    return then(_fetch(request, client, topic), _read3, request, client, topic)


def _read3(value: Message | None, request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    topics = request.gateway.topics
    if value is None:
        if topics.get(client.client.info.mountpoint + topic) is None:
            request.refuse(NOT_FOUND, "no such topic")
        else:
            request.answer(NO_CONTENT)
        return
    format = topics.formatOf(value)
    if uintOf(request.message.options, ACCEPT) not in (None, format):
        request.refuse(BAD_REQUEST, f"values of this topic are in content format {format}")
        return
    request.answer(CONTENT, [uintOption(CONTENT_FORMAT, format), *_ageOf(request, value)], value.payload)


def _remove(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    mountpoint = client.client.info.mountpoint
    names = [name[len(mountpoint) :] for name in request.gateway.topics.below(mountpoint + topic)]
    if topic not in names and _valueOf(request, client, topic) is not None:
        names.append(topic)
    if not names:
        request.refuse(NOT_FOUND, "no such topic")
        return None
    return _removeRest(request, client, names)


def _removeRest(request: CoAPRequest, client: CoAPClient, names: list[str]) -> Maybe[None]:
    """
    Remove one topic after the other: each may be somebody else's, in the eyes of the access rules.
    """
    while names:
        topic = names.pop()
        # An empty value is how MQTT removes one.
        removed = client.client.publish(topic, b"", 0, True)
        if isinstance(removed, Deferred):
            return removed.addCallback(_removedLater, request, client, topic, names)
        if not _removed(removed, request, client, topic):
            return None
    request.answer(DELETED)
    return None


def _removedLater(reason: int, request: CoAPRequest, client: CoAPClient, topic: str, names: list[str]) -> Maybe[None]:
    return _removeRest(request, client, names) if _removed(reason, request, client, topic) else None


def _removed(reason: int, request: CoAPRequest, client: CoAPClient, topic: str) -> bool:
    """
    Forget a topic whose value is gone, and tell its observers; returns whether it is.
    """
    if reason >= 0x80:
        _refusePublish(reason, request, client)
        return False
    gateway, mountpoint = request.gateway, client.client.info.mountpoint
    gateway.topics.remove(mountpoint + topic)
    for other in list(gateway.clients.values()):
        if other.client.info.mountpoint == mountpoint:
            other.forgetTopic(topic, NOT_FOUND)
    return True
