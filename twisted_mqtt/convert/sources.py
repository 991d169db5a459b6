"""
The files of other brokers: read within bounds, and taken apart into lines C{key = value} or C{key value}.

Nothing here knows what a key means. What can't be read is noted with its line, never passed over in silence.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

MOST_BYTES: Final = 4 * 1024 * 1024
"""
The largest file that is read.
"""

MOST_FILES: Final = 1000
"""
How many files a folder may have that is read as a whole.
"""

_MOST_LINE: Final = 64 * 1024
_KEY: Final = re.compile(r"[^\s=]+")


class ConversionError(Exception):
    """
    There is no result; the text says why, and what could be done.
    """


class Line(Struct, frozen=True):
    """
    A setting as it stands in a file.

    @ivar file: the name of the file, for messages.
    @ivar number: its line, from 1.
    @ivar value: without blanks at its ends.
    @ivar sign: what stands between them.
    """

    file: str
    number: int
    key: str
    value: str
    sign: str = " = "


class Unread(Struct, frozen=True):
    """
    A line that is no setting.

    @ivar reason: why.
    """

    file: str
    number: int
    reason: str


def textOf(path: Path) -> str:
    """
    The text of a file, without a mark at its start. Bytes that are no UTF-8 become lone surrogates.

    @raise ConversionError: it can't be read, or is no ordinary file, or too large.
    """
    try:
        # Not to wait for whoever would write into a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConversionError(f"{path} is no ordinary file")
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConversionError(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise ConversionError(f"{path!s}: a name of a file has no NUL character") from None
    if len(data) > MOST_BYTES:
        raise ConversionError(f"{path}: more than {MOST_BYTES >> 20} MB is no configuration")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def filesIn(folder: Path, suffix: str = ".conf") -> list[Path]:
    """
    The files of a folder with this ending, sorted by name, those in folders within it not.

    @raise ConversionError: it can't be read, or has too many.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(suffix) and path.is_file())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConversionError(f"{folder}: {reason}") from None
    if len(found) > MOST_FILES:
        raise ConversionError(f"{folder}: more than {MOST_FILES} files")
    return found


def pairs(text: str, file: str) -> Iterator[Line | Unread]:
    """
    The lines C{key = value} of a text. A C{#} that begins a line makes it a comment; in a value it is itself.
    """
    for number, line in _lines(text):
        if isinstance(line, Unread):
            yield Unread(file, number, line.reason)
            continue
        key, sign, value = line.partition("=")
        key = key.strip()
        if not sign or not _KEY.fullmatch(key):
            yield Unread(file, number, "it is not of the form key = value")
        else:
            yield Line(file, number, key, value.strip())


def words(text: str, file: str) -> Iterator[Line | Unread]:
    """
    The lines C{key value} of a text, as Mosquitto has them.
    """
    for number, line in _lines(text):
        if isinstance(line, Unread):
            yield Unread(file, number, line.reason)
        else:
            key, *rest = re.split(r"[ \t]+", line, maxsplit=1)
            yield Line(file, number, key, rest[0].strip() if rest else "", " ")


def _lines(text: str) -> Iterator[tuple[int, str | Unread]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if len(line) > _MOST_LINE:
            yield number, Unread("", number, f"it has more than {_MOST_LINE} characters")
        elif "\x00" in line:
            yield number, Unread("", number, "it has a NUL character")
        elif any("\ud800" <= character <= "\udfff" for character in line):
            yield number, Unread("", number, "it is not UTF-8")
        else:
            yield number, line


def located(name: str, beside: Path) -> Path | None:
    """
    The file that a configuration names: seen from its folder, or the one above it, or from here. Where the packages of
    EMQ X put its files, C{etc/acl.conf} is beside the configuration.

    @param beside: the configuration.
    @return: the whole path; C{None} where there is no such file.
    """
    if not name or "\x00" in name:
        return None
    folder = beside.absolute().parent
    for place in (folder / name, folder / name.removeprefix("etc/"), folder.parent / name, Path.cwd() / name):
        try:
            if place.exists():
                return place
        except OSError:
            continue
    return None
