"""
Paths in a device: object, instance, resource, resource instance (LwM2M 1.1.1 core 6.1). Pure.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from gateways.lwm2m.errors import ContentError

# Up to four numbers; none for the device as a whole.
Path: TypeAlias = tuple[int, ...]

LONGEST: Final = 4
# The identifier 65535 is reserved: it says "none" (core 7.1).
HIGHEST: Final = 65534

# "/65534" four times. Nothing longer is looked into.
LONGEST_TEXT: Final = 24
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)


def parsePath(text: str, least: int = 1, most: int = LONGEST) -> Path:
    """
    The path that a text is, with or without slashes before and after it.

    @param least: the fewest segments that it may have.
    @param most: the most.

    @raise ContentError: it is none.
    """
    path = joinPath((), text)
    if not least <= len(path) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ContentError(f"path {shown(text)}: {len(path)} segments, {wanted} wanted")
    return path


def joinPath(base: Path, text: str) -> Path:
    """
    A path below another one, or that other one where the text is empty or a slash.

    @raise ContentError: it is none.
    """
    if len(text) > LONGEST_TEXT + 1:
        raise ContentError(f"path {shown(text)}: too long")
    inner = text[1:] if text.startswith("/") else text
    if inner.endswith("/"):
        inner = inner[:-1]
    if not inner:
        return base
    path = list(base)
    for segment in inner.split("/"):
        if _NUMBER.fullmatch(segment) is None or int(segment) > HIGHEST:
            raise ContentError(f"path {shown(text)}: {shown(segment)} is not a number from 0 to {HIGHEST}")
        path.append(int(segment))
    if len(path) > LONGEST:
        raise ContentError(f"path {shown(text)}: more than {LONGEST} segments")
    return tuple(path)


def pathText(path: Path) -> str:
    """
    A path as text: C{/3/0/1}, and C{/} for the device as a whole.
    """
    return "/" + "/".join(map(str, path))


# BinaryAppDataContainer and its predecessor: an application's bytes, all in one resource.
_CONTAINERS: Final = (18, 19)


def observedPath(path: Path) -> Path:
    """
    Get the path to observe for an object or instance, which is also where its bytes are: the path itself, except for
    objects that only hold the bytes of one resource.
    """
    if path[0] not in _CONTAINERS or len(path) > 2:
        return path
    return (*path, 0, 0)[:3] if len(path) == 1 else (*path, 0)


def uriPath(path: Path, prefix: str) -> list[str]:
    """
    The segments of a request's URI.

    @param prefix: the alternate path under which a device has its objects (core 6.4.1), or nothing.
    """
    return [segment for segment in prefix.split("/") if segment] + list(map(str, path))


def withoutPrefix(text: str, prefix: str) -> str:
    """
    A path as a device writes it, without its alternate path where it has written that too.
    """
    if prefix and text.startswith(prefix) and text[len(prefix) : len(prefix) + 1] in ("", "/"):
        return text[len(prefix) :]
    return text


def isWithin(path: Path, base: Path) -> bool:
    """
    Whether a path is another one or below it.
    """
    return path[: len(base)] == base


def shown(text: str) -> str:
    """
    A text of unknown length for a message to people.
    """
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}..."
