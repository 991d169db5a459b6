"""
Finds the operation that a REST call asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted_mqtt.operations.operation import Operation, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Found(NamedTuple):
    """
    The call of a request.

    @ivar variables: those of the path, by name.
    """

    operation: Operation
    route: Route
    variables: dict[str, str]


class _Node:
    """
    A place in the tree of paths.
    """

    __slots__ = ("any", "calls", "named")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.calls: dict[str, tuple[Operation, Route]] = {}


class Router:
    """
    All calls of one API, as a tree of the parts of their paths. A part that is written out goes before a variable.
    """

    def __init__(self, operations: Iterable[Operation], api: str) -> None:
        """
        @param api: which API, see L{Route}.
        """
        self._root = _Node()
        #: All calls, in the order of the operations.
        self.routes: list[tuple[Operation, Route]] = []
        for operation in operations:
            for route in operation.routes:
                if route.api == api:
                    self._add(operation, route)

    def _add(self, operation: Operation, route: Route) -> None:
        node = self._root
        for part in partsOf(route.path):
            if part.startswith(":"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.named.setdefault(part, _Node())
        node.calls[route.method] = (operation, route)
        self.routes.append((operation, route))

    def find(self, method: str, parts: list[str]) -> Found | list[str]:
        """
        Find the call of a request.

        @param parts: of the path, decoded; none of them empty.

        @return: the call; or the methods that this path takes, none where there is no such path.
        """
        allowed: list[str] = []
        for node in self._places(self._root, parts, 0):
            call = node.calls.get(method)
            if call is not None:
                operation, route = call
                names = partsOf(route.path)
                return Found(
                    operation,
                    route,
                    {name[1:]: part for name, part in zip(names, parts, strict=True) if name[0] == ":"},
                )
            allowed.extend(method for method in node.calls if method not in allowed)
        return allowed

    def _places(self, node: _Node, parts: list[str], at: int) -> Iterator[_Node]:
        if at == len(parts):
            if node.calls:
                yield node
            return
        named = node.named.get(parts[at])
        if named is not None:
            yield from self._places(named, parts, at + 1)
        if node.any is not None:
            yield from self._places(node.any, parts, at + 1)


def partsOf(path: str) -> list[str]:
    """
    The parts of the path of a route.
    """
    return [part for part in path.split("/") if part]
