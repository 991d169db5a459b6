"""
The operations that a node has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from twisted_mqtt.config.problems import nearest

if TYPE_CHECKING:
    from twisted_mqtt.operations.operation import Operation


_NAME: Final = re.compile(r"\w[\w-]*", re.ASCII)
_WORDS: Final = re.compile(r"[^\W_][\w-]*(?: [^\W_][\w-]*)*", re.ASCII)
_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_PATH: Final = re.compile(r"/|(?:/:?[\w.~-]+)+/?", re.ASCII)
#: The first words of commands that need no broker, and the first parts of paths that are no calls of operations.
_OF_THE_PROGRAM: Final = ("convert", "completion")
_OF_THE_API: Final = ("openapi.json", "operations")


class OperationHandle:
    """
    An operation in the registry, until it is closed.
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    @property
    def closed(self) -> bool:
        """
        Whether it was taken out.
        """
        return self._undo is None

    def close(self) -> None:
        """
        Take it out. A second call does nothing. Calls that are being answered go on.
        """
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Operations:
    """
    The operations of a node, by name.

    @ivar generation: grows with each change, for those who have made something of the whole.
    """

    def __init__(self) -> None:
        self._named: dict[str, Operation] = {}
        # Words of commands, aliases too, and REST calls: each is there once.
        self._words: dict[str, str] = {}
        self._routes: dict[tuple[str, str, str], str] = {}
        self.generation = 0

    def __iter__(self) -> Iterator[Operation]:
        return iter(list(self._named.values()))

    def __len__(self) -> int:
        return len(self._named)

    def add(self, operation: Operation) -> OperationHandle:
        """
        Register an operation.

        @raise ValueError: its name, words, or one of its REST calls are taken, or nobody could call it by them; nothing
            is registered then.
        """
        _check(operation)
        words = [words for words in (operation.words, *operation.aliases) if words]
        routes = [(route.api, route.method, shapeOf(route.path)) for route in operation.routes]
        if operation.name in self._named:
            raise ValueError(f"there is an operation {operation.name} already")
        for word in words:
            if word in self._words:
                raise ValueError(f"{operation.name}: the command {word!r} is that of {self._words[word]}")
            for other, name in self._words.items():
                # A command that takes arguments takes the next word for one.
                takes = self._named[name] if word.startswith(f"{other} ") else operation
                if takes.positional and (word.startswith(f"{other} ") or other.startswith(f"{word} ")):
                    raise ValueError(f"{operation.name}: of the commands {word!r} and {other!r} one takes arguments")
        for api, method, path in routes:
            if (api, method, path) in self._routes:
                raise ValueError(f"{operation.name}: {method} {path} is that of {self._routes[api, method, path]}")
        self._named[operation.name] = operation
        self._words.update(dict.fromkeys(words, operation.name))
        self._routes.update(dict.fromkeys(routes, operation.name))
        self.generation += 1

        def undo() -> None:
            del self._named[operation.name]
            for word in words:
                del self._words[word]
            for route in routes:
                del self._routes[route]
            self.generation += 1

        return OperationHandle(undo)

    def get(self, name: str) -> Operation | None:
        """
        The operation of a name.
        """
        return self._named.get(name)

    def byWords(self, words: str) -> Operation | None:
        """
        The operation of a command.
        """
        name = self._words.get(words)
        return None if name is None else self._named[name]

    def nearest(self, words: str) -> str:
        """
        The command that looks most like some words; C{""} if none does.
        """
        return nearest(words, self._words) or ""


def _check(operation: Operation) -> None:
    """
    @raise ValueError: an operation can't be called by its name, words, or routes.
    """
    name = operation.name
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an operation: it has letters, digits, - and _")
    for words in (operation.words, *operation.aliases):
        if words and not _WORDS.fullmatch(words):
            raise ValueError(f"{name}: {words!r} is no command: its words have letters, digits, - and _")
        if words.partition(" ")[0] in _OF_THE_PROGRAM:
            raise ValueError(f"{name}: the command {words!r} is one that mqttbroker-ctl has without a broker")
    for route in operation.routes:
        if route.method not in _METHODS or not _PATH.fullmatch(route.path):
            raise ValueError(f"{name}: {route.method} {route.path} is no call such as GET /doors/:door")
        if route.api == "v4" and route.path.split("/")[1] in _OF_THE_API:
            raise ValueError(f"{name}: {route.path} is a path of the API itself")


def shapeOf(path: str) -> str:
    """
    A path without the names of its variables and without a slash at its end: those of two calls must differ.
    """
    return "/".join(":" if part.startswith(":") else part for part in path.strip("/").split("/"))
