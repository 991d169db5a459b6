"""
Reads the URI of a request: the client's identity, and the topic. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateways.coap.message import CoAPMessage
from gateways.coap.options import URI_PATH, URI_QUERY, stringsOf


class Query:
    """
    The query of a request.

    @ivar clientID: C{c}, L{None} where it isn't said.
    @ivar username: C{u}.
    @ivar password: C{p}.
    @ivar qos: C{qos}, 0 to 2.
    @ivar retain: C{retain}.
    @ivar others: names that mean nothing.
    """

    __slots__ = ("clientID", "username", "password", "qos", "retain", "others")

    def __init__(self) -> None:
        self.clientID: str | None = None
        self.username: str | None = None
        self.password: bytes | None = None
        self.qos: int | None = None
        self.retain: bool | None = None
        self.others: list[str] = []


class QueryError(Exception):
    """
    A value is not what it can be; the text says which and what would be right.
    """


def pathOf(request: CoAPMessage) -> list[str]:
    """
    The segments of the path; none for the root.
    """
    return stringsOf(request.options, URI_PATH)


def queryOf(request: CoAPMessage) -> Query:
    """
    The query of a request.

    @raise QueryError: where it holds a wrong value.
    """
    query = Query()
    for number, data in request.options:
        if number != URI_QUERY:
            continue
        item = data.decode("utf-8")
        name, _, value = item.partition("=")
        # The first of a name counts.
        if name == "c":
            query.clientID = value if query.clientID is None else query.clientID
        elif name == "u":
            query.username = value if query.username is None else query.username
        elif name == "p":
            query.password = value.encode("utf-8") if query.password is None else query.password
        elif name == "qos":
            query.qos = qosOf(value) if query.qos is None else query.qos
        elif name == "retain":
            query.retain = retainOf(value) if query.retain is None else query.retain
        else:
            query.others.append(name)
    return query


_OWN: Final = ("c", "u", "p", "qos", "retain")


def filtersOf(query: list[str]) -> list[str]:
    """
    The items of a query that choose links: all but those that say who asks, and how to publish.
    """
    return [item for item in query if item.partition("=")[0] not in _OWN]


def qosOf(text: str) -> int:
    """
    A quality of service.

    @raise QueryError: it is none.
    """
    if text not in ("0", "1", "2"):
        raise QueryError("qos is 0, 1 or 2")
    return int(text)


def retainOf(text: str) -> bool:
    """
    Whether to retain a message.

    @raise QueryError: it does not say.
    """
    if text not in ("0", "1", "false", "true"):
        raise QueryError("retain is 0 or 1")
    return text in ("1", "true")


class Form(NamedTuple):
    """
    Read the message to publish from C{qos=1&retain=0&message=hello&topic=a/b}.
    """

    topic: str
    message: bytes
    qos: int
    retain: bool


def parseForm(payload: bytes) -> Form:
    """
    Read a form; the message may be any bytes, written as in a URI where they would be taken for something else.

    @raise QueryError: it is none.
    """
    values: dict[bytes, bytes] = {}
    for item in payload.split(b"&"):
        name, found, value = item.partition(b"=")
        if found:
            values.setdefault(unquote_to_bytes(name), unquote_to_bytes(value.replace(b"+", b" ")))
    try:
        topic = values.get(b"topic", b"").decode("utf-8")
        qos = qosOf(values.get(b"qos", b"0").decode("utf-8"))
        retain = retainOf(values.get(b"retain", b"0").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise QueryError("not UTF-8") from error
    if not topic:
        raise QueryError("no topic: send qos=<0-2>&retain=<0|1>&message=<payload>&topic=<topic>")
    if b"message" not in values:
        raise QueryError("no message: send qos=<0-2>&retain=<0|1>&message=<payload>&topic=<topic>")
    return Form(topic, values[b"message"], qos, retain)
