"""
Reads JSON from outside: it returns the expected type, or raises one kind of error. Pure.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

from gateways.lwm2m.errors import ContentError

Scalar: TypeAlias = str | int | float | bool | None

_T = TypeVar("_T")


def decodeJSON(decoder: msgspec.json.Decoder[_T], payload: bytes) -> _T:
    """
    @param decoder: of what is asked for.

    @raise ContentError: it is no JSON, or something else.
    """
    try:
        return decoder.decode(payload)
    except UnicodeDecodeError as error:
        raise ContentError("not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ContentError(str(error)) from error
