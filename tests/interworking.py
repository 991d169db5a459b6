"""
The parts of a message that each protocol can send and receive: C{tests/system/test_interworking.py} tries them, and
C{python -m tests.interworking} writes the tables about them in C{docs/gateways.md}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "gateways.md"

_BEGIN: Final = "<!-- Written by `python -m tests.interworking` up to the end mark; a test fails when it is stale. -->"
_END: Final = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Way:
    """
    How a protocol says something of a message, and how it hears of it.

    @ivar said: how a client says it when it publishes; empty if it can't.
    @ivar heard: how it is told when it receives; empty if it is not.
    """

    said: str = ""
    heard: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """
    One protocol.

    @ivar qos: at all, which QoS a message is published with.
    @ivar unnamed: the content type that a receiver is told where the publisher has said none.
    """

    qos: Way
    retain: Way
    contentType: Way
    properties: Way
    expiry: Way
    unnamed: str | None = None


_MQTT5: Final = Protocol(
    qos=Way("QoS", "QoS"),
    retain=Way("RETAIN", "RETAIN"),
    contentType=Way("Content Type", "Content Type"),
    properties=Way("User Property", "User Property"),
    expiry=Way("Message Expiry Interval", "what is left of it"),
)

PROTOCOLS: Final[dict[str, Protocol]] = {
    "MQTT 3.1.1": Protocol(Way("QoS", "QoS"), Way("RETAIN", "RETAIN"), Way(), Way(), Way()),
    "MQTT 5": _MQTT5,
    "WebSocket": _MQTT5,
    "STOMP": Protocol(
        qos=Way("`qos`, `persistent`", "`qos`: as published"),
        retain=Way("`retain:true`", "`retain:true`"),
        contentType=Way("`content-type`", "`content-type`"),
        properties=Way("other headers", "other headers"),
        expiry=Way("`expires`", "`expires`"),
        unnamed="application/octet-stream",
    ),
    "MQTT-SN": Protocol(Way("QoS", "QoS"), Way("Retain", "Retain"), Way(), Way(), Way()),
    "CoAP": Protocol(
        qos=Way("`qos=` in the query", "confirmable, if not 0"),
        retain=Way("`retain=1` in the query", "the answer to the GET"),
        contentType=Way("Content-Format", "Content-Format, below `/ps`"),
        properties=Way(),
        expiry=Way("Max-Age", "Max-Age"),
        unnamed="application/octet-stream",
    ),
}

# The names of the rows, and in the second table the words for the parts that get through.
_ROWS: Final = {
    "qos": "QoS",
    "retain": "retained",
    "contentType": "content type",
    "properties": "user properties",
    "expiry": "expiry",
}


def carried(what: str, sender: str, receiver: str) -> bool:
    """
    Whether something that the sender says of a message reaches the receiver.

    @param what: the name of a field of L{Protocol}.
    """
    said: Way = getattr(PROTOCOLS[sender], what)
    heard: Way = getattr(PROTOCOLS[receiver], what)
    return bool(said.said and heard.heard)


def render() -> str:
    """
    The tables, with their marks.
    """
    return "\n".join([_BEGIN, *_lines(), _END])


def _lines() -> Iterator[str]:
    yield ""
    yield "How a client states each of these when it publishes a message (→), and sees it when it receives one (←):"
    yield ""
    yield f"| | {' | '.join(PROTOCOLS)} |"
    yield "|---" * (len(PROTOCOLS) + 1) + "|"
    for field, title in _ROWS.items():
        cells = [_cell(getattr(protocol, field)) for protocol in PROTOCOLS.values()]
        yield f"| {title} | {' | '.join(cells)} |"
    yield ""
    yield "Besides topic and payload, these get through from the protocol of the row to the protocol of the column:"
    yield ""
    yield f"| from, to | {' | '.join(PROTOCOLS)} |"
    yield "|---" * (len(PROTOCOLS) + 1) + "|"
    for sender in PROTOCOLS:
        cells = [_through(sender, receiver) for receiver in PROTOCOLS]
        yield f"| {sender} | {' | '.join(cells)} |"
    yield ""


def _cell(way: Way) -> str:
    if way.said == way.heard:
        return f"↔ {way.said}" if way.said else "-"
    return "; ".join(f"{arrow} {text}" for arrow, text in (("→", way.said), ("←", way.heard)) if text)


def _through(sender: str, receiver: str) -> str:
    through = [title for field, title in _ROWS.items() if carried(field, sender, receiver)]
    return "everything" if len(through) == len(_ROWS) else ", ".join(through)


def written(document: str) -> str:
    """
    A document with the tables in it as they should be.
    """
    before, _, rest = document.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + render() + after


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text("utf-8")), "utf-8")
