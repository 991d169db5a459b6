"""
Negotiation with a client: its versions, and the headers that each command needs.
"""

from __future__ import annotations

from gateways.stomp.frame import V10, VERSIONS, Frame, StompError


def negotiated(accepted: str | None) -> int:
    """
    The highest version that both speak; without an C{accept-version}, 1.0.

    @raise StompError: there is none.
    """
    if accepted is None:
        return V10
    common = [VERSIONS[text] for word in accepted.split(",") if (text := word.strip()) in VERSIONS]
    if not common:
        raise StompError("unsupported version", f"supported versions are {' '.join(VERSIONS)}")
    return max(common)


def needed(headers: dict[str, str], name: str, frame: Frame) -> str:
    """
    A header that a frame must have.

    @raise StompError: it has not.
    """
    value = headers.get(name)
    if not value:
        raise StompError("missing header", f"{frame.command} needs {name}")
    return value
