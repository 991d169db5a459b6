"""
Writes C{docs/conformance.md} from the clauses and the vectors: C{python -m tests.vectors_doc}.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vectors.model import FOLDER, Vector, load

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "conformance.md"

_TITLES: Final = {4: "MQTT 3.1.1", 5: "MQTT 5.0"}
_INTRODUCTION: Final = """\
These tables name, for each numbered statement of the specifications, the vectors of `tests/vectors/` that show it. They
give each statement in short words of our own; only the text of the specification is binding. Every vector runs against
the broker in memory, as a TCP client and as a WebSocket client, and over a socket against a running process if it needs
no clock; `tests/vectors/README.md` explains how to read a vector."""
_CLIENT: Final = "It binds the client."


@dataclass(frozen=True, slots=True)
class Clause:
    """
    One normative statement of a specification.

    @ivar who: whom it binds: C{server}, C{client} or C{both}.
    @ivar reason: why no vector can show it; empty where one does, or where it binds the client only.
    """

    clause: str
    version: int
    who: str
    summary: str
    reason: str = ""


def loadClauses() -> list[Clause]:
    """
    The numbered statements of both specifications, in their order.
    """
    return [Clause(**entry) for entry in json.loads((FOLDER / "clauses.json").read_text("utf-8"))]


def vectorsByClause(vectors: list[Vector]) -> dict[tuple[int, str], list[Vector]]:
    """
    (version, clause) -> the vectors that show it.
    """
    found: dict[tuple[int, str], list[Vector]] = defaultdict(list)
    for vector in vectors:
        for clause in vector.clauses:
            found[vector.version, clause].append(vector)
    return found


def render() -> str:
    """
    The whole document.
    """
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    vectors, clauses = load(), loadClauses()
    shown = vectorsByClause(vectors)
    yield "# Conformance"
    yield ""
    yield "<!-- Written by `python -m tests.vectors_doc`; a test fails when it is stale. -->"
    yield ""
    yield _INTRODUCTION
    yield ""
    yield "| | statements | that bind a server | of these shown by vectors | client statements shown too | vectors |"
    yield "|---|---|---|---|---|---|"
    for version, title in _TITLES.items():
        mine = [clause for clause in clauses if clause.version == version]
        binding = [clause for clause in mine if clause.who != "client"]
        covered = sum((version, clause.clause) in shown for clause in binding)
        besides = sum((version, clause.clause) in shown for clause in mine if clause.who == "client")
        count = sum(vector.version == version for vector in vectors)
        yield f"| {title} | {len(mine)} | {len(binding)} | {covered} | {besides} | {count} |"
    older = sum(vector.version == 3 for vector in vectors)
    yield f"| MQTT 3.1 | not numbered | | | | {older} |"
    for version, title in _TITLES.items():
        mine = [clause for clause in clauses if clause.version == version]
        yield ""
        yield f"## {title}"
        yield ""
        yield "| clause | binds | what it says | vectors |"
        yield "|---|---|---|---|"
        for clause in mine:
            names = [f"`{vector.area}`: {vector.name}" for vector in shown.get((version, clause.clause), [])]
            if names:
                yield f"| {clause.clause} | {clause.who} | {clause.summary} | {'<br>'.join(names)} |"
        yield ""
        yield f"### {title}: statements without a vector"
        yield ""
        yield "| clause | binds | what it says | why |"
        yield "|---|---|---|---|"
        for clause in mine:
            if (version, clause.clause) not in shown:
                reason = clause.reason or _CLIENT
                yield f"| {clause.clause} | {clause.who} | {clause.summary} | {reason} |"
    yield ""
    yield "## Behaviour without a number"
    yield ""
    yield "| version | vector |"
    yield "|---|---|"
    for vector in vectors:
        if not vector.clauses:
            yield f"| {vector.version} | `{vector.area}`: {vector.name} |"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(render(), "utf-8")
