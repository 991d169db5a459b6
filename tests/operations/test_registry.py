"""
Tests for L{twisted_mqtt.operations.registry}: which operations extensions may bring.
"""

from __future__ import annotations

import pytest
from msgspec import Struct

from tests.kits.rest import Rest
from twisted_mqtt.operations.operation import Call, Operation, Route, operation
from twisted_mqtt.operations.registry import Operations


class Request(Struct, kw_only=True):
    """
    What is asked.
    """

    x: int = 0


def made(name: str, words: str = "", *routes: Route, aliases: tuple[str, ...] = (), takes: bool = False) -> Operation:
    """
    An operation.

    @param takes: whether its command takes an argument.
    """

    @operation(name, "Do it", words, *routes, aliases=aliases, positional=("x",) if takes else ())
    def run(call: Call[Request]) -> int:
        return call.request.x

    return run


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (made("list_clients"), "there is an operation list_clients already"),
        (made("a", "clients list"), "'clients list' is that of list_clients"),
        (made("a", "b", aliases=("clients list",)), "'clients list' is that of list_clients"),
        (made("a", "", Route("GET", "/clients/:x")), "GET clients/: is that of lookup_client"),
        # Nobody could call these.
        (made(""), "no name of an operation"),
        (made("a/b"), "no name of an operation"),
        (made("a", " "), "no command"),
        (made("a", "doors  show"), "no command"),
        (made("a", "doors", aliases=("--doors show",)), "no command"),
        (made("a", "d\u00f6rs"), "no command"),
        (made("a", "convert doors"), "has without a broker"),
        (made("a", "", Route("PATCH", "/doors")), "no call such as"),
        (made("a", "", Route("get", "/doors")), "no call such as"),
        (made("a", "", Route("GET", "doors")), "no call such as"),
        (made("a", "", Route("GET", "/doors//x")), "no call such as"),
        (made("a", "", Route("GET", "/operations/:x")), "a path of the API itself"),
        (made("a", "", Route("GET", "/openapi.json")), "a path of the API itself"),
        # One of the commands would take the other for its argument.
        (made("a", "clients kick all"), "'clients kick all' and 'clients kick' one takes arguments"),
        (made("a", "clients", takes=True), "one takes arguments"),
    ],
)
def test_refused(one: Operation, says: str) -> None:
    """
    What is taken already is refused, and so is what nobody could call; all others stay as they were.
    """
    operations = Rest().memory.node.operations
    before, generation = list(operations), operations.generation
    with pytest.raises(ValueError, match=says):
        operations.add(one)
    assert (list(operations), operations.generation) == (before, generation)


def test_taken() -> None:
    """
    A command may be the beginning of others where none of them takes arguments for words.
    """
    operations = Operations()
    for one in (
        made("a", "doors"),
        made("b", "doors open-all", Route("GET", "/doors/:x/")),
        made("c", "doors shut", takes=True),
    ):
        operations.add(one)
    handle = operations.add(made("d", "gates", takes=True))
    with pytest.raises(ValueError, match="'gates shut' and 'gates' one takes arguments"):
        operations.add(made("e", "gates shut"))
    handle.close()
    operations.add(made("e", "gates shut"))
