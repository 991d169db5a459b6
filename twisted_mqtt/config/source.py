"""
Reads the text of the file and the environment, and merges them into one tree of tables.

This module checks only the syntax. L{Source} remembers the place of each key, for error messages.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted_mqtt.config.origin import Place
from twisted_mqtt.config.problems import Problem

PREFIX = "MQTTBROKER__"
"""
What variables begin with that set a key.
"""

_OLD_PREFIX = "MQTTBROKER_"

#: The key under which a single value waits that stood, or was put by the environment, where a table is.
SINGLE = ""

Path = tuple[str, ...]

# Variables that Kubernetes (and Docker's links) put into the environment of every container for each service, such as
# one that is called "mqttbroker-ws" or "emqx-tcp".
_SERVICE_LINK = re.compile(
    r"[A-Z]\w*?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|(?P<url>PORT))"
)

_WORD = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_WORD}(?:\s*\.\s*{_WORD})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_PAIR = re.compile(rf"\s*({_DOTTED})\s*=\s*(.*)")

#: EMQ X's own variables: the keys that they set, by themselves or as the port of an address.
_EMQX_KEYS: dict[str, Path] = {
    "EMQX_NODE_NAME": ("node", "name"),
    "EMQX_NODE_COOKIE": ("node", "cookie"),
    "EMQX_MAX_PORTS": ("node", "max_ports"),
}
_EMQX_PORTS = {"EMQX_TCP_PORT": "tcp", "EMQX_SSL_PORT": "ssl", "EMQX_WS_PORT": "ws", "EMQX_WSS_PORT": "wss"}


class Source:
    """
    One tree of tables with the places of its keys.

    @ivar tables: the tree.
    @ivar problems: what is wrong with the syntax.
    @ivar warnings: what was passed over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tables: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._lines: dict[Path, int] = {}
        # Where a key stands that came from elsewhere than the file.
        self._places: dict[Path, Place] = {}

    def place(self, path: Path) -> tuple[str, int | None]:
        """
        Where a key stands.

        @return: the environment variable, or the file and the line of the key or of the table that holds it.
        """
        for length in range(len(path), 0, -1):
            if place := self._places.get(path[:length]):
                return place.name, place.line
            if line := self._lines.get(path[:length]):
                return self.name, line
        return self.name, None

    def problem(self, path: Path, value: object, message: str) -> None:
        """
        Note that something is wrong with a key.
        """
        file, line = self.place(path)
        self.problems.append(Problem(file, line, ".".join(path), value, message))

    def faulty(self, path: Path) -> bool:
        """
        Whether there is a problem with a table or anything in it.
        """
        dotted = ".".join(path)
        return any(problem.key == dotted or problem.key.startswith(f"{dotted}.") for problem in self.problems)

    def addText(self, text: str) -> None:
        """
        Read a TOML text.
        """
        try:
            self.tables = parsed(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(syntaxProblem(self.name, text, error))
        else:
            self._lines = linesOf(text)

    def addOverrides(self, name: str, text: str) -> None:
        """
        Put the values of an overrides file over those of the file.

        @param name: of the overrides file.
        @param text: what it holds: TOML.
        """
        try:
            tables = parsed(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(syntaxProblem(name, text, error))
            return
        lines = linesOf(text)
        for path, value in leavesOf(tables):
            self._put(path, value, Place("override", name, lines.get(path)), str)

    def addChanges(self, name: str, changes: Mapping[Path, object]) -> None:
        """
        Put values over those of the file, as if they stood in an overrides file of this name.
        """
        for path, value in changes.items():
            self._put(path, value, Place("override", name), str)

    def places(self) -> dict[str, Place]:
        """
        Where each value comes from that is no default, by its key.
        """
        return {
            ".".join(path): self._places.get(path) or Place("file", self.name, self._lines.get(path))
            for path, _ in leavesOf(self.tables)
        }

    def addEnvironment(self, environ: Mapping[str, str]) -> None:
        """
        Put the values of environment variables over those of the file.
        """
        links = [variable for variable in sorted(environ) if isServiceLink(variable, environ[variable])]
        environ = {variable: value for variable, value in environ.items() if variable not in links}
        if links:
            more = f" and {len(links) - 1} more" if len(links) > 1 else ""
            self.warnings.append(f"{links[0]}{more}: passed over, they tell of services of Kubernetes, not of keys")
        for variable, path in _EMQX_KEYS.items():
            if variable in environ:
                self._put(path, environ[variable], _variable(variable))
        for variable, kind in _EMQX_PORTS.items():
            if variable in environ:
                self._putPort(kind, environ[variable], variable)
        self.warnings.extend(
            f"{variable}: is not read; names of variables begin with {PREFIX}"
            for variable in sorted(environ)
            if isMisspelt(variable)
        )
        # The old form first, so that the other holds where a key has both.
        for variable in sorted(environ):
            rest = variable.removeprefix(_OLD_PREFIX)
            if variable.startswith(_OLD_PREFIX) and not variable.startswith(PREFIX) and rest:
                self.warnings.append(f"{variable}: write {PREFIX}{rest}; the form with one underscore will go")
                self._put(tuple(rest.split("__")), environ[variable], _variable(variable))
        for variable in sorted(environ):
            rest = variable.removeprefix(PREFIX)
            if variable.startswith(PREFIX) and rest:
                self._put(tuple(rest.split("__")), environ[variable], _variable(variable))

    def _put(self, words: Path, value: object, place: Place, other: Callable[[str], str] = str.lower) -> None:
        """
        @param other: makes the name of a key of which no form is there yet.
        """
        table = self.tables
        path: Path = ()
        for word in words[:-1]:
            name = _sameWord(word, table, other)
            inner = table.get(name, {})
            if isinstance(inner, list):
                inner = {str(number): item for number, item in enumerate(inner, 1)}
            elif not isinstance(inner, dict):
                inner = {SINGLE: inner}
            table[name] = inner
            table = inner
            path = (*path, name)
        name = _sameWord(words[-1], table, other)
        if isinstance(table.get(name), dict):
            table[name][SINGLE] = value
        else:
            table[name] = value
        self._places[(*path, name)] = place

    def _putPort(self, kind: str, port: str, variable: str) -> None:
        listener: Any = self.tables
        for name in ("listener", kind, "external"):
            listener = listener.get(name) if isinstance(listener, dict) else None
        if listener is None:
            self.warnings.append(f"{variable} has no effect: there is no listener.{kind}.external")
            return
        bound = listener.get("bind", "") if isinstance(listener, dict) else listener
        host = bound.rpartition(":")[0] if isinstance(bound, str) else ""
        self._put(("listener", kind, "external", "bind"), f"{host}:{port}" if host else port, _variable(variable))


def _variable(name: str) -> Place:
    return Place("environment", f"environment variable {name}", None)


def leavesOf(tables: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, object]]:
    """
    Every value in a tree of tables with its key. A list is a value, and so is an empty table.
    """
    for name, value in tables.items():
        inner = path if name == SINGLE else (*path, name)
        if isinstance(value, Mapping) and value:
            yield from leavesOf(value, inner)
        else:
            yield inner, value


def _sameWord(word: str, table: Mapping[str, Any], other: Callable[[str], str]) -> str:
    """
    The key of a table that is the same but for its case; names of listeners and zones may have capitals.
    """
    return next((key for key in table if key.lower() == word.lower()), other(word))


def spokenTo(environ: Mapping[str, str]) -> dict[str, str]:
    """
    The variables of an environment that may set keys.
    """
    ours = _EMQX_KEYS.keys() | _EMQX_PORTS.keys()
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(_OLD_PREFIX) or name in ours or isMisspelt(name)
    }


