"""
API keys: tests for the part of L{twisted_mqtt.management.builtin.applications} that is VerneMQ's (spec/vernemq.md 19).
"""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs, formatEvent

from tests.kits.commands import Commands
from tests.kits.rest import Rest
from twisted_mqtt.operations.operation import NotFound, Refused

OWN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@pytest.mark.shows("create_key", "show_keys_of_api", "delete_key")
def test_life() -> None:
    """
    A key is shown this once, 32 letters and digits; afterwards, only how it begins. It is deleted by that or in full.
    """
    commands = Commands()
    (key,) = commands.lines("api-key create", scope="metrics", expires="2099-04-04T12:00:00")
    assert len(key) == 32 and key.isalnum()
    (row,) = commands.rows("api-key show")
    assert (row.Key, row.Scope, row.expires, row.expired) == (f"{key[:8]}...", "read", "2099-04-04T12:00:00", False)
    assert commands.lines("api-key delete", key=key) == ["Done"]
    assert commands.rows("api-key show") == []
    with pytest.raises(NotFound, match="key"):
        commands.lines("api-key delete", key=key)
    with pytest.raises(NotFound, match="key"):
        commands.lines("api-key delete", key="admin")


@pytest.mark.shows("add_key")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"key": "short"}, "16 to 200"),
        ({"key": "x" * 201}, "16 to 200"),
        ({"key": "with:colon:in:it:all"}, "letters and digits"),
        ({"key": OWN, "scope": "everything"}, "scope"),
        ({"key": OWN, "expires": "tomorrow"}, "expires"),
    ],
)
def test_own(more: dict[str, str], says: str) -> None:
    """
    Somebody's own key is taken once, if it is one.
    """
    commands = Commands()
    with pytest.raises(Refused, match=says):
        commands.lines("api-key add", **more)
    assert commands.lines("api-key add", key=OWN) == ["Done"]
    with pytest.raises(Refused, match="already"):
        commands.lines("api-key add", key=OWN)


def test_use() -> None:
    """
    A key is the user name, with an empty password; how it begins is of no use, nor an application without its secret.
    """
    rest = Rest(path="/api/v4/operations")
    assert rest.call("POST", "/add_key", {"key": OWN, "scope": "status"}).status == 200
    assert rest.call("POST", "/list_clients", user=f"{OWN}:").status == 200
    assert rest.call("POST", "/kickout_client", {"clientid": "x"}, user=f"{OWN}:").status == 403
    for user in (f"{OWN[:8]}:", f"{OWN[:-1]}:", f"{OWN}:x", f"{OWN[:8]}:{OWN}"):
        assert rest.call("POST", "/list_clients", user=user).status == 401, user
    assert rest.call("POST", "/list_clients", user=f"{OWN}:").status == 200
    assert rest.call("POST", "/list_clients", user="admin:").status == 401


def test_log() -> None:
    """
    A key that is refused, such as one that has expired, is a secret still: the log has how it begins.
    """
    rest = Rest()
    with capturedLogs() as logged:
        assert rest.call("GET", "/brokers", user=f"{OWN}:").status == 401
    text = "\n".join(formatEvent(event) for event in logged)
    assert f"{OWN[:8]}..." in text and OWN not in text
