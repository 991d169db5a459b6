"""
The interfaces of the broker: what its parts, extensions and gateways know of each other.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
At the foot of this module stands which classes of the core provide which interface: they are compiled, and a compiled
class cannot be decorated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface, classImplements

from twisted_mqtt.config.registry import IDeclaration
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Struct
    from twisted.application.service import IService
    from twisted.internet.defer import Deferred

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.packets import Subscribe
    from twisted_mqtt.core.subscription import Subscriber, Subscription

__all__ = [
    "IBroker",
    "IClient",
    "IClientShell",
    "IExtension",
    "IExtensionMaker",
    "IGatewayMaker",
    "IProgress",
    "IRefreshing",
    "IStore",
    "ISubscriber",
]


class IClient(Interface):
    """
    A client as hooks see it, whatever its protocol.
    """

    clientID = Attribute("The client identifier.")
    username = Attribute("The user name, or None.")
    password = Attribute("The password as bytes, or None; forgotten once the client is authenticated.")
    peerHost = Attribute("The numeric address of the client, or None (UNIX socket).")
    peerPort = Attribute("The port of the client, or 0.")
    sockPort = Attribute("The port of the listener, or 0.")
    protocol = Attribute("'mqtt', 'mqtt-sn', 'coap', 'lwm2m' or 'stomp'.")
    protoName = Attribute("The name of the protocol as the client sent it, such as 'MQTT' or 'MQIsdp'.")
    protoVersion = Attribute("The version of the protocol: 3, 4 or 5 for MQTT.")
    zone = Attribute("The name of its zone.")
    listener = Attribute("The name of its listener, such as 'tcp.external'.")
    mountpoint = Attribute("The prefix of all its topics, or ''.")
    isSuperuser = Attribute("Whether no access rule applies to it.")
    anonymous = Attribute("Whether it was let in without credentials.")
    cn = Attribute("The common name of its certificate, or None.")
    dn = Attribute("The subject of its certificate, or None.")
    pskIdentity = Attribute("The identity of the pre-shared key that it has shown to know, or None.")
    cleanStart = Attribute("Whether it wanted a new session.")
    keepAlive = Attribute("Its keep-alive in seconds; 0 for none.")
    connectedAt = Attribute("When it connected, in seconds since the epoch.")
    expiryInterval = Attribute("For how many seconds its session outlives the connection.")
    properties = Attribute("The properties of its CONNECT, or None.")
    authMethod = Attribute("The method of an enhanced authentication, or None.")
    authData = Attribute("What the client has sent last in an enhanced authentication, or None.")

    def stats() -> dict[str, int]:
        """
        The figures of its connection and its session, by the names that management shows; none where C{enable_stats} of
        its zone is off.
        """


class IClientShell(Interface):
    """
    The network side of a client, as the broker needs it: a way to send the client away.
    """

    def disconnectClient(reason, text=""):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Tell the client, if its protocol can say it, and close the connection. Has no effect on one that is closing.

        @param reason: an MQTT 5 reason code.
        @param text: for a person.
        """


