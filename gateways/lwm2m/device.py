"""
A registered device: a client of the broker from its registration to the end of its lifetime, asleep or awake.

Its place in the broker is kept for as long as its registration may last, also if the broker goes: commands of QoS 1
that were not answered then are delivered again when it has registered anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateways.client import GatewayClient
from gateways.coap.codes import SERVICE_UNAVAILABLE
from gateways.lwm2m import answers
from gateways.lwm2m.commands import CommandError, NotJSON, observing, parseCommand
from gateways.lwm2m.content import Dialect, dialectOf
from gateways.lwm2m.downlink import AUTOMATIC, Downlink, Waiting, repeated
from twisted_mqtt.core.reasons import (
    KEEP_ALIVE_TIMEOUT,
    NORMAL_DISCONNECTION,
    SESSION_TAKEN_OVER,
    SUCCESS,
    UNSPECIFIED_ERROR,
    ProtocolError,
)
from twisted_mqtt.waiting import then

if TYPE_CHECKING:
    from gateways.coap.exchange import Address, Awaiting
    from gateways.coap.message import Message
    from gateways.lwm2m.commands import Command
    from gateways.lwm2m.gateway import Gateway
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.registration import Credentials, Registration
    from twisted_mqtt.config.schema_lwm2m import LwM2M
    from twisted_mqtt.core.message import Message as Published
    from twisted_mqtt.peeridentity import PeerIdentity

_log = Logger()

# What becomes of a device, in order.
CONNECTING: Final = 0
OPEN: Final = 1
OVER: Final = 2

# spec/gateways.md 5.8.
_AUTO_OBSERVE_DELAY: Final = 2.0
# What may wait for access rules that take their time.
_MOST_UNPUBLISHED: Final = 1000


class Device:
    """
    One device.

    @ivar registration: the present one.
    @ivar endpoint: where it came in.
    @ivar address: where it is.
    @ivar client: its place in the broker.
    @ivar downlink: the commands to it.
    @ivar successor: the same device, which is being let in from elsewhere, or L{None}.
    @ivar bucket: the wheel's.
    """

    __slots__ = (
        "bucket", "registration", "endpoint", "address", "client", "settings", "dialect", "downlink", "successor",
        "_gateway", "_credentials", "_identity", "_state", "_done", "_welcome", "_attached", "_lifeEndsAt", "_heardAt",
        "_awake", "_timer", "_timerAt", "_receiving", "_unpublished", "_observeAgain",
    )  # fmt: skip

    def __init__(
        self,
        gateway: Gateway,
        endpoint: LwM2MProtocol,
        address: Address,
        registration: Registration,
        credentials: Credentials,
        identity: PeerIdentity | None,
    ) -> None:
        self.bucket = 0
        self.registration = registration
        self.endpoint = endpoint
        self.address = address
        self.settings: LwM2M = gateway.settings
        self.dialect: Dialect = _dialectFor(gateway, registration)
        self.downlink = Downlink(self)
        self.successor: Device | None = None
        self._gateway = gateway
        self._credentials = credentials
        self._identity = _keyOf(identity)
        self._state = CONNECTING
        self._done: Callable[[int], None] | None = None
        # Whether it has been told that it is registered: nothing is sent to it before.
        self._welcome = False
        # Whether the layer below can reach it.
        self._attached = True
        self._lifeEndsAt = 0.0
        self._heardAt = 0.0
        self._awake = True
        self._timer: Any = None
        self._timerAt = 0.0
        self._receiving = False
        # What is published once that before it has been, while access rules take their time.
        self._unpublished: deque[tuple[str, bytes]] | None = None
        self._observeAgain: list[Command] = []
        self.client = GatewayClient(
            gateway.broker, endpoint.place, self, "lwm2m", address[0], address[1], endpoint.port
        )
        if identity is not None:
            self.client.info.identify(identity)
            if identity.psk is not None and self.client.info.provenUsername is None:
                # By its key it has shown who it is, whatever it calls itself.
                self.client.info.provenUsername = identity.psk.decode("utf-8", "replace")

    # Coming

    def connect(self, done: Callable[[int], None]) -> None:
        """
        Ask the broker to let it in.

        @param done: is called with a reason code, once; when it is 0 the registration is safe, and the device is to be
            told so before C{done} returns.
        """
        self._done = done
        registration = self.registration
        admission = self.client.connect(
            registration.endpoint,
            self._credentials.username,
            self._credentials.password,
            cleanStart=False,
            keepAlive=min(65535, registration.lifetime),
            sessionExpiry=registration.lifetime,
            protoName="LwM2M",
            protoVersion=1,
        )
        self._then(admission, self._admitted)

    def _then(self, result: Any, goOn: Callable[[Any], Any]) -> None:
        chained = then(result, goOn)
        if isinstance(chained, Deferred):
            chained.addErrback(self._ebFailed)

    def _ebFailed(self, failure: Any) -> None:
        _log.failure("Registering {device} failed", failure, device=self.client.info)
        self.end(UNSPECIFIED_ERROR)

    def _admitted(self, admission: Any) -> None:
        if self._state == OVER:
            if self.client.open:
                self.client.lost(NORMAL_DISCONNECTION)
            return
        if admission.reason != SUCCESS:
            self._state = OVER
            self._tellDone(admission.reason)
            return
        self._state = OPEN
        now = self._now()
        self._heardAt = now
        self._live(now)
        self._gateway.add(self)
        self._then(self.client.begin(), self._begun)

    def _begun(self, _: object) -> None:
        if self._state != OPEN:
            return
        topicFilter = self._gateway.topic(self, self.settings.topics.command)
        session = self.client.session
        # What it had subscribed under other settings.
        stale = [name for name in session.subscriptions if name != topicFilter] if session is not None else []
        try:
            for name in stale:
                self.client.unsubscribe(name)
            # Retained messages are not asked for: a command is no state that would hold for whoever comes later.
            subscribing = self.client.subscribe(topicFilter, 1, noLocal=True)
        except ProtocolError as error:
            _log.warn("{ep} gets no commands: {error}", ep=self.registration.endpoint, error=error)
            self._registered()
            return
        self._then(subscribing, self._subscribed)

    def _subscribed(self, subscribing: Any) -> None:
        if subscribing.reasons[0] >= 0x80:
            _log.warn(
                "{ep} gets no commands: it may not subscribe {topic} ({reason:#x})",
                ep=self.registration.endpoint,
                topic=self._gateway.topic(self, self.settings.topics.command),
                reason=subscribing.reasons[0],
            )
        self.client.link.whenSafe(self._registered)

    def _registered(self) -> None:
        if self._state != OPEN:
            return
        self._tellDone(SUCCESS)
        self._welcomed()

    def _tellDone(self, reason: int) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reason)

    def _welcomed(self) -> None:
        """
        It knows that it is registered.
        """
        self._welcome = True
        registration = self.registration
        self._publish(
            self.settings.topics.register,
            answers.registered(
                registration.endpoint,
                registration.lifetime,
                registration.version,
                registration.options,
                registration.listing,
            ),
        )
        self._observe()
        self.downlink.pump(self._now())

    def _observe(self) -> None:
        """
        Observe what was observed before, and what the gateway observes of its own accord.
        """
        if self._observeAgain or (self.settings.auto_observe and self.registration.listing.paths):
            self._gateway.broker.clock.callLater(_AUTO_OBSERVE_DELAY, self._observeNow, self.registration)

    def _observeNow(self, registration: Registration) -> None:
        if self._state != OPEN or registration is not self.registration:
            return
        now = self._now()
        again, self._observeAgain = self._observeAgain, []
        known = {command.paths for command in again}
        line = repeated(again)
        if self.settings.auto_observe:
            # Each object or instance that it has told.
            fresh = [observing(path) for path in registration.listing.paths if (path,) not in known]
            line += [Waiting(command, origin=AUTOMATIC) for command in fresh]
        for waiting in line:
            self.downlink.add(waiting, now, slowly=True)

    def reregister(self, registration: Registration, answer: Callable[[], None]) -> None:
        """
        It has registered again, from where it was.

        @param answer: tells it that it has been heard, once that is safe.
        """
        self._observeAgain += self.downlink.observations.clear()
        self._replace(registration)
        self._welcome = False

        def safe() -> None:
            if self._state == OPEN:
                answer()
                self._welcomed()

        self.client.link.whenSafe(safe)

    def update(self, registration: Registration, answer: Callable[[], None], tell: bool) -> None:
        """
        It has told that it is still there.

        @param answer: tells it that it has been heard.
        @param tell: whether what it has is another list.
        """
        self._replace(registration)

        def safe() -> None:
            if self._state != OPEN:
                return
            answer()
            if tell:
                payload = answers.updated(
                    registration.endpoint,
                    registration.lifetime,
                    registration.version,
                    registration.options,
                    registration.listing,
                )
                self._publish(self.settings.topics.update, payload)

        self.client.link.whenSafe(safe)

    def _replace(self, registration: Registration) -> None:
        before, self.registration = self.registration, registration
        if registration.lifetime != before.lifetime:
            self.client.setExpiry(registration.lifetime)
        if registration.listing is not before.listing or registration.version != before.version:
            self.dialect = _dialectFor(self._gateway, registration)
        self._live(self._now())

    def _live(self, now: float) -> None:
        self._lifeEndsAt = now + self.registration.lifetime
        self.schedule(self._lifeEndsAt)

    # Who it is, and where

    def isSame(self, credentials: Credentials) -> bool:
        """
        Whether these are its own.
        """
        return credentials == self._credentials

    def isAt(self, endpoint: LwM2MProtocol, address: Address) -> bool:
        """
        Whether it is there.
        """
        return self.endpoint is endpoint and self.address == address

    def isShownBy(self, identity: PeerIdentity | None, credentials: Credentials) -> bool:
        """
        Whether a request from elsewhere shows that it is this device: by its key or certificate; of a device that has
        none, by its credentials; and if it has none of these either, nobody can tell it from others anyway.
        """
        if self._identity is not None:
            return self._identity == _keyOf(identity)
        return credentials == self._credentials

    def yieldsTo(self, identity: PeerIdentity | None) -> bool:
        """
        Whether whoever has shown this, and satisfies the broker, may take its name: one who has shown by DTLS who he is
        is replaced by nobody else.
        """
        return self._identity is None or self._identity == _keyOf(identity)

    def move(self, endpoint: LwM2MProtocol, address: Address) -> None:
        """
        It is elsewhere now, or in another association.
        """
        # There are other tokens there.
        self._observeAgain += self.downlink.observations.clear()
        self._gateway.remove(self)
        if self.address not in self.endpoint.devices:
            # What was on its way begins anew.
            self.detach()
            self.endpoint.exchanges.forget(self.address, self._now())
        self.endpoint, self.address = endpoint, address
        self.client.info.peerHost, self.client.info.peerPort = address[0], address[1]
        self._attached = True
        self._gateway.add(self)
        self._observe()

    def detach(self) -> None:
        """
        The layer below has lost its association: until it comes back, nothing can be sent.
        """
        self._attached = False

    def heard(self, now: float) -> None:
        """
        Something has come from it.
        """
        self._heardAt = now
        self._awake = True
        if self._welcome and len(self.downlink):
            self.downlink.pump(now)

    # Going

    def deregister(self) -> None:
        """
        It has said farewell, and has been answered.
        """
        self.end(NORMAL_DISCONNECTION, text="the device has de-registered")

    def due(self, now: float) -> float:
        """
        The wheel asks.
        """
        if self._state != OPEN:
            return 0.0
        if self._lifeEndsAt <= now:
            self.end(KEEP_ALIVE_TIMEOUT, text="the registration has ended")
            return 0.0
        deadline = self.downlink.due(now)
        return min(deadline, self._lifeEndsAt) if deadline else self._lifeEndsAt

    def end(self, reason: int | str, text: str = "the device is gone", keepSession: bool = False) -> None:
        """
        It is gone, or has to go.

        @param text: for those whose commands are not answered any more.
        @param keepSession: whether it is expected to come back to what waits for it.
        """
        if self._state == OVER:
            return
        wasOpen = self._state == OPEN
        self.downlink.end(SERVICE_UNAVAILABLE, text, keepSession)
        self._over(reason)
        if not wasOpen:
            self.client.link.closed = True
        elif keepSession:
            self.client.lost(reason)
        else:
            self.client.setExpiry(0)
            unsubscribing = None
            if self.client.session is not None and self.client.session.subscriptions:
                unsubscribing = self.client.unsubscribe(self._gateway.topic(self, self.settings.topics.command))
            then(unsubscribing, lambda _: self.client.lost(reason))

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{Owner<gateways.client.Owner>}.
        """
        if self._state == OVER:
            return
        _log.debug("{ep} is sent away: {text}", ep=self.registration.endpoint, text=text or reason)
        successor = self.successor
        if reason == SESSION_TAKEN_OVER and successor is not None:
            successor._inherit(self)
        else:
            # What is not settled comes again with the session.
            self.downlink.end(SERVICE_UNAVAILABLE, "the device was sent away", True)
        self._over(reason)

    def _inherit(self, before: Device) -> None:
        self._observeAgain = before._observeAgain + before.downlink.observations.clear()
        now = self._now()
        for waiting in before.downlink.abandon():
            if not waiting.packetID:
                self.downlink.add(waiting, now)

    def _over(self, reason: int | str) -> None:
        self._state = OVER
        self._welcome = False
        self.successor = None
        self._gateway.broker.wheel.remove(self)
        self._gateway.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tellDone(reason if isinstance(reason, int) and reason >= 0x80 else UNSPECIFIED_ERROR)

    # Commands from the broker

    def receive(
        self, message: Published, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{Receiver<twisted_mqtt.core.link.Receiver>}.
        """
        self._receiving = True
        try:
            self._take(message, packetID)
        except Exception:
            _log.failure("A command for {ep} failed", ep=self.registration.endpoint)
            self.settled(packetID)
        finally:
            self._receiving = False

    def _take(self, message: Published, packetID: int) -> None:
        now = self._now()
        try:
            command = parseCommand(message.payload, self.dialect.models)
        except NotJSON as error:
            _log.warn("{topic}: no command, {error}", topic=message.topic, error=error)
            self.settled(packetID)
            return
        except CommandError as error:
            self.respond(answers.refused(error))
            self.settled(packetID)
            return
        expiresAt = message.expiresAt
        if self.settings.command_expiry:
            # It may have waited in the session before.
            byDefault = message.timestamp + self.settings.command_expiry
            expiresAt = min(expiresAt, byDefault) if expiresAt else byDefault
        self.downlink.add(Waiting(command, packetID, expiresAt, len(message.payload)), now)

    def released(self, packetID: int) -> None:
        """
        See L{Receiver<twisted_mqtt.core.link.Receiver>}; nothing is subscribed at QoS 2.
        """

    # What its commands need: see L{gateways.lwm2m.downlink.Site}

    @property
    def queueMode(self) -> bool:
        """
        Whether it listens only for a while after it has said something.
        """
        return self.registration.queueMode

    def reachable(self) -> bool:
        """
        Whether something can be sent to it at all.
        """
        return self._welcome and self._attached

    def listens(self, now: float) -> bool:
        """
        Whether it is awake, as far as is known.
        """
        if not self.registration.queueMode:
            return True
        return self._awake and now < self._heardAt + self.settings.qmode_time_window

    def unheard(self) -> None:
        """
        It has not answered.
        """
        self._awake = False

    def request(self, message: Message, awaiting: Awaiting) -> bytes:
        """
        Send it a request.
        """
        return self.endpoint.request(self.address, message, awaiting, self._now())

    def forgetRequest(self, token: bytes) -> None:
        """
        No answer to that is wanted any more.
        """
        self.endpoint.exchanges.forgetRequest(self.address, token)

    def respond(self, payload: bytes) -> None:
        """
        Publish an answer.
        """
        self._publish(self.settings.topics.response, payload)

    def notify(self, payload: bytes) -> None:
        """
        Publish a notification, or what it has sent of its own accord.
        """
        self._publish(self.settings.topics.notify, payload)

    def settled(self, packetID: int) -> None:
        """
        A command has been answered.
        """
        if not packetID:
            return
        if self._receiving:
            # The session is in the middle of sending.
            self._gateway.broker.clock.callLater(0, self.client.acknowledged, packetID)
        else:
            self.client.acknowledged(packetID)

    def schedule(self, deadline: float) -> None:
        """
        Have the wheel ask then.
        """
        self._gateway.broker.wheel.add(self, deadline)

    def callLater(self, delay: float) -> None:
        """
        Look after its commands in a while.
        """
        at = self._now() + delay
        if self._timer is not None:
            if self._timerAt <= at:
                return
            self._timer.cancel()
        self._timerAt = at
        self._timer = self._gateway.broker.clock.callLater(delay, self._pump)

    def _pump(self) -> None:
        self._timer = None
        self.downlink.pump(self._now(), True)

    def _now(self) -> float:
        now: float = self._gateway.broker.clock.seconds()
        return now

    # Publishing

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._unpublished is not None:
            if len(self._unpublished) < _MOST_UNPUBLISHED:
                self._unpublished.append((topic, payload))
            return
        result = self.client.publish(self._gateway.topic(self, topic), payload)
        if isinstance(result, Deferred):
            self._unpublished = deque()
            result.addBoth(self._published)

    def _published(self, result: Any) -> None:
        waiting, self._unpublished = self._unpublished, None
        for topic, payload in waiting or ():
            # If one has to wait again, what is left of these waits again, in order.
            self._publish(topic, payload)


def _dialectFor(gateway: Gateway, registration: Registration) -> Dialect:
    # LwM2M 1.0 lets a device leave its version out.
    return dialectOf(registration.version or "1.0", registration.listing, gateway.models)


def _keyOf(identity: PeerIdentity | None) -> tuple[str, object] | None:
    """
    What two associations of one device have in common, L{None} where it has shown nothing.
    """
    if identity is None:
        return None
    if identity.psk is not None:
        return "psk", identity.psk
    # A certificate is renewed; its subject stays.
    return "certificate", identity.dn or identity.certificate
