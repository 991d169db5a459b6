"""
Tests for L{twisted_mqtt.core.strict}.
"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.core.packets import (
    AUTH,
    Auth,
    Connect,
    Disconnect,
    Packet,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import ProtocolError
from twisted_mqtt.core.strict import checkPacket, checkText

BAD = "a\x9fb"


def isBad(character: str) -> bool:
    """
    The rule of MQTT 5.0 1.5.4, by Unicode's own tables: U+0000 was refused before.
    """
    code = ord(character)
    noCharacter = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return noCharacter or (unicodedata.category(character) == "Cc" and code != 0)


@given(st.characters(exclude_categories=["Cs"]))
def test_characters(character: str) -> None:
    """
    Control characters and what is no character are refused, and no others.
    """
    if isBad(character):
        with pytest.raises(ProtocolError):
            checkText(f"a/{character}")
    else:
        checkText(f"a/{character}")


@pytest.mark.parametrize("code", [1, 0x1F, 0x7F, 0x9F, 0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF])
def test_edges(code: int) -> None:
    """
    The first and last of each range are refused, their neighbours are not.
    """
    with pytest.raises(ProtocolError):
        checkText(chr(code))
    checkText("".join(map(chr, (0x20, 0x7E, 0xA0, 0xFDCF, 0xFDF0, 0xFFFD, 0x1FFFD))))


def properties(**values: object) -> Properties:
    """
    Properties of these values.
    """
    made = Properties()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def connect(clientID: str = "a", username: str | None = None, will: Will | None = None) -> Connect:
    """
    A CONNECT.
    """
    return Connect("MQTT", 5, clientID, True, 0, username, None, will, None, False)


PACKETS: list[Packet] = [
    connect(BAD),
    connect(username=BAD),
    connect(will=Will(BAD, b"", 0, False, None)),
    connect(will=Will("t", b"", 0, False, properties(contentType=BAD))),
    Subscribe(1, [SubscriptionRequest("a", 0, False, False, 0), SubscriptionRequest(BAD, 0, False, False, 0)], None),
    Subscribe(1, [SubscriptionRequest("a", 0, False, False, 0)], properties(userProperties=[("k", "v"), (BAD, "v")])),
    Unsubscribe(1, ["a", BAD], None),
    Disconnect(0, properties(reasonString=BAD)),
    Auth(0, properties(userProperties=[("k", BAD)])),
]


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_packets(packet: Packet) -> None:
    """
    Each string of a packet is looked at.
    """
    with pytest.raises(ProtocolError):
        checkPacket(packet)


def test_rest() -> None:
    """
    A packet without such a string passes; binary data may be anything.
    """
    checkPacket(connect(will=Will("t", b"\x01", 0, False, properties(correlationData=b"\x01"))))
    checkPacket(Unsubscribe(1, ["a/+"], None))
    assert Auth(0, None).type == AUTH
    checkPacket(Auth(0, None))
