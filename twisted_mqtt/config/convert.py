"""
Makes structures of a tree of tables: checks that every key is known, parses every value, and collects all errors.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from twisted_mqtt.config.forms import BIND
from twisted_mqtt.config.grammar import Unfit
from twisted_mqtt.config.keys import Key, keysOf
from twisted_mqtt.config.problems import nearest
from twisted_mqtt.config.source import SINGLE, Path, Source

S = TypeVar("S", bound=Struct)

# So many keys a message lists; of more it says where they are listed.
_FEW = 8

_KIND = re.compile(r"^listener\.\w+")


class Conversion:
    """
    The reading of one source.

    @ivar idle: keys that were set and have no effect, each with the reason.
    """

    def __init__(
        self,
        source: Source,
        root: type[Struct],
        elsewhere: Sequence[str] = (),
        extensions: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param root: the structure of the whole tree.
        @param elsewhere: tables at the top of the tree that are read apart from it.
        @param extensions: the tables of extensions, by the names of these.
        """
        self.source = source
        self.elsewhere = elsewhere
        self.extensions = extensions or {}
        self.root = root
        self.idle: list[str] = []

    def built(
        self, structure: type[S], raw: object, path: Path, short: str | None = None, **filled: object
    ) -> S | None:
        """
        A table as its structure.

        @param filled: values for fields that are no keys.
        @return: C{None} if a key that must be there is missing.
        """
        values = self.values(structure, raw, path, short)
        for key in keysOf(structure).values():
            if key.required and key.attribute not in values:
                if not self._noted((*path, key.name)):
                    wants = key.grammar.wants if key.grammar else "a table"
                    self.source.problem((*path, key.name), None, f"must be given: {wants}")
                return None
        return structure(**filled, **values)

    def values(self, structure: type[Struct], raw: object, path: Path, short: str | None = None) -> dict[str, Any]:
        """
        The values of those keys of a table that are set, by attribute.
        """
        keys = keysOf(structure)
        table = self._asTable(raw, path, short, keys)
        if table is None:
            return {}
        found: dict[str, Any] = {}
        numbered: dict[str, Any] = {}
        entries = next((key for key in keys.values() if key.entries), None)
        aliases = {alias: key for key in keys.values() for alias in key.aliases}
        for name, value in table.items():
            key = keys.get(name) or aliases.get(name)
            if entries and _isNumber(name):
                numbered[name] = value
            elif key is None or key.entries:
                self._unknown(name, value, keys, path)
            elif key.name != name and key.name in table:
                self.source.problem((*path, name), value, f"is another name of {key.name}: give one of them")
            else:
                self._read(found, key, value, (*path, name))
        if entries and numbered:
            found[entries.attribute] = self._entries(entries, numbered, path)
        return found

    def _asTable(self, raw: object, path: Path, short: str | None, keys: dict[str, Key]) -> dict[str, Any] | None:
        if isinstance(raw, dict):
            if SINGLE not in raw:
                return raw
            if short:
                # The short form and the key it stands for: whichever was said last, in the file or the environment.
                return {short if name == SINGLE else name: value for name, value in raw.items()}
            raw = raw[SINGLE]
        elif short and not isinstance(raw, list):
            return {short: raw}
        elif isinstance(raw, list) and any(key.entries for key in keys.values()):
            return {str(number): item for number, item in enumerate(raw, 1)}
        self.source.problem(path, raw, f"must be a table: write its keys under [{'.'.join(path)}]")
        return None

    def _read(self, found: dict[str, Any], key: Key, value: object, path: Path) -> None:
        if key.noEffect:
            self.idle.append(f"{'.'.join(path)} ({key.noEffect})")
        if key.named:
            found[key.attribute] = self._named(key, value, path)
        elif key.table is not None:
            table = self.built(key.table, value, path, key.short)
            if table is not None:
                found[key.attribute] = table
        elif key.numbered:
            found[key.attribute] = self._numbered(key, value, path)
        else:
            if isinstance(value, dict) and SINGLE in value:
                value = value[SINGLE]
            if key.optional and value in ("", "none"):
                found[key.attribute] = None
            else:
                self._parse(found, key, value, path)

    def _parse(self, found: dict[str, Any], key: Key, value: object, path: Path) -> None:
        assert key.grammar is not None
        try:
            found[key.attribute] = key.grammar.parse(value)
        except Unfit as unfit:
            self.source.problem(path, value, str(unfit))

    def _named(self, key: Key, raw: object, path: Path) -> dict[str, Any]:
        """
        A table of tables whose names the user chose.
        """
        assert key.table is not None
        if not isinstance(raw, dict):
            self.source.problem(path, raw, f"must be a table: write its keys under [{'.'.join(path)}.<name>]")
            return {}
        tables = {}
        for name, value in raw.items():
            table = self.built(key.table, value, (*path, name), key.short, name=name)
            if table is not None:
                tables[name] = table
        return tables

    def _numbered(self, key: Key, raw: object, path: Path) -> tuple[Any, ...]:
        """
        A list of single values in the order of their numbers.
        """
        assert key.grammar is not None
        items = []
        for number, value in self._inOrder(raw, path):
            try:
                items.append(key.grammar.parse(value))
            except Unfit as unfit:
                self.source.problem((*path, number), value, str(unfit))
        return tuple(items)

    def _entries(self, key: Key, raw: dict[str, Any], path: Path) -> tuple[Any, ...]:
        """
        A list of tables in the order of their numbers.
        """
        assert key.table is not None
        tables = [self.built(key.table, value, (*path, number)) for number, value in self._inOrder(raw, path)]
        return tuple(table for table in tables if table is not None)

    def _inOrder(self, raw: object, path: Path) -> list[tuple[str, Any]]:
        if isinstance(raw, list):
            return [(str(number), value) for number, value in enumerate(raw, 1)]
        if not isinstance(raw, dict):
            return [("1", raw)]
        if SINGLE in raw:
            return self._inOrder(raw[SINGLE], path)
        for name, value in raw.items():
            if not _isNumber(name):
                self.source.problem((*path, name), value, "must have a number as its name, such as 1")
        return sorted(((name, value) for name, value in raw.items() if _isNumber(name)), key=lambda item: int(item[0]))

    def _unknown(self, name: str, value: object, keys: dict[str, Key], path: Path) -> None:
        known = [key.name for key in keys.values() if not key.entries]
        message = _inside(name, keys, path) or self.advice(name, known if path else [*known, *self.elsewhere], path)
        if not path and "nearest" not in message and "belongs" not in message:
            message = f"there is no such key, and no extension with a table [{name}] is installed"
        self.source.problem((*path, name), None if isinstance(value, dict) else value, message)

    def advice(self, name: str, known: Sequence[str], path: Path) -> str:
        """
        The advice for a key that does not exist.
        """
        if not path and (table := self.extensions.get(name)):
            return f"there is no such key; the table of that extension belongs under [{table}]"
        if not path and (dotted := self._dotted(name)):
            return f"there is no such key; it belongs under [{dotted[0]}], and is called {dotted[1]} there"
        if homes := homesOf(self.root).get(name):
            return f"there is no such key here; it belongs {' or '.join(homes)}"
        if close := nearest(name, known):
            return f'there is no such key; the nearest is "{close}"'
        if len(known) <= _FEW:
            return f"there is no such key; there are {', '.join(known)}"
        return f"there is no such key; docs/configuration.md lists those of [{'.'.join(path)}]"

    def _dotted(self, name: str) -> tuple[str, str] | None:
        """
        The table and the key that are meant where an underscore stands for a dot, as in a variable with one underscore
        in place of two.
        """
        words = name.split("_")
        for count in range(1, len(words)):
            table, rest = "_".join(words[:count]), "_".join(words[count:])
            key = keysOf(self.root).get(table)
            if key is not None and key.table is not None and rest in keysOf(key.table):
                return table, rest
        return None

    def _noted(self, path: Path) -> bool:
        """
        Whether a key has a problem already.
        """
        return ".".join(path) in {problem.key for problem in self.source.problems}


