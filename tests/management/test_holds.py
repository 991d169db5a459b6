"""
No operation holds the reactor for long, however many sessions there are.

Each is called in a broker in memory with many sessions, bans, alarms and retained messages, and the processor time of
each turn of the reactor is taken. What runs in threads is not counted.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import chdir
from time import process_time
from typing import Any, Final

import msgspec
import pytest
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo

from tests.kits.manysessions import ManySessions
from tests.kits.rest import Rest
from twisted_mqtt.core.message import Message
from twisted_mqtt.extensions.finding import InstalledMakers
from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.management.catalogue import OURS, declared
from twisted_mqtt.operations.operation import Call, Nothing, operation

SESSIONS: Final = 5000
SUBSCRIPTIONS: Final = 3
#: By so many seconds of processor time, interpreted, the longest turn may be longer than in an empty broker: a slice of
#: rows takes less than one millisecond of it, a short look at all sessions five.
MOST: Final = 0.003

#: What is not called here, and why.
LEFT_OUT: Final = {
    "events": "its answer does not end",
    "look_at_address": "likewise",
    "look_at_client": "likewise",
    "look_at_topic": "likewise",
    "recon_gc": "it looks for garbage, for as long as that takes, and says so",
    "recon_bin_leak": "likewise",
    "recon_node_stats": "it answers a row a second for longer than anybody waits here",
    "ctrl_broker": "it ends the process",
}
#: What the requests ask for that name something.
ASKED: Final[dict[str, object]] = {
    "node": "mqttbroker@127.0.0.1",
    "clientid": "session-7",
    "username": "user-7",
    "topic": "s/7/1",
    "topics": "s/7/1",
    "who": "user-7",
    "as": "username",
}
#: What those take that name nothing: the first that passes.
_CANDIDATES: Final = ("x", 1, True, [], {})


class World:
    """
    A broker with much of everything; its longest turn.
    """

    def __init__(self, size: int = SESSIONS) -> None:
        self.rest = Rest(path="/api/v4/operations")
        memory = self.rest.memory
        for maker in InstalledMakers()():
            if isinstance(maker, ExtensionMaker) and maker.distribution == OURS and maker.declareOperations():
                memory.node.extensions.load(maker.name)
        memory.wait(0.1)
        sessions = ManySessions(memory.broker, SUBSCRIPTIONS)
        for number in range(size):
            sessions.make(number)
            memory.broker.bans.add(f"bad-{number}", "clientid")
            memory.broker.publish(Message(f"kept/{number}", b"x", retain=True))
        for number in range(size // 5):
            memory.broker.alarms.activate(f"alarm-{number}", "warning", "An alarm", "It is one")
            memory.broker.alarms.deactivate(f"alarm-{number}")
        memory.wait(1.0)
        self._longest = 0.0
        self._inThreads = 0.0
        self._measure()

    def _measure(self) -> None:
        clock: Any = self.rest.memory.clock
        threads: Any = self.rest.memory.broker.threads
        callLater, defer = clock.callLater, threads.defer

        def later(delay: float, action: Callable[..., object], *args: object, **named: object) -> Any:
            return callLater(delay, lambda: self._turn(lambda: action(*args, **named)))

        def inThread(*args: Any, **named: Any) -> Any:
            began = process_time()
            try:
                return defer(*args, **named)
            finally:
                self._inThreads += process_time() - began

        clock.callLater, threads.defer = later, inThread

    def _turn(self, action: Callable[[], object]) -> None:
        self._inThreads = 0.0
        began = process_time()
        try:
            action()
        finally:
            self._longest = max(self._longest, process_time() - began - self._inThreads)

    def longest(self, name: str, body: dict[str, object]) -> float:
        """
        Call an operation; returns the seconds of its longest turn.
        """
        self._longest = 0.0
        gc.collect()
        gc.disable()
        try:
            self._turn(lambda: self.rest.begin("POST", f"/{name}", body))
            self.rest.finish()
        finally:
            gc.enable()
        return self._longest


class Worlds:
    """
    A broker with little in it and one with much, which is made anew when something is missing.
    """

    def __init__(self) -> None:
        self.small = World(10)
        self._large: World | None = None

    @property
    def large(self) -> World:
        """
        The one with much.
        """
        if self._large is None or len(self._large.rest.memory.broker.sessions) < SESSIONS:
            self._large = World()
        return self._large

    def growth(self, name: str, body: dict[str, object]) -> float:
        """
        By how many seconds the longest turn of an operation is longer where there is much.
        """
        least = self.small.longest(name, body)
        return self.large.longest(name, body) - least

    def renew(self) -> None:
        """
        Have it made anew: what an operation does once is not there a second time.
        """
        self._large = None


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """
    Those that all tests use, in a folder of their own: some operations write files.
    """
    with chdir(tmp_path_factory.mktemp("holds")):
        yield Worlds()


def requestOf(fields: tuple[FieldInfo, ...]) -> dict[str, object]:
    """
    A request with the fields that must be there.
    """
    found: dict[str, object] = {}
    for field in fields:
        if field.default is not NODEFAULT or field.default_factory is not NODEFAULT:
            continue
        for value in (ASKED.get(field.encode_name, "x"), *_CANDIDATES, *getattr(field.type, "__args__", ())):
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError:
                continue
            found[field.encode_name] = value
            break
    return found


OPERATIONS: Final = {one.name: one for one in declared()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - LEFT_OUT.keys()))
def test_holdsTheReactorBriefly(name: str, worlds: Worlds) -> None:
    """
    The longest turn of an operation does not grow with what there is: a long list is gone through in slices, and other
    work is in threads.
    """
    assert worlds.small.rest.memory.node.operations.get(name) is not None
    body = requestOf(msgspec.structs.fields(OPERATIONS[name].request))
    took: list[float] = []
    while len(took) < 3:
        took.append(worlds.growth(name, body))
        if took[-1] <= MOST:
            return
        worlds.renew()
    raise AssertionError(f"with {SESSIONS} sessions {name} holds the reactor longer by {took} s")


@pytest.mark.slow
def test_noticesWhoHoldsIt(worlds: Worlds) -> None:
    """
    An operation that looks at all sessions at once is noticed.
    """

    @operation("looks_at_all", "Look at all sessions")
    def looksAtAll(call: Call[Nothing]) -> list[str]:
        sessions: Any = call.broker.sessions
        return [str(session.stats()) for part in sessions.parts for session in part.values()]

    handles = [world.rest.memory.node.operations.add(looksAtAll) for world in (worlds.small, worlds.large)]
    assert worlds.growth("looks_at_all", {}) > MOST
    for handle in handles:
        handle.close()
