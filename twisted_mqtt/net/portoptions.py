"""
The options of a port and of its connections.
"""

from __future__ import annotations


class TransportOptions:
    """
    How the connections of a port behave; one object for all of them.

    @ivar highWater: with more bytes pending than this, a streaming producer is paused.
    @ivar lowWater: with no more than this, it is resumed.
    @ivar sendTimeout: seconds in which some of the pending output must have left, or the connection is aborted; 0 waits
        for ever.
    @ivar closeTimeout: the same while closing, when pending output is all that keeps the connection.
    @ivar lingerTimeout: seconds in which the peer must have answered our FIN with its own.
    @ivar connections: how many are open now, those that linger among them; they count themselves.
    """

    __slots__ = ("closeTimeout", "connections", "highWater", "lingerTimeout", "lowWater", "sendTimeout")

    def __init__(
        self,
        highWater: int = 65536,
        lowWater: int = 0,
        sendTimeout: float = 0.0,
        closeTimeout: float = 15.0,
        lingerTimeout: float = 2.0,
    ) -> None:
        self.highWater = highWater
        self.lowWater = lowWater
        self.sendTimeout = sendTimeout
        self.closeTimeout = closeTimeout
        self.lingerTimeout = lingerTimeout
        self.connections = 0

    def count(self) -> int:
        """
        The number of connections, for whoever asks again and again.
        """
        return self.connections


class TCPKeepAlive:
    """
    How the kernel probes a peer of which nothing comes.

    @ivar idle: seconds of silence before the first probe.
    @ivar interval: seconds between two probes.
    @ivar count: so many without an answer end the connection.
    """

    __slots__ = ("count", "idle", "interval")

    def __init__(self, idle: float, interval: float, count: int) -> None:
        self.idle = idle
        self.interval = interval
        self.count = count


class PortOptions:
    """
    How a port listens. What concerns its connections is set on the listening socket: they inherit it without a system
    call.

    @ivar backlog: how many connections the kernel completes before they are accepted.
    @ivar receiveBuffer: bytes; C{None} leaves the kernel to tune it.
    @ivar sendBuffer: the same.
    @ivar acceptsPerTurn: how many connections are accepted before those that are open have their turn again.
    @ivar keepAlive: whether and how the kernel probes silent peers of TCP; C{None} for not at all.
    @ivar transport: how the connections behave.
    """

    __slots__ = (
        "acceptsPerTurn",
        "backlog",
        "keepAlive",
        "noDelay",
        "receiveBuffer",
        "reuseAddress",
        "reusePort",
        "sendBuffer",
        "transport",
    )

    def __init__(
        self,
        backlog: int = 1024,
        reuseAddress: bool = True,
        reusePort: bool = False,
        noDelay: bool = True,
        keepAlive: TCPKeepAlive | None = None,
        receiveBuffer: int | None = None,
        sendBuffer: int | None = None,
        acceptsPerTurn: int = 100,
        transport: TransportOptions | None = None,
    ) -> None:
        self.backlog = backlog
        self.reuseAddress = reuseAddress
        self.reusePort = reusePort
        self.noDelay = noDelay
        self.keepAlive = keepAlive
        self.receiveBuffer = receiveBuffer
        self.sendBuffer = sendBuffer
        self.acceptsPerTurn = acceptsPerTurn
        self.transport = TransportOptions() if transport is None else transport
