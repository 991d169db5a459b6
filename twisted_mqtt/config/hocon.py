"""
Reads HOCON, the form of NanoMQ's configuration, as far as that uses it (spec/rest-api-nanomq.md 3.12).

It knows: braces around the whole or not; C{=}, C{:} or nothing before a brace; dotted keys; commas or new lines between
things, and one comma too many; comments of C{#} and C{//}; texts with and without quotes, and in three quotes; numbers,
true, false, null; sizes and durations, which stay text (C{10KB}, C{1m}); tables that stand several times, which are
merged; C{include}; C{${name}} for a plain value above it or a variable. It does not know C{+=}, tables or lists joined
together, or C{include} of anything but a file.

Nothing here opens a file or looks at the environment, and everything is bounded: length, depth, number of files. The
longest text takes about a third of a second, one of 10 KiB about 10 ms.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, TypeAlias, cast

from msgspec import Struct, field

Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[str, Value]"
Table: TypeAlias = "dict[str, Value]"
Path: TypeAlias = tuple[str, ...]
Include: TypeAlias = Callable[[str], str]

MOST_CHARACTERS: Final = 256 * 1024
"""
The longest text, all included files together.
"""

MOST_DEPTH: Final = 32
"""
How many tables and lists may stand within each other. Each word of a dotted key is a table.
"""

MOST_FILES: Final = 32
"""
How many files may be included.
"""

#: A plain value stays shorter than this, however often it is made of others by C{${name}}.
_LONGEST_VALUE: Final = 64 * 1024

_BLANK: Final = re.compile(r"[ \t\xa0\r]+|(?:\#|//)[^\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?")
_QUOTED: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*"')
_QUOTES: Final = re.compile('"+')
_ESCAPE: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})')
_KEY: Final = re.compile(r"(?:[^\s\x00-\x1f.$\"{}\[\]:=,+#`^?!*&\\/]|/(?!/))+")
_PLAIN: Final = re.compile(r"(?:[^\s\x00-\x1f$\"{}\[\]:=,+#`^?!*&\\/]|/(?!/))+")
_VARIABLE: Final = re.compile(r"\$\{(\??)[ \t]*([A-Za-z0-9_.-]{1,200})[ \t]*\}")
_INCLUDE: Final = re.compile(r'include(?=[ \t]*"|[ \t]+[a-z]+\()')
_WRAPPED: Final = re.compile(r"([a-z]+)\([ \t]*")


class HOCONError(ValueError):
    """
    A text is not HOCON, or not of the part of it that is known here.

    @ivar name: what the text is called.
    @ivar line: from 1.
    @ivar column: from 1, in characters.
    @ivar reason: what is wrong, and what would be right where that is known.
    """

    def __init__(self, name: str, line: int, column: int, reason: str) -> None:
        super().__init__(f"{name}:{line}:{column}: {reason}")
        self.name = name
        self.line = line
        self.column = column
        self.reason = reason


class Spot(Struct, frozen=True):
    """
    Where something stands: the name of the text, line and column from 1.
    """

    name: str
    line: int
    column: int


class Inclusion(Struct, frozen=True):
    """
    An C{include}.

    @ivar table: the table that it stands in; C{()} for the outermost.
    @ivar file: as it is written.
    @ivar spot: where.
    """

    table: Path
    file: str
    spot: Spot


class Document(Struct):
    """
    What a text says.

    @ivar table: its content.
    @ivar spots: where each key stands that holds; items of lists have their number, from 0, for a word.
    @ivar written: a number that would be written differently, as it stands: C{1.50}. A password may be such a number.
    @ivar replaced: keys whose value was replaced by a later one, with the place of the earlier.
    @ivar includes: every C{include}, whether its file was read or not.
    """

    table: Table = field(default_factory=dict)
    spots: dict[Path, Spot] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    replaced: list[tuple[Path, Spot]] = field(default_factory=list)
    includes: list[Inclusion] = field(default_factory=list)


def parse(
    text: str, name: str = "configuration", include: Include | None = None, variables: Mapping[str, str] | None = None
) -> Document:
    """
    Read a text.

    @param name: what to call it in messages.
    @param include: gives the text of a file that is included. It raises C{OSError} or C{ValueError} if it can't or
        won't, which becomes a L{HOCONError} at the place of the C{include}. Without it no file is read.
    @param variables: what C{${name}} may stand for, beside plain values above it.
    @raise HOCONError: with the place of the first thing that is wrong.
    """
    document = Document()
    reading = _Reading(document, include, variables or {})
    _Reader(reading, name, text).read((), document.table, 0)
    return document


class _Reading:
    """
    What the readers of a text and of its included files share.
    """

    def __init__(self, document: Document, include: Include | None, variables: Mapping[str, str]) -> None:
        self.document = document
        self.include = include
        self.variables = variables
        self.room = MOST_CHARACTERS
        self.files = 0


class _Reader:
    """
    Reads one text.
    """

    def __init__(self, reading: _Reading, name: str, text: str) -> None:
        self._reading = reading
        self._document = reading.document
        self._name = name
        self._text = text.removeprefix("\ufeff")
        self._at = 0
        self._lines = [found.end() for found in re.finditer("\n", self._text)]
        reading.room -= len(text)
        if reading.room < 0:
            self._fail(0, f"more than {MOST_CHARACTERS} characters")

    def read(self, path: Path, table: Table, depth: int) -> None:
        """
        Read the whole text into a table.
        """
        self._skip()
        braces = self._take("{")
        self._members(path, table, depth, "}" if braces else "")
        self._skip()
        if self._at < len(self._text):
            self._fail(self._at, f"{self._seen()} after the end")

    def _members(self, path: Path, table: Table, depth: int, end: str) -> None:
        opened = self._at - 1
        while True:
            self._skip()
            if end and self._take(end):
                return
            if self._at == len(self._text):
                if end:
                    self._fail(opened, "this brace is never closed")
                return
            if found := _INCLUDE.match(self._text, self._at):
                self._included(found, path, table, depth)
            else:
                self._member(path, table, depth)
            self._separator(end)

    def _member(self, path: Path, table: Table, depth: int) -> None:
        start = self._at
        words = self._key()
        if depth + len(words) > MOST_DEPTH:
            self._fail(start, f"more than {MOST_DEPTH} tables within each other")
        spot = self._spot(start)
        for word in words[:-1]:
            path = (*path, word)
            table = self._inner(path, table, spot)
        word = words[-1]
        path = (*path, word)
        depth += len(words)
        self._blanks()
        if self._take("="):
            pass
        elif self._text.startswith("+=", self._at):
            self._fail(self._at, "+= is not known here; write the whole list")
        elif not self._take(":") and not self._text.startswith("{", self._at):
            self._fail(self._at, f"after a key comes = or {{, not {self._seen()}")
        before = self._at
        self._skip()
        if not self._text.startswith(("{", "["), self._at) and "\n" in self._text[before : self._at]:
            self._at = before
            self._blanks()
        if self._take("{"):
            self._members(path, self._inner(path, table, spot), depth, "}")
            return
        written: list[str] = []
        value, present = self._value(path, depth, written)
        if not present:
            return
        self._forget(path, table)
        table[word] = value
        self._document.spots[path] = spot
        if written:
            self._document.written[path] = written[0]

    def _inner(self, path: Path, table: Table, spot: Spot) -> Table:
        """
        The table of this path, made if it isn't there. It takes the place of a plain value.
        """
        inner = table.get(path[-1])
        if not isinstance(inner, dict):
            self._forget(path, table)
            inner = table[path[-1]] = {}
        self._document.spots.setdefault(path, spot)
        return inner

    def _forget(self, path: Path, table: Table) -> None:
        """
        A value is about to be replaced: nothing of it stays.
        """
        document = self._document
        if path[-1] not in table:
            return
        document.replaced.append((path, document.spots.get(path) or self._spot(self._at)))
        self._forgetAll(path, table[path[-1]])

    def _forgetAll(self, path: Path, value: Value) -> None:
        self._document.spots.pop(path, None)
        self._document.written.pop(path, None)
        if isinstance(value, dict):
            for word, inner in value.items():
                self._forgetAll((*path, word), inner)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                self._forgetAll((*path, str(number)), inner)

    def _included(self, found: re.Match[str], path: Path, table: Table, depth: int) -> None:
        start = self._at
        self._at = found.end()
        self._blanks()
        closing = 0
        while wrapped := _WRAPPED.match(self._text, self._at):
            if wrapped[1] not in ("required", "file"):
                self._fail(self._at, f"include {wrapped[1]}(...) is not known here; name a file")
            closing += 1
            self._at = wrapped.end()
        if not self._text.startswith('"', self._at):
            self._fail(self._at, 'the name of an included file stands in quotes: include "more.conf"')
        file = self._quoted()
        for _ in range(closing):
            self._blanks()
            if not self._take(")"):
                self._fail(self._at, "a closing parenthesis is missing")
        self._document.includes.append(Inclusion(path, file, self._spot(start)))
        reading = self._reading
        if reading.include is None:
            return
        reading.files += 1
        if reading.files > MOST_FILES:
            self._fail(start, f"more than {MOST_FILES} files are included; does one include itself?")
        if depth + 1 > MOST_DEPTH:
            self._fail(start, f"more than {MOST_DEPTH} tables and files within each other")
        try:
            text = reading.include(file)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._fail(start, f"{file} can't be included: {said}")
        _Reader(reading, file, text).read(path, table, depth + 1)

    def _key(self) -> Path:
        words: list[str] = []
        while True:
            if self._text.startswith('"', self._at):
                words.append(self._quoted())
            elif found := _KEY.match(self._text, self._at):
                words.append(found[0])
                self._at = found.end()
            else:
                self._fail(self._at, f"a key is expected, not {self._seen()}")
            if not self._take("."):
                return tuple(words)
            if len(words) > MOST_DEPTH:
                self._fail(self._at, f"a key of more than {MOST_DEPTH} words")

    def _value(self, path: Path, depth: int, written: list[str]) -> tuple[Value, bool]:
        """
        Read a value that does not begin with a brace.

        @param written: gets the text of a number that would be written differently.
        @return: the value, and whether there is one: an optional variable may not be there.
        """
        start = self._at
        if self._take("["):
            return self._list(path, depth), True
        pieces: list[str] = []
        blanks = ""
        quoted = present = False
        length = 0
        while self._at < len(self._text):
            piece: str | None
            if self._text.startswith('"', self._at):
                piece, quoted, present = self._quoted(), True, True
            elif found := _PLAIN.match(self._text, self._at):
                piece, present = found[0], True
                self._at = found.end()
            elif found := _VARIABLE.match(self._text, self._at):
                piece = self._variable(found)
                present = present or piece is not None
                self._at = found.end()
            else:
                break
            pieces += (blanks if pieces else "", piece or "")
            length += len(blanks) + len(piece or "")
            if length > _LONGEST_VALUE:
                self._fail(start, f"a value of more than {_LONGEST_VALUE} characters")
            before = self._at
            self._blanks()
            blanks = self._text[before : self._at].partition("#")[0].partition("//")[0]
        if self._at == start:
            self._fail(start, f"a value is expected, not {self._seen()}")
        if not self._text.startswith(("\n", ",", "}", "]"), self._at) and self._at < len(self._text):
            self._fail(self._at, f'{self._seen()} in a text without quotes; write "..."')
        text = "".join(pieces)
        if quoted:
            return text, True
        if text in _WORDS:
            return _WORDS[text], True
        if not (found := _NUMBER.fullmatch(text)):
            return text, present
        number = float(text) if found[1] or found[2] else int(text)
        if str(number) != text:
            written.append(text)
        return number, True

    def _list(self, path: Path, depth: int) -> list[Value]:
        opened = self._at - 1
        if depth + 1 > MOST_DEPTH:
            self._fail(opened, f"more than {MOST_DEPTH} lists and tables within each other")
        items: list[Value] = []
        while True:
            self._skip()
            if self._take("]"):
                return items
            if self._at == len(self._text):
                self._fail(opened, "this bracket is never closed")
            inner = (*path, str(len(items)))
            spot = self._spot(self._at)
            if self._take("{"):
                table: Table = {}
                self._document.spots[inner] = spot
                self._members(inner, table, depth + 1, "}")
                items.append(table)
            else:
                written: list[str] = []
                value, present = self._value(inner, depth + 1, written)
                if present:
                    items.append(value)
                    self._document.spots[inner] = spot
                if written:
                    self._document.written[inner] = written[0]
            self._separator("]")

    def _variable(self, found: re.Match[str]) -> str | None:
        """
        @return: C{None} for an optional one that is not there.
        """
        value: Value = self._document.table
        name = found[2]
        for word in name.split("."):
            value = value.get(word) if isinstance(value, dict) else None
        if value is None:
            value = self._reading.variables.get(name)
        if value is None and not found[1]:
            self._fail(found.start(), f"nothing above is called {name}, and there is no such variable")
        if isinstance(value, dict | list):
            self._fail(found.start(), f"{name} is a table or a list; only a plain value can be used again")
        if isinstance(value, bool):
            return "true" if value else "false"
        return None if value is None else str(value)

    def _quoted(self) -> str:
        start = self._at
        if self._text.startswith('"""', start):
            end = self._text.find('"""', start + 3)
            if end < 0:
                self._fail(start, "these three quotes are never closed")
            # What stands before the last three of many quotes belongs to the text.
            found = _QUOTES.match(self._text, end)
            self._at = found.end() if found else end + 3
            return self._checked(self._text[start + 3 : self._at - 3], start)
        found = _QUOTED.match(self._text, self._at)
        if found is None:
            self._badText()
        self._at = found.end()
        return self._checked(cast(str, json.loads(found[0])), found.start())

    def _checked(self, text: str, start: int) -> str:
        if "\x00" in text:
            self._fail(start, "a NUL character in a text")
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._fail(start, "half a character (a surrogate) in a text")
        return text

    def _badText(self) -> NoReturn:
        """
        Say what is wrong with a text in quotes.
        """
        start = self._at
        at = start + 1
        while at < len(self._text) and self._text[at] not in '"\n' and self._text[at] >= " ":
            if self._text[at] == "\\":
                if not _ESCAPE.match(self._text, at):
                    self._fail(at, 'after a backslash comes one of " \\ / b f n r t or u and four digits')
                at += 1
            at += 1
        if at < len(self._text) and self._text[at] not in '"\n':
            self._fail(at, f"a control character (code {ord(self._text[at])}) in a text")
        self._fail(start, "this quote is never closed")

    def _separator(self, end: str) -> None:
        """
        Pass what stands between two things: a comma, a new line, or the end of what holds them.
        """
        start = self._at
        self._skip()
        if self._take(","):
            return
        if self._at == len(self._text) or (end and self._text.startswith(end, self._at)):
            return
        if "\n" not in self._text[start : self._at]:
            self._fail(self._at, f"a comma or a new line is expected, not {self._seen()}")

    def _skip(self) -> None:
        """
        Pass blanks, comments and new lines.
        """
        while True:
            self._blanks()
            if not self._take("\n"):
                return

    def _blanks(self) -> None:
        while found := _BLANK.match(self._text, self._at):
            self._at = found.end()

    def _take(self, mark: str) -> bool:
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def _seen(self) -> str:
        """
        What stands here, for a message.
        """
        if self._at >= len(self._text):
            return "the end"
        character = self._text[self._at]
        if character == "\n":
            return "the end of the line"
        if not character.isprintable():
            return f"a character that can't be shown (code {ord(character)})"
        return character

    def _spot(self, at: int) -> Spot:
        line = bisect_right(self._lines, at)
        begin = self._lines[line - 1] if line else 0
        return Spot(self._name, line + 1, at - begin + 1)

    def _fail(self, at: int, reason: str) -> NoReturn:
        spot = self._spot(at)
        raise HOCONError(spot.name, spot.line, spot.column, reason)


_WORDS: Final[dict[str, Value]] = {"true": True, "false": False, "null": None}
