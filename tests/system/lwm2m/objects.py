"""
The objects of the tests' LwM2M device: what resources they have, what may be done with them, and what they hold.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.system.lwm2m.formats import Entry, Kinds, Malformed, Path, pathOf, textOf

# By object and resource: the kind of value, with an asterisk if there may be several, and the operations.
TABLE = {
    (0, 0): ("string", ""),
    (0, 1): ("boolean", ""),
    (0, 2): ("integer", ""),
    (0, 3): ("opaque", ""),
    (0, 4): ("opaque", ""),
    (0, 5): ("opaque", ""),
    (0, 10): ("integer", ""),
    (0, 11): ("integer", ""),
    (1, 0): ("integer", "R"),
    (1, 1): ("integer", "RW"),
    (1, 2): ("integer", "RW"),
    (1, 3): ("integer", "RW"),
    (1, 6): ("boolean", "RW"),
    (1, 7): ("string", "RW"),
    (1, 8): ("", "E"),
    (2, 0): ("integer", "R"),
    (2, 1): ("integer", "R"),
    (2, 2): ("integer*", "RW"),
    (2, 3): ("integer", "RW"),
    (3, 0): ("string", "R"),
    (3, 1): ("string", "R"),
    (3, 2): ("string", "R"),
    (3, 3): ("string", "R"),
    (3, 4): ("", "E"),
    (3, 5): ("", "E"),
    (3, 6): ("integer*", "R"),
    (3, 7): ("integer*", "R"),
    (3, 9): ("integer", "R"),
    (3, 10): ("integer", "R"),
    (3, 11): ("integer*", "R"),
    (3, 12): ("", "E"),
    (3, 13): ("time", "RW"),
    (3, 14): ("string", "RW"),
    (3, 15): ("string", "RW"),
    (3, 16): ("string", "R"),
    (3, 22): ("link*", "R"),
    (4, 0): ("integer", "R"),
    (4, 1): ("integer*", "R"),
    (4, 2): ("integer", "R"),
    (4, 4): ("string*", "R"),
    (5, 0): ("opaque", "W"),
    (5, 1): ("string", "RW"),
    (5, 2): ("", "E"),
    (5, 3): ("integer", "R"),
    (5, 5): ("integer", "R"),
    (5, 6): ("string", "R"),
    (5, 7): ("string", "R"),
    (6, 0): ("float", "R"),
    (6, 1): ("float", "R"),
    (6, 2): ("float", "R"),
    (6, 4): ("opaque", "R"),
    (6, 5): ("time", "R"),
}

KINDS = Kinds({key: kind for key, (kind, _) in TABLE.items() if kind})

VALUES: dict[str, Any] = {
    "/1/0/0": 1,
    "/1/0/1": 300,
    "/1/0/6": True,
    "/1/0/7": "U",
    "/3/0/0": "Open Mobile Alliance",
    "/3/0/1": "Lightweight M2M Client",
    "/3/0/2": "345000123",
    "/3/0/3": "1.0",
    "/3/0/6/0": 1,
    "/3/0/6/1": 5,
    "/3/0/7/0": 3800,
    "/3/0/7/1": 5000,
    "/3/0/9": 100,
    "/3/0/10": 15,
    "/3/0/11/0": 0,
    "/3/0/13": 1367491215,
    "/3/0/14": "+02:00",
    "/3/0/15": "Europe/Berlin",
    "/3/0/16": "U",
    "/3/0/22/0": (4, 0),
    "/4/0/0": 0,
    "/4/0/1/0": 0,
    "/4/0/2": -92,
    "/4/0/4/0": "192.168.0.100",
    "/5/0/1": "",
    "/5/0/3": 0,
    "/5/0/5": 0,
    "/6/0/0": -43.5723,
    "/6/0/1": 153.21760,
    "/6/0/2": 12.5,
    "/6/0/4": b"\x00\x80\xff",
    "/6/0/5": 1367491215,
}


class Refused(Exception):
    """
    The code that answers an operation, such as C{"4.05"}.
    """


class Objects:
    """
    The objects of the device.

    @ivar values: by path.
    @ivar attributes: those that were written, by path.
    @ivar executed: paths and arguments, oldest first.
    """

    def __init__(self) -> None:
        self.values: dict[Path, Any] = {pathOf(path): copy.copy(value) for path, value in VALUES.items()}
        self.attributes: dict[Path, dict[str, str]] = {}
        self.executed: list[tuple[str, str]] = []

    def links(self, prefix: str = "") -> str:
        """
        Get the list for a registration: objects that have instances, with these.
        """
        instances = sorted({path[:2] for path in self.values if path[0] != 0})
        return ",".join(f"<{prefix}{textOf(path)}>" for path in instances)

    def read(self, path: Path) -> list[Entry]:
        """
        The values below a path, for whom reads; those that can't be read are left out of what is larger.
        """
        if path and path[0] == 0:
            raise Refused("4.01")
        found = [(at, value) for at, value in self.values.items() if at[: len(path)] == path]
        if not found:
            raise Refused("4.05" if len(path) > 2 and "W" in self._operations(path) else "4.04")
        readable = [(at, value) for at, value in found if "R" in self._operations(at)]
        if not readable:
            raise Refused("4.05")
        return readable

    def write(self, path: Path, entries: list[Entry], replace: bool) -> None:
        """
        Write all or nothing.

        @param replace: whether what is below C{path} and not among C{entries} goes.
        """
        if not any(at[:2] == path[:2] for at in self.values):
            raise Refused("4.04")
        for at, _ in entries:
            if at[: len(path)] != path:
                raise Refused("4.00")
            if "W" not in self._operations(at):
                raise Refused("4.05")
        if replace:
            for at in [at for at in self.values if at[: len(path)] == path and "W" in self._operations(at)]:
                del self.values[at]
        self._put(entries)

    def provision(self, entries: list[Entry]) -> None:
        """
        Write as a bootstrap server may.
        """
        self._put(entries)

    def create(self, entries: list[Entry]) -> None:
        """
        Make an instance.
        """
        instances = {at[:2] for at, _ in entries}
        if any(at[:2] in instances for at in self.values):
            raise Refused("4.00")
        self._put(entries)

    def spare(self, number: int) -> int:
        """
        The first instance of an object that there is not.
        """
        used = {at[1] for at in self.values if at[0] == number}
        return next(each for each in range(65535) if each not in used)

    def delete(self, path: Path) -> None:
        """
        Remove an instance.
        """
        if len(path) != 2 or path[0] in (0, 3):
            raise Refused("4.05")
        found = [at for at in self.values if at[:2] == path]
        if not found:
            raise Refused("4.04")
        for at in found:
            del self.values[at]

    def execute(self, path: Path, arguments: str) -> None:
        """
        Have something done, which is taken down.
        """
        if not any(at[:2] == path[:2] for at in self.values):
            raise Refused("4.04")
        if "E" not in self._operations(path):
            raise Refused("4.05")
        self.executed.append((textOf(path), arguments))

    def describe(self, path: Path, prefix: str = "") -> str:
        """
        Get the links below a path, with attributes.
        """
        at = sorted({each[: max(3, len(path))] for each in self.values if each[: len(path)] == path})
        if not at:
            raise Refused("4.04")
        executable = [
            (*instance, resource)
            for instance in sorted({each[:2] for each in self.values if each[: len(path)] == path})
            for (number, resource), (_, operations) in TABLE.items()
            if number == instance[0] and "E" in operations and len(path) < 3
        ]
        steps = [path] if len(path) < 3 else []
        if len(path) == 1:
            steps += sorted({each[:2] for each in at})
        found = []
        for step in steps + sorted([*at, *executable]):
            words = [f"<{prefix}{textOf(step)}>"]
            size = len([each for each in self.values if each[:3] == step and len(each) == 4])
            if size:
                words.append(f"dim={size}")
            words += [f"{name}={value}" for name, value in self.attributes.get(step, {}).items()]
            found.append(";".join(words))
        return ",".join(found)

    def annotate(self, path: Path, words: tuple[str, ...]) -> None:
        """
        Write attributes.
        """
        if not any(at[: len(path)] == path for at in self.values):
            raise Refused("4.04")
        for word in words:
            name, equals, value = word.partition("=")
            if name not in ("pmin", "pmax", "gt", "lt", "st", "epmin", "epmax", "edge", "con", "hqmax"):
                raise Refused("4.00")
            if equals:
                self.attributes.setdefault(path, {})[name] = value
            else:
                self.attributes.get(path, {}).pop(name, None)

    def _operations(self, path: Path) -> str:
        if len(path) < 3:
            return "RW"
        if (path[0], path[2]) not in TABLE:
            raise Refused("4.04")
        return TABLE[path[0], path[2]][1]

    def _put(self, entries: list[Entry]) -> None:
        for at, value in entries:
            KINDS(at)
            if KINDS.multiple(at) != (len(at) == 4):
                raise Malformed(f"{textOf(at)} is {'not ' if len(at) == 4 else ''}a multiple resource")
            self.values[at] = value
