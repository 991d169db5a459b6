"""
The extension C{statsd}: sends all metrics to StatsD, over UDP, and pushes them to a push gateway of Prometheus
(spec/hooks-modules-sys.md 6.3).

To StatsD a counter is what it has grown by since it was last sent. What can't be sent is not taken as sent, so that
what was counted while nobody listened comes with the next sample; nothing is kept for it but the last values.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.web.client import Agent
from zope.interface import implementer

from twisted_mqtt.base.exposition import completed, numberText
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.monitoring.outage import Outage
from twisted_mqtt.monitoring.points import dottedName, labelled, summed, word
from twisted_mqtt.monitoring.pushgateway import TIMEOUT, PushGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IListeningPort, IUDPTransport

    from twisted_mqtt.interfaces import IExtensionContext
    from twisted_mqtt.monitoring.points import Labels, Point
    from twisted_mqtt.monitoring.settings import StatsDSettings

#: The largest datagram, unless one metric alone is larger: what passes through any network in one piece.
LARGEST: Final = 1400
# An empty line, which every StatsD leaves out: whether somebody listens is to be known before anything is lost.
_NOTHING: Final = b"\n"


class StatsDSocket(DatagramProtocol):
    """
    A socket that is told whether anybody listens at the other end.
    """

    noisy = False
    transport: IUDPTransport | None = None

    def __init__(self, host: str, port: int, refused: Callable[[StatsDSocket], None]) -> None:
        """
        @param refused: called when nobody listens there; the socket may be closed by then.
        """
        self.address = (host, port)
        self._refused = refused

    def connectionRefused(self) -> None:
        """
        See C{DatagramProtocol}.
        """
        self._refused(self)

    def stopProtocol(self) -> None:
        """
        See C{DatagramProtocol}. Twisted's C{epoll} reactor closes a socket for which the other machine has said that
        nobody listens.
        """
        self._refused(self)


class StatsDSender:
    """
    Sends samples.
    """

    def __init__(
        self,
        context: IExtensionContext,
        settings: StatsDSettings,
        host: str,
        listen: Callable[[str, StatsDSocket], IListeningPort],
    ) -> None:
        """
        @param host: where to.
        @param listen: opens a UDP socket for the protocol, on an address of this machine.
        """
        self._context = context
        self._settings = settings
        self._host = host
        self._listen = listen
        self._socket: StatsDSocket | None = None
        self._port: IListeningPort | None = None
        self._isRefused = False
        self._start = f"{settings.prefix}." if settings.prefix else ""
        self._tags = [f"{tag.key}:{tag.value}" for tag in settings.tag.values()]
        self._outage = Outage(context, "statsd_down", f"StatsD at {host}:{settings.port}")
        # The values of counters as they were last sent.
        self._last: dict[tuple[str, Labels], float] = {}
        self._sent = context.counter("statsd.datagrams.sent", "Datagrams with metrics sent to StatsD").own

    async def begin(self) -> None:
        """
        Begin; it ends with the context. What was counted before is not sent.
        """
        self._last = {(point.name, point.labels): point.value for point in self._points() if point.kind == "counter"}
        self._context.addCleanup("the socket to StatsD", self._close)
        self._context.loop(self._settings.sample_time_interval, self._sample)
        if await self._open():
            self._write(_NOTHING)

    async def _sample(self) -> None:
        if not await self._open():
            return
        if self._isRefused:
            self._isRefused = False
            self._outage.failed("nobody listens there")
            self._write(_NOTHING)
            return
        sample = await self._context.broker.portions.all(self._points())
        before, seen = self._last, {}
        batch: list[bytes] = []
        size = 0
        changed: dict[tuple[str, Labels], float] = {}
        for point in sample:
            key = (point.name, point.labels)
            text = self._text(point, before.get(key, 0.0))
            if point.kind == "counter":
                seen[key] = point.value
            if not text:
                continue
            if batch and (len(batch) >= self._settings.batch_size or size + len(text) > LARGEST):
                if not self._write(b"".join(batch)):
                    return
                before.update(changed)
                batch, size = [], 0
                changed.clear()
            batch.append(text)
            size += len(text)
            if point.kind == "counter":
                changed[key] = point.value
        if batch and not self._write(b"".join(batch)):
            return
        self._last = seen
        self._outage.works()

    def _points(self) -> Iterator[Point]:
        points = labelled if self._settings.include_labels else summed
        style = self._settings.metric_names
        for metric in completed(self._context.broker.metrics.collect(), style):
            name = dottedName(style, metric.name)
            if name is not None:
                yield from points(metric, self._start + name)

    def _text(self, point: Point, last: float) -> bytes:
        """
        The line of a point; nothing for a counter that has not changed.

        @param last: what a counter was; if it is less now, it was reset.
        """
        tags = [*self._tags, *(f"{label}:{word(value)}" for label, value in point.labels)]
        end = f"|#{','.join(tags)}\n" if tags else "\n"
        value = point.value
        if point.kind == "counter":
            grown = value - last if value >= last else value
            line = f"{point.name}:{numberText(grown)}|c{end}" if grown else ""
        elif value < 0:
            # A sign would make it a change: zero first.
            line = f"{point.name}:0|g{end}{point.name}:{numberText(value)}|g{end}"
        else:
            line = f"{point.name}:{numberText(value)}|g{end}"
        return line.encode("ascii")

    def _write(self, data: bytes) -> bool:
        if self._socket is None or self._socket.transport is None:
            return False
        try:
            # It is connected.
            self._socket.transport.write(data, None)
        except OSError as error:
            # Where the machine's own address has changed, only another socket helps.
            self._socket = None
            self._outage.failed(str(error))
            return False
        if data != _NOTHING:
            self._sent.value += 1
        return not self._isRefused

    async def _open(self) -> bool:
        """
        See that there is a socket, to where the name leads now.

        @return: whether there is one.
        """
        try:
            address = await self._find()
        except OSError as error:
            if self._socket is None:
                self._outage.failed(f"{error.strerror or error}")
            return self._socket is not None
        if self._socket is None or self._socket.address[0] != address:
            await self._close()
            made = StatsDSocket(address, self._settings.port, self._gotRefused)
            try:
                self._port = self._listen("::" if ":" in address else "0.0.0.0", made)
                if made.transport is not None:
                    made.transport.connect(*made.address)
            except OSError as error:
                await self._close()
                self._outage.failed(str(error))
                return False
            self._socket = made
        return True

    async def _find(self) -> str:
        """
        The address of the host; fails with C{OSError}.
        """
        try:
            return str(ip_address(self._host))
        except ValueError:
            found = await self._context.broker.threads.defer(
                socket.getaddrinfo, self._host, self._settings.port, 0, socket.SOCK_DGRAM
            )
            return str(found[0][4][0])

    def _gotRefused(self, refused: StatsDSocket) -> None:
        if refused is self._socket:
            self._isRefused = True
            if refused.transport is None:
                self._socket = self._port = None

    async def _close(self) -> None:
        port, self._port, self._socket = self._port, None, None
        if port is not None:
            await maybeDeferred(port.stopListening)


@implementer(IExtension)
class StatsD:
    """
    See the module.
    """

    def __init__(self, settings: StatsDSettings) -> None:
        self._settings = settings

    async def start(self, context: IExtensionContext) -> None:
        """
        Begin to send and to push; a server that is not there keeps nothing from starting.
        """
        settings = self._settings
        server = settings.push.gateway.server
        host = settings.host or ("127.0.0.1" if server is None else "")
        if host:
            reactor = IReactorUDP(context.broker.reactor)

            def listen(interface: str, protocol: StatsDSocket) -> IListeningPort:
                return reactor.listenUDP(0, protocol, interface, 8192)

            context.run(StatsDSender(context, settings, host, listen).begin(), "looking for StatsD")
        if server is not None:
            agent = Agent(context.broker.reactor, connectTimeout=TIMEOUT)
            PushGateway(context, settings, server, agent).begin()
