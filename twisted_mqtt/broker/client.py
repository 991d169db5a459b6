"""
The information that the broker has about one connected client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import classImplements

from twisted_mqtt.base.printable import printable
from twisted_mqtt.base.ratelimits import TokenBucket, bucketOf
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.connection import Connection, mounted
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Will
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import STRATEGIES
from twisted_mqtt.core.topics import scoped
from twisted_mqtt.hooks.verdicts import SessionLimits, Verdict
from twisted_mqtt.interfaces import IClient
from twisted_mqtt.net.peeridentity import PeerIdentity

if TYPE_CHECKING:
    from twisted_mqtt.broker.lifetime import Lifetime
    from twisted_mqtt.config.schema_mqtt import Zone


class KnownVerdicts:
    """
    The latest answers of the access rules for one client.

    @ivar generation: of the rules that have said so.
    @ivar cache: verdicts by access and topic, and until which moment each holds.
    """

    __slots__ = ("cache", "generation")

    def __init__(self, generation: int) -> None:
        self.generation: int = generation
        self.cache: dict[tuple[str, str], tuple[Verdict, float]] = {}


class ClientInfo:
    """
    One connected client. Hooks are given it as C{ClientInfo} and as C{ConnInfo} alike.

    @ivar profile: the listener and zone that it came by.
    @ivar topicTree: the topic tree that it is in, empty for the default one: its listener's, unless what authenticates
        it has said otherwise. It does not change once the client has its session.
    @ivar shell: its L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.
    @ivar farewell: what is to be said about its end beside the reason code, for the log.
    @ivar will: what is published if it goes without a word, or L{None}.
    @ivar willDelay: how long that waits, in seconds.
    @ivar willSize: the bytes of its will as the quotas count them; -1 where they count none.
    @ivar pskIdentity: the identity of the key that it has shown to know, L{None} where it has not shown any.
    @ivar provenUsername: the user name that it has by its certificate or its key, whatever it calls itself; L{None} for
        none.
    @ivar publishRate: how many messages are taken from it; L{None} for any number.
    @ivar sessionExpiry: for how many seconds its session outlives its connection, whatever it wants itself; -1 for
        what it wants.
    @ivar lifetime: ends its connection when that has lasted for C{maxLifetime} seconds; L{None} if it may last.
    @ivar retryInterval: after how many seconds what it has not acknowledged goes out again, where its protocol does
        that; 0 for what the gateway says.
    @ivar sharedStrategy: how a member of a shared subscription is chosen for its messages; -1 as for those of others.
    @ivar pausedUntil: before which moment no message is taken from it, where it can't be kept
        waiting.
    @ivar publishes: counts its messages where their rate is limited, whatever way they come; else L{None}.
    @ivar window: how many messages may be in flight to it.
    """

    __slots__ = (
        "anonymous",
        "authData",
        "authMethod",
        "cleanStart",
        "clientID",
        "cn",
        "connectedAt",
        "connection",
        "disconnectedAt",
        "dn",
        "expiryInterval",
        "farewell",
        "isSuperuser",
        "_limits",
        "publishRate",
        "sessionExpiry",
        "lifetime",
        "maxLifetime",
        "retryInterval",
        "sharedStrategy",
        "keepAlive",
        "mountpoint",
        "password",
        "pausedUntil",
        "peerHost",
        "peerPort",
        "profile",
        "properties",
        "protoName",
        "protoVersion",
        "protocol",
        "provenUsername",
        "pskIdentity",
        "publishes",
        "session",
        "shell",
        "sockPort",
        "topicTree",
        "username",
        "verdicts",
        "will",
        "willDelay",
        "willSize",
        "window",
        "wsCookie",
    )

    def __init__(
        self,
        profile: ListenerProfile,
        shell: object,
        protocol: str = "mqtt",
        peerHost: str | None = None,
        peerPort: int = 0,
        sockPort: int = 0,
    ) -> None:
        self.profile = profile
        self.shell = shell
        self.protocol = protocol
        self.topicTree = profile.topicTree
        self.peerHost = peerHost
        self.peerPort = peerPort
        self.sockPort = sockPort
        self.clientID = ""
        self.username: str | None = None
        self.password: bytes | None = None
        self.protoName = ""
        self.protoVersion = 0
        self.mountpoint = ""
        self.isSuperuser = False
        self.anonymous = False
        self.cn: str | None = None
        self.dn: str | None = None
        self.pskIdentity: str | None = None
        self.provenUsername: str | None = None
        self.wsCookie: str | None = None
        self.cleanStart = True
        self.keepAlive = 0
        self.connectedAt = 0.0
        self.disconnectedAt = 0.0
        self.expiryInterval = 0
        self.farewell = ""
        self.properties: Properties | None = None
        self.authMethod: str | None = None
        self.authData: bytes | None = None
        self.session: Session | None = None
        self.connection: Connection | None = None
        self.will: Message | None = None
        self.willDelay = 0
        self.willSize = -1
        self.window = 0
        self.publishes: TokenBucket | None = None
        self.publishRate = profile.publishRate
        self.sessionExpiry = -1
        self.lifetime: Lifetime | None = None
        self.maxLifetime: float = profile.maxLifetime
        self.retryInterval = 0.0
        self.sharedStrategy = -1
        self.pausedUntil = 0.0
        self._limits: Limits | None = None
        # The latest answers of the access rules.
        self.verdicts: KnownVerdicts | None = None

    @property
    def key(self) -> str:
        """
        Its client identifier with its topic tree: what it is known by among the clients of all topic trees.
        """
        return scoped(self.topicTree, self.clientID)

    @property
    def zone(self) -> str:
        """
        The name of its zone.
        """
        return self.profile.zone.name

    @property
    def listener(self) -> str:
        """
        The name of its listener.
        """
        return self.profile.name

    @property
    def options(self) -> Zone:
        """
        The options of its zone.
        """
        return self.profile.zone

    @property
    def hasProof(self) -> bool:
        """
        Whether it has shown to have a key: that of a certificate that its listener trusts, or a pre-shared one.
        """
        return self.provenUsername is not None or self.pskIdentity is not None or self.dn is not None

    @property
    def hookTimeout(self) -> float:
        """
        See L{twisted_mqtt.interfaces.IClient}.
        """
        return self.profile.zone.hook_timeout

    @property
    def limits(self) -> Limits:
        """
        The limits of its zone, or its own.
        """
        return self.profile.limits if self._limits is None else self._limits

    def restrict(self, session: SessionLimits) -> None:
        """
        Give it limits of its own.
        """
        limits = self.profile.limits.copy()
        if session.maxPacketSize is not None:
            limits.maxPacketSize = session.maxPacketSize
        if session.maxInflight is not None:
            limits.maxInflight = session.maxInflight
        if session.maxQueue is not None:
            limits.maxQueue = session.maxQueue
            limits.maxQueueStored = limits.maxQueueOnline = limits.maxQueueOffline = -1
        if session.maxOnlineMessages is not None:
            limits.maxQueueOnline = session.maxOnlineMessages
        if session.maxOfflineMessages is not None:
            limits.maxQueueOffline = session.maxOfflineMessages
        if session.maxQueueBytes is not None:
            limits.maxQueueBytes = session.maxQueueBytes
        if session.maxSubscriptions is not None:
            limits.maxSubscriptions = session.maxSubscriptions
        if session.upgradeQoS is not None:
            limits.upgradeQoS = session.upgradeQoS
        if session.publishRate is not None:
            self.publishRate = session.publishRate
        if session.sessionExpiry is not None:
            self.sessionExpiry = session.sessionExpiry
        if session.retryInterval is not None:
            self.retryInterval = float(session.retryInterval)
        if session.connectionLifetime is not None:
            given = float(session.connectionLifetime)
            self.maxLifetime = min(self.maxLifetime, given) if self.maxLifetime else given
        if session.sharedStrategy is not None:
            self.sharedStrategy = STRATEGIES[session.sharedStrategy]
        self._limits = limits

    def limitRate(self, now: float) -> bool:
        """
        Count its messages from now on, where its listener or zone limits their rate; returns whether that is so.
        """
        rate = self.publishRate
        if rate is not None:
            self.publishes = bucketOf(rate, now)
        return rate is not None

    def identify(self, identity: PeerIdentity, keyNames: bool = False) -> None:
        """
        Take over what a layer below has found out about it.

        @param keyNames: whether who has shown to know a key has its identity for a user name, whatever it calls itself.
        """
        self.cn = identity.cn
        self.dn = identity.dn
        self.pskIdentity = identity.pskName
        self.provenUsername = identity.username(self.profile.usernamePart)
        if keyNames and self.pskIdentity is not None:
            self.provenUsername = self.pskIdentity

    @property
    def pendingBytes(self) -> int:
        """
        See L{twisted_mqtt.interfaces.IClient}.
        """
        pending: int = getattr(getattr(self.shell, "transport", None), "pendingBytes", 0)
        return pending

    def stats(self) -> dict[str, int]:
        """
        See L{twisted_mqtt.interfaces.IClient}.
        """
        if not self.options.enable_stats:
            return {}
        session, connection = self.session, self.connection
        found = {} if session is None else session.stats()
        if connection is not None:
            found["recv_oct"] = connection.receivedBytes
            found["recv_pkt"] = connection.count
            found["recv_msg"] = connection.receivedMessages
            found["send_oct"] = connection.sentBytes
            found["send_pkt"] = connection.sentPackets
            found["send_msg"] = connection.sentMessages
        return found

    def __repr__(self) -> str:
        return f'<ClientInfo "{printable(self.clientID)}" {self.protocol} from {self.peerHost}:{self.peerPort}>'


def willMessage(client: ClientInfo, will: Will) -> Message:
    """
    The message that a client wants to leave, below its mount point.

    @raise ProtocolError: (topic name invalid) its topic is too long there.
    """
    topic = mounted(client.mountpoint, will.topic)
    message = Message(topic, will.payload, will.qos, will.retain, will.properties, client.clientID)
    message.topicTree = client.topicTree
    message.username = client.username
    message.peerHost = client.peerHost
    message.protocol = client.protocol
    return message


# Here, and not in a module of its own: the type checker has to see it before those who hand a ClientInfo on as an
# IClient. These import this module at run time, and not for types alone, for the same reason.
classImplements(ClientInfo, IClient)
