"""
Operations, as extensions bring them, whose answers can't be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.rest import Rest
from twisted_mqtt.base.listing import Listing
from twisted_mqtt.operations.operation import Call, Nothing, Operation, Route, Rows, operation

if TYPE_CHECKING:
    from collections.abc import Iterator


class Thing(Struct):
    """
    A row, or an answer.
    """

    number: int


def lines(thing: Thing) -> Iterator[str]:
    """
    Lines that can't be made of every thing.
    """
    yield f"{10 // thing.number}"


def row(number: int) -> Thing:
    """
    A row; there is none for a number below 0.
    """
    if number < 0:
        raise ValueError("boom")
    return Thing(number)


def listOf(*numbers: int) -> Operation:
    """
    An operation that answers rows.
    """

    @operation("things", "List things", "things", Route("GET", "/things", paged=True), text=lines)
    def things(call: Call[Nothing]) -> Rows[Thing]:
        return Rows(Listing(call.broker.clock, iter(numbers)), row)

    return things


@operation("thing", "Show a thing", "thing", Route("GET", "/thing"), text=lines)
def oneThing(call: Call[Nothing]) -> Thing:
    """
    What has no lines.
    """
    return Thing(0)


@operation("odd", "Show what is no JSON", "odd", Route("GET", "/odd"))
def oddThing(call: Call[Nothing]) -> dict[str, int]:
    """
    What can't be written as JSON.
    """
    return {"a": object()}  # type: ignore[dict-item]  # an extension that is wrong


class FailingAnswersTests(SynchronousTestCase):
    """
    Tests for answers that can't be made, and for empty ones.
    """

    def test_fails(self) -> None:
        """
        Where an answer can't be made, the caller is told that, rather than left with a connection that ends.
        """
        for declared, command, method, path in (
            (oneThing, True, "POST", "/thing?format=emqx"),
            (listOf(0), True, "POST", "/things?format=emqx"),
            (listOf(-1), True, "POST", "/things?format=emqx"),
            (listOf(-1), True, "POST", "/things"),
            (oddThing, True, "POST", "/odd"),
            (listOf(-1), False, "GET", "/things"),
            (listOf(-1), False, "GET", "/things?_cursor="),
            (oddThing, False, "GET", "/odd"),
        ):
            with self.subTest(method=method, path=path):
                rest = Rest(service="ctl", path="/operations") if command else Rest()
                rest.memory.node.operations.add(declared)
                answer = rest.call(method, path, {} if command else None)
                told = (answer.status, answer.json["message"])
                self.assertEqual(told, (500, "internal error; see the log of the broker"))
                self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_noRows(self) -> None:
        """
        A list of nothing is an answer too, in each form.
        """
        rest, ctl = Rest(), Rest(service="ctl", path="/operations")
        for one in (rest, ctl):
            one.memory.node.operations.add(listOf())
        self.assertEqual(rest.call("GET", "/things").data, [])
        self.assertEqual(ctl.call("POST", "/things", {}).data, [])
        answer = ctl.call("POST", "/things?format=emqx", {})
        told = (answer.status, answer.headers["content-type"], answer.body)
        self.assertEqual(told, (200, "text/plain; charset=utf-8", b""))
