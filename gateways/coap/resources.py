"""
The resources of the gateway and their methods: C{/mqtt}, C{/ps} and C{/.well-known/core} (spec/gateways.md 4.2, 4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from gateways.coap.codes import (
    BAD_REQUEST,
    CONTENT,
    GET,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    POST,
    PRECONDITION_FAILED,
    PUT,
)
from gateways.coap.collection import listTopics
from gateways.coap.links import WebLink, filterLinks, formatLinks
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    IF_MATCH,
    LINK_FORMAT,
    OBSERVE,
    OCTET_STREAM,
    URI_QUERY,
    stringsOf,
    uintOf,
    uintOption,
    valueOf,
)
from gateways.coap.publishing import cancel, observe, publish
from gateways.coap.query import QueryError, filtersOf, parseForm
from gateways.coap.session import CoAPClient, formatOfBytes
from gateways.coap.topics import servePubSub
from twisted_mqtt.base.waiting import Maybe

if TYPE_CHECKING:
    from gateways.coap.request import CoAPRequest

_log = Logger()

# As short as they can be: whoever asks by multicast gets no more than three times the bytes of its question. The
# content format of a collection is known (draft-ietf-core-coap-pubsub 3.3.2), and what can be observed is below these.
_LINKS: Final = (
    WebLink("/mqtt", [("rt", "mqtt"), ("ct", str(OCTET_STREAM))]),
    WebLink("/ps", [("rt", "core.ps core.ps.coll")]),
)

_ALL_LINKS: Final = formatLinks(_LINKS)

# Topics are listed only where these are asked for: there may be many, and access rules have a say in it.
_OF_TOPICS: Final = ("rt=core.ps.conf", "rt=core.ps.data")


def serve(request: CoAPRequest, path: list[str]) -> None:
    """
    Answer a request, now or later.

    @param path: the segments of its path.
    """
    root = path[0] if path else ""
    if root == "mqtt":
        _serveMQTT(request, "/".join(path[1:]))
    elif root == "ps":
        servePubSub(request, "/".join(path[1:]))
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
        query = stringsOf(message.options, URI_QUERY)
        if any(item in _OF_TOPICS for item in query):
            listTopics(request)
            return
        payload = linksFor(query)
        request.answer(CONTENT, [uintOption(CONTENT_FORMAT, LINK_FORMAT)], payload)


def linksFor(query: list[str]) -> bytes:
    """
    The links of the gateway that every filter of a query lets through.
    """
    return formatLinks(filterLinks(_LINKS, filtersOf(query))) if query else _ALL_LINKS


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
                lambda client: publish(
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
            lambda client: publish(request, client, form.topic, form.message, form.qos, form.retain, None)
        )
    return True


def _get(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    action = uintOf(request.message.options, OBSERVE)
    if action == 0:
        if not topic:
            request.refuse(BAD_REQUEST, "no topic: GET /mqtt/{topic}")
            return None
        return observe(request, client, topic, formatOfBytes)
    if action == 1:
        cancel(request, client, topic)
    # Without Observe, all that it does is to say that the client is still there.
    request.answer(CONTENT, [uintOption(CONTENT_FORMAT, OCTET_STREAM)])
    return None
