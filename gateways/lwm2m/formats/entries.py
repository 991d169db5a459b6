"""
The content of a payload: values, each with its path in the device.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.values import Value
from gateways.lwm2m.objects.paths import Path

# Most values in one payload. A Device object with everything has some forty.
MOST: Final = 10_000

# In seconds. Further than this from any other time there is none.
_LATEST: Final = 1e15


class ResourceValue(NamedTuple):
    """
    A value.

    @ivar path: of the resource (three segments) or the resource instance (four).
    @ivar type: see L{gateways.lwm2m.formats.values}.
    @ivar time: when it was that, in seconds as the device says it: since 1970, or for numbers below 2**28 from now
        (RFC 8428 4.5.3); L{None} where it says nothing.
    """

    path: Path
    type: str
    value: Value
    time: float | None = None


def countEntries(count: int) -> None:
    """
    @raise ContentError: these are more than one payload may have.
    """
    if count > MOST:
        raise ContentError(f"more than {MOST} values")


def timeOf(base: int | float | None, time: int | float | None) -> int | float | None:
    """
    The time of a value, by what is said for all of a payload and for this one.

    @raise ContentError: it is not a possible time.
    """
    if base is None and time is None:
        return None
    for each in (base or 0, time or 0):
        if not abs(each) <= _LATEST:
            raise ContentError("a time out of range")
    return (base or 0) + (time or 0)


def fewRecords(payload: bytes) -> None:
    """
    Look at JSON before it is decoded, so that many small records are not made first.

    @raise ContentError: there are more records than one payload may have.
    """
    countEntries(payload.count(b"{") - 1)
