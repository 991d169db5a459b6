"""
Packets as text, in the form of VerneMQ (spec/vernemq.md 21, TRC-06), without their secrets.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.base.printable import harmless, printable
from twisted_mqtt.core.packets import (
    NAMES,
    SUBACK,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import nameOf
from twisted_mqtt.monitoring.trace.secrets import MASK, isSecretName, masked

#: Characters of a topic or another name that are shown.
_LONGEST_NAME: Final = 300
#: So many lines of filters and properties are shown.
_MOST_LINES: Final = 50
_INDENT: Final = "    "


def name(text: str | None) -> str:
    """
    A name that a stranger has chosen.
    """
    return "" if text is None else printable(masked(text), _LONGEST_NAME)


def packetText(packet: Packet, version: int, most: int) -> str:
    """
    A packet; further lines are indented.

    @param version: of MQTT.
    @param most: bytes of a payload that are shown.
    """
    lines = [f"{NAMES[packet.type]}({_fields(packet, version)})"]
    if isinstance(packet, Publish):
        _addPayload(lines, packet.payload, most)
    elif isinstance(packet, Connect) and packet.will is not None:
        _addWill(lines, packet.will, most)
    elif isinstance(packet, Subscribe):
        lines[0] += " with topics:"
        _addLines(lines, [f'q:{request.qos}, t: "{name(request.topicFilter)}"' for request in packet.requests])
    elif isinstance(packet, Unsubscribe):
        lines[0] += " with topics:"
        _addLines(lines, [f't: "{name(topicFilter)}"' for topicFilter in packet.topicFilters])
    properties: Properties | None = getattr(packet, "properties", None)
    if properties is not None:
        shown = _propertyLines(properties)
        if shown:
            lines.append(f"{_INDENT}with properties:")
            _addLines(lines, shown)
    return "\n".join(lines)


def _fields(packet: Packet, version: int) -> str:
    if isinstance(packet, Connect):
        parts = [f"c: {name(packet.clientID)}", f"v: {packet.version}"]
        if packet.username is not None:
            parts.append(f"u: {name(packet.username)}")
        if packet.password is not None:
            parts.append(f"p: {MASK}")
        return ", ".join([*parts, f"cs: {packet.cleanStart:d}", f"ka: {packet.keepAlive}"])
    if isinstance(packet, Connack):
        return f"sp: {packet.sessionPresent:d}, rc: {_reason(packet.reason, version)}"
    if isinstance(packet, Publish):
        return f'd{packet.dup:d}, q{packet.qos}, r{packet.retain:d}, m{packet.packetID}, "{name(packet.topic)}"'
    if isinstance(packet, Ack):
        return f"m{packet.packetID}, rc: {_reason(packet.reason, version)}" if version == 5 else f"m{packet.packetID}"
    if isinstance(packet, Suback):
        reasons = ",".join(map(str, packet.reasons[:_MOST_LINES]))
        return f"m{packet.packetID}, qt[{reasons}]" if packet.type == SUBACK or reasons else f"m{packet.packetID}"
    if isinstance(packet, Subscribe | Unsubscribe):
        return f"m{packet.packetID}"
    if isinstance(packet, Disconnect | Auth):
        return f"rc: {_reason(packet.reason, version)}" if version == 5 else ""
    return ""


def _reason(reason: int, version: int) -> str:
    return f"{reason}({nameOf(reason)})" if version == 5 else str(reason)


def _addPayload(lines: list[str], payload: bytes, most: int) -> None:
    lines[-1] += f" with payload of {len(payload)} bytes" if not most or not payload else " with payload:"
    if most and payload:
        lines.append(_INDENT + payloadText(payload, most))


def _addWill(lines: list[str], will: Will, most: int) -> None:
    lines[-1] += f" with LWT(wr: {will.retain:d}, wq: {will.qos}, wt: {name(will.topic)})"
    _addPayload(lines, will.payload, most)
    if will.properties is not None and (shown := _propertyLines(will.properties)):
        lines.append(f"{_INDENT}with properties of the LWT:")
        _addLines(lines, shown)


def payloadText(payload: bytes, most: int) -> str:
    """
    The beginning of a payload: as text if it is UTF-8, else in hexadecimal digits.
    """
    part = payload[:most]
    rest = " (truncated)" if len(payload) > most else ""
    try:
        text = part.decode("utf-8")
    except UnicodeDecodeError as error:
        if rest and error.reason == "unexpected end of data":
            # The cut went through a character.
            text = part[: error.start].decode("utf-8")
        else:
            return f"0x{part.hex()}{rest}"
    return masked(harmless(text)).replace("\n", "\\n") + rest


def _propertyLines(properties: Properties) -> list[str]:
    lines = []
    for key, value in properties.asDict().items():
        if key == "userProperties":
            for one, text in properties.userProperties or ():
                lines.append(f"{name(one)}: {MASK if isSecretName(one) else name(text)}")
        elif key == "authData":
            lines.append(f"{key}: {MASK}")
        elif isinstance(value, bytes):
            lines.append(f"{key}: {payloadText(value, 64)}")
        else:
            lines.append(f"{key}: {name(value) if isinstance(value, str) else value}")
    return lines


def _addLines(lines: list[str], more: list[str]) -> None:
    lines += [f"{_INDENT}{line}" for line in more[:_MOST_LINES]]
    if len(more) > _MOST_LINES:
        lines.append(f"{_INDENT}... and {len(more) - _MOST_LINES} more")
