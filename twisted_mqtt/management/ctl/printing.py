"""
Prints answers as tables, for people and for scripts that know those of VerneMQ: C{+---+} between rows of C{|} cells.
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: No column becomes narrower than this for want of room.
_NARROWEST: Final = 6


def printTable(answer: Any, out: TextIO) -> None:
    """
    Print an answer as a table: a row for each object of a list, a line for each value of an object.
    """
    if answer is None:
        out.write("Done\n")
    elif isinstance(answer, dict):
        width = max((len(name) for name in answer), default=0)
        for name, value in answer.items():
            out.write(f"{name:<{width}}  {_text(value)}\n")
    elif isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
        for line in _lines(answer, out.isatty()):
            out.write(line + "\n")
    elif isinstance(answer, list):
        for row in answer:
            out.write(_text(row) + "\n")
    else:
        out.write(_text(answer) + "\n")


def printEvents(pieces: Iterable[bytes], out: TextIO) -> None:
    """
    Print server-sent events as they come: the data of each, after its kind where it has one.
    """
    rest, kind = b"", ""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").partition(": ")
            if name == "event":
                kind = f"{value} "
            elif name == "data":
                out.write(f"{kind}{value}\n")
            elif not name:
                kind = ""
        out.flush()


def _lines(rows: list[dict[str, Any]], isTerminal: bool) -> Iterator[str]:
    names = list(rows[0])
    # What a cell has several of stands below each other.
    cells = [[list(map(_text, _partsOf(row.get(name)))) for name in names] for row in rows]
    widths = [
        max(len(name), *(len(part) for row in cells for part in row[column])) for column, name in enumerate(names)
    ]
    most = shutil.get_terminal_size((0, 0)).columns if isTerminal else 0
    if most:
        # The heads stay whole as long as that is enough.
        for least in ([len(name) for name in names], [_NARROWEST] * len(names)):
            _narrow(widths, least, most)
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    head = _row([name.ljust(width) for name, width in zip(names, widths, strict=True)], widths)
    bold = isTerminal and not os.environ.get("NO_COLOR")
    for line in (rule, head, rule):
        line = line[:most] if most else line
        yield f"\x1b[1m{line}\x1b[0m" if bold and line.startswith("|") else line
    for row in cells:
        for parts in zip_longest(*row, fillvalue=""):
            line = _row(parts, widths)
            yield line[:most] if most else line
    yield rule[:most] if most else rule


def _narrow(widths: list[int], least: list[int], most: int) -> None:
    """
    Take room from the widest columns until the table fits, or none can give more.

    @param least: what each keeps at least.
    """
    while sum(widths) + 3 * len(widths) + 1 > most:
        room = [width - kept for width, kept in zip(widths, least, strict=True)]
        if max(room) <= 0:
            return
        widths[max(range(len(widths)), key=lambda column: (room[column] > 0, widths[column]))] -= 1


def _partsOf(value: object) -> list[object]:
    return [*value.split("\n")] if isinstance(value, str) else [value]


def _row(cells: Sequence[str], widths: list[int]) -> str:
    shown = (
        cell.ljust(width) if len(cell) <= width else cell[: width - 1] + "\u2026"
        for cell, width in zip(cells, widths, strict=True)
    )
    return "| " + " | ".join(shown) + " |"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    # What a stranger has named must not steer the terminal.
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
