"""
Every block of code in the documents is tried: the table in C{tests/kits/printed.py} says how, and leaves none out.
"""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.kits.documents import ROOT, blocksOf, documents, indented
from tests.kits.printed import ALONE, CHECKED, CONTINUED, ENVIRONMENT, RULES, TABLE, TEMPLATE, UNRUN

_RUNS = (ROOT / "tests" / "system" / "test_documents.py").read_text(encoding="utf-8")
_LANGUAGES = {
    "python": {ALONE, CONTINUED, TEMPLATE},
    "toml": {CHECKED},
    "sh": {ENVIRONMENT},
    "erlang": {RULES},
    "text": {UNRUN},
    "yaml": {UNRUN},
}


@pytest.mark.parametrize("document", documents())
def test_everyBlock(document: str) -> None:
    """
    Each block has one entry in the table, each entry a block; a block that is new, or begins otherwise, has none.
    """
    entries = TABLE.get(document, [])
    found = blocksOf(document)
    for block in found:
        of = [entry for entry in entries if block.text.startswith(entry.begins)]
        assert len(of) == 1, f"{block}: {len(of)} entries in tests/kits/printed.py say how it is tried"
        how = of[0].how
        # A test of its own, if it is none of the usual ways.
        usual = how in _LANGUAGES.get(block.language, ()) or how == UNRUN
        assert usual or f'printed("{how}")' in _RUNS, f"{block}: nobody tries {block.language} as {how!r}"
        assert bool(of[0].reason) == (how == UNRUN), f"{block}: a reason is for what is not run"
    for entry in entries:
        assert any(block.text.startswith(entry.begins) for block in found), f"{document} has no {entry.begins!r}"


def test_everyDocument() -> None:
    """
    The table names no document that is not there.
    """
    assert set(TABLE) - set(documents()) == set()


@pytest.mark.parametrize("document", documents())
def test_fenced(document: str) -> None:
    """
    A block of code has fences and the name of its language: otherwise it is not seen here.
    """
    assert indented(document) == []
    assert [str(block) for block in blocksOf(document) if not block.language] == []
    assert (ROOT / document).read_text(encoding="utf-8").count("```") % 2 == 0


@pytest.mark.parametrize("document", documents())
def test_wellFormed(document: str) -> None:
    """
    A block that can be parsed is well formed, without anything installed.
    """
    for block in blocksOf(document):
        if block.language == "python" and not block.text.startswith("# "):
            compile(block.text, str(block), "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize("document", documents())
def test_links(document: str) -> None:
    """
    Each link between documents leads to a file, and to a heading in it.
    """
    folder = (ROOT / document).parent
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = (folder / name) if name else ROOT / document
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path), target


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
