"""
The gate of a port: limits the number and the rate of connections, and passes them to the protocol behind it.

It is compiled, because every connection goes through it; L{twisted_mqtt.mqtt.implements} says what it provides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.base.ratelimits import TokenBucket

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IReactorTime

    from twisted_mqtt.config.schema_ports import PortSettings
    from twisted_mqtt.core.counters import Counters

SHORTEST_REST: Final = 0.02
"""
Seconds for which a port rests at least when connections come too fast: some pass together then, instead of each waking
the poller twice.
"""


class Gate:
    """
    The outermost factory of a port. The factory behind it may be exchanged while the port listens.

    @ivar wrapped: makes the protocols of connections that are let in.
    @ivar port: the listening port, which is told to rest when connections come too fast; L{None} until there is one.
    @ivar accepted: how many connections were let in.
    @ivar refused: how many connections were one too many.
    @ivar rests: how often the port was told to rest.
    """

    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        settings: PortSettings,
        path: str,
        counters: Counters,
        clock: IReactorTime,
        connections: Callable[[], int],
    ) -> None:
        """
        @param wrapped: provides C{IProtocolFactory}.
        @param path: the table of the port, for the log.
        @param clock: provides C{IReactorTime}.
        @param connections: says how many are open.
        """
        self.wrapped = wrapped
        self._path = path
        self.port: Any = None
        self.accepted = 0
        self.refused = 0
        self.rests = 0
        self._counters = counters
        self._clock = clock
        self._connections = connections
        self._started = False
        self._resting: IDelayedCall | None = None
        self._full = RateLimitedLog(clock.seconds)
        self._use(settings)

    def exchange(self, wrapped: IProtocolFactory, settings: PortSettings) -> None:
        """
        Let those who come from now on into another factory, by other limits.
        """
        before, self.wrapped = self.wrapped, wrapped
        self._use(settings)
        if self._started:
            wrapped.doStart()
            before.doStop()

    def _use(self, settings: PortSettings) -> None:
        rate = float(settings.max_conn_rate)
        self._most = settings.max_connections
        self._bucket = TokenBucket(rate, rate, self._clock.seconds())

    # IProtocolFactory

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self._started = True
        self.wrapped.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self._started = False
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """
        The protocol of a connection, or L{None} if it is one too many.
        """
        wait = self._bucket.take(1.0, self._clock.seconds())
        if wait and self._resting is None and self.port is not None:
            self._rest(wait)
        if self._connections() >= self._most:
            self.refused += 1
            self._counters.connections_refused_full += 1
            self._full.info(
                "{path}: connection from {peer} refused: there are {most} already",
                path=self._path,
                peer=peerName(addr),
                most=self._most,
            )
            return None
        self.accepted += 1
        return self.wrapped.buildProtocol(addr)

    def _rest(self, wait: float) -> None:
        """
        Leave those who come too fast in the kernel's queue for a while.
        """
        self.rests += 1
        self._resting = self._clock.callLater(max(wait, SHORTEST_REST), self._rested)
        self._tell("pauseAccepting", "stopReading")

    def _rested(self) -> None:
        self._resting = None
        self._tell("resumeAccepting", "startReading")

    def _tell(self, ours: str, twisteds: str) -> None:
        """
        Call the method of a port of ours, or of Twisted's, which is a reader of the reactor.
        """
        method = getattr(self.port, ours, None) or getattr(self.port, twisteds, None)
        if method is not None:
            method()
