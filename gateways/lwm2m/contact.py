"""
The connection to a device, and the publishing of its messages: see L{gateways.lwm2m.target.CommandTarget}.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import Deferred

from gateways.implements import GatewayClient
from gateways.lwm2m.downlink import Downlink
from gateways.lwm2m.formats.content import Dialect, dialectOf

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from gateways.clientlimit import ClientLimit
    from gateways.coap.message import CoAPMessage
    from gateways.coap.roles import Address, Awaiting
    from gateways.lwm2m.objects.models import Models
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.registration import DeviceRegistration
    from gateways.lwm2m.registry import DeviceAddress, DeviceRegistry
    from gateways.lwm2m.settings import LwM2MSettings
    from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IBroker

# So many messages may wait for slow access rules or for C{publish_limit}.
_MOST_UNPUBLISHED: Final = 1000


class DeviceGateway(Protocol):
    """
    The gateway, as its devices see it.

    @ivar models: the objects that are known.
    @ivar registry: all devices.
    @ivar limit: of how many there may be.
    @ivar log: for what anybody can cause.
    """

    broker: IBroker
    settings: LwM2MSettings
    models: Models
    registry: DeviceRegistry
    limit: ClientLimit
    log: RateLimitedLog

    def topic(self, device: Contact, topic: str) -> str:
        """
        A topic or filter of a device, with its mount point.
        """


class Contact:
    """
    The way to a device and back.

    @ivar registration: the present one.
    @ivar endpoint: where it came in.
    @ivar address: where it is.
    @ivar client: its place in the broker.
    @ivar settings: of the gateway.
    @ivar dialect: how it is spoken with.
    @ivar unsupported: content formats that it has refused.
    @ivar downlink: the commands to it.
    @ivar bucket: the wheel's.
    """

    __slots__ = (
        "bucket",
        "registration",
        "endpoint",
        "address",
        "client",
        "settings",
        "dialect",
        "unsupported",
        "downlink",
        "_gateway",
        "_welcome",
        "_attached",
        "_there",
        "_heardAt",
        "_awake",
        "_timer",
        "_timerAt",
        "_receiving",
        "_unpublished",
    )

    def __init__(
        self, gateway: DeviceGateway, endpoint: LwM2MProtocol, address: Address, registration: DeviceRegistration
    ) -> None:
        self.bucket = 0
        self.registration = registration
        self.endpoint = endpoint
        self.address = address
        self.settings: LwM2MSettings = gateway.settings
        self.client = GatewayClient(
            gateway.broker, endpoint.profile, self, "lwm2m", address[0], address[1], endpoint.port, patient=True
        )
        self._gateway = gateway
        # Whether it has been told that it is registered: nothing is sent to it before.
        self._welcome = False
        # Whether the layer below can reach it.
        self._attached = True
        # Its place among those at its address, once it is registered.
        self._there: DeviceAddress | None = None
        self._heardAt = 0.0
        self._awake = True
        self._timer: IDelayedCall | None = None
        self._timerAt = 0.0
        self._receiving = False
        # Messages that wait for their turn behind one that access rules or C{publish_limit} hold up.
        self._unpublished: deque[tuple[str, bytes]] | None = None
        self.dialect: Dialect = self._makeDialect()
        self.unsupported: frozenset[int] = frozenset()
        self.downlink = Downlink(self)

    def _makeDialect(self) -> Dialect:
        # LwM2M 1.0 lets a device leave its version out.
        return dialectOf(self.registration.version or "1.0", self.registration.listing, self._gateway.models)

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}.
        """
        raise NotImplementedError

    def released(self, packetID: int) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}.
        """
        raise NotImplementedError

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{GatewaySession<gateways.client.GatewaySession>}.
        """
        raise NotImplementedError

    def due(self, now: float) -> float:
        """
        See L{Timed<twisted_mqtt.base.timerwheel.Timed>}.
        """
        raise NotImplementedError

    def heard(self, now: float) -> None:
        """
        Something has come from it.
        """
        self.awake(now)
        if self._welcome and len(self.downlink):
            self.downlink.pump(now)

    def detach(self) -> None:
        """
        The layer below has lost its association: until it comes back, nothing can be sent.
        """
        self._attached = False

    # For its commands

    @property
    def queueMode(self) -> bool:
        """
        Whether it listens only for a while after it has said something.
        """
        return self.registration.queueMode

    def awake(self, now: float) -> None:
        """
        It has shown that it is awake.
        """
        self._heardAt = now
        self._awake = True

    def reachable(self) -> bool:
        """
        Whether something can be sent to it at all, and at once.
        """
        return self._welcome and self._attached and (self._there is None or self._there.hasRoom(self))

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
        if self._there is not None:
            self._there.serveWaiting(self._now())

    def request(self, message: CoAPMessage, awaiting: Awaiting) -> bytes:
        """
        Send it a request.
        """
        return self.endpoint.request(self.address, message, awaiting, self._now())

    def forgetRequest(self, token: bytes) -> None:
        """
        No answer to that is wanted any more.
        """
        self.endpoint.exchanges.forgetRequest(self.address, token, self._now())

    def withdraw(self, token: bytes) -> bool:
        """
        Take a request back that has not been sent yet.
        """
        return self.endpoint.exchanges.withdraw(self.address, token)

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
        return self._gateway.broker.clock.seconds()

    # Publishing

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._unpublished is not None:
            if len(self._unpublished) < _MOST_UNPUBLISHED:
                self._unpublished.append((topic, payload))
            return
        client = self.client
        # Those whose commands it does not answer any more are told also when it is the broker that does not want it.
        publish = client.publishLast if client.link.closed else client.publish
        result = publish(self._gateway.topic(self, topic), payload)
        if isinstance(result, Deferred):
            self._unpublished = deque()
            result.addBoth(self._published)

    def _published(self, result: object) -> None:
        waiting, self._unpublished = self._unpublished, None
        for topic, payload in waiting or ():
            # If one has to wait again, what is left of these waits again, in order.
            self._publish(topic, payload)
