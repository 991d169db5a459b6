"""
Payloads of all content formats, and which of them a device is spoken to in (LwM2M 1.1.1 core 7.4). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gateways.lwm2m.entries import Entry
from gateways.lwm2m.links import Listing
from gateways.lwm2m.models import Models
from gateways.lwm2m.paths import Path

TEXT: Final = 0
LINKS: Final = 40
OPAQUE: Final = 42
SENML_JSON: Final = 110
SENML_CBOR: Final = 112
TLV: Final = 11542
OMA_JSON: Final = 11543
# What devices used before numbers were assigned; understood, never written.
OLD_TEXT: Final = 1541
OLD_TLV: Final = 1542
OLD_OMA_JSON: Final = 1543


class Dialect(NamedTuple):
    """
    How a device is spoken with.

    @ivar models: with the versions of objects that it has told.
    @ivar prefix: its alternate path, or nothing.
    @ivar writes: the content format of what is written.
    @ivar composites: that of what is about several paths at once; L{None} where it has no such operations (LwM2M 1.0).
    """

    models: Models
    prefix: str = ""
    writes: int = TLV
    composites: int | None = None


def dialectOf(version: str, listing: Listing, models: Models) -> Dialect:
    """
    How to speak with a device.

    @param version: of LwM2M, as it registered: C{"1.0"}, C{"1.1"}.
    """
    raise NotImplementedError


def decode(contentFormat: int | None, payload: bytes, base: Path, dialect: Dialect) -> list[Entry]:
    """
    The values that a payload holds.

    @param contentFormat: L{None} where the message does not say: text/plain (spec 5.6).
    @param base: the path of the request that it answers; empty for the device as a whole (composites, send).

    @raise ContentError: the format is not known, or it is not in that format, or holds what is not below C{base}.
    """
    raise NotImplementedError


def encode(contentFormat: int, base: Path, entries: Sequence[Entry], prefix: str = "") -> bytes:
    """
    Values as a payload of a request to C{base}.

    @raise ContentError: this format can't say this.
    """
    raise NotImplementedError


def encodePaths(contentFormat: int, paths: Sequence[Path], prefix: str = "") -> bytes:
    """
    Paths without values, for a FETCH: SenML alone.
    """
    raise NotImplementedError
