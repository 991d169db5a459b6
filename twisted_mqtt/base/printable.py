"""
Names of strangers as they may stand in a log: on one line, without control characters, not too long.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 64
"""
Characters of a name that are shown.
"""


def printable(name: str, most: int = MOST) -> str:
    """
    A name that a stranger has chosen, in which everything that does not print is escaped, so that it can neither begin
    a line nor steer a terminal. Quotation marks and backslashes are escaped too: between quotation marks, it can't be
    taken for the end of the name and what comes after it.
    """
    shown = name if len(name) <= most else name[:most] + "..."
    if shown.isprintable() and '"' not in shown and "\\" not in shown:
        return shown
    return "".join(
        f"\\{character}"
        if character in '"\\'
        else character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in shown
    )


def oneLine(text: str) -> str:
    """
    A line for people or for a program that reads line by line, in which whatever steers a terminal, line feeds
    included, is escaped: a stranger has chosen parts of it.
    """
    return harmless(text).replace("\n", "\\n")


def harmless(text: str) -> str:
    """
    A whole message of the log, in which only line feeds and tabs are left of what steers a terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in "\n\t" or character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