def _inside(name: str, keys: dict[str, Key], path: Path) -> str:
    """
    Say that a key belongs into a table of this table, or that an address has another name here; C{""} for neither.
    """
    if not path:
        return ""
    inner = [key for key in keys.values() if key.table is not None and not key.named and not key.entries]
    homes = [f"under [{'.'.join(path)}.{key.name}]" for key in inner if key.table and name in keysOf(key.table)]
    if homes:
        return f"there is no such key here; it belongs {' or '.join(homes)}"
    port = keys.get("port")
    if name == "bind" and port is not None and port.grammar is BIND:
        return 'there is no such key here; the address to listen on is called "port"'
    return ""


def _isNumber(name: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", name) is not None


@functools.cache
def homesOf(root: type[Struct]) -> dict[str, list[str]]:
    """
    In which tables each key stands, as a person would say it.
    """
    homes: dict[str, list[str]] = {}

    def visit(table: type[Struct], path: str) -> None:
        home = f"under [{re.sub(_KIND, 'listener.<kind>', path)}]" if path else "at the top of the file"
        for key in keysOf(table).values():
            known = homes.setdefault(key.name, [])
            if home not in known:
                known.append(home)
            if key.table is not None:
                inner = f"{path}.{key.name}" if path else key.name
                visit(key.table, f"{inner}.<name>" if key.named else inner)

    visit(root, "")
    return homes
