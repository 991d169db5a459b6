"""
Tests for L{twisted_mqtt.management.browsing}.
"""

from __future__ import annotations

import re

import pytest

from tests.kits.rest import Rest


@pytest.mark.parametrize("name", ["", "page.css", "page.js"])
def test_offline(name: str) -> None:
    """
    The page needs nobody but the broker, and may not ask anybody else.
    """
    answer = Rest(path="/api-docs").call("GET", f"/{name}", user=None)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert re.findall(r"(?:https?:)?//[a-z]", answer.body.decode()) == []
    if not name:
        for asked in re.findall(r'(?:src|href)="([^"]+)"', answer.body.decode()):
            assert asked.startswith("data:") or Rest(path="/api-docs").call("GET", f"/{asked}").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("GET", "/../page.js", 404), ("POST", "/", 405)]
)
def test_nothingElse(method: str, path: str, status: int) -> None:
    """
    There is nothing but the page.
    """
    answer = Rest(path="/api-docs").call(method, path, user=None)
    assert (answer.status, answer.json["code"]) == (status, status)


def test_folder() -> None:
    """
    Without the slash at the end, a browser is sent to where the names of files hold.
    """
    answer = Rest(path="/api-docs").call("GET", "", user=None)
    assert (answer.status, answer.headers["location"]) == (308, "api-docs/")
