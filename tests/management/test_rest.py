"""
Tests for L{twisted_mqtt.management.rest}: who may call, what is refused and how.
"""

from __future__ import annotations

from base64 import b64encode

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.rest.failures import FIRST, FREE
from twisted_mqtt.management.settings import DefaultApplication, ManagementSettings


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", 104),
        ("Basic", 104),
        ("Basic !!!", 104),
        ("Basic " + b64encode(b"admin").decode(), 104),
        ("Basic " + b64encode(b"admin:wrong").decode(), 103),
        ("Basic " + b64encode(b"nobody:public").decode(), 103),
        ("Basic " + b64encode(b"\xff:public").decode(), 104),
        ("Bearer x", 104),
    ],
)
def test_credentials(header: str, code: int) -> None:
    """
    Without the right application and secret there is nothing but 401.
    """
    answer = Rest().call("GET", "/clients", user=None, headers={"Authorization": header} if header else {})
    assert (answer.status, answer.json["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_defaultApplicationServesThisMachine() -> None:
    """
    The application of the first start, whose secret everybody knows, is of no use from elsewhere.
    """
    rest = Rest()
    assert rest.call("GET", "/clients").status == 200
    assert rest.call("GET", "/clients", host="192.0.2.1").status == 401


def test_noDefaultApplication() -> None:
    """
    With an empty name none is made.
    """
    rest = Rest(ManagementSettings(application=DefaultApplication(default_id="")))
    assert rest.call("GET", "/clients").status == 401


def test_failuresSlowDown() -> None:
    """
    After some wrong secrets an address has to wait, even with a right one; others do not.
    """
    rest = Rest()
    for _ in range(FREE):
        assert rest.call("GET", "/clients", user="admin:x", host="127.0.0.2").status == 401
    answer = rest.call("GET", "/clients", host="127.0.0.2")
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert rest.call("GET", "/clients").status == 200
    rest.memory.wait(FIRST)
    assert rest.call("GET", "/clients", host="127.0.0.2").status == 200
    assert rest.call("GET", "/clients", user="admin:x", host="127.0.0.2").status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "says"),
    [
        ("GET", "/nothing", None, 404, 404, "no such call"),
        ("PUT", "/clients", None, 405, 405, "GET"),
        ("GET", "/clients?_page=0", None, 400, 108, "_page"),
        ("GET", "/clients?_limit=-1", None, 400, 108, "_limit"),
        ("GET", "/clients?_limit=ten", None, 400, 108, "_limit"),
        ("GET", "/clients?keepalive=x", None, 400, 108, "keepalive"),
        ("GET", "/clients?conn_state=x", None, 400, 108, "conn_state"),
        ("GET", "/clients?clean_start=2", None, 400, 108, "clean_start"),
        ("GET", "/clients?a=%FF", None, 400, 108, "UTF-8"),
        ("GET", "/clients/%FF", None, 400, 108, "UTF-8"),
        ("GET", "/clients", b"{", 400, 109, "JSON"),
        ("GET", "/clients", b"1", 400, 109, "object"),
        ("GET", "/clients", b"\xff", 400, 109, "JSON"),
        ("GET", "/clients", b"[" * 100_000, 400, 109, "JSON"),
        ("GET", "/clients", b"[]", 400, 109, "an object is expected"),
        ("POST", "/mqtt/publish", b"[1]", 400, 109, "an object is expected"),
    ],
)
def test_wrongCalls(method: str, path: str, body: bytes | None, status: int, code: int, says: str) -> None:
    """
    An error has a status, a code, and a message that names the field.
    """
    answer = Rest().call(method, path, body)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert says in answer.json["message"]


def test_legacyStatus() -> None:
    """
    As EMQ X does it, a refused call has the status 200.
    """
    answer = Rest(ManagementSettings(status_style="legacy")).call("GET", "/clients?_page=0")
    assert (answer.status, answer.json["code"]) == (200, 108)


def test_head() -> None:
    """
    HEAD answers as GET does, without the body.
    """
    answer = Rest().call("HEAD", "/clients/a")
    assert answer.status == 200
    assert answer.body == b""
