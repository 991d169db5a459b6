"""
Clients and sessions, as hooks, extensions and gateways see them.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface, classImplements

from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.properties import Properties
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.interfaces.tracing import ITap


class IClient(Interface):
    """
    A client as hooks see it, whatever its protocol; or an account that publishes without being connected, see
    C{account} of L{IBroker}.
    """

    clientID: str = Attribute("The client identifier.")
    username: str | None = Attribute("The user name, or None.")
    password: bytes | None = Attribute("The password, or None; forgotten once the client is authenticated.")
    peerHost: str | None = Attribute("The numeric address of the client, or None (UNIX socket).")
    peerPort: int = Attribute("The port of the client, or 0.")
    sockPort: int = Attribute("The port of the listener, or 0.")
    protocol: str = Attribute("'mqtt', 'mqtt-sn', 'coap', 'lwm2m' or 'stomp'.")
    protoName: str = Attribute("The name of the protocol as the client sent it, such as 'MQTT' or 'MQIsdp'.")
    protoVersion: int = Attribute("The version of the protocol: 3, 4 or 5 for MQTT.")
    zone: str = Attribute("The name of its zone.")
    listener: str = Attribute("The name of its listener, such as 'tcp.external'.")
    mountpoint: str = Attribute("The prefix of all its topics, or ''.")
    topicTree: str = Attribute("The name of the topic tree that it is in, or '' for the default one.")
    isSuperuser: bool = Attribute("Whether no access rule applies to it.")
    anonymous: bool = Attribute("Whether it was let in although nobody has checked that it has its user name.")
    cn: str | None = Attribute("The common name of its certificate, or None.")
    dn: str | None = Attribute("The subject of its certificate, or None.")
    pskIdentity: str | None = Attribute("The identity of the pre-shared key that it has shown to know, or None.")
    cleanStart: bool = Attribute("Whether it wanted a new session.")
    keepAlive: int = Attribute("Its keep-alive in seconds; 0 for none.")
    connectedAt: float = Attribute("The moment when it connected; C{broker.dates.of} makes a date of it.")
    disconnectedAt: float = Attribute("The moment when its connection ended; 0 while it has one.")
    expiryInterval: int = Attribute("For how many seconds its session outlives the connection.")
    properties: Properties | None = Attribute("The properties of its CONNECT, or None.")
    authMethod: str | None = Attribute("The method of an enhanced authentication, or None.")
    authData: bytes | None = Attribute("What the client has sent last in an enhanced authentication, or None.")
    hookTimeout: float = Attribute("For how many seconds a callback may wait that is called for it; 0 is no limit.")

    pendingBytes: int = Attribute("How many bytes the network has not taken yet; 0 where that is not known.")

    def stats() -> dict[str, int]:
        """
        The figures of its connection and its session, by the names that management shows; none where C{enable_stats} of
        its zone is off.
        """


class IClientShell(Interface):
    """
    The network side of a client, as the broker needs it: a way to send the client away.
    """

    def disconnectClient(reason: int, text: str = "") -> None:
        """
        Tell the client, if its protocol can say it, and close the connection. Has no effect on one that is closing.

        @param reason: an MQTT 5 reason code.
        @param text: for a person.
        """

    def setTap(tap: ITap | None) -> None:
        """
        Tell somebody what the client sends and is sent from now on; nobody, with None.
        """


class ISubscriber(Interface):
    """
    Receives messages.
    """

    clientID: str = Attribute("The client identifier; '' for a part of the broker.")
    online: bool = Attribute("Whether a delivery goes out at once rather than into a queue.")

    def deliver(message: Message, subscription: Subscription) -> None:
        """
        Take a message. Never waits, never raises, never subscribes or publishes before it has returned.
        """


class ISession(ISubscriber):
    """
    The state that outlives the connection of a client: its subscriptions, and the messages on their way to it.
    """

    username: str | None = Attribute("The user name of its client, or None.")
    mountpoint: str = Attribute("The prefix of all its topics, or ''.")
    topicTree: str = Attribute("The topic tree in which it is; '' for the default one.")
    zone: str = Attribute("The name of its zone.")
    createdAt: float = Attribute("The moment when it began; C{broker.dates.of} makes a date of it.")
    expiryInterval: int = Attribute("For how many seconds it outlives its connection; 0xFFFFFFFF for ever.")
    expiresAt: float = Attribute("The moment when it ends; 0 for never, or while the client is here.")
    info: IClient = Attribute("Its client: the present one, or the last that was here.")
    subscriptions: dict[str, Subscription] = Attribute("By the filter as the client named it. Not to be changed.")
    queueLength: int = Attribute("How many messages wait to be sent.")

    def stats() -> dict[str, int]:
        """
        Its figures, by the names that management shows: subscriptions, what is in flight, waiting or awaiting PUBREL,
        the limits of each, and how many messages were dropped.
        """


classImplements(Session, ISession)
