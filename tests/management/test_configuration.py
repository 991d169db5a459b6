"""
Tests for L{twisted_mqtt.management.builtin.configuration}.
"""

from __future__ import annotations

import pytest

from tests.kits.rest import Rest

KEY = "zone.external.max_inflight"


@pytest.mark.shows("show_config", "set_config", "reset_config")
def test_change() -> None:
    """
    A key is shown, changed, and taken back.
    """
    rest = Rest()
    (row,) = rest.call("GET", f"/settings?key={KEY}").data
    assert (row["key"], row["value"], row["default"], row["effective"]) == (KEY, "32", "32", "next connection")
    assert rest.call("PUT", f"/settings/{KEY}", {"value": "64", "once": True}).status == 200
    (row,) = rest.call("GET", f"/settings?key={KEY}").data
    assert row["value"] == "64"
    assert [row["key"] for row in rest.call("GET", "/settings?changed=true&key=zone.external").data] == [KEY]
    assert rest.call("DELETE", f"/settings/{KEY}").status == 200
    (row,) = rest.call("GET", f"/settings?key={KEY}").data
    assert row["value"] == "32"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("PUT", f"/settings/{KEY}", {"value": "many"}, 400, KEY),
        ("PUT", f"/settings/{KEY}x", {"value": "1"}, 400, KEY),
        ("PUT", f"/settings/{KEY}", {}, 400, "value"),
        # No key, although the words in it are those of one.
        ("PUT", f"/settings/{KEY}%C3%91", {"value": "64"}, 400, f"{KEY}Ñ"),
        ("PUT", "/settings/zone..external.max_inflight", {"value": "64"}, 400, "is no key"),
        ("PUT", "/settings/%C3%91", {"value": "64"}, 400, "is no key"),
        ("DELETE", f"/settings/{KEY}%2F", None, 400, "is no key"),
        ("POST", "/configuration", {"data": {"": "1"}}, 400, "is no key"),
        ("GET", "/settings?key=zone.external.max_inflght", None, 404, KEY),
        ("DELETE", f"/settings/{KEY}x", None, 400, KEY),
        ("POST", "/configuration", {"data": {KEY: "1", "nothing": "2"}}, 400, "nothing"),
        ("POST", "/configuration", {"data": 1}, 400, "data"),
    ],
)
def test_wrong(method: str, path: str, body: object, status: int, says: str) -> None:
    """
    What does not pass is refused, with the key named; nothing has changed.
    """
    rest = Rest()
    answer = rest.call(method, path, body)
    assert answer.status == status, answer
    assert says in answer.json["message"]
    (row,) = rest.call("GET", f"/settings?key={KEY}").data
    assert row["value"] == "32"


@pytest.mark.shows("get_broker_configuration")
def test_secrets() -> None:
    """
    No secret is shown.
    """
    rest = Rest()
    shown = rest.call("GET", "/configuration").data
    assert shown[KEY] == "32"
    assert shown["management.application.default_secret"] == "***"
