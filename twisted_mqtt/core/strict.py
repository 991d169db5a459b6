"""
Strict mode: refuses also characters that strings should not contain (1.5.4).
"""

from __future__ import annotations

import re
from typing import Final

from twisted_mqtt.core.packets import Connect, Packet, Subscribe, Unsubscribe
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import MALFORMED_PACKET, ProtocolError

# Control characters, and code points that are no characters: U+FDD0 to U+FDEF, and the last two of each plane.
_DISALLOWED: Final = re.compile(
    "[\x01-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join([chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)])
    + "]"
)


def checkText(text: str) -> None:
    """
    Check a string.

    @raise ProtocolError: it has a character that it should not have.
    """
    if _DISALLOWED.search(text) is not None:
        raise ProtocolError(MALFORMED_PACKET, "a string has a control character or what is no character")


def checkProperties(properties: Properties | None) -> None:
    """
    Check the strings among properties.

    @raise ProtocolError: as L{checkText}.
    """
    if properties is None:
        return
    for value in properties.asDict().values():
        if isinstance(value, str):
            checkText(value)
    for name, value in properties.userProperties or ():
        checkText(name)
        checkText(value)


def checkPacket(packet: Packet) -> None:
    """
    Check the strings of a packet, but for those of a PUBLISH.

    @raise ProtocolError: as L{checkText}.
    """
    if isinstance(packet, Connect):
        checkText(packet.clientID)
        checkText(packet.username or "")
        checkProperties(packet.properties)
        if packet.will is not None:
            checkText(packet.will.topic)
            checkProperties(packet.will.properties)
    elif isinstance(packet, Subscribe):
        for request in packet.requests:
            checkText(request.topicFilter)
        checkProperties(packet.properties)
    elif isinstance(packet, Unsubscribe):
        for topicFilter in packet.topicFilters:
            checkText(topicFilter)
        checkProperties(packet.properties)
    else:
        checkProperties(getattr(packet, "properties", None))
