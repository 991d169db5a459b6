"""
The problems of a configuration: all of them at once, each with its place and its remedy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

_SECRET = re.compile(r"password|passcode|secret|cookie|api_key|^key$")
# The name of a tag is no secret, although it is called a key.
_NO_SECRET = re.compile(r"(^|\.)tag\.[^.]+\.key$")


class Problem(Struct, frozen=True):
    """
    One thing that is wrong.

    @ivar file: the file, or the environment variable.
    @ivar line: the line of the file, where known.
    @ivar key: the whole key, with dots; C{""} if it is not about one.
    @ivar value: what stands there; C{None} if it is not about a value.
    @ivar message: what would be right.
    """

    file: str
    line: int | None
    key: str
    value: object
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        if not self.key:
            return f"{place}: {self.message}"
        if self.value is None:
            return f"{place}: {self.key}: {self.message}"
        return f"{place}: {self.key} = {shown(self.key, self.value)}: {self.message}"


class ConfigurationError(Exception):
    """
    A configuration cannot be used.

    @ivar problems: everything that is wrong with it.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def isSecret(key: str) -> bool:
    """
    Whether the value of a key must not be shown: a password, a key, or the like.
    """
    return _SECRET.search(key.rpartition(".")[2]) is not None and _NO_SECRET.search(key) is None


def shown(key: str, value: object) -> str:
    """
    A value as it stands in the file, without secrets and without length.
    """
    if isSecret(key):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        written = '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    elif isinstance(value, dict):
        return "a table"
    elif isinstance(value, list):
        written = "[" + ", ".join(shown(key, item) for item in value) + "]"
    else:
        written = str(value)
    return written if len(written) <= 80 else written[:76] + "..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    The known word that was probably meant.
    """
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
