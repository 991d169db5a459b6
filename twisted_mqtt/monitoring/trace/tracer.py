"""
Knows who is traced, and writes events to their traces.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from twisted_mqtt.base.waiting import isDeferred
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Connect, Publish
from twisted_mqtt.core.topics import matches, scoped
from twisted_mqtt.hooks.tracing import HookTracing
from twisted_mqtt.interfaces import IClient, ITracer
from twisted_mqtt.monitoring.trace.hooktext import hookText
from twisted_mqtt.monitoring.trace.packettext import name as shownName
from twisted_mqtt.monitoring.trace.packettext import packetText
from twisted_mqtt.monitoring.trace.place import openTrace
from twisted_mqtt.monitoring.trace.sinks import FileSink, LiveSink, Sink
from twisted_mqtt.monitoring.trace.tap import ClientTap, peerOf
from twisted_mqtt.monitoring.trace.traces import Kind, Trace
from twisted_mqtt.operations.operation import INVALID, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from twisted_mqtt.core.packets import Packet
    from twisted_mqtt.hooks.tracing import HookCall
    from twisted_mqtt.interfaces import IExtensionContext, ISession, IWatch
    from twisted_mqtt.monitoring.trace.settings import TraceSettings

#: So many messages wait for a trace by topic.
_MOST_MESSAGES: Final = 1000
#: How the end of a live trace beyond its rate is told.
TOO_FAST: Final = (
    "more than {most} packets within {milliseconds:g} ms (--rate-max and --rate-interval say how many may be)"
)


@implementer(ITracer)
class Tracer:
    """
    The traces of a broker. While there are none, nothing is looked at.

    @ivar running: traces by name.
    @ivar past: traces of files that have ended, the last of them, by name.
    """

    def __init__(self, context: IExtensionContext, settings: TraceSettings) -> None:
        self.running: dict[str, Trace] = {}
        self.past: dict[str, Trace] = {}
        self.settings = settings
        self._context = context
        self._broker = context.broker
        self._clock = context.clock
        self._byClient: dict[str, tuple[Trace, ...]] = {}
        self._byAddress: dict[str, tuple[Trace, ...]] = {}
        self._byTopic: tuple[Trace, ...] = ()
        self._watches: dict[Trace, IWatch] = {}
        self._taps: dict[IClient, ClientTap] = {}
        self._tapsNamed: dict[str, set[ClientTap]] = {}
        self._clientIDs: set[str] = set()
        self._hooks = HookTracing(self._hook, self._clientIDs)
        self._count = 0
        context.addCleanup("traces end", self._stop)

    @property
    def folder(self) -> Path:
        """
        Where files are.
        """
        return Path(self.settings.dir or self._broker.settings.log.dir)

    # Beginning and end

    async def startFile(self, kind: Kind, value: str, file: str, level: str, name: str = "") -> Trace:
        """
        Begin a trace to a file.

        @param name: unlike that of any other; one is made if it is empty.

        @raise Refused: it can't be; the text says why.
        """
        trace = self._make(kind, value, level, file, name, None, None)
        same = [one for one in self.running.values() if not one.isLive]
        if any((one.kind, one.value) == (kind, trace.value) for one in same):
            raise Refused(INVALID, f"{kind}: {value[:80]!r} is traced to a file already")
        self._watch(trace)
        # It has its place while the file is being opened.
        self.running[trace.name] = trace
        try:
            opened = await self._broker.threads.defer(openTrace, self.folder, file)
        except (ValueError, OSError) as error:
            self._forget(trace)
            raise Refused(INVALID, f"file: {error.strerror if isinstance(error, OSError) else error}") from None
        sink = FileSink(
            opened,
            self.settings.max_file_size,
            self._broker.threads,
            self._clock,
            partial(self._ended, trace),
        )
        if self.writesTo(opened.path):
            sink.abandon()
            self._forget(trace)
            raise Refused(INVALID, f"file: {file[:200]!r} is that of another trace")
        trace.sink = sink
        sink.write(f"# Trace of {kind} {shownName(trace.value)}, level {level}, since {self._stamp()}")
        self._begin(trace)
        return trace

    def startLive(
        self,
        kind: Kind,
        value: str,
        level: str,
        rate: tuple[int, float] | None = None,
        payloadLimit: int | None = None,
    ) -> LiveSink:
        """
        Begin a trace that somebody looks at; it ends when that one has gone.

        @raise Refused: it can't be; the text says why.
        """
        trace = self._make(kind, value, level, "", "", rate, payloadLimit)
        sink = LiveSink(self._clock, partial(self._ended, trace, ""), trace.tellGap)
        trace.sink = sink
        self._watch(trace)
        self.running[trace.name] = trace
        self._begin(trace)
        return sink

    def _make(
        self,
        kind: Kind,
        value: str,
        level: str,
        destination: str,
        name: str,
        rate: tuple[int, float] | None,
        payloadLimit: int | None,
    ) -> Trace:
        settings = self.settings
        if len(self.running) >= settings.most:
            raise Refused(INVALID, f"there are {settings.most} traces already (trace.most)")
        if not value or "\0" in value:
            raise Refused(INVALID, f"{kind}: a text without NUL is expected, and not an empty one")
        if kind == "ip_address":
            try:
                value = str(ip_address(value))
            except ValueError:
                raise Refused(INVALID, f"ip_address: {value[:80]!r} is no address such as 192.0.2.1") from None
        if name in self.running or name in self.past:
            raise Refused(INVALID, f"name: there is a trace {name!r}")
        while not name:
            self._count += 1
            made = f"trace-{self._count}"
            name = "" if made in self.running or made in self.past else made
        if payloadLimit is None:
            payloadLimit = settings.payload_limit
        began = self._broker.dates.now()
        chosen = rate or (settings.rate_max, settings.rate_interval)
        return Trace(name, kind, value, level, destination, began, chosen, payloadLimit)

    def _watch(self, trace: Trace) -> None:
        if trace.kind == "topic":
            try:
                watch = self._context.watch(trace.value, partial(self._message, trace), limit=_MOST_MESSAGES)
            except ValueError as error:
                raise Refused(INVALID, f"topic: {error}") from None
            self._watches[trace] = watch

    def _forget(self, trace: Trace) -> None:
        self.running.pop(trace.name, None)
        watch = self._watches.pop(trace, None)
        if watch is not None:
            watch.close()

    def _begin(self, trace: Trace) -> None:
        self._arrange()
        if trace.kind == "topic":
            self._say(trace, f"Starting trace for messages that match {shownName(trace.value)}")
        elif trace.kind == "clientid":
            found = [
                client
                for tree in self._broker.router.allTrees()
                if (client := self._broker.clients.get(scoped(tree.name, trace.value))) is not None
            ]
            self._found(trace, found)
        else:
            self._context.run(self._find(trace), "finding the clients of an address")

    def _found(self, trace: Trace, clients: list[IClient]) -> None:
        what = "client" if trace.kind == "clientid" else "address"
        if not clients:
            self._say(trace, f'No sessions found for {what} "{shownName(trace.value)}"')
            return
        count = len(clients)
        self._say(
            trace,
            f'Starting trace for {count} existing session{"s" * (count > 1)} for {what} "{shownName(trace.value)}"',
        )
        for client in clients:
            self._attach(client)
            self._say(trace, f'New session with PID {peerOf(client)} found for client "{shownName(client.clientID)}"')

    async def _find(self, trace: Trace) -> None:
        """
        Find the clients of an address among all, a slice at a time.
        """

        def isThere(session: ISession) -> bool:
            return session.online and session.info.peerHost == trace.value

        sessions = await self._broker.directory.sessions(isThere).everything()
        if not trace.why:
            self._found(trace, [session.info for session in sessions if isThere(session)])

    def end(self, trace: Trace, why: str = "") -> Deferred[None] | None:
        """
        End a trace; one that has ended is no error.

        @param why: in a few words; empty where somebody has asked for it.

        @return: None, or a Deferred that fires when the file is closed. It does not fail.
        """
        if self.running.get(trace.name) is not trace:
            return None
        self._forget(trace)
        trace.why = why or "it was stopped"
        trace.endedAt = self._broker.dates.now()
        if not trace.isLive:
            self.past[trace.name] = trace
            while len(self.past) > self.settings.most:
                del self.past[next(iter(self.past))]
        self._arrange()
        trace.tellGap()
        closing = None if trace.sink is None else trace.sink.close(why)
        return closing if isDeferred(closing) else None

    def _ended(self, trace: Trace, why: str) -> None:
        self.end(trace, why)

    def endLater(self, trace: Trace, seconds: float) -> None:
        """
        End a trace after some seconds.
        """
        self._context.callLater(seconds, lambda: self.end(trace, "its time is over"))

    def find(self, kind: Kind, value: str) -> Trace:
        """
        The running trace to a file of somebody.

        @raise NotFound: there is none.
        """
        for trace in self.running.values():
            if (trace.kind, trace.value) == (kind, value) and not trace.isLive:
                return trace
        raise NotFound(f"{kind}: {value[:80]!r} is not traced")

    def byName(self, name: str) -> Trace:
        """
        A trace, running or past.

        @raise NotFound: there is none.
        """
        trace = self.running.get(name) or self.past.get(name)
        if trace is None:
            raise NotFound(f"name: there is no trace {name[:80]!r}")
        return trace

    def writesTo(self, path: Path) -> bool:
        """
        Whether a trace that goes on has its file there.
        """
        return any(isinstance(one.sink, FileSink) and one.sink.opened.path == path for one in self.running.values())

    async def _stop(self) -> None:
        ends = [self.end(trace, "the broker stops") for trace in list(self.running.values())]
        for end in ends:
            if end is not None:
                await end

    # Who is traced

    def _arrange(self) -> None:
        """
        Go by the traces as they are now.
        """
        broker, running = self._broker, list(self.running.values())

        def by(kind: Kind) -> dict[str, tuple[Trace, ...]]:
            values = {trace.value for trace in running if trace.kind == kind}
            return {
                value: tuple(trace for trace in running if (trace.kind, trace.value) == (kind, value))
                for value in values
            }

        self._byClient, self._byAddress = by("clientid"), by("ip_address")
        self._byTopic = tuple(trace for trace in running if trace.kind == "topic")
        self._hooks.topicFilters = tuple(trace.value for trace in self._byTopic)
        broker.tracer = self if self._byClient or self._byAddress else None
        broker.hooks.tracing = self._hooks if running else None
        for client, tap in list(self._taps.items()):
            tap.traces = self._tracesOf(client, tap.clientIDs)
            if not tap.traces:
                self.left(tap)
                broker.setTap(client, None)
        self._clientIDs.clear()
        self._clientIDs.update(self._byClient, self._tapsNamed)

    def _tracesOf(self, client: IClient, clientIDs: set[str]) -> tuple[Trace, ...]:
        found = dict.fromkeys(self._byAddress.get(client.peerHost or "", ()))
        for clientID in (client.clientID, *clientIDs):
            found.update(dict.fromkeys(self._byClient.get(clientID, ())))
        return tuple(found)

    def _tapFor(self, client: IClient, clientIDs: set[str]) -> ClientTap | None:
        tap = self._taps.get(client)
        traces = self._tracesOf(client, clientIDs)
        if tap is None:
            if not traces:
                return None
            tap = self._taps[client] = ClientTap(self, client, traces)
        tap.traces = traces
        return tap

    def _attach(self, client: IClient) -> None:
        tap = self._tapFor(client, set())
        if tap is not None:
            self.named(tap, client.clientID)
            self._broker.setTap(client, tap)

    def came(self, client: IClient) -> ClientTap | None:
        """
        See L{ITracer}.
        """
        return self._tapFor(client, set())

    def connecting(self, client: IClient, packets: Sequence[Packet]) -> ClientTap | None:
        """
        See L{ITracer}.
        """
        request = packets[0]
        clientIDs = {request.clientID} if isinstance(request, Connect) else set()
        tap = self._tapFor(client, clientIDs)
        if tap is not None:
            for packet in packets:
                tap.gotPacket(packet)
        return tap

    def opened(self, client: IClient) -> ClientTap | None:
        """
        See L{ITracer}.
        """
        tap = self._tapFor(client, set())
        if tap is not None:
            self.named(tap, client.clientID)
        return tap

    def named(self, tap: ClientTap, clientID: str) -> None:
        """
        A client says who it is: traces by that name want to know, too.
        """
        if clientID in tap.clientIDs or not clientID:
            return
        tap.clientIDs.add(clientID)
        self._tapsNamed.setdefault(clientID, set()).add(tap)
        self._clientIDs.add(clientID)
        tap.traces = self._tracesOf(tap.client, tap.clientIDs)

    def left(self, tap: ClientTap) -> None:
        """
        A client is gone, or nobody traces it any more.
        """
        self._taps.pop(tap.client, None)
        for clientID in tap.clientIDs:
            taps = self._tapsNamed.get(clientID, set())
            taps.discard(tap)
            if not taps:
                self._tapsNamed.pop(clientID, None)
                if clientID not in self._byClient:
                    self._clientIDs.discard(clientID)

    # Events

    def tell(self, traces: tuple[Trace, ...], level: str, text: Callable[[int], str], isHook: bool = False) -> None:
        """
        Write an event.

        @param text: makes it, of the number of bytes of a payload that are shown.
        """
        now = self._clock.seconds()
        for trace in traces:
            if not trace.wants(level):
                continue
            if trace.hasRoom(now, isHook):
                trace.write(f"{self._stamp()} [{level}] {text(trace.payloadLimit)}")
            elif trace.isLive and not isHook:
                most, interval = trace.rate
                self.end(trace, TOO_FAST.format(most=most, milliseconds=interval * 1000))
            else:
                trace.leaveOut()

    def _say(self, trace: Trace, text: str) -> None:
        trace.write(f"{self._stamp()} [info] {text}")

    def _stamp(self) -> str:
        date = datetime.fromtimestamp(self._broker.dates.now(), UTC)
        return date.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _message(self, trace: Trace, message: Message) -> None:
        packet = Publish(message.topic, message.payload, message.qos, message.retain, properties=message.properties)
        who = f"<{message.peerHost or 'local'}> {message.protocol.upper() or 'BROKER'}"
        clientID = shownName(message.clientID)
        self.tell((trace,), "debug", lambda most: f'{who} MESSAGE: CID: "{clientID}" {packetText(packet, 5, most)}')

    def _hook(self, call: HookCall) -> None:
        found: dict[Trace, None] = {}
        who = peer = ""
        for arg in call.args[:2]:
            clientID = getattr(arg, "clientID", None)
            if clientID:
                who = who or clientID
                found.update(dict.fromkeys(self._byClient.get(clientID, ())))
                for tap in self._tapsNamed.get(clientID, ()):
                    found.update(dict.fromkeys(tap.traces))
                    peer = peer or tap.peer
            if isinstance(arg, Message):
                found.update((trace, None) for trace in self._byTopic if matches(trace.value, arg.topic))
        if found:
            text, level = hookText(call)
            line = f'{peer or "<local>"} HOOK: CID: "{shownName(who)}" {text}'
            self.tell(tuple(found), level, lambda most: line, True)


def sizeOf(trace: Trace) -> int:
    """
    Bytes in the file of a trace; 0 for one that has none.
    """
    sink: Sink | None = trace.sink
    return sink.size if isinstance(sink, FileSink) else 0
