"""
The extension C{graphite}: sends all metrics to Graphite, as lines of text over TCP (spec/vernemq.md 18, MON-07).

A line is C{[<API key>.][<prefix>.]<name> <value> <date>}. A sample for which there is no connection, or no room on
it, is left out: the next one says how things are.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mqtt.base.exposition import completed, numberText
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.monitoring.outage import Outage
from twisted_mqtt.monitoring.points import dottedName, labelled, summed, withWords

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from twisted_mqtt.base.metrics import Collected
    from twisted_mqtt.interfaces import IExtensionContext
    from twisted_mqtt.monitoring.settings import GraphiteSettings

#: Seconds for which a server may take nothing before its connection is cut.
STALLED: Final = 30.0
# Seconds until the second attempt to connect; each further pause is twice as long.
_FIRST_PAUSE: Final = 1.0
# So many bytes are written at once.
_SLICE: Final = 65536


class Stalled(Exception):
    """
    The server reads nothing.
    """


@implementer(IPushProducer)
class GraphiteConnection(Protocol):
    """
    A connection that says when there is room on it. What the server says is not looked at.

    @ivar lost: fires with the reason when the connection is over.
    @ivar used: whether a whole sample went out on it.
    """

    transport: ITCPTransport

    def __init__(self) -> None:
        self.lost: Deferred[str] = Deferred()
        self.used = False
        self._isLost = False
        self._room: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """
        See C{IProtocol}.
        """
        IConsumer(self.transport).registerProducer(self, True)
        # Else a server whose machine is gone is noticed after a quarter of an hour.
        handle = self.transport.getHandle() if hasattr(self.transport, "getHandle") else None
        if handle is not None:
            with suppress(OSError, AttributeError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED * 1000))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See C{IProtocol}.
        """
        self._isLost = True
        self.resumeProducing()
        self.lost.callback(reason.getErrorMessage())

    async def send(self, data: bytes, context: IExtensionContext) -> bool:
        """
        Write everything, as fast as there is room.

        @return: whether it was written before the connection was over.

        @raise Stalled: nothing was read for L{STALLED} seconds; the connection is cut.
        """
        for start in range(0, len(data), _SLICE):
            if self._isLost:
                return False
            self.transport.write(data[start : start + _SLICE])
            if self._room is not None:
                watch = context.clock.callLater(STALLED, self._stall, self._room)
                try:
                    await self._room
                finally:
                    if watch.active():
                        watch.cancel()
        self.used = not self._isLost
        return self.used

    def end(self) -> None:
        """
        Close the connection: what is written goes out first, unless the server does not read.
        """
        if self._room is None:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def _stall(self, room: Deferred[None]) -> None:
        self._room = None
        self.transport.abortConnection()
        room.errback(Stalled(f"it has read nothing for {STALLED:.0f} s"))

    def pauseProducing(self) -> None:
        """
        The server reads more slowly than it is written to.
        """
        if self._room is None and not self._isLost:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """
        There is room again.
        """
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """
        The connection is about to be over.
        """


class GraphiteFactory(Factory):
    """
    Makes connections.
    """

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> GraphiteConnection:
        """
        See C{IProtocolFactory}.
        """
        return GraphiteConnection()


class GraphiteSender:
    """
    Keeps a connection and sends samples on it.
    """

    def __init__(self, context: IExtensionContext, settings: GraphiteSettings, endpoint: IStreamClientEndpoint) -> None:
        self._context = context
        self._settings = settings
        self._endpoint = endpoint
        self._connection: GraphiteConnection | None = None
        self._pause = _FIRST_PAUSE
        self._isOver = False
        self._outage = Outage(context, "graphite_down", f"Graphite at {settings.host}:{settings.port}")
        self._start = "".join(f"{part}." for part in (settings.api_key, settings.prefix) if part)
        self._sent = context.counter("graphite.samples.sent", "Samples of all metrics sent to Graphite").own
        self._lost = context.counter(
            "graphite.samples.lost", "Samples of all metrics that Graphite was not there for, or did not take"
        ).own

    def begin(self) -> None:
        """
        Begin; it ends with the context.
        """
        self._context.run(self._keepConnected(), "the connection to Graphite")
        self._context.loop(self._settings.interval, self._sample)
        # Swept first: what is cancelled then fails in ways of its own, and that is no outage.
        self._context.addCleanup("the connection to Graphite", self._end)

    def _end(self) -> None:
        self._isOver = True
        if self._connection is not None:
            self._connection.end()

    async def _keepConnected(self) -> None:
        while True:
            try:
                connection = await self._endpoint.connect(GraphiteFactory())
            except Exception as error:
                if self._isOver:
                    return
                self._outage.failed(str(error) or type(error).__name__)
            else:
                assert isinstance(connection, GraphiteConnection)
                await self._follow(connection)
            await deferLater(self._context.clock, self._pause)
            self._pause = min(2 * self._pause, max(self._settings.reconnect_timeout, _FIRST_PAUSE))

    async def _follow(self, connection: GraphiteConnection) -> None:
        """
        Use a connection until it is over.
        """
        self._connection = connection
        reason = await connection.lost
        self._connection = None
        if self._isOver:
            return
        if connection.used:
            # A server that was restarted, and no reason for an alarm unless it stays away.
            self._context.log.info("the connection to Graphite is lost: {reason}", reason=reason)
        else:
            self._outage.failed(reason)

    async def _sample(self) -> None:
        connection = self._connection
        if connection is not None:
            broker = self._context.broker
            parts = await broker.portions.all(self._lines(int(broker.dates.now())))
            try:
                if await connection.send("".join(parts).encode("ascii"), self._context):
                    self._sent.value += 1
                    self._pause = _FIRST_PAUSE
                    self._outage.works()
                    return
            except Stalled as error:
                self._outage.failed(str(error))
        self._lost.value += 1

    def _lines(self, date: int) -> Iterator[str]:
        """
        The lines of a sample, those of a metric at a time.
        """
        settings = self._settings
        for metric in completed(self._context.broker.metrics.collect(), settings.metric_names):
            name = dottedName(settings.metric_names, metric.name)
            if name is not None:
                yield "".join(self._linesOf(metric, self._start + name, date))

    def _linesOf(self, metric: Collected, name: str, date: int) -> Iterator[str]:
        for point in summed(metric, name):
            yield f"{point.name} {numberText(point.value)} {date}\n"
        if metric.labels and self._settings.include_labels:
            for point in withWords(labelled(metric, name)):
                yield f"{point.name} {numberText(point.value)} {date}\n"


@implementer(IExtension)
class Graphite:
    """
    See the module.
    """

    def __init__(self, settings: GraphiteSettings) -> None:
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Begin to connect and to send; a server that is not there keeps nothing from starting.
        """
        settings = self._settings
        endpoint = HostnameEndpoint(
            context.broker.reactor, settings.host, settings.port, timeout=settings.connect_timeout
        )
        GraphiteSender(context, settings, endpoint).begin()
