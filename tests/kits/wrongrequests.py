"""
Requests of HTTP that are wrong, and how they are refused: calls of the REST API, and what is no call at all.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

CREDENTIALS = "Basic " + b64encode(b"admin:public").decode()

#: Values that are of none of these types.
NO_TEXT = (1, 1.5, True, None, [], {})
NO_NUMBER = ("1", "", 1.5, True, None, [], {})
NO_FLAG = ("true", 1, 0, None, [], {})
NO_OBJECT = ("x", 1, True, None, [])
NO_LIST = ("read", 1, True, None, {})


class Wrong(NamedTuple):
    """
    A wrong call.

    @ivar body: a value for JSON, or bytes as they are.
    @ivar says: what the message has, the name of the field at least.
    @ivar user: the credentials; C{None} for none.
    """

    method: str
    path: str
    body: Any
    status: int
    code: int
    says: str
    kind: str = "application/json"
    user: str | None = "admin:public"
    headers: tuple[tuple[str, str], ...] = ()


def _types(method: str, path: str, base: dict[str, Any], field: str, values: tuple[Any, ...]) -> Iterator[Wrong]:
    for value in values:
        *outer, last = field.split(".")
        body: dict[str, Any] = json.loads(json.dumps(base))
        inner = body
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = value
        yield Wrong(method, path, body, 400, 108, field)


def _missing(method: str, path: str, base: dict[str, Any], *fields: str) -> Iterator[Wrong]:
    for field in fields:
        yield Wrong(method, path, {k: v for k, v in base.items() if k != field}, 400, 107, field)


def _messages() -> Iterator[Wrong]:
    path, base = "/mqtt/publish", {"topic": "t"}
    for field in ("topic", "topics", "encoding", "clientid"):
        yield from _types("POST", path, base, field, NO_TEXT)
    yield from _types("POST", path, base, "qos", (*NO_NUMBER, -1, 3, 2**31, 2**63, 2**70, -(2**70), 1e300))
    yield from _types("POST", path, base, "retain", NO_FLAG)
    yield from _types("POST", path, base, "properties", NO_OBJECT)
    yield from _types("POST", path, base, "properties.payload_format_indicator", ("1", 2, -1, 1.5, True, [], {}))
    yield from _types("POST", path, base, "properties.message_expiry_interval", ("1", -1, 2**32, 1.5, True, [], {}))
    yield from _types("POST", path, base, "properties.response_topic", (1, True, [], {}, "a/#", "+", "", "a\0b"))
    yield from _types("POST", path, base, "properties.content_type", (1, True, [], {}))
    yield from _types("POST", path, base, "properties.correlation_data", (1, True, [], {}))
    yield from _types("POST", path, base, "properties.user_properties", (1, True, "x"))
    yield from _types("POST", path, base, "encoding", ("", "hex", "BASE64", "plain "))
    for payload in ("%", "a", "aGk", "aGk=\n", "ä", 1, True, [], {}):
        yield Wrong("POST", path, {"topic": "t", "payload": payload, "encoding": "base64"}, 400, 108, "payload")
    for topic in ("#", "a/#", "+", "a/+/b", "a\0b", "\0", "x" * 65536):
        yield Wrong("POST", path, {"topic": topic}, 400, 115, "topic")
    for topics in (",", "a,", ",a", "a,,b", "a,#"):
        yield Wrong("POST", path, {"topics": topics}, 400, 115, "topic")
    yield Wrong("POST", path, {"topics": ",".join("a" * 1001)}, 400, 108, "topics")
    for body in ({}, {"topic": ""}, {"topics": ""}, {"Topic": "t"}, {"topic ": "t"}):
        yield Wrong("POST", path, body, 400, 107, "topic")
    yield Wrong("POST", path, {"topic": "$SYS/x"}, 403, 102, "not_authorized")


def _subscriptions() -> Iterator[Wrong]:
    for path in ("/mqtt/subscribe", "/mqtt/unsubscribe"):
        base = {"clientid": "here", "topic": "t"}
        yield from _missing("POST", path, base, "clientid", "topic")
        for field in ("clientid", "topic", "topics"):
            yield from _types("POST", path, base, field, NO_TEXT)
        yield Wrong("POST", path, {"clientid": "nobody", "topic": "t"}, 404, 112, "clientid")
        for topic in ("a/#/b", "a+", "a\0b", "x" * 65536):
            yield Wrong("POST", path, {"clientid": "here", "topic": topic}, 400, 115, "topic")
    yield from _types("POST", "/mqtt/subscribe", {"clientid": "here", "topic": "t"}, "qos", (*NO_NUMBER, -1, 3, 2**70))
    for path in ("/mqtt/publish_batch", "/mqtt/subscribe_batch", "/mqtt/unsubscribe_batch"):
        yield Wrong("POST", path, {}, 400, 109, "list")
        yield Wrong("POST", path, {"items": []}, 400, 109, "list")
        yield Wrong("POST", path, [{}] * 10_001, 400, 108, "items")


def _bans() -> Iterator[Wrong]:
    base = {"who": "bad", "as": "clientid"}
    yield from _missing("POST", "/banned", base, "who", "as")
    for field in ("who", "reason", "by"):
        yield from _types("POST", "/banned", base, field, NO_TEXT)
    yield from _types("POST", "/banned", base, "as", (*NO_TEXT, "", "colour", "ClientID"))
    yield from _types("POST", "/banned", base, "until", ("1", "", 1.5, True, [], {}))
    for who in ("1.2.3", "1.2.3.4.5", "::g", "", "localhost", "127.0.0.1/8"):
        yield Wrong("POST", "/banned", {"who": who, "as": "ip_address"}, 400, 108, "who")
    yield Wrong("DELETE", "/banned/nobody", None, 404, 404, "who")
    yield Wrong("DELETE", "/banned/colour/nobody", None, 400, 108, "as")
    yield Wrong("DELETE", "/banned/ip_address/nobody", None, 404, 404, "who")


def _applications() -> Iterator[Wrong]:
    base = {"app_id": "app", "name": "App"}
    yield from _missing("POST", "/apps", base, "app_id", "name")
    for field in ("app_id", "name", "desc"):
        yield from _types("POST", "/apps", base, field, NO_TEXT)
    yield from _types("POST", "/apps", base, "app_id", ("", "a:b", "a\n", "a\0", "x" * 201, "ä" * 101))
    yield from _types("POST", "/apps", base, "secret", (1, True, [], {}, "", "a\0"))
    yield from _types("POST", "/apps", base, "status", NO_FLAG)
    yield from _types("POST", "/apps", base, "expired", ("1", 1.5, True, [], {}))
    yield from _types("POST", "/apps", base, "scopes", (*NO_LIST, [1], [None], ["everything"], ["read", "Read"]))
    yield Wrong("POST", "/apps", {"app_id": "admin", "name": "x"}, 400, 102, "app_id")
    for method in ("GET", "PUT", "DELETE"):
        yield Wrong(method, "/apps/nobody", {"name": "x"} if method == "PUT" else None, 404, 404, "appid")


def _settings() -> Iterator[Wrong]:
    key = "zone.external.max_inflight"
    path = f"/settings/{key}"
    yield Wrong("PUT", path, {}, 400, 107, "value")
    yield from _types("PUT", path, {"value": "1"}, "value", NO_TEXT)
    yield from _types("PUT", path, {"value": "1"}, "once", NO_FLAG)
    for value in ("", "many", "-1", "1.5", "9" * 400, "1 2", "0x10", "\0"):
        yield Wrong("PUT", path, {"value": value}, 400, 108, key)
    for wrong in ("zone", "zone.external", "nothing", "a%20b", ".", "zone..external", "%00", "%C3%91", "x" * 5000):
        yield Wrong("PUT", f"/settings/{wrong}", {"value": "1"}, 400, 108, "")
    yield from _types("POST", "/configuration", {}, "data", NO_OBJECT)
    yield Wrong("POST", "/configuration", {"data": {key: [1]}}, 400, 108, key)
    yield Wrong("POST", "/configuration", {"data": {f"k{n}": 1 for n in range(2000)}}, 400, 108, "data")
    yield Wrong("DELETE", path, None, 400, 108, key)


def _queries() -> Iterator[Wrong]:
    for name in ("_page", "_limit"):
        for value in ("", "0", "-1", "+1", "1.5", "ten", "1e3", "%D9%A1", "%00", "9" * 19, "9" * 400, "1,2"):
            yield Wrong("GET", f"/clients?{name}={value}", None, 400, 108, name)
    for value in ("x", "1.5", "true", "%00", "1e400"):
        yield Wrong("GET", f"/clients?keepalive={value}", None, 400, 108, "keepalive")
        yield Wrong("GET", f"/clients?proto_ver={value}", None, 400, 108, "proto_ver")
    for value in ("2", "maybe", "%00", "yes%20"):
        yield Wrong("GET", f"/clients?clean_start={value}", None, 400, 108, "clean_start")
    for value in ("x", "Connected", "%00"):
        yield Wrong("GET", f"/clients?conn_state={value}", None, 400, 108, "conn_state")
    for value in ("3", "-1", "x", "1.5"):
        yield Wrong("GET", f"/subscriptions?qos={value}", None, 400, 108, "qos")
    for value in ("x", ".", ".1", "a.b", "a.-1", "%00"):
        yield Wrong("GET", f"/clients?_cursor={value}", None, 410 if value == ".1" else 400, 108, "_cursor")
    for value in ("x", "client.connected,", "CLIENT.CONNECTED"):
        yield Wrong("GET", f"/events?types={value}", None, 400, 108, "types")
    for query in ("a=%FF", "%FF=1", "a=%C3", "a=%ED%A0%80", "a=%F8%88%80%80%80", "a=%C0%80"):
        yield Wrong("GET", f"/clients?{query}", None, 400, 108, "the query is not UTF-8")
    yield Wrong("GET", "/clients?" + "&".join(f"a{n}=1" for n in range(201)), None, 400, 108, "the query has more")
    for node in ("other@host", "%00", "x" * 8000, "..%2F..", "%F0%9F%98%80"):
        yield Wrong("GET", f"/nodes/{node}/clients", None, 404, 404, "node")
        yield Wrong("GET", f"/brokers/{node}", None, 404, 404, "node")


def _paths() -> Iterator[Wrong]:
    for path in (
        "/nothing",
        "/clients/a/b/c",
        "/Clients",
        "/clients.json",
        "/..",
        "/%2E%2E",
        "/*",
        "/clients%2Fa",
        "/;",
    ):
        yield Wrong("GET", path, None, 404, 404, "no such call")
    for path in ("/clients/%FF", "/clients/%C0%80", "/%FF", "/clients/%ED%A0%80"):
        yield Wrong("GET", path, None, 400, 108, "the path is not UTF-8")
    for method in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "FOO", "X" * 200):
        yield Wrong(method, "/clients", None, 405, 405, "GET")
    yield Wrong("GET", "/mqtt/publish", None, 405, 405, "POST")
    yield Wrong("DELETE", "/clients/nobody", None, 404, 112, "clientid")
    yield Wrong("DELETE", "/alarms/present/nothing", None, 404, 404, "id")
    yield Wrong("PUT", "/plugins/nothing/reload", None, 404, 404, "plugin")
    yield Wrong("PUT", "/listeners/mqtt:tcp/1/stop", None, 404, 404, "protocol")


def _bodies() -> Iterator[Wrong]:
    publish = "/mqtt/publish"
    for body in (
        b"{",
        b"}",
        b"{}{}",
        b'{"topic"}',
        b'{"topic":}',
        b"{'topic': 't'}",
        b'{"topic": "t",}',
        b'{"topic": "t"} x',
        b'{topic: "t"}',
        b'{"topic": "t", "qos": NaN}',
        b'{"topic": "t", "qos": Infinity}',
        b'{"topic": "t", "qos": -Infinity}',
        b'{"topic": "t", "qos": 01}',
        b'{"topic": "t", "qos": +1}',
        b'{"topic": "t", "qos": 1e999}',
        b'{"topic": "t", "qos": .5}',
        b'{"topic": "\xff"}',
        b'{"topic": "\xed\xa0\x80"}',
        b'{"topic": "\xc0\x80"}',
        b'{"topic": "a\nb"}',
        b'{"topic": "a\x00b"}',
        b'{"topic": "\\x"}',
        b'{"topic": "\\u12"}',
        b'{"topic": "\\ud800"}',
        b'{"topic": "\\udc00\\ud800"}',
        b'{"topic": "\\ud800\\u0041"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"topic": "t", "payload": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b"null true",
        b"// {}",
        b"<xml/>",
    ):
        yield Wrong("POST", publish, body, 400, 109, "JSON")
    for body in (b"1", b"null", b"true", b'"topic"', b"-0.0", b'"\\u0000"'):
        yield Wrong("POST", publish, body, 400, 109, "an object is expected")
    for body in (b"[]", b'["topic", "t"]', b"[1]"):
        yield Wrong("POST", publish, body, 400, 109, "an object is expected")
    for kind in ("text/plain", "", "application/xml", "multipart/form-data; boundary=x", "x" * 1000):
        yield Wrong("POST", publish, b"topic=t", 400, 109, "JSON", kind)
    form = "application/x-www-form-urlencoded"
    yield Wrong("POST", publish, b"topic=%FF", 400, 108, "the body is not UTF-8", form)
    yield Wrong("POST", publish, b"topic=\xff", 400, 108, "the body is not UTF-8", form)
    yield Wrong("POST", publish, b"topic=t&qos=x", 400, 108, "qos", form)
    yield Wrong("POST", publish, b"topic=t&qos=3", 400, 108, "qos", form)
    yield Wrong("POST", publish, b"topic=t&retain=maybe", 400, 108, "retain", form)
    yield Wrong("POST", publish, b"&".join(b"a%d=1" % n for n in range(201)), 400, 108, "the body has more", form)


def _callers() -> Iterator[Wrong]:
    def basic(text: bytes) -> str:
        return "Basic " + b64encode(text).decode()

    for header in (
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWRtaW4",
        basic(b"admin"),
        basic(b"\xff:public"),
        "basic  " + "=" * 100,
        "Digest username=admin",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer " + "x" * 5000,
        "Negotiate x",
        CREDENTIALS.replace("Basic ", "Basic\t"),
        "\x01",
    ):
        headers = (("Authorization", header),)
        yield Wrong("GET", "/clients", None, 401, 104, "credentials are needed", user=None, headers=headers)
    yield Wrong("GET", "/clients", None, 401, 104, "credentials are needed", user=None)
    for given in (
        b"admin:",
        b":public",
        b"admin:wrong",
        b"Admin:public",
        b"admin:public ",
        b"admin\0:public",
        b"admin:public\0",
        b"x" * 6000 + b":public",
    ):
        headers = (("Authorization", basic(given)),)
        yield Wrong("GET", "/clients", None, 401, 103, "wrong application or secret", user=None, headers=headers)
    for dialect in ("", "EMQ", "emqx,nanomq", "\xff"):
        yield Wrong("GET", "/clients", None, 400, 108, "X-Api-Dialect", headers=(("X-Api-Dialect", dialect),))


def calls() -> list[Wrong]:
    """
    Wrong calls.
    """
    return [
        *_messages(),
        *_subscriptions(),
        *_bans(),
        *_applications(),
        *_settings(),
        *_queries(),
        *_paths(),
        *_bodies(),
        *_callers(),
    ]


def _head(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


_FIRST = "POST /api/v4/mqtt/publish HTTP/1.1"
_COMMON = ("Host: localhost", f"Authorization: {CREDENTIALS}", "Content-Type: application/json")

#: Bytes that are no request, or one that nobody may send, and the status with which they are refused.
RAW: list[tuple[bytes, int]] = [
    (b"\x00" * 100 + b"\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"GET /api/v4/clients\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTP/1.1 x\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTX/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET  /api/v4/clients HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTP/1.1\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTP/1.1\r\nHost: localhost\r\n: empty\r\n\r\n", 400),
    (b"GET /api/v4/clients HTTP/1.1\r\nHost : t\r\n\r\n", 400),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET /api/v4/clients HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    (b"GET /api/v4/clients HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    (_head(_FIRST, *_COMMON, "Content-Length: 2000000"), 413),
    (_head(_FIRST, *_COMMON, "Content-Length: 99999999999999999999999"), 413),
    (_head(_FIRST, *_COMMON, "Content-Length: -1"), 400),
    (_head(_FIRST, *_COMMON, "Content-Length: +2", body=b"{}"), 400),
    (_head(_FIRST, *_COMMON, "Content-Length: 2x", body=b"{}"), 400),
    (_head(_FIRST, *_COMMON, "Content-Length: ", body=b"{}"), 400),
    (_head(_FIRST, *_COMMON, "Content-Length: 2", "Content-Length: 3", body=b"{} "), 400),
    (_head(_FIRST, *_COMMON, "Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: gzip", body=b"0\r\n\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", body=b"x\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", body=b"-1\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", body=b"2\r\n{}x\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", body=b"2" + b"0" * 5000 + b"\r\n"), 400),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n"), 400),
    (
        _head(
            _FIRST,
            *_COMMON,
            "Transfer-Encoding: chunked",
            body=b"fffff\r\n" + b" " * 0xFFFFF + b"\r\nff\r\n" + b" " * 255,
        ),
        413,
    ),
    (_head(_FIRST, *_COMMON, "Transfer-Encoding: chunked", "Connection: close", body=b"1\r\n{\r\n0\r\n\r\n"), 400),
]
