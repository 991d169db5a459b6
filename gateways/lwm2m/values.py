"""
The values of resources (LwM2M 1.1.1 core, appendix C): what each is in Python, in JSON, as text and in bytes. Pure.

In Python a String or CoreLink is C{str}, an Integer, Unsigned Integer or Time is C{int}, a Float is C{float}, a Boolean
is C{bool}, an Opaque is C{bytes} and an Objlnk is an L{ObjectLink}.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

STRING: Final = "String"
INTEGER: Final = "Integer"
UNSIGNED: Final = "Unsigned Integer"
FLOAT: Final = "Float"
BOOLEAN: Final = "Boolean"
OPAQUE: Final = "Opaque"
TIME: Final = "Time"
OBJLNK: Final = "Objlnk"
CORELINK: Final = "CoreLink"


class ObjectLink(NamedTuple):
    """
    A reference to an instance of an object; 65535 twice for none.
    """

    object: int
    instance: int


Value: TypeAlias = str | int | float | bool | bytes | ObjectLink
JSON: TypeAlias = str | int | float | bool


def typeNamed(name: str) -> str:
    """
    The type of a name as definitions and commands have it, however it is capitalized.

    @raise ContentError: there is none.
    """
    raise NotImplementedError


def fromJSON(type: str, value: object, encoding: str = "plain") -> Value:
    """
    The value that a command gives. Numbers and booleans may be texts; an Opaque is base64.

    @param encoding: C{"hex"} where the value is a text of hexadecimal digits, the bytes of L{toBytes}.

    @raise ContentError: it is none of that type.
    """
    raise NotImplementedError


def toJSON(type: str, value: Value) -> JSON:
    """
    A value for an answer. Floats that JSON has no number for are C{"NaN"}, C{"Infinity"} and C{"-Infinity"}.
    """
    raise NotImplementedError


def fromText(type: str, data: bytes) -> Value:
    """
    The value of a payload of content format 0.

    @raise ContentError: it is none of that type.
    """
    raise NotImplementedError


def toText(type: str, value: Value) -> bytes:
    """
    A value as a payload of content format 0.
    """
    raise NotImplementedError


def fromBytes(type: str, data: bytes) -> Value:
    """
    The value of a TLV.

    @raise ContentError: it is none of that type.
    """
    raise NotImplementedError


def toBytes(type: str, value: Value) -> bytes:
    """
    A value for a TLV.
    """
    raise NotImplementedError
