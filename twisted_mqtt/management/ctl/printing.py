"""
Prints answers: as tables for people, as JSON for programs.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDEST = 60


def printTable(answer: Any, out: TextIO) -> None:
    """
    Print an answer as a table: a row for each object of a list, a line for each value of an object.
    """
    if answer is None:
        out.write("ok\n")
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


def _lines(rows: list[dict[str, Any]], isTerminal: bool) -> Iterator[str]:
    names = list(rows[0])
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [min(_WIDEST, max(len(name), *(len(row[column]) for row in cells))) for column, name in enumerate(names)]
    most = shutil.get_terminal_size((0, 0)).columns if isTerminal else 0
    head = "  ".join(f"{name.upper():<{width}}" for name, width in zip(names, widths, strict=True)).rstrip()
    head = head[:most] if most else head
    yield f"\x1b[1m{head}\x1b[0m" if isTerminal else head
    for row in cells:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        yield line[:most] if most else line


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    # What a stranger has named must not steer the terminal.
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(value))


def isTerminal() -> bool:
    """
    Whether a person reads this.
    """
    return sys.stdout.isatty()
