"""
What a conversion makes: our keys with their values and the lines that they come from, what has another meaning here,
and what could not be taken over. The schema and the preflight of the broker itself decide what can stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.grammar import FLAG, TEXT, Unfit
from twisted_mqtt.config.keys import Key, keysOf
from twisted_mqtt.config.overrides import tomlValue, tomlWord
from twisted_mqtt.config.problems import ConfigurationError, Problem, isSecret
from twisted_mqtt.config.registry import installed, structureOf
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.convert.sources import ConversionError, Line, Unread
from twisted_mqtt.node.preflight import Preflight

Path: TypeAlias = tuple[str, ...]

#: Without one of these a listener would be open where the other broker's is not, or would not open at all.
_ESSENTIAL: Final = (
    "access",
    "bind",
    "cacertfile",
    "certfile",
    "crlfile",
    "fail_if_no_peer_cert",
    "keyfile",
    "mountpoint",
    "peer_cert_as_username",
    "psk_ciphers",
    "tls_versions",
    "verify",
    "zone",
)
#: What the file begins with; other tables come after these, by name.
_ORDER: Final = ("", "mqtt", "zone", "listener", "broker", "persistence", "node", "log", "plugins")
_SWITCHES: Final = ("on", "off", "true", "false")
#: Keys with a secret, beside those of our own: headers of HTTP, tokens.
_SECRET: Final = re.compile("secret|token|authorization|pass|credential|api-?key")
#: Their endings, where the value is none.
_NO_SECRET: Final = ("file", "_interval", "_hash")
_USERINFO: Final = re.compile(r"://[^/@\s]*@")
#: More are no configuration of a broker, and would take minutes.
_MOST_VALUES: Final = 5000
_MOST_LISTENERS: Final = 200
_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Put(Struct):
    """
    A value of ours.

    @ivar line: where it comes from; C{None} for what the other broker does without a line.
    @ivar why: why it is written, where no line says so.
    """

    value: object
    line: Line | None
    why: str = ""


class Remark(Struct, frozen=True):
    """
    Something to know about a line.

    @ivar kind: C{"lost"}: it was not taken over. C{"changed"}: it was, with another meaning.
    @ivar line: from 1; 0 for the file as a whole.
    @ivar key: with its value, secrets masked.
    """

    kind: Literal["lost", "changed"]
    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = "not taken over" if self.kind == "lost" else "changed"
        return f"{place}: {self.key}: {what}: {self.text}" if self.key else f"{place}: {what}: {self.text}"


class Result:
    """
    A configuration of ours that is being made.

    @ivar remarks: what is to be said about it.
    @ivar rules: access rules in our form; C{None} if the other broker has none, or if they are a file that we read.
    @ivar rulesLine: the line that names them.
    @ivar isWithoutRules: whether it was said that they can't be taken over.
    """

    def __init__(self, withoutRules: bool = False) -> None:
        """
        @param withoutRules: whether to go on where the access rules can't be taken over.
        """
        self._withoutRules = withoutRules
        self._puts: dict[Path, Put] = {}
        self._aside: list[tuple[str, dict[Path, Put]]] = []
        self._listeners: set[Path] = set()
        self._agreed: set[Line] = set()
        self.remarks: list[Remark] = []
        self.rules: str | None = None
        self.rulesLine: Line | None = None
        self.isWithoutRules = False

    def put(self, dotted: str | Path, value: object, line: Line | None, why: str = "") -> None:
        """
        Set a key of ours.

        @param why: for a value without a line: why it is written.
        @raise ConversionError: there are too many.
        """
        path = tuple(dotted.split(".")) if isinstance(dotted, str) else dotted
        if path[0] == "listener":
            self._listeners.add(path[:3])
        if len(self._puts) >= _MOST_VALUES or len(self._listeners) > _MOST_LISTENERS:
            raise ConversionError(f"more than {_MOST_VALUES} settings or {_MOST_LISTENERS} listeners")
        before = self._puts.get(path)
        if before is not None and before.line is not None and line is not None and before.line != line:
            self.changed(before.line, f"{_place(line)} says it again, and holds")
        self._puts[path] = Put(value, line, why)

    def get(self, dotted: str | Path) -> object:
        """
        The value of a key of ours; C{None} if it is not set.
        """
        found = self._puts.get(tuple(dotted.split(".")) if isinstance(dotted, str) else dotted)
        return None if found is None else found.value

    def discard(self, table: Path) -> None:
        """
        Take out a whole table.
        """
        for path in [path for path in self._puts if path[: len(table)] == table]:
            del self._puts[path]

    def having(self, name: str) -> list[tuple[Path, object]]:
        """
        The keys of ours that are called so in any table, with their values.
        """
        return [(path, put.value) for path, put in self._puts.items() if path[-1] == name]

    def under(self, table: Path) -> list[tuple[Path, object]]:
        """
        The keys of ours in a table, without its name, with their values.
        """
        size = len(table)
        return [(path[size:], put.value) for path, put in self._puts.items() if path[:size] == table]

    def lost(self, line: Line, reason: str) -> None:
        """
        Say that a line is not taken over.
        """
        self.remarks.append(Remark("lost", line.file, line.number, _said(line), reason))

    def withoutRules(self, line: Line, reason: str) -> None:
        """
        Say that access rules can't be taken over: without them more would be allowed than the other broker allows.

        @raise ConversionError: nobody has said to go on all the same.
        """
        if not self._withoutRules:
            raise ConversionError(
                f"{_place(line)}: the access rules can't be used: {reason}. Put that right, or say --without-rules to "
                "go on with the rules that every broker here has"
            )
        self.isWithoutRules = True
        self.lost(line, f"--without-rules: {reason}")

    def needNoRules(self, line: Line, broker: str) -> None:
        """
        Say what the rules of every broker here refuse, where the other broker has no rules; if that is not said yet.
        """
        if self.rules is None and not self.isWithoutRules and self.get("acl_file") is None:
            self.changed(
                line,
                f"{broker} without access rules lets everybody subscribe to # and $SYS/#; here only this machine may, "
                "unless acl_file names a file with the rule {allow, all}.",
            )

    def lines(self, found: Iterable[Line | Unread]) -> Iterator[Line]:
        """
        The settings among lines; of the others it is said why they are none.
        """
        for line in found:
            if isinstance(line, Unread):
                self.remarks.append(Remark("lost", line.file, line.number, "", line.reason))
            else:
                yield line

    def agree(self, line: Line) -> None:
        """
        Note that what a line says holds here anyway.
        """
        self._agreed.add(line)

    def changed(self, line: Line, text: str) -> None:
        """
        Say that a line is taken over with another meaning.
        """
        self.remarks.append(Remark("changed", line.file, line.number, _said(line), text))

    def load(self, name: str, line: Line | None, why: str = "") -> None:
        """
        Have an extension start with the broker.
        """
        names = self.get("plugins.load")
        already = names if isinstance(names, list) else []
        if name not in already:
            self._puts["plugins", "load"] = Put([*already, name], line, why)

    def settle(self) -> None:
        """
        Take out what the broker would refuse, with its reason, until nothing is left that it refuses.

        @raise ConversionError: something is wrong that comes from no line.
        """
        self._unfold()
        self._dropIdle()
        for _ in range(len(self._puts) + 2):
            problems: list[Problem]
            try:
                settings = settingsFrom(self.tables())
            except ConfigurationError as error:
                problems = error.problems
            else:
                # Ports and the store are those of the machine where the broker is to run.
                problems = Preflight(settings, running=True).run()
            if not problems:
                return
            if not [problem for problem in problems if self._drop(problem)]:
                break
        raise ConversionError("\n".join(f"the result can't be used: {problem}" for problem in problems))

    def tables(self) -> dict[str, Any]:
        """
        The values as a tree of tables.
        """
        tree: dict[str, Any] = {"listener": {}}
        for path, put in self._puts.items():
            table = tree
            for word in path[:-1]:
                table = table.setdefault(word, {})
            table[path[-1]] = put.value
        return tree

    def render(self, title: str) -> str:
        """
        The result as TOML, with the place that each value comes from, and all that was not taken over.

        @param title: the first line.
        """
        lines = [f"# {title}", ""]
        lines += _sections(self._puts)
        if not any(path[0] == "listener" for path in self._puts):
            lines += ["", "# No listener could be taken over.", "[listener]"]
        for reason, puts in self._aside:
            lines += ["", f"# Set aside: {reason}", *(f"#{line}" for line in _sections(puts) if line)]
        for kind, heading in (("changed", "Has another meaning here:"), ("lost", "Not taken over:")):
            said = [str(remark) for remark in self.sorted() if remark.kind == kind]
            if said:
                lines += ["", f"# {heading}", "#", *(f"# {_comment(text)}" for text in said)]
        return "\n".join(lines) + "\n"

    def sorted(self) -> list[Remark]:
        """
        The remarks by file and line, each once.
        """
        files = list(dict.fromkeys(remark.file for remark in self.remarks))
        return sorted(dict.fromkeys(self.remarks), key=lambda remark: (files.index(remark.file), remark.line))

    @property
    def taken(self) -> int:
        """
        How many lines are taken over.
        """
        return len(self.places)

    @property
    def places(self) -> set[tuple[str, int]]:
        """
        The lines that are taken over: file and number.
        """
        lines = {put.line for put in self._puts.values() if put.line is not None} | self._agreed
        if self.rulesLine is not None:
            lines.add(self.rulesLine)
        return {(line.file, line.number) for line in lines}

    @property
    def secret(self) -> bool:
        """
        Whether a value must not be read by everybody.
        """
        every = [self._puts, *(puts for _, puts in self._aside)]
        return any(isSecret(path[-1]) or _SECRET.search(path[-1]) for puts in every for path in puts)

    def _unfold(self) -> None:
        """
        Give a value that is also a table its own key: C{stomp.listener = 61613} beside C{stomp.listener.acceptors}.
        """
        tables = {path[:length] for path in self._puts for length in range(1, len(path))}
        for path in [path for path in self._puts if path in tables]:
            self._puts[(*path, "bind")] = self._puts.pop(path)

    def _dropIdle(self) -> None:
        """
        Take out what would be accepted and change nothing; write flags and numbers as what they are.
        """
        for path, put in list(self._puts.items()):
            key = _keyOf(path)
            if key is None:
                continue
            if key.noEffect is not None:
                del self._puts[path]
                if put.line is not None:
                    self.lost(put.line, key.noEffect)
            elif isinstance(put.value, str):
                put.value = _natural(key, put.value)

    def _drop(self, problem: Problem) -> bool:
        """
        Take out what a problem is about.

        @return: whether anything was.
        """
        text = problem.message
        key = problem.key
        if not key:
            # What is found by trying names the key itself.
            key, _, rest = text.partition(" ")
            text = rest if "." in key else text
        path = tuple(key.rstrip(":").split("."))
        if path == ("plugins", "load"):
            names = self.get(path)
            if isinstance(names, list) and problem.value in names:
                names.remove(problem.value)
                return True
        found = [path]
        if path not in self._puts:
            found = [known for known in self._puts if known[: len(path)] == path or path[: len(known)] == known]
        if path[0] == "listener" and len(path) >= 3 and (not found or len(path) == 3 or path[3] in _ESSENTIAL):
            return self._setAside(path[:3], f"{'.'.join(path)}: {text}")
        for known in found:
            put = self._puts.pop(known)
            if put.line is not None:
                self.lost(put.line, text.removesuffix("; remove the table"))
        return bool(found) or self._unload(path, text)

    def _unload(self, path: Path, reason: str) -> bool:
        """
        Have an extension not start whose default can't stand.
        """
        loading = self._puts.get(("plugins", "load"))
        for declaration in installed():
            table = tuple(declaration.table.split("."))
            if path[: len(table)] == table and loading is not None and isinstance(loading.value, list):
                if declaration.name in loading.value:
                    loading.value.remove(declaration.name)
                    if loading.line is not None:
                        self.lost(loading.line, f"{declaration.name} does not start: {'.'.join(path)}: {reason}")
                    return True
        return False

    def _setAside(self, listener: Path, reason: str) -> bool:
        """
        Take out a whole listener: a part of it would be another listener than the other broker has.
        """
        taken = {path: self._puts.pop(path) for path in list(self._puts) if path[:3] == listener}
        if not taken:
            return False
        zone = taken.get((*listener, "zone"))
        if zone is not None and not any(
            path[0] == "listener" and path[3:] == ("zone",) and put.value == zone.value
            for path, put in self._puts.items()
        ):
            for path in [path for path in self._puts if path[:2] == ("zone", zone.value)]:
                taken[path] = self._puts.pop(path)
        self._aside.append((reason, taken))
        lines = dict.fromkeys(put.line for put in taken.values() if put.line is not None)
        used = {put.line for put in self._puts.values()}
        for number, line in enumerate(line for line in lines if line not in used):
            why = f", at the end of the result, because of {reason}" if not number else ""
            self.lost(line, f"{'.'.join(listener)} is set aside{why}")
        return True


def nameOf(text: str, taken: Iterable[str] = ()) -> str:
    """
    A name of a listener or zone made of any text: letters, digits, C{_} and C{-}, and not one that is taken.
    """
    name = _NAME.sub("_", text)[:60].strip("_") or "listener"
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name}{number}"
    return unique


def _keyOf(path: Path) -> Key | None:
    """
    The key of the schema with this path, or the nearest table above it that changes nothing; C{None} if there is none.
    """
    keys = keysOf(Settings)
    at = 0
    for declaration in installed():
        table = tuple(declaration.table.split("."))
        if declaration.table and path[: len(table)] == table:
            structure = structureOf(declaration)
            keys, at = ({} if structure is None else keysOf(structure)), len(table)
            break
    while at < len(path):
        key = keys.get(path[at])
        if key is None or key.noEffect is not None or key.table is None:
            return key
        keys = keysOf(key.table)
        at += 2 if key.named else 1
    return None


def _natural(key: Key, value: str) -> object:
    """
    A flag or a whole number as such; anything else stays text.
    """
    if key.grammar is FLAG:
        return {"true": True, "on": True, "false": False, "off": False}.get(value, value)
    if re.fullmatch("0|[1-9][0-9]{0,17}", value) and key.grammar is not None and key.grammar is not TEXT:
        try:
            return int(value) if key.grammar.parse(int(value)) == key.grammar.parse(value) else value
        except Unfit:
            return value
    return value


def _sections(puts: Mapping[Path, Put]) -> list[str]:
    """
    Values as TOML, a table after the other.
    """
    tables: dict[Path, list[tuple[str, Put]]] = {}
    for path, put in puts.items():
        tables.setdefault(path[:-1], []).append((path[-1], put))
    lines: list[str] = []
    for table in sorted(tables, key=_rank):
        if lines:
            lines.append("")
        if table:
            lines.append(f"[{'.'.join(map(tomlWord, table))}]")
        for name, put in tables[table]:
            comment = _place(put.line) if put.line is not None else put.why
            lines.append(f"{tomlWord(name)} = {tomlValue(put.value)}" + (f"  # {_comment(comment)}" if comment else ""))
    return lines


def _rank(table: Path) -> tuple[int, Path]:
    first = table[0] if table else ""
    return (_ORDER.index(first) if first in _ORDER else len(_ORDER), table)


def _place(line: Line) -> str:
    return f"{line.file}:{line.number}" if line.number else line.file


def _said(line: Line) -> str:
    if not line.value:
        return _comment(line.key)
    word = line.key.rpartition(".")[2].lower()
    secret = (isSecret(word) or _SECRET.search(word)) and not word.endswith(_NO_SECRET)
    # Whether something is on is no secret, whatever it is called: plugins.vmq_passwd = on.
    secret = secret and line.value.lower() not in _SWITCHES
    value = "***" if secret else _USERINFO.sub("://***@", line.value)
    return _comment(f"{line.key}{line.sign}{value if len(value) <= 80 else value[:77] + '...'}")


def _comment(text: str) -> str:
    """
    A text as it may stand in a line of its own.
    """
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
