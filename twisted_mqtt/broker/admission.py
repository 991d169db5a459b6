"""
The admission of a client: the steps from CONNECT to CONNACK, each of which may have to wait.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.broker.authentication import checkResult, exchangeStep
from twisted_mqtt.broker.client import ClientInfo, willMessage
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import VERSION_3_1, VERSION_5, Connack
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    BANNED,
    CLIENT_ID_NOT_VALID,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    SERVER_SHUTTING_DOWN,
    SERVER_UNAVAILABLE,
    SUCCESS,
    UNSUPPORTED_PROTOCOL_VERSION,
    ProtocolError,
)
from twisted_mqtt.core.session import NEVER
from twisted_mqtt.core.templates import UnfitName, filled, isPlainLevel
from twisted_mqtt.core.topics import RESERVED, checkTopicName, isEncodable, isReserved
from twisted_mqtt.hooks.packets import PacketContext, during
from twisted_mqtt.hooks.verdicts import AuthResult, Challenge, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from twisted_mqtt.broker.bans import Bans
    from twisted_mqtt.broker.permissions import Permissions
    from twisted_mqtt.broker.quotas import Quotas
    from twisted_mqtt.broker.sessions import SessionRegistry
    from twisted_mqtt.core.connection import Connection
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.packets import Connect
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IStore

_log = Logger()

_LARGEST_WINDOW = 65535
_AUTH_ERRORS = frozenset((0x86, 0x87, 0x8A, 0x8C))
# A client that takes packets of so many bytes has room for CONNACK, unless hooks make it very large.
_ROOMY = 65536


class AdmissionControl:
    """
    Decides which clients come in, and opens their sessions: what each L{Admission} asks on its way.

    @ivar closed: whether no client is let in any more, because the broker is shutting down.
    @ivar beforeSession: called with a client that is let in, before it is given its session: a cluster fetches the
        session from the node that has it. Its result, or what its Deferred fires with, is a reason code: from 0x80 on
        the client stays out. L{None} for no such step.
    """

    __slots__ = (
        "bans",
        "beforeSession",
        "closed",
        "counters",
        "hooks",
        "permissions",
        "quotas",
        "registry",
        "router",
        "store",
    )

    def __init__(
        self,
        hooks: Hooks,
        counters: Counters,
        bans: Bans,
        permissions: Permissions,
        registry: SessionRegistry,
        router: Router,
        store: IStore,
        quotas: Quotas,
    ) -> None:
        self.quotas = quotas
        self.hooks = hooks
        self.counters = counters
        self.bans = bans
        self.permissions = permissions
        self.registry = registry
        self.router = router
        self.store = store
        self.closed = False
        self.beforeSession: Callable[[ClientInfo], Maybe[int]] | None = None

    def admit(self, client: ClientInfo, request: Connect, connection: Connection) -> Maybe[Admission]:
        """
        Let a client in, or not.

        @return: the L{Admission} when it is decided, or when the client has to answer a challenge first; or a Deferred
            of it. It does not fail.
        """
        return Admission(self, client, request, connection).begin()


class Admission:
    """
    One client's way in, and what has become of it.

    @ivar reason: the reason code of CONNACK; from 0x80 on the client stays out.
    @ivar challenge: what the client is to be asked in an AUTH packet before it is decided, or L{None}.
    @ivar sessionPresent: whether it has come back to its session.
    @ivar properties: of CONNACK.
    @ivar before: the store's C{sequence} before the session was opened: CONNACK waits for what has been told it since.
    """

    def __init__(self, control: AdmissionControl, client: ClientInfo, request: Connect, connection: Connection) -> None:
        self._control = control
        self.client = client
        self.request = request
        self.connection = connection
        self.reason = SUCCESS
        self.challenge: Challenge | None = None
        self.sessionPresent = False
        self.properties = Properties()
        self.before = -1
        self._packet: PacketContext | None = None
        # This result stands if nobody has an opinion about the identity.
        self._default: AuthResult | None = None

    def begin(self) -> Maybe[Admission]:
        """
        Take the first steps.

        @return: itself, or a Deferred of it. It does not fail.
        """
        client, request = self.client, self.request
        self._control.counters.client_connect += 1
        client.protoName = request.protoName
        client.protoVersion = request.version
        proven = client.provenUsername
        client.username = request.username if proven is None else proven
        client.password = request.password
        client.cleanStart = request.cleanStart
        client.keepAlive = request.keepAlive
        client.properties = request.properties
        client.connectedAt = self._control.registry.now()
        client.clientID = request.clientID
        if self._control.closed:
            return self._refuse(SERVER_SHUTTING_DOWN)
        if client.protocol == "mqtt" and request.version not in client.profile.versions:
            return self._refuse(UNSUPPORTED_PROTOCOL_VERSION)
        reason = self._nameClient()
        if reason:
            return self._refuse(reason)
        properties = request.properties
        if properties is not None:
            if properties.maximumPacketSize is not None:  # [MQTT-3.1.2-24]
                self.connection.maxOut = properties.maximumPacketSize
            client.authMethod = properties.authMethod
            client.authData = properties.authData
        point = self._control.hooks.clientConnect
        if not point.callbacks:
            return self._connect(properties)
        properties = Properties() if properties is None else properties
        return then(during(self._context(), point.fold, client, properties), self._connect)

    def answer(self, data: bytes | None) -> Maybe[Admission]:
        """
        The client has answered the challenge.

        @return: itself, or a Deferred of it. It does not fail.
        """
        state = None if self.challenge is None else self.challenge.state
        self.challenge = None
        self.client.authData = data
        return self._exchange(state)

    def _context(self) -> PacketContext:
        """
        The object that all points fired for the CONNECT share.
        """
        if self._packet is None:
            self._packet = PacketContext(self.client, "connect", properties=self.request.properties)
        return self._packet

    # The steps

    def _nameClient(self) -> int:
        """
        Settle the client identifier; returns a reason against it, or 0.
        """
        client, request = self.client, self.request
        if client.options.use_username_as_clientid and client.username:
            client.clientID = client.username
        if client.clientID == "":
            # [MQTT-3.1.3-8] of 3.1.1; 3.1 knows no empty identifier
            if request.version == VERSION_3_1 or (request.version < VERSION_5 and not request.cleanStart):
                return CLIENT_ID_NOT_VALID
            client.clientID = f"auto-{secrets.token_hex(10)}"
            if request.version == VERSION_5:
                self.properties.assignedClientID = client.clientID  # [MQTT-3.2.2-16]
        elif "\0" in client.clientID or len(client.clientID.encode("utf-8")) > client.limits.maxClientIDLength:
            return CLIENT_ID_NOT_VALID
        return SUCCESS

    def _connect(self, properties: Properties | None) -> Maybe[Admission]:
        control, client = self._control, self.client
        client.properties = properties
        if client.options.enable_ban:
            ban = control.bans.find(client)
            if ban is not None:
                control.counters.connections_refused_banned += 1
                return self._refuse(
                    BANNED, why=f"its {ban.kind} {ban.who} is banned, {ban.reason or 'without a reason'}"
                )
        return self._authenticate()

    def _authenticate(self) -> Maybe[Admission]:
        client = self.client
        if client.authMethod is not None:
            return self._exchange(None)
        point = self._control.hooks.clientAuthenticate
        # A certificate or a key that it has shown to have is as good as a password. Without one it is anonymous as long
        # as nobody has checked its credentials: merely naming some makes no difference.
        anonymous = client.provenUsername is None
        welcome = client.profile.allowsAnonymous or client.hasProof
        if not point.callbacks:
            if not welcome:
                return self._refuse(NOT_AUTHORIZED, why=_UNKNOWN)
            client.password = None
            return self._letIn(False, anonymous, None)
        self._control.counters.client_authenticate += 1
        # This result stands if no callback has an opinion.
        default = AuthResult("success" if welcome else "not_authorized", anonymous=anonymous)
        self._default = default
        return then(during(self._context(), point.fold, client, default), self._authenticated)

    def _exchange(self, state: object) -> Maybe[Admission]:
        """
        Take one step of an enhanced authentication (4.12).

        @param state: what the callback has kept since the last step.
        """
        hooks = self._control.hooks
        if hooks.clientEnhancedAuthenticate.callbacks:
            self._control.counters.client_authenticate += 1
        verdict = exchangeStep(hooks, self.client, self._context(), state)
        return verdict.addCallback(self._exchanged) if isinstance(verdict, Deferred) else self._exchanged(verdict)

    def _exchanged(self, verdict: AuthResult | Challenge) -> Maybe[Admission]:
        if isinstance(verdict, Challenge):
            self.challenge = verdict
            return self
        return self._authenticated(verdict)

    def _authenticated(self, result: AuthResult) -> Maybe[Admission]:
        client = self.client
        # It is not needed any more, and hooks that come later have no business with it.
        client.password = None
        client.authData = None
        try:
            checkResult(result, client)
        except (TypeError, ValueError) as error:  # compiled code finds a value of a wrong type by itself
            _log.error(
                "{client} is refused, because its authentication has an invalid result: {error}",
                client=client,
                error=error,
            )
            return self._refuse(SERVER_UNAVAILABLE)
        if result.properties is not None:
            self._addProperties(result.properties)
        if result.reasonString is not None:
            self.properties.reasonString = result.reasonString
        if result.serverReference is not None:
            self.properties.serverReference = result.serverReference
        if not result.success:
            return self._refuse(result.reasonCode, why=_UNKNOWN if result is self._default else "")
        if client.authMethod is not None:
            self.properties.authMethod = client.authMethod  # [MQTT-4.12.0-5]
            self.properties.authData = result.data
        self._override(result)
        return self._letIn(result.isSuperuser, result.anonymous, result.mountpoint)

    def _override(self, result: AuthResult) -> None:
        """
        Make of the client what a callback wants it to be.
        """
        client = self.client
        if result.username is not None:
            client.username = result.username
        if result.clientID is not None and result.clientID != client.clientID:
            client.clientID = result.clientID
            if self.request.version == VERSION_5:
                # The specification knows no other way to tell a client of its identifier.
                self.properties.assignedClientID = result.clientID
        if result.topicTree is not None:
            client.topicTree = result.topicTree
        if result.cleanStart is not None:
            client.cleanStart = result.cleanStart
        if result.session is not None:
            client.restrict(result.session)
            self.connection.limits = client.limits
            self.connection.maxPacketSize = client.limits.maxPacketSize
            if client.limitRate(self._control.registry.now()):
                self.connection.limited = True

    def _letIn(self, isSuperuser: bool, anonymous: bool, mountpoint: str | None) -> Maybe[Admission]:
        client = self.client
        client.isSuperuser = isSuperuser
        client.anonymous = anonymous
        if anonymous:
            self._control.counters.client_auth_anonymous += 1
        if mountpoint is None:
            mountpoint = client.options.mountpoint
        if mountpoint:
            try:
                client.mountpoint = expanded(mountpoint, client)
            except ProtocolError as error:
                return self._refuse(error.reason, error.text)
        if self.request.will is None:
            return self._open()
        return self._takeWill()

    def _takeWill(self) -> Maybe[Admission]:
        will = self.request.will
        if will is None:
            return self._open()
        limits = self.client.limits
        if will.qos > limits.maxQoS:  # [MQTT-3.2.2-12]
            return self._refuse(QOS_NOT_SUPPORTED)
        if will.retain and not limits.retainAvailable:  # [MQTT-3.2.2-13]
            return self._refuse(RETAIN_NOT_SUPPORTED)
        if isReserved(will.topic):
            return self._refuse(NOT_AUTHORIZED)
        try:
            checkTopicName(will.topic, limits.maxTopicLevels)
        except ProtocolError as error:
            return self._refuse(error.reason, error.text)
        packet = PacketContext(self.client, "will", will.topic, will.payload, will.qos, will.retain, will.properties)
        verdict = self._control.permissions.authorize(self.client, "publish", will.topic, packet)
        return then(verdict, self._willAllowed)

    def _willAllowed(self, verdict: Verdict) -> Maybe[Admission]:
        if not verdict.allowed:
            if verdict.text:
                self.properties.reasonString = verdict.text
            return self._refuse(verdict.connectReason, why=verdict.text or "it may not publish its will")
        client, will = self.client, self.request.will
        if will is not None:
            properties = will.properties
            if properties is not None:
                client.willDelay = self._willDelay(properties.willDelay or 0)
                properties.willDelay = None
            try:
                client.will = willMessage(client, will)
            except ProtocolError as error:
                return self._refuse(error.reason, error.text)
        return self._open()

    def _willDelay(self, asked: int) -> int:
        most = int(self.client.options.max_will_delay)
        if not most or asked <= most:
            return asked
        self._control.quotas.report("will_delay", f"the will of {self.client} waits {most} seconds, and not {asked}")
        return most

    def _open(self) -> Maybe[Admission]:
        """
        Give the client its session.
        """
        control, client = self._control, self.client
        if self.connection.closed:  # it has gone while somebody was asked about it
            return self._refuse(NOT_AUTHORIZED)
        client.expiryInterval = self._expiryInterval()
        step = control.beforeSession
        if step is None:
            return self._openSession()
        try:
            outcome = step(client)
        except Exception:
            return self._stepFailed(None)
        if isinstance(outcome, int):
            return self._stepped(outcome)
        return outcome.addCallbacks(self._stepped, self._stepFailed)

    def _stepped(self, reason: int) -> Maybe[Admission]:
        if reason >= 0x80:
            return self._refuse(reason)
        if self.connection.closed:
            return self._refuse(NOT_AUTHORIZED)
        if self._control.closed:
            return self._refuse(SERVER_SHUTTING_DOWN)
        return self._openSession()

    def _stepFailed(self, failure: Failure | None) -> Maybe[Admission]:
        if failure is not None and failure.check(CancelledError):  # the connection is lost
            return self._refuse(NOT_AUTHORIZED)
        _log.failure("A step before the session of {client} failed", failure, client=self.client)
        return self._refuse(SERVER_UNAVAILABLE)

    def _openSession(self) -> Maybe[Admission]:
        control, client = self._control, self.client
        progress = control.router.progress
        if progress.broken and client.expiryInterval and control.store.durable and not self._isKept():
            if progress.full:
                control.quotas.report("store", f"{client} is refused: the store is full")
            return self._refuse(QUOTA_EXCEEDED)  # its session could not be kept
        if client.key not in control.registry.sessions:
            refusal = control.quotas.refusal(client)
            if refusal:
                return self._refuse(refusal)
        if client.will is not None:
            refusal = control.quotas.willRefusal(client, client.will)
            if refusal:
                return self._refuse(refusal)
        if self.request.version == VERSION_5 and not self._announce():
            self.properties = Properties()
            return self._refuse(PACKET_TOO_LARGE)
        self.before = progress.sequence
        window = client.limits.maxInflight or _LARGEST_WINDOW
        properties = client.properties
        if properties is not None and properties.receiveMaximum is not None:
            window = min(window, properties.receiveMaximum)  # [MQTT-3.3.4-9]
        if self._packet is None:
            self.sessionPresent = control.registry.openSession(client, self.connection, client.cleanStart, window)
        else:
            # Points of the session are fired there, and are this CONNECT's, too.
            self.sessionPresent = during(
                self._packet, control.registry.openSession, client, self.connection, client.cleanStart, window
            )
        if progress.stuck and self.sessionPresent:
            # Its session is in the store. That it has come can't be written, and what waits for it need not wait for
            # that.
            self.before = progress.sequence
        self._prepare()
        point = control.hooks.clientConnack
        if not point.callbacks:
            return self
        return then(during(self._context(), point.fold, client, SUCCESS, self.properties), self._done)

    def _isKept(self) -> bool:
        """
        Whether the client goes on with a session that the store has.
        """
        client = self.client
        session = self._control.registry.sessions.get(client.key)
        return (
            not client.cleanStart
            and session is not None
            and session.journal is not None
            and session.mountpoint == client.mountpoint
            and not 0.0 < session.expiresAt <= self._control.registry.now()
        )

    def _expiryInterval(self) -> int:
        client, request = self.client, self.request
        if client.sessionExpiry >= 0:
            return client.sessionExpiry
        if request.version < VERSION_5:
            return 0 if client.cleanStart else min(int(client.options.session_expiry_interval), NEVER)
        properties = client.properties
        if properties is None or properties.sessionExpiry is None:
            return 0
        most = int(client.options.max_session_expiry_interval)
        if not most or properties.sessionExpiry <= most:
            return properties.sessionExpiry
        self.properties.sessionExpiry = most  # [MQTT-3.1.2-24] 3.2.2.3.2: another than the client has asked for
        self._control.quotas.report(
            "session_expiry", f"{client} is granted {most} seconds for its session, and not {properties.sessionExpiry}"
        )
        return most

    def _prepare(self) -> None:
        """
        Say to the connection what this client has to go by.
        """
        client, connection, limits = self.client, self.connection, self.client.limits
        session = client.session
        if session is None:
            return
        connection.accept(session, client.clientID, limits.maxAwaitingRel)
        connection.username = client.username
        connection.peerHost = client.peerHost
        self._control.permissions.arrange(client)
        properties = client.properties
        if self.request.version < VERSION_5:
            imposed = client.options.server_keepalive
            if imposed and not 0 < client.keepAlive <= imposed:
                # It can't be told, and may be closed at any time all the same if it is silent (3.1.1 section 3.1.2.10).
                client.keepAlive = imposed
            return
        if properties is None:
            return
        if properties.topicAliasMaximum and limits.maxTopicAlias:
            connection.useAliases(min(properties.topicAliasMaximum, limits.maxTopicAlias))
        if properties.requestProblem == 0:
            connection.problemInformation = False

    def _announce(self) -> bool:
        """
        Say in CONNACK what this client has to go by.

        @return: whether the client has room for it.
        """
        client, limits = self.client, self.client.limits
        properties = client.properties
        mine = self.properties
        if limits.maxAwaitingRel:
            mine.receiveMaximum = limits.maxAwaitingRel
        if limits.maxQoS < 2:  # [MQTT-3.2.2-9]
            mine.maximumQoS = limits.maxQoS
        if not limits.retainAvailable:
            mine.retainAvailable = 0
        if not limits.wildcardAvailable:
            mine.wildcardAvailable = 0
        if not limits.sharedAvailable:
            mine.sharedAvailable = 0
        if limits.maxTopicAlias:
            mine.topicAliasMaximum = limits.maxTopicAlias
        mine.maximumPacketSize = limits.maxPacketSize
        imposed = client.options.server_keepalive
        if imposed:  # [MQTT-3.1.2-21]
            mine.serverKeepAlive = client.keepAlive = imposed
        if client.sessionExpiry >= 0:
            mine.sessionExpiry = client.sessionExpiry  # 3.2.2.3.2: another than the client has asked for
        if properties is None:
            return True
        if properties.requestResponse == 1 and isPlainLevel(client.clientID):  # [MQTT-3.1.2-28]
            information = f"response/{client.clientID}/"
            if isEncodable(information):
                mine.responseInformation = information
        return self._hasRoom(properties)

    def _hasRoom(self, properties: Properties) -> bool:
        """
        Whether a client has room for CONNACK, without what can be left out of it.
        """
        most = properties.maximumPacketSize
        if most is None:
            return True
        self.connection.maxOut = most
        if most >= _ROOMY:
            return True
        needed = self.properties.copy()
        needed.reasonString = needed.userProperties = None
        try:
            return len(encode(Connack(False, SUCCESS, needed), VERSION_5)) <= most
        except (OverflowError, ValueError):
            return False

    def _done(self, properties: Properties) -> Admission:
        self.properties = properties
        return self

    def _refuse(self, reason: int, text: str = "", why: str = "") -> Maybe[Admission]:
        """
        @param text: what the client is told beside the reason code.
        @param why: what the log says in its place.
        """
        self.reason = reason
        if text:
            self.properties.reasonString = text
        client = self.client
        if not self.connection.closed:
            registry = self._control.registry
            registry.log.refused(client, reason, why or self.properties.reasonString or "", registry.now())
        client.password = None
        client.authData = None
        counters = self._control.counters
        counters.packets_connack_error += 1
        if reason in _AUTH_ERRORS:
            counters.packets_connack_auth_error += 1
        point = self._control.hooks.clientConnack
        if not point.callbacks:
            return self
        return then(during(self._context(), point.fold, client, reason, self.properties), self._done)

    def _addProperties(self, properties: Properties) -> None:
        for name, value in properties.asDict().items():
            setattr(self.properties, name, value)


_UNKNOWN: Final = (
    "nobody knows its name and password, and clients without are not let in here (allow_anonymous is false, or not set"
    " and the listener is not on this machine alone)"
)


def expanded(template: str, client: ClientInfo) -> str:
    """
    A mount point with C{%c}, C{%u} and C{%a} filled in (spec/config.md 1.2).

    @raise ProtocolError: (not authorised) where a name of the client would change its shape, or where what is below it
        could be the broker's own.
    """
    try:
        mountpoint = filled(template, {"c": client.clientID, "u": client.username or "", "a": client.peerHost or ""})
    except UnfitName as error:
        raise ProtocolError(NOT_AUTHORIZED, f"no mount point: {error}") from None
    if mountpoint and (isReserved(mountpoint) or RESERVED.startswith(mountpoint)):
        raise ProtocolError(NOT_AUTHORIZED, f"no mount point: what is below {mountpoint} may be the broker's own")
    return mountpoint
