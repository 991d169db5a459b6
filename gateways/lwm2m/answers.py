"""
The JSON that the gateway publishes about a device: answers, acknowledgements, notifications, and events. Pure.

Only L{sent} raises for bytes that a device sent: for the others, an answer that can't be read is a C{bad_request} (spec
5.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gateways.coap.codes import BAD_REQUEST, CONTENT, NAMES, codeText, isSuccess
from gateways.lwm2m.commands import (
    CANCEL_OBSERVE,
    CANCEL_OBSERVE_COMPOSITE,
    COMPOSITES,
    DISCOVER,
    Command,
    CommandError,
)
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import LINKS, SENML_CBOR, SENML_JSON, TEXT, Dialect, decode
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.jsontext import Scalar
from gateways.lwm2m.formats.values import toJSON
from gateways.lwm2m.links import Listing, linkTexts
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import pathText

# Of what a device says about an error (RFC 7252 5.5.2), or we do, in characters.
_LONGEST_REASON: Final = 256


def answered(
    command: Command,
    code: int,
    contentFormat: int | None,
    payload: bytes,
    dialect: Dialect,
    location: Sequence[str] = (),
) -> bytes:
    """
    The answer to a command that a device has answered.

    @param location: the Location-Path options: where a new instance is, if the device has chosen its number.
    """
    return _encoded(command.correlation, _result(command, code, contentFormat, payload, dialect, location))


def failed(command: Command, code: int, reason: str = "") -> bytes:
    """
    The answer to a command that no device has answered: it expired, the device has gone.

    @param code: such as L{gateways.coap.codes.GATEWAY_TIMEOUT}.
    """
    return _encoded(command.correlation, _coded(command.about, code, reason))


def refused(error: CommandError) -> bytes:
    """
    The answer to a command that can't be obeyed: C{bad_request}.
    """
    return _encoded(error.correlation, _coded(error.about, BAD_REQUEST, str(error)))


def acknowledged(command: Command) -> bytes:
    """
    A device has received a command, and will answer.
    """
    about = {"path" if key == "reqPath" else "paths": value for key, value in command.about.items()}
    return _encoded({**command.correlation, "msgType": "ack"}, about)


def notified(
    command: Command, seqNum: int, code: int, contentFormat: int | None, payload: bytes, dialect: Dialect
) -> bytes:
    """
    A notification.

    @param command: that began the observation.
    @param seqNum: the Observe option.
    """
    correlation = {**command.correlation, "msgType": "notify", "seqNum": seqNum}
    return _encoded(correlation, _result(command, code, contentFormat, payload, dialect))


def registered(endpoint: str, lifetime: int, version: str, options: Mapping[str, str], listing: Listing) -> bytes:
    """
    A device has registered.

    @param version: of LwM2M, or nothing where it has not told one.
    @param options: the other options of its query, in their order: C{b}, C{sms}, and any of its own.
    """
    return _event("register", endpoint, lifetime, version, options, listing)


def updated(endpoint: str, lifetime: int, version: str, options: Mapping[str, str], listing: Listing) -> bytes:
    """
    A device has told a new list of objects.
    """
    return _event("update", endpoint, lifetime, version, options, listing)


def sent(contentFormat: int | None, payload: bytes, dialect: Dialect) -> bytes:
    """
    A device has told values of itself (POST /dp, LwM2M 1.1.1 core 6.4.6).

    @raise ContentError: it can't be read; the device is to be told 4.00.
    """
    if contentFormat not in (SENML_JSON, SENML_CBOR):
        raise ContentError("Send: neither SenML JSON nor SenML CBOR")
    entries = decode(contentFormat, payload, (), dialect)
    return _encoded({"msgType": "send"}, {"content": _content(entries, dialect.models)})


def _event(
    type: str, endpoint: str, lifetime: int, version: str, options: Mapping[str, str], listing: Listing
) -> bytes:
    data: dict[str, object] = {"ep": endpoint, "lt": lifetime}
    if version:
        data["lwm2m"] = version
    told = {**data, "alternatePath": listing.alternatePath, "objectList": listing.objectList}
    # A device may call an option what it likes, but not say something else by it.
    return _encoded({"msgType": type}, {**data, **options, **told})


def _result(
    command: Command,
    code: int,
    contentFormat: int | None,
    payload: bytes,
    dialect: Dialect,
    location: Sequence[str] = (),
) -> dict[str, object]:
    """
    The data of an answer.
    """
    if not isSuccess(code):
        return _coded(command.about, code, _diagnostic(contentFormat, payload))
    result = _coded(command.about, code)
    try:
        if code == CONTENT:
            result["content"] = _read(command, contentFormat, payload, dialect)
    except ContentError as error:
        return _coded(command.about, BAD_REQUEST, str(error))
    if location:
        result["location"] = "/" + "/".join(location)
    return result


def _read(command: Command, contentFormat: int | None, payload: bytes, dialect: Dialect) -> list[object]:
    """
    The content of an answer.

    @raise ContentError: it can't be read.
    """
    if not payload and command.type in (CANCEL_OBSERVE, CANCEL_OBSERVE_COMPOSITE):
        return []  # some devices end an observation without a last word
    if command.type == DISCOVER:
        if contentFormat not in (LINKS, None):
            raise ContentError(f"content format {contentFormat} where links are wanted")
        return list(linkTexts(payload, dialect.prefix))
    base = () if command.type in COMPOSITES else command.paths[0]
    return _content(decode(contentFormat, payload, base, dialect), dialect.models)


def _content(entries: Iterable[ResourceValue], models: Models) -> list[object]:
    content: list[object] = []
    for path, type, value, time in entries:
        model = models.resource(path)
        element = {
            "path": pathText(path),
            "value": toJSON(type, value),
            "name": "" if model is None else model.name,
            "type": type,
        }
        if time is not None:
            element["time"] = time
        content.append(element)
    return content


def _coded(about: Mapping[str, object], code: int, reason: str = "") -> dict[str, object]:
    """
    The data of an answer without content (spec 5.7).
    """
    name = NAMES.get(code, "unknown").lower().replace(" ", "_").replace("-", "_")
    result: dict[str, object] = {**about, "code": codeText(code), "codeMsg": name}
    if reason:
        result["reason"] = reason[:_LONGEST_REASON]
    return result


def _diagnostic(contentFormat: int | None, payload: bytes) -> str:
    """
    The device's text about an error, if it is text.
    """
    if contentFormat not in (TEXT, None):
        return ""
    return payload[: 4 * _LONGEST_REASON].decode("utf-8", "replace")


def _encoded(correlation: Mapping[str, Scalar], data: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({**correlation, "data": data})
