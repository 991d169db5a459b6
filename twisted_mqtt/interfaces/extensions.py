"""
Extensions: what is found, what lives, and what each is given.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from zope.interface import Attribute, Interface

from twisted_mqtt.config.registry import IDeclaration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from msgspec import Struct
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocolFactory, IReactorTime
    from twisted.logger import Logger
    from twisted.web.resource import IResource

    from twisted_mqtt.base.metrics import Counter, Gauge, Histogram, Metric
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.subscription import Subscriber, Subscription
    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.interfaces.broker import IBroker, IWatch
    from twisted_mqtt.interfaces.clients import IClient
    from twisted_mqtt.interfaces.node import IListening, IMount, INode
    from twisted_mqtt.interfaces.stores import ITable
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.net.tls.psk import Find, PreSharedKeys
    from twisted_mqtt.operations.operation import Operation


class IHeld(Interface):
    """
    Something that an extension has registered through its context.
    """

    closed: bool = Attribute("Whether it is undone, or has done what it was for.")

    def close() -> Maybe[None]:
        """
        Undo it now rather than at the end of the extension. Another time this does nothing.

        @return: C{None}, or a Deferred that fires when it is undone.
        """


class IKeySources(Interface):
    """
    Where an extension adds sources of pre-shared keys for TLS and DTLS.
    """

    def add(find: Find, mayWait: bool = False) -> IHeld:
        """
        Ask C{find} for the key of an identity, after those that were added before.

        @param mayWait: whether it may return a Deferred or coroutine: DTLS alone asks it then.
        """


class IExtensionContext(Interface):
    """
    The object that an extension gets when it starts, with everything that it needs. Everything registered here is swept
    when the extension ends; each method returns a handle that undoes it earlier. Once the extension has ended, methods
    raise L{ExtensionEnded<twisted_mqtt.extensions.context.ExtensionEnded>}.

    An C{action} may be an C{async def}, or return a Deferred. Where it raises or fails, that is logged.
    """

    name: str = Attribute("The name of the extension.")
    broker: IBroker = Attribute("The broker.")
    node: INode = Attribute("The node.")
    log: Logger = Attribute("A logger of the extension's own.")
    clock: IReactorTime = Attribute("Measures time, and calls later.")
    preSharedKeys: IKeySources = Attribute("Where sources of pre-shared keys are added.")

    def hook(
        point: str,
        action: Callable[..., object],
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
        publishRules: Callable[[IClient], TopicRules | None] | None = None,
        perPacket: bool = False,
    ) -> IHeld:
        """
        Call something whenever the broker comes past a hook point; see
        L{HookPoint.add<twisted_mqtt.hooks.kinds.HookPoint.add>}.

        @param point: its name, such as C{"client.connected"}.
        @param publishRules: at C{client.check_acl} only: see
            L{AccessPoint.add<twisted_mqtt.hooks.kinds.AccessPoint.add>}.
        @param perPacket: likewise.

        @raise TypeError: the last two are given for another point.
        @raise KeyError: there is no such point; the text names the nearest.
        """

    def watch(
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
        See messages as they are published, see C{watch} of L{IBroker}.
        """

    def watchFilters(
        added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> IHeld:
        """
        Be told when the first subscriber of a filter comes and when the last goes, see C{watchFilters} of L{IBroker}.
        """

    def listen(
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes connections, see L{INode.listen}. At the end of the extension it is closed, and the
        connections that are left are ended.

        @param name: what it is called; the extension's name by default.
        """

    def listenDatagrams(
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes datagrams, see L{INode.listenDatagrams}.

        @param name: what it is called; the extension's name by default.
        """

    def mount(service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        Have a resource of C{twisted.web} answer requests, see L{IHTTPServices.mount}.
        """

    def table(name: str) -> ITable:
        """
        A table of the store, the extension's own: no other has one of this name. What is in it stays when the extension
        ends.

        @raise ValueError: the name is none.
        """

    def operation(operation: Operation) -> IHeld:
        """
        Add an operation of management: a REST call, a command, or both; see
        L{operation<twisted_mqtt.operations.operation.operation>}.

        @raise ValueError: its name, its words, or one of its calls are those of another.
        """

    def counter(
        name: str, help: str, labels: Sequence[str] = (), read: Callable[[], float] | None = None
    ) -> Metric[Counter]:
        """
        Register a counter, see L{Metrics.counter<twisted_mqtt.base.metrics.Metrics.counter>}.
        """

    def gauge(
        name: str,
        help: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
        peak: str = "",
    ) -> Metric[Gauge]:
        """
        Register a gauge, see L{Metrics.gauge<twisted_mqtt.base.metrics.Metrics.gauge>}.
        """

    def histogram(name: str, help: str, bounds: Sequence[float] = ..., labels: Sequence[str] = ()) -> Metric[Histogram]:
        """
        Register a histogram, see L{Metrics.histogram<twisted_mqtt.base.metrics.Metrics.histogram>}.
        """

    def alarm(name: str, severity: str, title: str, summary: str) -> IHeld:
        """
        Raise an alarm; closing the handle clears it.

        @param name: what it is known by; there is one of a name at a time.
        @param severity: such as C{warning} or C{critical}.
        """

    def subscribe(subscriber: Subscriber, subscription: Subscription) -> IHeld:
        """
        Let a part of the extension receive messages as a subscriber does, and count as one. Who only wants to see
        messages watches them.
        """

    def callLater(seconds: float, action: Callable[..., object], *args: object) -> IHeld:
        """
        Call something once, after some seconds.
        """

    def loop(interval: float, action: Callable[..., object], *args: object, now: bool = False) -> IHeld:
        """
        Call something again and again. A call that waits holds the next one up.

        @param interval: seconds between the beginnings of two calls.
        @param now: whether the first one is at once rather than after the interval.
        """

    def run(work: Coroutine[Any, Any, object] | Deferred[Any], what: str = "") -> IHeld:
        """
        Let a coroutine run beside everything else. At the end of the extension it is cancelled.

        @param what: what it does, for the log.
        """

    def addCleanup(name: str, action: Callable[[], object]) -> IHeld:
        """
        Do something at the end of the extension, before what was registered earlier is undone.

        @param name: what it is, for the log.
        """


class IExtension(Interface):
    """
    Something that watches or changes what the broker does, from C{start} to its end.

    It may have three more methods. C{stop()} and C{refresh()} may be an C{async def} or return a Deferred. C{stop()}
    comes first at the end: it tells clients of the extension's own, and undoes what was not registered through the
    context; the rest is swept after it. C{refresh()} reads files again; when the configuration is read again and the
    extension's table has not changed, this is all that happens to it. Where they can't be used, it raises what says
    why, and the extension goes on by what it has read before. C{preflight(checks)} is called with an L{IPreflight} in
    place of C{start}, by C{twistd mqttbroker --check}, on an extension that is never started: it tries what C{start}
    would need and the tables do not say.
    """

    def start(context: IExtensionContext) -> Awaitable[None] | None:
        """
        Begin. It may be an C{async def}.

        @return: C{None}, or what is awaited until the extension works, and fails when it can't.
        """


class IPreflight(Interface):
    """
    Tries what a start needs without starting, and gathers everything that is wrong.
    """

    settings: Settings = Attribute("The settings.")
    preSharedKeys: PreSharedKeys = Attribute("The pre-shared keys of the extensions that were asked before.")

    def port(key: str, bind: Bind | None, kind: Literal["tcp", "udp"] = "tcp", *, shared: bool = False) -> None:
        """
        Try to open a port. Those in tables with a C{bind} (C{TCPPortSettings}, C{UDPPortSettings}) are tried by
        themselves, and so are their files of TLS.

        @param key: the key of the configuration that names the address.
        @param bind: L{None} for no port.
        @param shared: see L{openDatagrams<twisted_mqtt.net.datagrams.openDatagrams>}.
        """

    def attempt(action: Callable[[], object]) -> None:
        """
        Call something. Where it raises, the text of that is a problem; it should begin with the key or the file.
        """


class IExtensionMaker(IDeclaration):
    """
    A Twisted plugin that makes an extension.
    """

    description: str = Attribute("What it does, in a few words.")
    version: str = Attribute("Its version.")
    requires: tuple[str, ...] = Attribute("The extensions that must run while this one does.")
    necessary: bool = Attribute("Whether the broker must not run without it.")
    always: bool = Attribute("Whether it starts with every broker, before all others.")
    gateway: bool = Attribute("Whether it lets clients in: it starts after those that do not, and stops before them.")

    def makeExtension(settings: Struct | None) -> IExtension:
        """
        Make an L{IExtension} of the extension's table of the configuration, None if it has none.
        """
