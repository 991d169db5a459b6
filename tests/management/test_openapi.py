"""
Tests for L{twisted_mqtt.management.rest.openapi}.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.document import FILE, document


def references(part: Any) -> set[str]:
    """
    All C{$ref} in a document.
    """
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(references(value) for value in part.values()))
    return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()


def test_document() -> None:
    """
    Every call of the index is in the document, once, and what it refers to is there.
    """
    rest = Rest()
    answer = rest.call("GET", "/openapi.json", user=None)
    assert answer.status == 200
    found = answer.json
    assert found["openapi"].startswith("3.1")
    calls = [(method, path) for path, methods in found["paths"].items() for method in methods]
    index = rest.call("GET", "/").data
    assert len(calls) == len(index) + 1
    names = [call["operationId"] for methods in found["paths"].values() for call in methods.values()]
    assert sorted(names) == sorted([*(row["name"] for row in index), "list_calls"])
    for reference in references(found):
        part: Any = found
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_isThere(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Some seconds after the start the document is made: who asks for it needs no thread, whose work would hold up others.
    """
    rest = Rest()
    rest.memory.wait(3.0)
    monkeypatch.setattr(rest.memory.broker, "threads", None)
    assert rest.call("GET", "/openapi.json", user=None).status == 200


def test_parameters() -> None:
    """
    Path, query and body each have their parameters, with what they mean.
    """
    paths = Rest().call("GET", "/openapi.json").json["paths"]
    client = paths["/clients/{clientid}"]["delete"]
    assert [(one["name"], one["in"], one["required"]) for one in client["parameters"]] == [
        ("clientid", "path", True),
        ("node", "query", False),
    ]
    listed = {one["name"] for one in paths["/clients/"]["get"]["parameters"]}
    assert {"_page", "_limit", "username", "conn_state"} <= listed
    body = paths["/banned/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == {"who", "as"}


def test_reference() -> None:
    """
    docs/management.md is what the operations say now; C{make docs} writes it again.
    """
    assert FILE.read_text(encoding="utf-8") == document()
