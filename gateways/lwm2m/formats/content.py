"""
Payloads of all content formats, and the choice of a format for each device (LwM2M 1.1.1 core 7.4). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from gateways.cbor import CBORError, CBORReader, encodeScalar
from gateways.coap.options import LINK_FORMAT, OCTET_STREAM, TEXT_PLAIN
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.omajson import decodeOMAJSON, encodeOMAJSON
from gateways.lwm2m.formats.senml import (
    decodeSenMLCBOR,
    decodeSenMLJSON,
    encodePathsCBOR,
    encodePathsJSON,
    encodeSenMLCBOR,
    encodeSenMLJSON,
)
from gateways.lwm2m.formats.tlv import decodeTLV, encodeTLV
from gateways.lwm2m.formats.values import OPAQUE, STRING, ObjectLink, fromJSON, fromText, linkText, toText
from gateways.lwm2m.links import Listing
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import Path, observedPath, pathText

TEXT: Final = TEXT_PLAIN
LINKS: Final = LINK_FORMAT
BYTES: Final = OCTET_STREAM
CBOR: Final = 60
SENML_JSON: Final = 110
SENML_CBOR: Final = 112
TLV: Final = 11542
OMA_JSON: Final = 11543
# Devices used these before numbers were assigned. They are understood, never written.
OLD_TEXT: Final = 1541
OLD_TLV: Final = 1542
OLD_OMA_JSON: Final = 1543
OLD_BYTES: Final = 1544


class Dialect(NamedTuple):
    """
    How a device is spoken with.

    @ivar models: with the versions of objects that it has told.
    @ivar prefix: its alternate path, or nothing.
    @ivar writes: the content formats of what is written, the best first.
    @ivar single: those of single values only, where the device has told no other; before all of these.
    @ivar composites: those of what is about several paths at once; none where it has no such operations (LwM2M 1.0).
    """

    models: Models
    prefix: str = ""
    writes: tuple[int, ...] = (TLV,)
    single: tuple[int, ...] = ()
    composites: tuple[int, ...] = ()


# TLV goes before others where a device has told that it has several: what it can say is what an object can be.
_WRITTEN: Final = (TLV, SENML_CBOR, SENML_JSON, OMA_JSON)
_WRITTEN_SINGLE: Final = (CBOR, TEXT, BYTES)
_COMPOSITES: Final = (SENML_CBOR, SENML_JSON)


def dialectOf(version: str, listing: Listing, models: Models) -> Dialect:
    """
    How to speak with a device.

    @param version: of LwM2M, as it registered: C{"1.0"}, C{"1.1"}; nothing where it has not told one.
    """
    formats = listing.formats
    is10 = version in ("", "1", "1.0")
    # Formats that it has not told come last: some devices tell only some, or none.
    usual = (TLV, OMA_JSON) if is10 else (TLV, SENML_JSON, SENML_CBOR)
    told = [each for each in _WRITTEN if each in formats]
    single = () if told else tuple(each for each in _WRITTEN_SINGLE if each in formats)
    composites: tuple[int, ...] = ()
    if not is10:
        first = [each for each in _COMPOSITES if each in formats] or [SENML_JSON]
        composites = tuple(dict.fromkeys((*first, *_COMPOSITES)))
    writes = tuple(dict.fromkeys((*told, *usual)))
    return Dialect(models.choose(listing.versions), listing.prefix, writes, single, composites)


def writtenFormats(dialect: Dialect, path: Path, entries: Sequence[ResourceValue]) -> tuple[int, ...]:
    """
    The content formats in which values can be written to a path of a device, the best first.
    """
    if len(path) < 3 or len(entries) != 1 or entries[0].path != path:
        return dialect.writes
    rightOnes = (CBOR, BYTES) if entries[0].type == OPAQUE else (CBOR, TEXT)
    single = [each for each in dialect.single if each in rightOnes]
    return tuple(dict.fromkeys((*single, *dialect.writes, *reversed(rightOnes))))


def decode(contentFormat: int | None, payload: bytes, base: Path, dialect: Dialect) -> list[ResourceValue]:
    """
    The values that a payload holds.

    @param contentFormat: L{None} where the message does not say: text/plain (spec 5.6).
    @param base: the path of the request that it answers; empty for the device as a whole (composites, Send).

    @raise ContentError: the format is not known, or it is not in that format, or holds what is not below C{base}.
    """
    if contentFormat is None:
        if not payload and len(base) < 3:  # an instance without a resource
            return []
        contentFormat = TEXT
    decoder = _DECODERS.get(contentFormat)
    if decoder is not None:
        return decoder(payload, base, dialect)
    if contentFormat not in _SINGLE:
        raise ContentError(f"content format {contentFormat}")
    if len(base) < 3 and base and contentFormat in (BYTES, OLD_BYTES):
        # Bytes that a device has for an object or an instance as a whole: in a format of its own, or those of its only
        # resource.
        return [ResourceValue(observedPath(base), OPAQUE, payload)]
    if len(base) < 3:
        raise ContentError(f"content format {contentFormat} is for one value, not for {pathText(base)}")
    type = dialect.models.typeOf(base)
    try:
        if contentFormat in (BYTES, OLD_BYTES):
            return [ResourceValue(base, OPAQUE, payload)]
        if contentFormat == CBOR:
            return [_fromCBOR(payload, base, type)]
        return [ResourceValue(base, type or STRING, fromText(type or STRING, payload))]
    except (ContentError, CBORError) as error:
        raise ContentError(f"{pathText(base)}: {error}") from error


_SINGLE: Final = (TEXT, OLD_TEXT, BYTES, OLD_BYTES, CBOR)

_Decoder: TypeAlias = Callable[[bytes, Path, Dialect], list[ResourceValue]]


def _withPrefix(decoder: Callable[[bytes, Path, Models, str], list[ResourceValue]]) -> _Decoder:
    return lambda payload, base, dialect: decoder(payload, base, dialect.models, dialect.prefix)


def _fromTLV(payload: bytes, base: Path, dialect: Dialect) -> list[ResourceValue]:
    return decodeTLV(payload, base, dialect.models)


_DECODERS: Final[dict[int, _Decoder]] = {
    TLV: _fromTLV,
    OLD_TLV: _fromTLV,
    OMA_JSON: _withPrefix(decodeOMAJSON),
    OLD_OMA_JSON: _withPrefix(decodeOMAJSON),
    SENML_JSON: _withPrefix(decodeSenMLJSON),
    SENML_CBOR: _withPrefix(decodeSenMLCBOR),
}


def _fromCBOR(payload: bytes, path: Path, type: str) -> ResourceValue:
    """
    One value alone (LwM2M 1.1.1 core 7.4.3).
    """
    reader = CBORReader(payload)
    value = reader.scalar()
    if not reader.atEnd:
        raise ContentError("something after the value")
    if isinstance(value, bytes):
        if type not in (OPAQUE, ""):
            raise ContentError(f"bytes where {type} is wanted")
        return ResourceValue(path, OPAQUE, value)
    if type == OPAQUE:
        raise ContentError("no bytes")
    return ResourceValue(path, type or STRING, fromJSON(type or STRING, value))


def encode(contentFormat: int, base: Path, entries: Sequence[ResourceValue], prefix: str = "") -> bytes:
    """
    Values as a payload of a request to C{base}.

    @raise ContentError: this format can't say this.
    """
    if contentFormat == TLV:
        return encodeTLV(base, entries)
    if contentFormat == SENML_CBOR:
        return encodeSenMLCBOR(base, entries, prefix)
    if contentFormat == SENML_JSON:
        return encodeSenMLJSON(base, entries, prefix)
    if contentFormat == OMA_JSON:
        return encodeOMAJSON(base, entries, prefix)
    if len(entries) == 1 and entries[0].path == base:
        (_, type, value, _) = entries[0]
        if contentFormat == TEXT:
            return toText(type, value)
        if contentFormat == BYTES and isinstance(value, bytes):
            return value
        if contentFormat == CBOR:
            return encodeScalar(linkText(value) if isinstance(value, ObjectLink) else value)
    raise ContentError(f"content format {contentFormat} for {len(entries)} values")


def encodePaths(contentFormat: int, paths: Sequence[Path], prefix: str = "") -> bytes:
    """
    Paths without values, for a FETCH: SenML alone.
    """
    return (encodePathsCBOR if contentFormat == SENML_CBOR else encodePathsJSON)(paths, prefix)
