"""
The HTTP part of a WebSocket port: enough for the start of a handshake, a health check, and a refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address

HEAD_AT_MOST: Final = 16384
"""
So long may a request be: browsers send cookies.
"""

_METHODS: Final = (b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"CONNECT ", b"TRACE ")

_CONTROL: Final = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]")

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """
    The answer to a request that does not become a WebSocket.

    @ivar text: for a person.
    @ivar withBody: whether it may have one: the answer to HEAD may not.
    @ivar isRefusal: whether it counts as one, and is logged.
    """

    code: int
    text: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    withBody: bool = True
    isRefusal: bool = True


class BadRequest(Exception):
    """
    The input is not HTTP.
    """


class Request:
    """
    The head of a request.

    @ivar method: such as C{"GET"}.
    @ivar path: of the resource, without a query.
    @ivar headers: by their names in lower case; values of repeated ones joined by commas.
    """

    __slots__ = ("headers", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.headers = headers

    @property
    def wantsUpgrade(self) -> bool:
        """
        Whether it asks for another protocol.
        """
        return "upgrade" in self.headers

    @property
    def wantsWebSocket(self) -> bool:
        """
        Whether that is WebSocket.
        """
        return "websocket" in (word.strip().lower() for word in self.headers.get("upgrade", "").split(","))


def isHTTP(data: bytes) -> bool:
    """
    Whether this may be how a request begins.
    """
    return any(data.startswith(method) or method.startswith(data) for method in _METHODS)


def parseRequest(head: bytes) -> Request:
    """
    Read the head of a request, with the empty line at its end.

    @raise BadRequest: where it is none.
    """
    lines = head.decode("iso-8859-1").split("\r\n")
    if any(_CONTROL.search(line) for line in lines):
        raise BadRequest("it holds a control character")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("the request line is malformed")
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        # RFC 9112 5.1: nothing may stand between name and colon, and 5.2: lines are not folded any more.
        if not colon or not name or name != name.strip():
            raise BadRequest("a header is malformed")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = words[1].partition("?")[0]
    if not target.startswith("/"):
        # RFC 9112 3.2.2: a server accepts the whole URI, too.
        target = "/" + target.partition("://")[2].partition("/")[2]
    return Request(words[0], target, headers)


def response(answer: HTTPAnswer) -> bytes:
    """
    An answer as bytes. The connection is closed after it.
    """
    code, withBody = answer.code, answer.withBody
    phrase = HTTPStatus(code).phrase
    body = f"{answer.text or phrase}\n".encode()
    lines = [f"HTTP/1.1 {code} {phrase}", "Connection: close", "Cache-Control: no-store"]
    if code != HTTPStatus.NO_CONTENT:
        lines += ["Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}"]
    else:
        withBody = False
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = "\r\n".join([*lines, "", ""]).encode("iso-8859-1", "replace")
    return head + body if withBody else head


def refusalIn(data: bytes) -> HTTPAnswer:
    """
    Read the bytes with which autobahn refuses a handshake: status, reason and headers. They are no complete answer.
    """
    lines = data.decode("utf-8", "replace").split("\r\n")
    words = lines[0].split(" ", 2)
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if code not in HTTPStatus.__members__.values():
        return HTTPAnswer(400)
    headers = [line.partition(": ") for line in lines[1:] if ": " in line]
    return HTTPAnswer(code, words[2] if len(words) > 2 else "", tuple((name, value) for name, _, value in headers))


def forwardedAddress(host: str, port: str) -> IPv4Address | IPv6Address | None:
    """
    The address of a client as a proxy passes it on; L{None} where that is no address.

    @param host: such as C{"192.0.2.1"}, or a list of which the first is the client's.
    @param port: C{""} where it is not known.
    """
    host = host.partition(",")[0].strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    port = port.partition(",")[0].strip()
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind("TCP", str(address), number if number < 0x10000 else 0)
