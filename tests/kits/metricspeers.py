"""
What stands for Graphite, StatsD and a push gateway in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_mqtt.interfaces import IExtensionContext


class Sending:
    """
    An extension that starts one sender.
    """

    def __init__(self, begin: Any) -> None:
        self._begin = begin

    def start(self, context: IExtensionContext) -> None:
        """
        Begin.
        """
        self._begin(context)


class Endpoint:
    """
    An endpoint of a server that is there or not.

    @ivar isThere: whether it is.
    @ivar attempts: when it was tried to connect.
    @ivar connections: those that came about: protocol and transport.
    """

    def __init__(self, clock: Any) -> None:
        self.isThere = True
        self.attempts: list[float] = []
        self.connections: list[tuple[Any, StringTransport]] = []
        self._clock = clock

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See C{IStreamClientEndpoint}.
        """
        self.attempts.append(self._clock.seconds())
        if not self.isThere:
            return fail(ConnectionRefusedError(111, "Connection refused"))
        protocol = factory.buildProtocol(None)
        transport = Transport(protocol)
        protocol.makeConnection(transport)
        self.connections.append((protocol, transport))
        return succeed(protocol)

    def close(self) -> None:
        """
        The server ends the last connection.
        """
        self.connections[-1][0].connectionLost(Failure(ConnectionDone()))


class Transport(StringTransport):
    """
    A transport that can be cut.

    @ivar isCut: whether it was.
    """

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.isCut = False
        self._protocol = protocol

    def abortConnection(self) -> None:
        """
        See C{ITCPTransport}.
        """
        self.isCut = True
        self._protocol.connectionLost(Failure(ConnectionAborted()))


class Socket:
    """
    A UDP socket, and what is at its other end.

    @ivar listens: whether anybody does.
    @ivar fault: what writing raises.
    @ivar datagrams: what came there.
    """

    def __init__(self) -> None:
        self.listens = True
        self.fault: OSError | None = None
        self.datagrams: list[bytes] = []
        self.opened: list[tuple[str, str, int]] = []
        self.protocol: Any = None
        self._interface = ""

    def listen(self, interface: str, protocol: Any) -> Socket:
        """
        Open it.
        """
        self._interface = interface
        self.protocol = protocol
        protocol.transport = self
        return self

    def connect(self, host: str, port: int) -> None:
        """
        See C{IUDPTransport}.
        """
        self.opened.append((self._interface, host, port))

    def write(self, data: bytes, address: object) -> None:
        """
        See C{IUDPTransport}.
        """
        assert address is None
        if self.fault is not None:
            raise self.fault
        if self.listens:
            self.datagrams.append(data)
        else:
            self.protocol.connectionRefused()

    def stopListening(self) -> None:
        """
        See C{IListeningPort}.
        """
        self.protocol = None

    def taken(self) -> list[str]:
        """
        The lines that came since the last time.
        """
        lines = b"".join(self.datagrams).decode().split("\n")
        self.datagrams.clear()
        return [line for line in lines if line]
