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
    a line nor steer a terminal.
    """
    shown = name if len(name) <= most else name[:most] + "..."
    if shown.isprintable():
        return shown
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in shown
    )


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
