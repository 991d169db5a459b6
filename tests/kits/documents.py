"""
Blocks of code as the documents print them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCED: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Four blanks after an empty line: a block too, but nobody knows of what.
_INDENTED: Final = re.compile(r"\n\n((?:(?: {4}|\t).*\n)+)")


@dataclass(frozen=True)
class Block:
    """
    A block of code.

    @ivar document: the document it stands in, relative to the root.
    @ivar line: the line of the document that it begins in.
    @ivar language: what stands behind the fence; empty for nothing.
    """

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text.splitlines()[0]}"


def documents() -> list[str]:
    """
    Everything that users read, relative to the root.
    """
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in paths]


def blocksOf(document: str) -> list[Block]:
    """
    The blocks of a document.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in _FENCED.finditer(text)
    ]


def indented(document: str) -> list[str]:
    """
    The blocks of a document that are not fenced.
    """
    text = _FENCED.sub("", (ROOT / document).read_text(encoding="utf-8"))
    return [match[1] for match in _INDENTED.finditer(text)]