def isMisspelt(variable: str) -> bool:
    """
    Whether a variable looks like one that was to set a key, but for its prefix.
    """
    prefix, underscores, _ = variable.partition("__")
    if not underscores or f"{prefix}__" == PREFIX:
        return False
    return difflib.SequenceMatcher(None, prefix.upper(), PREFIX.rstrip("_")).ratio() > 0.9


def isServiceLink(variable: str, value: str) -> bool:
    """
    Whether a variable of the environment tells of a service of Kubernetes.
    """
    found = _SERVICE_LINK.fullmatch(variable)
    # A key may be called "port", but its value is no URL.
    return found is not None and (found["url"] is None or "://" in value)


def splitKey(dotted: str) -> Path:
    """
    The words of a dotted TOML key.
    """
    return tuple(word[1:-1] if word[0] in "\"'" else word for word in re.findall(_WORD, dotted))


def isKey(text: str) -> bool:
    """
    Whether a text is one dotted TOML key and nothing else.
    """
    return re.fullmatch(rf"(?:{_WORD})(?:\.(?:{_WORD}))*", text) is not None


def parsed(text: str) -> dict[str, object]:
    """
    What a TOML text says.

    @raise tomllib.TOMLDecodeError: it is not TOML; or it is, and Python does not read it: brackets in very many
        brackets, a number of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("Too many brackets within brackets") from None
    except ValueError:
        raise tomllib.TOMLDecodeError("A number has too many digits") from None


def linesOf(text: str) -> dict[Path, int]:
    """
    The line of each key and table. Only for messages, so a guess will do inside strings of several lines.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = path = splitKey(header[1])
        elif pair := _PAIR.match(line):
            path = table + splitKey(pair[1])
        else:
            continue
        # A table that is never named by itself stands where its first key does.
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], number)
    return lines


def syntaxProblem(name: str, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    """
    Make the message about a text that is not TOML, with a remedy for people who are used to C{key = value} files.
    """
    message = str(error)
    line = None
    if place := re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message):
        line = int(place[1]) if place[1] else len(text.splitlines())
        message = message[: place.start()]
    written = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    remedy = _remedy(message, written)
    message = f"this is not TOML: {message[:1].lower()}{message[1:]}"
    return Problem(name, line, "", None, f"{message}; {remedy}" if remedy else message)


def _remedy(message: str, written: str) -> str:
    """
    The advice for a line that is not TOML.
    """
    pair = _PAIR.match(written)
    header = _HEADER.match(written)
    if header and "verwrite" in message:
        return f"a value that is also a table is called bind: write it under [{header[1]}] as bind"
    if not pair:
        return ""
    key, value = pair[1], pair[2].split("#")[0].strip()
    if "verwrite" in message:
        outer = ".".join(splitKey(key)[:-1])
        return (
            f"a value that is also a table is called bind: {outer}.bind" if outer else "a key stands once in its table"
        )
    if not value:
        return f"a value follows the sign: {key} = 1"
    if value.count('"') == 1:
        return 'text has a quote at both ends: "..."'
    if value[0] not in "\"'[{":
        return f'text stands in quotes: {key} = "{value}"'
    return ""
