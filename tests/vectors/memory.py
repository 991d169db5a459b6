"""
Vectors against this broker in memory: no socket, and a clock that moves when a vector says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.kits.websocket import Lower
from tests.vectors.model import Vector
from twisted_mqtt.config.schema_listeners import WebSocketListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.core.topics import matches
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, STOP, AuthResult, Challenge
from twisted_mqtt.listeners.websocket import webSocketFactory
from twisted_mqtt.testing.broker import makeBroker

# A settled broker has nothing more to do now; this many turns are more than any packet takes.
_TURNS: Final = 20


class MemoryLink:
    """
    A connection made of a protocol and a L{StringTransport}.
    """

    def __init__(self, bench: MemoryBench, protocol: Any, transport: Any) -> None:
        self._bench = bench
        self._protocol = protocol
        self._transport = transport
        self._unread: list[bytes] = []
        self._lost = False
        protocol.makeConnection(self._transport)
        bench.settle()

    def send(self, data: bytes) -> None:
        """
        Bytes to the broker, which takes them unless it has paused reading.
        """
        self._unread.append(data)
        self._bench.settle()

    def receive(self, wait: float) -> bytes | None:
        """
        Take the bytes that the broker has written since.
        """
        self._bench.settle()
        data: bytes = self._transport.value()
        self._transport.clear()
        return data or (None if self._lost else b"")

    def abort(self) -> None:
        """
        The network fails.
        """
        self._lose(ConnectionLost())
        self._bench.settle()

    def turn(self) -> None:
        """
        One turn of the loop for this connection: read what may be read, and go if asked to.
        """
        if self._lost:
            return
        if self._unread and self._transport.producerState == "producing" and not self._transport.disconnecting:
            unread, self._unread = b"".join(self._unread), []
            self._protocol.dataReceived(unread)
        if self._transport.disconnecting or self._transport.disconnected:
            self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connectionLost(Failure(reason))


class MemoryBench:
    """
    A fresh broker, with what the vector asks of it.
    """

    patience = 0.0
    concurrent = False

    def __init__(self, vector: Vector, webSocket: bool = False) -> None:
        """
        @param webSocket: its clients come over WebSocket, as those of the vector may do anyway.
        """
        self._clock = Clock()
        # Not zero: a time of day that nobody mistakes for "never".
        self._clock.advance(1_700_000_000)
        self._links: list[MemoryLink] = []
        self.broker, factory = makeBroker(self._clock, **vector.settings)
        self._factory: Any = factory
        self._transport: Callable[[], StringTransport] = StringTransport
        if webSocket or vector.webSocket:
            listener = WebSocketListener(bind=Bind("127.0.0.1", 0), name="vectors")
            wheel, clock = self.broker.wheel, self._clock
            self._factory = webSocketFactory(listener, factory, wheel, clock, 15.0, "", lambda: False, lambda: [])
            self._transport = Lower
        for name, value in vector.hooks.items():
            _HOOKS[name](self.broker, value)

    def open(self) -> MemoryLink:
        """
        A new connection.
        """
        link = MemoryLink(self, self._factory.buildProtocol(None), self._transport())
        self._links.append(link)
        return link

    def advance(self, seconds: float) -> None:
        """
        Let time pass in steps, as it does: what is timed again in one step is due in the next.
        """
        steps = min(200, max(1, round(seconds * 4)))
        for _ in range(steps):
            self._clock.advance(seconds / steps)
            self.settle()

    def settle(self) -> None:
        """
        Turn the loop until nothing is left to do at this moment.
        """
        for _ in range(_TURNS):
            self._clock.advance(0)
            for link in self._links:
                link.turn()

    def close(self) -> None:
        """
        End the broker.
        """
        self.broker.stopService()


def _deny(broker: Any, filters: list[str]) -> None:
    """
    Access rules that forbid these filters and allow the rest.
    """

    def check(client: Any, access: str, topic: str, verdict: str) -> Any:
        return STOP(DENY if any(topic == each or matches(each, topic) for each in filters) else ALLOW)

    broker.hooks["client.check_acl"].add(check)


def _password(broker: Any, password: str) -> None:
    """
    One password for everybody.
    """

    def authenticate(client: Any, result: AuthResult) -> Any:
        right = client.password == password.encode()
        return STOP(AuthResult("success" if right else "bad_username_or_password"))

    broker.hooks["client.authenticate"].add(authenticate)


def _method(broker: Any, method: str) -> None:
    """
    An authentication method that challenges a client with its own data, which it must repeat.
    """

    def authenticate(client: Any, named: str, data: bytes, state: object, result: AuthResult) -> Any:
        if named != method:
            return None
        if state is None:
            return Challenge(data, state=data)
        return STOP(AuthResult("success" if data == state else "not_authorized"))

    broker.hooks["client.enhanced_authenticate"].add(authenticate)


def _full(broker: Any, full: bool) -> None:
    """
    A store that can keep nothing more.
    """
    broker.router.progress.broken = full


_HOOKS: Final[dict[str, Callable[[Any, Any], None]]] = {
    "deny": _deny,
    "password": _password,
    "method": _method,
    "full": _full,
}
