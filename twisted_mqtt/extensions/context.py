"""
The context that an extension gets when it starts. When the extension ends, the context undoes everything registered
through it.

The context holds everything that an extension registers through it, and undoes it at the end in reverse order:
callbacks, watches, delayed calls, ports, HTTP resources, metrics, alarms, keys, and the extension's own cleanup
actions.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mqtt.base.metrics import SECONDS
from twisted_mqtt.hooks.registration import hookOwner
from twisted_mqtt.interfaces import IExtensionContext, IHeld, IKeySources
from twisted_mqtt.listeners.listening import PENDING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, ITCPTransport
    from twisted.web.resource import IResource

    from twisted_mqtt.base.metrics import Counter, Gauge, Histogram, Metric
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.subscription import Subscriber, Subscription
    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.interfaces import IBroker, IClient, IExtension, IListening, IMount, INode, ITable, IWatch
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.net.tls.psk import Find
    from twisted_mqtt.operations.operation import Operation


# So many names of one kind stand in the line of the log that tells what was swept.
_MOST_SHOWN: Final = 8

# From so many things on that an extension has registered it is looked for those that are over.
_LOOK_FROM: Final = 64


class ExtensionEnded(Exception):
    """
    An extension that has ended, or is ending, registers something.
    """


@implementer(IHeld)
class Held:
    """
    One thing that an extension has registered.

    @ivar kind: what it is, in a word or two, such as C{"callback"}.
    @ivar detail: which one, such as the name of a hook point; may be empty.
    """

    __slots__ = ("_holder", "_undo", "detail", "isOver", "kind")

    def __init__(
        self,
        holder: dict[int, Held],
        kind: str,
        detail: str,
        undo: Callable[[], object],
        isOver: Callable[[], bool] | None = None,
    ) -> None:
        """
        @param holder: those that are not closed, by their identity; this one joins them.
        @param undo: undoes what was registered; may return a Deferred or coroutine.
        @param isOver: says whether somebody else has undone it.
        """
        self.isOver = isOver
        self.kind = kind
        self.detail = detail
        self._holder = holder
        self._undo = undo
        holder[id(self)] = self

    @property
    def closed(self) -> bool:
        """
        Whether it is undone, or has done what it was for.
        """
        return id(self) not in self._holder

    def forget(self) -> bool:
        """
        It has done what it was for, and there is nothing to undo.

        @return: whether it was held until now.
        """
        return self._holder.pop(id(self), None) is not None

    def close(self) -> Maybe[None]:
        """
        See L{IHeld}.
        """
        if not self.forget():
            return None
        outcome = self._undo()
        if isinstance(outcome, CoroutineType):
            outcome = Deferred.fromCoroutine(outcome)
        return outcome.addCallback(_nothing) if isinstance(outcome, Deferred) else None


@implementer(IExtensionContext)
class ExtensionContext:
    """
    The context of one extension, from its start to its end.

    @ivar name: the extension's name.
    @ivar broker: the broker.
    @ivar node: the node.
    @ivar log: a logger of the extension's own.
    @ivar clock: measures time, and calls later.
    @ivar preSharedKeys: where sources of pre-shared keys are added.
    """

    def __init__(self, name: str, extension: IExtension, broker: IBroker, node: INode) -> None:
        self.name = name
        self.broker = broker
        self.node = node
        self.log = Logger(namespace=f"extension.{name}", source=extension)
        self.clock: IReactorTime = broker.clock
        self.preSharedKeys = KeySources(self)
        self._extension = extension
        self._held: dict[int, Held] = {}
        # With so many it is looked for those that are over.
        self._looked = _LOOK_FROM
        self._ended = False

    @property
    def held(self) -> list[Held]:
        """
        The present registrations, in the order of registration.
        """
        return list(self._held.values())

    def hold(
        self, kind: str, detail: str, undo: Callable[[], object], isOver: Callable[[], bool] | None = None
    ) -> Held:
        """
        Undo something at the end, unless the handle was closed before.

        @param kind: what it is, for the log.
        @param detail: which one.
        @param undo: undoes it; may return a Deferred or coroutine.
        @param isOver: says whether somebody else has undone it.

        @raise ExtensionEnded: the extension has ended.
        """
        self.check()
        if len(self._held) >= self._looked:
            for held in self.held:
                if held.isOver is not None and held.isOver():
                    held.forget()
            self._looked = max(_LOOK_FROM, 2 * len(self._held))
        return Held(self._held, kind, detail, undo, isOver)

    def hook(
        self,
        point: str,
        action: Callable[..., Any],
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
        publishRules: Callable[[IClient], TopicRules | None] | None = None,
        perPacket: bool = False,
    ) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        found = self.broker.hooks[point]
        token = hookOwner.set(self._extension)
        try:
            self.broker.hooks.hook(
                point,
                action,
                priority=priority,
                filter=filter,
                args=args,
                publishRules=publishRules,
                perPacket=perPacket,
            )
        finally:
            hookOwner.reset(token)
        return self.hold("callback", point, lambda: found.remove(action))

    def watch(
        self,
        topicFilter: str | Sequence[str],
        action: Callable[[Message], object],
        *,
        limit: int = 10_000,
        limitBytes: int = 16_777_216,
        dropNewest: bool = False,
        concurrency: int = 1,
        retained: bool = False,
    ) -> IWatch:
        """
        See L{IExtensionContext}.
        """
        self.check()
        watch = self.broker.watch(topicFilter, action, limit, limitBytes, dropNewest, concurrency, self.name, retained)
        self.hold("watch", " ".join(watch.topicFilters), watch.close, lambda: watch.closed)
        return watch

    def watchFilters(
        self, added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        return self.hold("watch of filters", _nameOf(added), self.broker.watchFilters(added, removed).close)

    def listen(
        self,
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = PENDING,
    ) -> Deferred[IListening]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        made = Connections(factory)
        opening = self.node.listen(
            settings,
            made,
            name or self.name,
            path=path,
            bind=bind,
            kind=kind,
            protocols=protocols,
            tls=tls,
            pending=pending,
        )
        return opening.addCallback(self._opened, made)

    def listenDatagrams(
        self,
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = lambda: 0,
    ) -> Deferred[IListening]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        opening = self.node.listenDatagrams(
            settings,
            protocol,
            name or self.name,
            path=path,
            bind=bind,
            kind=kind,
            group=group,
            shared=shared,
            count=count,
        )
        return opening.addCallback(self._opened, None)

    def mount(self, service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        http = self.node.http

        def mounted(mount: IMount) -> IMount:
            self._take("HTTP resource", f"{service}{path}", mount.close, lambda: mount not in http.mounts(service))
            return mount

        return http.mount(service, path, resource).addCallback(mounted)

    def table(self, name: str) -> ITable:
        """
        See L{IExtensionContext}.
        """
        table: ITable = self.broker.store.table(f"{self.name}/{name}")
        return table

    def operation(self, operation: Operation) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        handle = self.node.operations.add(operation)
        return self.hold("operation", operation.name, handle.close, lambda: handle.closed)

    def counter(
        self, name: str, help: str, labels: Sequence[str] = (), read: Callable[[], float] | None = None
    ) -> Metric[Counter]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        metric = self.broker.metrics.counter(name, help, labels, read)
        self.hold("counter", name, metric.close)
        return metric

    def gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
        peak: str = "",
    ) -> Metric[Gauge]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        metric = self.broker.metrics.gauge(name, help, labels, read, peak)
        self.hold("gauge", name, metric.close)
        return metric

    def histogram(
        self, name: str, help: str, bounds: Sequence[float] = SECONDS, labels: Sequence[str] = ()
    ) -> Metric[Histogram]:
        """
        See L{IExtensionContext}.
        """
        self.check()
        metric = self.broker.metrics.histogram(name, help, bounds, labels)
        self.hold("histogram", name, metric.close)
        return metric

    def alarm(self, name: str, severity: str, title: str, summary: str) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        alarms = self.broker.alarms
        if name not in alarms.active:
            say = self.log.error if severity == "critical" else self.log.warn
            say("alarm: {alarm}: {title}: {summary}", alarm=name, title=title, summary=summary)
        alarms.activate(name, severity, title, summary)

        def end() -> None:
            if alarms.deactivate(name):
                self.log.info("alarm over: {alarm}: {title}", alarm=name, title=title)

        return self.hold("alarm", name, end, lambda: name not in alarms.active)

    def subscribe(self, subscriber: Subscriber, subscription: Subscription) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        self.broker.subscribe(subscriber, subscription)
        topicFilter = subscription.topicFilter
        return self.hold("subscription", topicFilter, lambda: self.broker.unsubscribe(subscriber, topicFilter))

    def callLater(self, seconds: float, action: Callable[..., object], *args: object) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()

        def due() -> None:
            held.forget()
            self._do(action, args)

        call = self.clock.callLater(seconds, due)
        held = self.hold("delayed call", _nameOf(action), call.cancel)
        return held

    def loop(self, interval: float, action: Callable[..., object], *args: object, now: bool = False) -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        looping = LoopingCall(self._do, action, args)
        looping.clock = self.clock
        looping.start(interval, now=now)
        return self.hold("loop", _nameOf(action), looping.stop)

    def run(self, work: Coroutine[Any, Any, object] | Deferred[Any], what: str = "") -> Held:
        """
        See L{IExtensionContext}.
        """
        self.check()
        if isinstance(work, Deferred):
            waiting: Deferred[Any] = work
        else:
            slow = self.broker.hooks.slow
            waiting = Deferred.fromCoroutine(slow.measured(work, work, f"the extension {self.name}"))
        return self._follow(waiting, what or "work")[0]

    def addCleanup(self, name: str, action: Callable[[], object]) -> Held:
        """
        See L{IExtensionContext}.
        """
        return self.hold("clean-up", name, action)

    async def sweep(self, timeout: float) -> list[str]:
        """
        Undo what is still registered, the last first; after that nothing can be registered any more.

        @param timeout: for how many seconds each is waited for.

        @return: what was swept, for the log: an entry for each kind. What fails is logged, and the rest goes on.
        """
        self._ended = True
        swept: dict[str, list[str]] = {}
        while self._held:
            held = self._held[next(reversed(self._held))]
            swept.setdefault(held.kind, []).append(held.detail)
            try:
                await maybeDeferred(held.close).addTimeout(timeout, self.clock)
            except Exception:
                self.log.failure(
                    "Undoing the {kind} {detail} of {name} failed", kind=held.kind, detail=held.detail, name=self.name
                )
        return [_counted(kind, details) for kind, details in swept.items()]

    def check(self) -> None:
        """
        See that something can still be registered.

        @raise ExtensionEnded: the extension has ended.
        """
        if self._ended:
            raise ExtensionEnded(f"the extension {self.name} has ended")

    def _opened(self, listening: IListening, made: Connections | None) -> IListening:
        async def close() -> None:
            await listening.close()
            if made is not None:
                made.abort()

        # One that is closed by itself may still have connections.
        self._take("port", listening.name, close)
        return listening

    def _take(
        self, kind: str, detail: str, undo: Callable[[], object], isOver: Callable[[], bool] | None = None
    ) -> None:
        """
        Hold something that had to be waited for, or undo it where the extension has ended meanwhile.

        @raise ExtensionEnded: it has.
        """
        if self._ended:
            self._do(undo, ())
        self.hold(kind, detail, undo, isOver)

    def _do(self, action: Callable[..., object], args: tuple[object, ...]) -> Deferred[None] | None:
        """
        Call something of the extension, and log where it fails.

        @return: C{None}, or a Deferred that fires when what the extension waits for is over; it does not fail.
        """
        slow, where = self.broker.hooks.slow, f"the extension {self.name}"
        try:
            outcome: object = slow.call(action, where, *args)
        except Exception:
            self.log.failure("{what} of the extension {name} failed", what=_nameOf(action), name=self.name)
            return None
        if isinstance(outcome, CoroutineType):
            outcome = Deferred.fromCoroutine(slow.measured(outcome, action, where))
        return self._follow(outcome, _nameOf(action))[1] if isinstance(outcome, Deferred) else None

    def _follow(self, waiting: Deferred[Any], what: str) -> tuple[Held, Deferred[None]]:
        """
        Hold something that is under way, and log where it fails.

        @return: its handle, and what fires when it is over; that does not fail.
        """
        over: Deferred[None] = Deferred()

        def cancel() -> Deferred[None]:
            waiting.cancel()
            return over

        def done(outcome: object) -> None:
            held.forget()
            if isinstance(outcome, Failure) and outcome.check(CancelledError) is None:
                self.log.failure("{what} of the extension {name} failed", outcome, what=what, name=self.name)
            over.callback(None)

        held = Held(self._held, "work under way", what, cancel)
        waiting.addBoth(done)
        return held, over


@implementer(IProtocolFactory)
class Connections:
    """
    Makes protocols as an extension's factory does, and knows those that are there, so that none outlives the extension.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self._made: WeakSet[IProtocol] = WeakSet()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """
        See C{IProtocolFactory}.
        """
        protocol = self._factory.buildProtocol(addr)
        if protocol is not None:
            with suppress(TypeError):
                # A protocol that can't be referred to weakly is the extension's own affair.
                self._made.add(protocol)
        return protocol

    def doStart(self) -> None:
        """
        See C{IProtocolFactory}.
        """
        self._factory.doStart()

    def doStop(self) -> None:
        """
        See C{IProtocolFactory}.
        """
        self._factory.doStop()

    def abort(self) -> None:
        """
        End the connections that there are. One that is over already takes no harm.
        """
        for protocol in list(self._made):
            transport: ITCPTransport | None = getattr(protocol, "transport", None)
            if transport is not None:
                transport.abortConnection()


@implementer(IKeySources)
class KeySources:
    """
    The pre-shared keys of the broker, as one extension adds to them.
    """

    def __init__(self, context: ExtensionContext) -> None:
        self._context = context

    def add(self, find: Find, mayWait: bool = False) -> Held:
        """
        See L{IKeySources}.
        """
        self._context.check()
        keys = self._context.broker.preSharedKeys
        keys.add(find, mayWait)
        return self._context.hold("source of pre-shared keys", _nameOf(find), lambda: keys.remove(find))


def _counted(kind: str, details: list[str]) -> str:
    named = sorted({detail for detail in details if detail})
    shown = ", ".join(named[:_MOST_SHOWN]) + (", ..." if len(named) > _MOST_SHOWN else "")
    return f"{len(details)} x {kind}" + (f" ({shown})" if shown else "")


def _nameOf(action: Callable[..., object]) -> str:
    return str(getattr(action, "__qualname__", type(action).__name__))


def _nothing(outcome: object) -> None:
    return None
