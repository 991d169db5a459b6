"""
A registered device: a client of the broker from its registration to the end of its lifetime, asleep or awake.

Its session stays for as long as its registration may last, also across a restart of the broker: unanswered commands of
QoS 1 are delivered again when the device has registered anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateways.coap.codes import SERVICE_UNAVAILABLE
from gateways.lwm2m import answers
from gateways.lwm2m.commands import CommandError, NotJSON, observing, parseCommand
from gateways.lwm2m.contact import Contact
from gateways.lwm2m.identities import provenKey, provenName
from gateways.lwm2m.pending import AUTOMATIC, QueuedCommand, repeated
from twisted_mqtt.base.printable import printable
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import (
    KEEP_ALIVE_TIMEOUT,
    NORMAL_DISCONNECTION,
    SESSION_TAKEN_OVER,
    SUCCESS,
    UNSPECIFIED_ERROR,
    ProtocolError,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from gateways.coap.roles import Address
    from gateways.lwm2m.commands import Command
    from gateways.lwm2m.contact import DeviceGateway
    from gateways.lwm2m.links import Listing
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.registration import Credentials, DeviceRegistration
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.net.peeridentity import PeerIdentity

_log = Logger()


_T = TypeVar("_T")

# The states of a device, in order.
CONNECTING: Final = 0
OPEN: Final = 1
OVER: Final = 2

# spec/gateways.md 5.8.
_AUTO_OBSERVE_DELAY: Final = 2.0


class Device(Contact):
    """
    One device.

    @ivar successor: the same device, which is being let in from elsewhere, or L{None}.
    """

    __slots__ = (
        "successor",
        "_credentials",
        "_identity",
        "_state",
        "_done",
        "_lifeEndsAt",
        "_observeAgain",
        "_observing",
        "_unsafe",
        "_untold",
    )

    def __init__(
        self,
        gateway: DeviceGateway,
        endpoint: LwM2MProtocol,
        address: Address,
        registration: DeviceRegistration,
        credentials: Credentials,
        identity: PeerIdentity | None,
    ) -> None:
        super().__init__(gateway, endpoint, address, registration)
        self.successor: Device | None = None
        self._credentials = credentials
        self._identity = provenKey(identity)
        self._state = CONNECTING
        self._done: Callable[[int], None] | None = None
        self._lifeEndsAt = 0.0
        self._observeAgain: list[Command] = []
        # When that is to be done.
        self._observing: IDelayedCall | None = None
        # The action for when the registration is safe, and whether it then publishes a change.
        self._unsafe: Callable[[], None] | None = None
        self._untold = False
        if identity is not None:
            info = self.client.info
            info.identify(identity)
            if identity.psk is not None and info.provenUsername is None:
                # By its key it has shown who it is, whatever it calls itself.
                info.provenUsername = provenName(identity)

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

    def _then(self, result: Maybe[_T], goOn: Callable[[_T], None]) -> None:
        chained = then(result, goOn)
        if isinstance(chained, Deferred):
            chained.addErrback(self._ebFailed)

    def _ebFailed(self, failure: Failure) -> None:
        self._gateway.broker.faults.failure("Registering {device} failed", failure, device=self.client.info)
        self.end(UNSPECIFIED_ERROR)

    def _admitted(self, admission: Admission) -> None:
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
        self._there = self._gateway.registry.add(self)
        self._then(self.client.begin(), self._begun)

    def _begun(self, _: object) -> None:
        if self._state != OPEN:
            return
        topicFilter = self._gateway.topic(self, self.settings.topics.command)
        session = self.client.session
        # Filters that it had subscribed under other settings.
        stale = [name for name in session.subscriptions if name != topicFilter] if session is not None else []
        try:
            for name in stale:
                self.client.unsubscribe(name)
            # Retained messages are not asked for: a command is no state that would hold for whoever comes later.
            subscribing = self.client.subscribe(topicFilter, 1, noLocal=True)
        except ProtocolError as error:
            self._gateway.log.warn(
                "{ep} gets no commands: {error}", ep=printable(self.registration.endpoint), error=error
            )
            self._registered()
            return
        self._then(subscribing, self._subscribed)

    def _subscribed(self, subscribing: Subscribing) -> None:
        if subscribing.reasons[0] >= 0x80:
            self._gateway.log.warn(
                "{ep} gets no commands: it may not subscribe {topic} ({reason:#x})",
                ep=printable(self.registration.endpoint),
                topic=self._gateway.topic(self, self.settings.topics.command),
                reason=subscribing.reasons[0],
            )
        self._whenSafe(self._registered)

    def _registered(self) -> None:
        if self._state != OPEN:
            return
        self._tellDone(SUCCESS)
        self._tellProblem()
        self._gateway.registry.add(self)
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
        self._untold = False
        self._publish(self.settings.topics.register, answers.registered(*self._told()))
        self._observe()
        self.downlink.pump(self._now())

    def _observe(self) -> None:
        """
        Observe what was observed before, and what the gateway observes of its own accord.
        """
        self._observeLater(None)
        if self._observeAgain or (self.settings.auto_observe and self.registration.listing.paths):
            self._observeLater(self._gateway.broker.clock.callLater(_AUTO_OBSERVE_DELAY, self._observeNow))

    def _observeLater(self, call: IDelayedCall | None) -> None:
        """
        A call takes the place of the one before, or none does.
        """
        before, self._observing = self._observing, call
        if before is not None:
            before.cancel()

    def _observeNow(self) -> None:
        self._observing = None
        now = self._now()
        again, self._observeAgain = self._observeAgain, []
        known = {command.paths for command in again}
        line = repeated(again)
        if self.settings.auto_observe:
            # Each object or instance that it has told.
            fresh = {command.paths: command for command in map(observing, self.registration.listing.paths)}
            line += [QueuedCommand(command, origin=AUTOMATIC) for paths, command in fresh.items() if paths not in known]
        for waiting in line:
            self.downlink.add(waiting, now, slowly=True)

    def reregister(self, registration: DeviceRegistration, answer: Callable[[], None]) -> None:
        """
        It has registered again, from where it was.

        @param answer: tells it that it has been heard, once that is safe; if it asks again before, not any more.
        """
        self.awake(self._now())
        self._observeAgain += self.downlink.observations.clear()
        self._welcome = False
        self.downlink.restart()
        self._replace(registration)

        def safe() -> None:
            answer()
            self._welcomed()

        self._whenSafe(safe)

    def update(self, registration: DeviceRegistration, answer: Callable[[], None], tell: bool) -> None:
        """
        It has told that it is still there.

        @param answer: tells it that it has been heard.
        @param tell: whether what it has is another list.
        """
        self.awake(self._now())
        self._replace(registration)
        self._untold = self._untold or tell

        def safe() -> None:
            answer()
            self.heard(self._now())
            if self._untold:
                self._untold = False
                self._publish(self.settings.topics.update, answers.updated(*self._told()))

        self._whenSafe(safe)

    def _told(self) -> tuple[str, int, str, Mapping[str, str], Listing]:
        """
        The data about its registration in events.
        """
        registration = self.registration
        return (
            registration.endpoint,
            registration.lifetime,
            registration.version,
            registration.options,
            registration.listing,
        )

    def _whenSafe(self, goOn: Callable[[], None]) -> None:
        """
        Go on when what the registration has changed is safe. Of several that wait for that, the last is done: the
        device has asked again since it was not answered.
        """
        waits = self._unsafe is not None
        self._unsafe = goOn
        if not waits:
            self.client.link.whenSafe(self._safe)

    def _safe(self) -> None:
        goOn, self._unsafe = self._unsafe, None
        if goOn is not None and self._state == OPEN:
            goOn()

    def _replace(self, registration: DeviceRegistration) -> None:
        before, self.registration = self.registration, registration
        if registration.lifetime != before.lifetime:
            self.client.setExpiry(registration.lifetime)
        if registration.listing is not before.listing or registration.version != before.version:
            self._listed()
        self._live(self._now())

    def _listed(self) -> None:
        """
        It has told another list of what it has.
        """
        self.dialect = self._makeDialect()
        self.unsupported = frozenset()
        self._tellProblem()

    def _tellProblem(self) -> None:
        problem = self.registration.listing.problem
        if problem:
            self._gateway.log.info(
                "{ep} at {host}: a part of its list of objects can't be read: {problem}",
                ep=printable(self.registration.endpoint),
                host=self.address[0],
                problem=problem,
            )

    def _live(self, now: float) -> None:
        self._lifeEndsAt = now + self.registration.lifetime
        self.schedule(self._lifeEndsAt)

    # Identity and address

    @property
    def isComing(self) -> bool:
        """
        Whether it has not been told yet that it is registered for the first time.
        """
        return self._done is not None

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
            return self._identity == provenKey(identity)
        return credentials == self._credentials

    def yieldsTo(self, identity: PeerIdentity | None) -> bool:
        """
        Whether whoever has shown this, and satisfies the broker, may take its name: one who has shown by DTLS who he is
        is replaced by nobody else.
        """
        return self._identity is None or self._identity == provenKey(identity)

    def move(self, endpoint: LwM2MProtocol, address: Address) -> None:
        """
        It is elsewhere now, or in another association.
        """
        # There are other tokens there.
        self._observeAgain += self.downlink.observations.clear()
        self._gateway.registry.remove(self)
        if self.address not in self.endpoint.addresses:
            # The commands on their way begin anew.
            self.detach()
            self.endpoint.exchanges.forget(self.address, self._now())
        self.endpoint, self.address = endpoint, address
        self.client.info.peerHost, self.client.info.peerPort = address[0], address[1]
        self._attached = True
        self._there = self._gateway.registry.add(self)
        self._observe()

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
            unsubscribing: Maybe[list[int]] = []
            if self.client.session is not None and self.client.session.subscriptions:
                unsubscribing = self.client.unsubscribe(self._gateway.topic(self, self.settings.topics.command))
            then(unsubscribing, lambda _: self.client.lost(reason))

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{GatewaySession<gateways.client.GatewaySession>}.
        """
        if self._state == OVER:
            return
        _log.debug("{ep} is disconnected: {text}", ep=printable(self.registration.endpoint), text=text or reason)
        successor = self.successor
        if reason == SESSION_TAKEN_OVER and successor is not None:
            successor._inherit(self)
        else:
            # Unsettled messages come again with the session.
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
        self._gateway.registry.remove(self)
        self._observeLater(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tellDone(reason if isinstance(reason, int) and reason >= 0x80 else UNSPECIFIED_ERROR)

    # Commands from the broker

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}.
        """
        self._receiving = True
        try:
            self._take(message, packetID)
        except Exception:
            self._gateway.broker.faults.failure("A command for {ep} failed", ep=printable(self.registration.endpoint))
            self.settled(packetID)
        finally:
            self._receiving = False

    def _take(self, message: Message, packetID: int) -> None:
        now = self._now()
        try:
            command = parseCommand(message.payload, self.dialect.models)
        except NotJSON as error:
            self._gateway.log.info("{topic}: no command, {error}", topic=message.topic, error=error)
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
        self.downlink.add(QueuedCommand(command, packetID, expiresAt, len(message.payload)), now)

    def released(self, packetID: int) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}; nothing is subscribed at QoS 2.
        """
