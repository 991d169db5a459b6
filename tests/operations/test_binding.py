"""
Tests for L{twisted_mqtt.operations.binding}.
"""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta, Struct

from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.operation import Refused

LONG = "{}: a whole number has at most 64 bits, with its sign"


class Request(Struct, kw_only=True):
    topic: str
    qos: Annotated[int, Meta(ge=0, le=2)] = 0
    retain: bool = False
    size: int = 0
    more: dict[str, object] = {}
    tags: Annotated[tuple[str, ...], Meta(description="Tags")] = ()


def test_texts() -> None:
    """
    Words of a path, query or command line become what the fields are; a body goes before them.
    """
    found = bind(Request, {"topic": "a", "qos": "2", "retain": "true", "tags": "a,b", "others": "x"}, {})
    assert found == Request(topic="a", qos=2, retain=True, tags=("a", "b"))
    assert bind(Request, {"topic": ["a", "b"], "tags": ["a", "b"]}, {"qos": 1}) == Request(
        topic="b", qos=1, tags=("a", "b")
    )


@pytest.mark.parametrize(
    ("texts", "values", "code", "says"),
    [
        ({}, {}, 107, "topic: this parameter is required"),
        ({"topic": "a", "qos": "7"}, {}, 108, "qos: expected a whole number <= 2 ('7')"),
        ({"topic": "a", "qos": "x"}, {}, 108, "qos: expected a whole number ('x')"),
        ({"topic": "a", "retain": "maybe"}, {}, 108, "retain: expected true or false ('maybe')"),
        ({}, {"topic": 3}, 108, "topic: expected a text, got a whole number"),
        ({}, {"topic": None}, 108, "topic: expected a text, got null"),
        ({"topic": "a"}, {"qos": True}, 108, "qos: expected a whole number, got true or false"),
        (
            {"topic": "a", "size": "9223372036854775808"},
            {},
            108,
            "size: a whole number has at most 64 bits, with its sign",
        ),
        ({"topic": "a"}, {"size": -(1 << 63) - 1}, 108, LONG.format("size")),
        ({"topic": "a"}, {"more": {"a": [10**400]}}, 108, LONG.format("more")),
        ({"topic": "a"}, {"tags": [1]}, 108, "tags[0]: expected a text, got a whole number"),
    ],
)
def test_refused(texts: dict[str, str], values: dict[str, object], code: int, says: str) -> None:
    """
    An error names its field.
    """
    with pytest.raises(Refused) as refused:
        bind(Request, texts, values)
    assert (refused.value.code, str(refused.value)) == (code, says)
