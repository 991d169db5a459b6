"""
The dialects of REST: C{emqx} and C{nanomq} have the fields of their own documents, C{union} those of both
(spec/rest-api.md 7).

A structure of an answer whose fields differ says so::

    class Row(Struct):
        dialects: ClassVar[Fields] = {"nanomq": ("version", "uptime")}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

UNION: Final = "union"
EMQX: Final = "emqx"
NANOMQ: Final = "nanomq"
#: That of the command line, with all fields.
COMMAND: Final = "command"
#: Those that a caller of REST may choose.
DIALECTS: Final = (UNION, EMQX, NANOMQ)

#: The names of the fields in each dialect; all of them in one that is not named.
Fields: TypeAlias = Mapping[str, tuple[str, ...]]


def inDialect(value: object, dialect: str) -> object:
    """
    An answer with those fields alone that a dialect has.

    @param value: structures, lists and dictionaries of them, and what JSON has.
    """
    if isinstance(value, Struct):
        known: Fields = getattr(type(value), "dialects", {})
        names = known.get(dialect)
        built: dict[str, object] = msgspec.to_builtins(value)
        attributes = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        return {
            name: inDialect(getattr(value, attributes[name]), dialect)
            for name in built
            if names is None or name in names
        }
    if isinstance(value, list):
        return [inDialect(one, dialect) for one in value]
    if isinstance(value, dict):
        return {name: inDialect(one, dialect) for name, one in value.items()}
    return value
