"""
Tests of copies of messages, and of their times.
"""

from __future__ import annotations

from typing import Any

import pytest

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties


def whole(**properties: Any) -> Message:
    """
    A message in which every field says something.
    """
    found = Properties()
    for name, value in properties.items():
        setattr(found, name, value)
    message = Message("a", b"p", 1, True, found, "client", 100.0, 160.0, True)
    message.username = "joe"
    message.peerHost = "10.0.0.1"
    message.protocol = "stomp"
    message.headers = {"key": "value"}
    return message


FIELDS: dict[str, list[Any]] = {
    "topic": ["b"],
    "payload": [b"", b"q"],
    "qos": [0, 2],
    "retain": [False],
    "properties": [None, Properties()],
    "clientID": ["", "other"],
    "username": [None, "", "jane"],
    "peerHost": [None, "::1"],
    "protocol": ["", "coap"],
    "timestamp": [0.0, 200.0],
    "expiresAt": [0.0, 300.0],
    "system": [False],
    "headers": [None, {}, {"other": 1}],
}


@pytest.mark.parametrize("field, value", [(field, value) for field, values in FIELDS.items() for value in values])
def test_replace(field: str, value: Any) -> None:
    """
    A copy has the field as it was asked for, cleared too, and all others as they were.
    """
    message = whole(contentType="text")
    copy = message.replace(**{field: value})
    for name in FIELDS:
        assert getattr(copy, name) == (value if name == field else getattr(message, name)), name


def test_replaceNothing() -> None:
    """
    Headers are copied: what is changed in the copy's is not changed in the message's.
    """
    message = whole()
    copy = message.replace()
    assert copy.headers is not None
    copy.headers["key"] = "other"
    assert message.headers == {"key": "value"}


def test_expiryCleared() -> None:
    """
    A copy that does not expire does not tell subscribers otherwise; the message's own properties stay.
    """
    message = whole(messageExpiry=60)
    copy = message.replace(expiresAt=0.0)
    assert copy.encodedProperties(None, 100.0) == b"\x00"
    copy.stamp(150.0)
    assert copy.expiresAt == 0.0
    assert message.properties is not None and message.properties.messageExpiry == 60


def test_expiryByProperties() -> None:
    """
    Other properties with a message expiry make it count from the message's time.
    """
    properties = Properties()
    properties.messageExpiry = 10
    assert whole().replace(properties=properties).expiresAt == 110.0
    assert whole().replace(properties=properties, timestamp=200.0).expiresAt == 210.0
    assert whole().replace(properties=properties, expiresAt=300.0).expiresAt == 300.0


def test_stamp() -> None:
    """
    A message that has no time gets one, and its expiry counts from there; what it has stays.
    """
    properties = Properties()
    properties.messageExpiry = 10
    made = Message("a", b"p", properties=properties)
    made.stamp(50.0)
    assert (made.timestamp, made.expiresAt) == (50.0, 60.0)
    made.stamp(70.0)
    assert (made.timestamp, made.expiresAt) == (50.0, 60.0)