class ISubscriber(Interface):
    """
    Who receives messages.
    """

    clientID = Attribute("The client identifier; '' for a part of the broker.")
    online = Attribute("Whether a delivery goes out at once rather than into a queue.")

    def deliver(message, subscription):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Take a L{Message<twisted_mqtt.core.message.Message>} for a
        L{Subscription<twisted_mqtt.core.subscription.Subscription>}.

        Returns nothing, never waits, never raises, never subscribes or publishes before it has returned.
        """


class IBroker(Interface):
    """
    The broker service, as extensions and gateways see it.
    """

    nodeName = Attribute("The name of this node.")
    hooks = Attribute("The L{Hooks<twisted_mqtt.hooks.points.Hooks>}.")
    counters = Attribute("The L{Counters<twisted_mqtt.core.counters.Counters>}.")
    settings = Attribute("The L{Settings<twisted_mqtt.config.settings.Settings>}.")
    clock = Attribute("Provides C{IReactorTime}.")
    preSharedKeys = Attribute("The L{PreSharedKeys<twisted_mqtt.net.tls.psk.PreSharedKeys>} of TLS and DTLS.")
    store = Attribute("The L{IStore}.")
    alarms = Attribute("The L{Alarms<twisted_mqtt.broker.alarms.Alarms>}: what is wrong at present.")
    bans = Attribute("The L{Bans<twisted_mqtt.broker.bans.Bans>}: who is not let in.")
    router = Attribute("The L{Router<twisted_mqtt.core.router.Router>}, for those who make connections.")
    outbox = Attribute("The L{Outbox<twisted_mqtt.core.outbox.Outbox>}, likewise.")
    wheel = Attribute("The L{TimerWheel<twisted_mqtt.base.timerwheel.TimerWheel>}.")
    retained = Attribute("The L{RetainedMessages<twisted_mqtt.broker.retained.RetainedMessages>}.")

    def connect(client, request, connection):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Let a client in, or not.

        @param client: a L{ClientInfo<twisted_mqtt.broker.client.ClientInfo>}.
        @param request: a L{Connect<twisted_mqtt.core.packets.Connect>}; gateways make one.
        @param connection: the L{Connection<twisted_mqtt.core.connection.Connection>} that the session will write to.

        @return: an L{Admission<twisted_mqtt.broker.admission.Admission>}, or a Deferred of one. It does not fail.
        """

    def opened(client):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        The client has been told that it is in: tell those who want to know, then deliver what has waited for it.

        @return: None, or a Deferred that fires when a callback that waits is done. It does not fail.
        """

    def disconnect(client, reason):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        The connection of a client that was let in is gone.

        @param reason: an MQTT 5 reason code or a word.
        """

    def setExpiry(client: Any, interval: int) -> None:
        """
        Change for how many seconds a client's session outlives its connection.
        """

    def publish(message: Message, client: Any = None) -> int | Deferred[int]:
        """
        Publish a message. Access rules are not asked: see L{authorize}.

        @return: a reason code: 0, or 0x10 where nobody has subscribed its topic; or a Deferred of it. It does not fail.
        """

    def isHeard(topic: str) -> bool:
        """
        Whether anybody might receive a message of a topic: where nobody does, a part of the broker that tells of
        frequent events need not make it. It answers fast, and "yes" where it can't tell fast.
        """

    def authorize(client: Any, action: str, topic: str) -> bool | Deferred[bool]:
        """
        Ask the access rules.

        @param action: 'publish' or 'subscribe'.
        @param topic: without the mount point.

        @return: whether it is allowed, or a Deferred of it. It does not fail.
        """

    def forgetPermissions() -> None:
        """
        Access rules have changed: what they have said before does not hold any more.
        """

    def judgeFreely(judge: object, publishesFreely: Callable[[object, bool], bool] | None) -> None:
        """
        Let the broker know of clients that a callback of C{client.check_acl} refuses no topic to publish: as long as it
        is the only one there, they need not be asked about.

        @param judge: the callback.
        @param publishesFreely: given a client and whether everything is allowed that no rule names, says whether it is
            such a client. L{None} takes back what was said.
        """

    def subscribe(subscriber: Subscriber, subscription: Subscription) -> bool:
        """
        Let a part of the broker receive messages. Clients subscribe through their sessions: L{subscribeClient}.

        @return: whether the subscription is new.
        """

    def subscribeClient(client: Any, packet: Subscribe, trusted: bool = False) -> Any:
        """
        Subscribe for a client, as a SUBSCRIBE asks.

        @param client: a L{ClientInfo<twisted_mqtt.broker.client.ClientInfo>}.
        @param trusted: whether the broker itself wants it, so that neither hooks nor access rules are asked.

        @return: a L{Subscribing<twisted_mqtt.broker.subscribing.Subscribing>} that is done, whose C{deliverRetained} is
            to be called once the client has been told; or a Deferred of it. It does not fail.

        @raise twisted_mqtt.core.reasons.ProtocolError: the packet is against the specification.
        """

    def unsubscribe(subscriber: Subscriber, topicFilter: str) -> bool:
        """
        Undo L{subscribe}; returns whether there was such a subscription.
        """

    def stats() -> dict[str, int]:
        """
        How many there are now of what is worth counting, by name.
        """


