"""
Tests for L{twisted_mqtt.management.rest.commands}: the API of VerneMQ.
"""

from __future__ import annotations

import pytest

from tests.kits.rest import Answer, Rest
from twisted_mqtt.management.settings import ManagementSettings


@pytest.fixture
def rest() -> Rest:
    """
    A broker that has it, with a client.
    """
    rest = Rest(ManagementSettings(modules=("api_v1",)), path="/api/v1")
    rest.memory.client("myclient", username="anna")
    return rest


def refused(answer: Answer) -> str:
    """
    Why a command was refused as malformed.
    """
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8"), answer
    text = answer.body.decode()
    assert text.startswith("invalid_request_error: ")
    return text


def test_off() -> None:
    """
    It is there only where it is wanted.
    """
    with pytest.raises(ValueError, match="unpack"):
        Rest(path="/api/v1")


@pytest.mark.parametrize("path", ["/session/show", "/sessions", "/sessions/show"])
def test_table(rest: Rest, path: str) -> None:
    """
    API-06, API-07, API-08: rows are a table.
    """
    (answer,) = [rest.call("GET", path).json]
    assert answer == {
        "type": "table",
        "table": [
            {
                "client_id": "myclient",
                "is_online": True,
                "mountpoint": "",
                "peer_host": "127.0.0.1",
                "peer_port": answer["table"][0]["peer_port"],
                "user": "anna",
            }
        ],
    }


def test_columns(rest: Rest) -> None:
    """
    ADM-11: a name alone asks for a column, one with a value for the rows that have it.
    """
    rest.memory.client("other")
    answer = rest.call("GET", "/session/show?--client_id&--is-online=true&--user=anna&--limit=5").json
    assert answer == {"type": "table", "table": [{"client_id": "myclient"}]}
    assert rest.call("GET", "/session/show?--client_id=nobody").json == {"type": "table", "table": []}


@pytest.mark.parametrize("flag", ["--cleanup", "-c", "--cleanup=true"])
def test_disconnect(rest: Rest, flag: str) -> None:
    """
    API-04: the sample.
    """
    answer = rest.call("GET", f"/session/disconnect?client-id=myclient&{flag}")
    assert answer.json == {"type": "text", "text": "Done"}
    assert len(rest.memory.broker.sessions) == 0


def test_set(rest: Rest) -> None:
    """
    API-07: what prints nothing answers an empty list.
    """
    assert rest.call("GET", "/set?max_inflight_messages=7&allow_anonymous=on").json == []
    (row,) = rest.call("GET", "/show?max_inflight_messages&allow_anonymous").json["table"]
    assert (row["max_inflight_messages"], row["allow_anonymous"]) == (7, "on")


def test_keys(rest: Rest) -> None:
    """
    API-02, API-03: an API key is the user name, and there is no password; one that was removed is nobody.
    """
    key = rest.call("GET", "/api-key/create").json["text"]
    assert rest.call("GET", "/session/show", user=f"{key}:", host="192.0.2.1").status == 200
    own = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    assert rest.call("GET", f"/api-key/add?key={own}").json == {"type": "text", "text": "Done"}
    assert rest.call("GET", "/session/show", user=f"{own}:").status == 200
    assert len(rest.call("GET", "/api-key/show").json["table"]) == 2
    assert rest.call("GET", f"/api-key/delete?key={own}").status == 200
    for user in (f"{own}:", "wrong:", None):
        answer = rest.call("GET", "/session/show", user=user)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert answer.json["type"] == "alert"


def test_methods(rest: Rest) -> None:
    """
    API-05: GET and HEAD; OPTIONS says what a page of another origin may do.
    """
    assert rest.call("HEAD", "/status").body == b""
    answer = rest.call("OPTIONS", "/session/show", user=None)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "content-type, authorization"
    assert answer.headers["access-control-max-age"] == "1728000"
    answer = rest.call("POST", "/session/disconnect?client-id=myclient")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert len(rest.memory.broker.sessions) == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "no such command"),
        ("/", "no such command"),
        ("/session", "session show"),
        ("/sesion/show", "did you mean session show"),
        ("/session/%FF", "UTF-8"),
        ("/session/show?--x=%FF", "UTF-8"),
        ("/session/show?--nothing=1", "--nothing"),
        ("/session/show?word", "word"),
        ("/session/show?--limit", "limit"),
        ("/session/show?--limit=many", "limit"),
        ("/session/show?--limit=-1", "limit"),
        ("/session/disconnect", "client_id"),
        ("/session/disconnect?client-id", "client_id"),
        ("/session/disconnect?client-id=a&--cleanup=perhaps", "cleanup"),
        ("/session/show?" + "a&" * 300, "200"),
        ("/set", "changes"),
    ],
)
def test_malformed(rest: Rest, path: str, says: str) -> None:
    """
    API-05: what is no command is 400, and the text says what is wrong; nothing has happened.
    """
    assert says in refused(rest.call("GET", path))
    assert len(rest.memory.broker.sessions) == 1


def test_refused(rest: Rest) -> None:
    """
    What a command refuses is an alert; who may only read changes nothing.
    """
    answer = rest.call("GET", "/session/reauthorize?username=anna&client-id=nobody")
    assert (answer.status, answer.json["type"]) == (404, "alert")
    assert "nobody" in answer.json["alert"][0]["text"]
    key = rest.call("GET", "/api-key/create?scope=read").json["text"]
    assert rest.call("GET", "/session/disconnect?client-id=myclient", user=f"{key}:").status == 403
    assert len(rest.memory.broker.sessions) == 1


def test_commandsOfEMQX(rest: Rest) -> None:
    """
    Every command is a path: what it prints is a text, a word without a name stands at its place.
    """
    assert rest.call("GET", "/status").json["text"].startswith("Node '")
    (row,) = rest.call("GET", "/clients/show?myclient").json["table"]
    assert row["clientid"] == "myclient"
    assert rest.call("GET", "/clients/kick?myclient").json == {"type": "text", "text": "ok"}
