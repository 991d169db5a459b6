"""
Tests for L{twisted_mqtt.management.rest.publishing}: VerneMQ's HTTP publish (spec/vernemq.md 19, API-10).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.hooks.verdicts import DENY, AuthResult
from twisted_mqtt.management.settings import ManagementSettings, PublishSettings
from twisted_mqtt.testing.peer import Peer


def restWith(**settings: Any) -> tuple[Rest, Peer, list[tuple[Any, ...]]]:
    """
    A broker that lets in anna with her password, who may not publish to "forbidden"; a reader; and who wanted to come
    in.
    """
    rest = Rest(
        ManagementSettings(modules=("publish",), publish=PublishSettings(**settings)), path="/restmqtt/api/v1/publish"
    )
    reader = rest.memory.client("reader")
    reader.subscribe("#", qos=1)
    asked: list[tuple[Any, ...]] = []

    def authenticate(client: Any, result: AuthResult) -> AuthResult:
        asked.append((client.clientID, client.username, client.password))
        return AuthResult("success" if client.password == b"secret" else "not_authorized")

    hooks = rest.memory.broker.hooks
    hooks.clientAuthenticate.add(authenticate)
    hooks.clientCheckAcl.add(lambda client, access, topic, verdict: None if topic != "forbidden" else DENY)
    return rest, reader, asked


ANNA = {"user": "anna", "password": "secret", "client_id": "a"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_json(method: str) -> None:
    """
    All fields in a body of JSON.
    """
    rest, reader, asked = restWith()
    body = {**ANNA, "topic": "t", "payload": "hi", "qos": 1, "user_properties": {"a": "b"}}
    assert rest.call(method, "", body).json == {"code": 0}
    (got,) = reader.receive()
    assert (got.topic, got.payload, got.qos, got.properties.userProperties) == ("t", b"hi", 1, [("a", "b")])
    assert asked == [("a", "anna", b"secret")]


def test_headersAndQuery() -> None:
    """
    Fields in headers, or in the query; the body is the payload, which may be Base64.
    """
    rest, reader, _ = restWith()
    headers = {"Topic": "t", "QoS": "1", "User": "anna", "Password": "secret", "Client-Id": "a"}
    assert rest.call("POST", "", b"hi", headers=headers).status == 200
    assert rest.call("POST", "?encoding=base64", b"aGk=", headers=headers).status == 200
    query = "?topic=t&user=anna&password=secret&client_id=a"
    assert rest.call("POST", query, b"hi").status == 200
    assert rest.call("PUT", query + "&payload=aGk%3D&encoding=base64&qos=1&retain=false").status == 200
    assert reader.payloads() == [b"hi"] * 4


def test_predefined() -> None:
    """
    One client for all; what the request says of that is ignored.
    """
    rest, reader, asked = restWith(auth="predefined", user="robot", password="secret", client_id="r")
    assert rest.call("POST", "", {"topic": "t", "payload": "hi", "user": "anna", "password": "x"}).status == 200
    assert asked == [("r", "robot", b"secret")]
    assert reader.payloads() == [b"hi"]


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"topic": "t", "payload": "x"}, 401, 103, "user"),
        ({**ANNA, "password": "wrong", "topic": "t"}, 401, 103, "password"),
        ({**ANNA, "topic": "forbidden"}, 403, 102, "forbidden"),
        ({**ANNA}, 400, 107, "topic"),
        ({**ANNA, "topic": "a/#"}, 400, 115, "topic"),
        ({**ANNA, "topic": "t", "qos": 3}, 400, 108, "qos"),
        ({**ANNA, "topic": "t", "payload": "%", "encoding": "base64"}, 400, 108, "payload"),
        ([], 400, 109, "list"),
        (b"{", 400, 109, "JSON"),
    ],
)
def test_refused(body: object, status: int, code: int, says: str) -> None:
    """
    What is wrong is named; nothing is published.
    """
    rest, reader, _ = restWith()
    answer = rest.call("POST", "", body)
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert says in answer.json["message"]
    assert reader.receive() == []


def test_callers() -> None:
    """
    It wants credentials, of somebody who may publish; other methods and paths are none.
    """
    rest, reader, asked = restWith()
    assert rest.call("POST", "", {**ANNA, "topic": "t"}, user=None).status == 401
    assert rest.call("GET", "").status == 405
    assert rest.call("POST", "/more", {**ANNA, "topic": "t"}).status == 404
    assert rest.call("POST", "?topic=t&user=anna&password=secret", b"\xff").status == 400
    banned = {**ANNA, "topic": "t", "client_id": "bad"}
    rest.memory.broker.bans.add("bad", "clientid", "", "", 0.0)
    assert rest.call("POST", "", banned).status == 401
    assert asked == [] or asked == [("http", "anna", b"secret")]
    assert reader.receive() == []