class IProgress(Interface):
    """
    How far a store has come.
    """

    sequence = Attribute("Grows with each write that was asked for.")
    committed = Attribute("The sequence up to which everything would survive a crash.")
    broken = Attribute("Whether the store can't keep anything at present.")
    congested = Attribute("Whether so much waits to be written that publishers of QoS 1 and 2 have to wait too.")


class IStore(Interface):
    """
    Keeps persistent sessions, their messages, retained messages, wills and bans.

    Its write methods are called in order from the reactor's thread; they return nothing, do not wait and do not raise:
    what can't be kept makes C{progress.broken} true.
    """

    durable = Attribute("Whether anything survives the process.")
    progress = Attribute("An L{IProgress}.")
    journal = Attribute("A L{Journal<twisted_mqtt.core.journal.Journal>}, or None where it is not durable.")
    delayed = Attribute("What had not come to its time when the store was opened: (number, message, when it is due).")

    def open(broker):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Open the store and give the broker what it holds, through C{broker.restore...}.

        @return: None, or a Deferred that fires when that is done and fails where the store can't be used.
        """

    def close() -> Deferred[None] | None:
        """
        Write what is left and close.

        @return: None, or a Deferred that fires when that is done. It does not fail.
        """

    def saveSession(session: Session) -> None:
        """
        A persistent session has begun, or its expiry has changed, or its client has come or gone.
        """

    def removeSession(session: Session) -> None:
        """
        A persistent session has ended, with all that belongs to it.
        """

    def saveSubscription(session: Session, subscription: Subscription) -> None:
        """
        A persistent session has subscribed, or changed a subscription.
        """

    def removeSubscription(session: Session, topicFilter: str) -> None:
        """
        A persistent session has unsubscribed.
        """

    def putRetained(message: Message) -> None:
        """
        A message is now the retained one of its topic.
        """

    def removeRetained(topic: str) -> None:
        """
        A topic has no retained message any more.
        """

    def saveWill(clientID: str, will: Message, publishAt: float, delay: float) -> None:
        """
        A client has a will.

        @param will: a L{Message<twisted_mqtt.core.message.Message>}.
        @param publishAt: when it is due, in seconds since the epoch; 0 while the client is connected.
        @param delay: for how many seconds it waits once the client is gone.
        """

    def removeWill(clientID: str) -> None:
        """
        A client has no will any more.
        """

    def saveDelayed(number, message, due):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        A message waits for its time.

        @param number: greater than those before.
        @param due: in seconds since the epoch.
        """

    def removeDelayed(number):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        A message waits no longer.
        """

    def room() -> Deferred[None] | None:
        """
        Whether there is room for more to write.

        @return: None if there is, or a Deferred that fires when there is again. It does not fail.
        """

    def saveBan(ban):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Somebody is not let in; replaces what is kept for the same kind and name.

        @param ban: a L{Ban<twisted_mqtt.broker.bans.Ban>}. When the store is opened, it goes to C{broker.bans.restore}.
        """

    def removeBan(kind, who):  # type: ignore[no-untyped-def]  # zope interfaces have no self
        """
        Somebody is let in again.
        """


class IExtension(Interface):
    """
    Something that watches or changes what the broker does, from C{start} to C{stop}.
    """

    def start(broker: IBroker) -> Deferred[None] | None:
        """
        Begin.

        @param broker: an L{IBroker}.

        @return: None, or a Deferred that fires when it works and fails when it can't.
        """

    def stop() -> Deferred[None] | None:
        """
        End, and leave nothing behind.

        @return: None, or a Deferred that fires when that is done.
        """


class IRefreshing(Interface):
    """
    An extension or the service of a gateway that reads files, and can read them again while it runs. When the
    configuration is read again and its table has not changed, this is all that happens to it.
    """

    def refresh() -> Deferred[None] | None:
        """
        Read them again. Where they can't be used, raise what says why, and go on by what was read before.

        @return: None, or a Deferred that fires when that is done and fails where they can't be used.
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


class IGatewayMaker(IDeclaration):
    """
    A Twisted plugin that makes the service of a gateway.
    """

    def makeService(broker: IBroker, settings: object, reactor: object) -> IService:
        """
        Make the service.

        @param broker: an L{IBroker}.
        @param settings: the gateway's table of the configuration.
        """


classImplements(Session, ISubscriber)
classImplements(Progress, IProgress)
