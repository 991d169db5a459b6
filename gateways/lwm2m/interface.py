"""
The requests of devices to the server: register, update, de-register (C{/rd}), and send values (C{/dp}). The codes are
those of spec/gateways.md 5.4.

The gateway answers a device before it publishes an event about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import diagnostic
from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FORBIDDEN,
    GET,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    POST,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
)
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    CONTENT_FORMAT,
    LOCATION_PATH,
    OBSERVE,
    URI_QUERY,
    Option,
    stringOptions,
    stringsOf,
    uintOf,
)
from gateways.coap.query import pathOf
from gateways.lwm2m import answers
from gateways.lwm2m.device import Device
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.identities import provenName
from gateways.lwm2m.registration import (
    Credentials,
    DeviceRegistration,
    Lifetimes,
    RegistrationError,
    credentialsIn,
    parseRegister,
    parseUpdate,
)
from twisted_mqtt.base.printable import printable
from twisted_mqtt.core.reasons import (
    CLIENT_ID_NOT_VALID,
    CONNECTION_RATE_EXCEEDED,
    QUOTA_EXCEEDED,
    SERVER_BUSY,
    SERVER_SHUTTING_DOWN,
    SERVER_UNAVAILABLE,
    UNSPECIFIED_ERROR,
    nameOf,
)

if TYPE_CHECKING:
    from gateways.coap.roles import Incoming
    from gateways.lwm2m.bootstrap import Bootstrapping
    from gateways.lwm2m.contact import DeviceGateway
    from gateways.lwm2m.protocol import LwM2MProtocol
    from twisted_mqtt.net.peeridentity import PeerIdentity


_CODES: Final[dict[int, int]] = {
    CLIENT_ID_NOT_VALID: BAD_REQUEST,
    CONNECTION_RATE_EXCEEDED: TOO_MANY_REQUESTS,
    QUOTA_EXCEEDED: SERVICE_UNAVAILABLE,
    SERVER_BUSY: SERVICE_UNAVAILABLE,
    SERVER_SHUTTING_DOWN: SERVICE_UNAVAILABLE,
    SERVER_UNAVAILABLE: SERVICE_UNAVAILABLE,
    UNSPECIFIED_ERROR: SERVICE_UNAVAILABLE,
}
"""
What a device is told that the broker does not let in; for all other reasons it is 4.03.
"""


class Asked:
    """
    A request of a device.

    @ivar endpoint: where it came in.
    @ivar message: with its whole body.
    @ivar address: who has sent it.
    """

    __slots__ = ("endpoint", "message", "address", "_asked", "_incoming")

    def __init__(self, endpoint: LwM2MProtocol, asked: CoAPMessage, message: CoAPMessage, incoming: Incoming) -> None:
        """
        @param asked: the request as it came: perhaps the last block of C{message}.
        """
        self.endpoint = endpoint
        self.message = message
        self.address = incoming.address
        self._asked = asked
        self._incoming = incoming

    @property
    def identity(self) -> PeerIdentity | None:
        """
        Get the identity that DTLS has proved, or L{None}.
        """
        return self.endpoint.identityOf(self.address)

    @property
    def queries(self) -> list[str]:
        """
        The options of its query.
        """
        return stringsOf(self.message.options, URI_QUERY)

    def answer(self, code: int, options: Sequence[Option] = ()) -> None:
        """
        Answer it.
        """
        self.endpoint.answer(self._incoming, self._asked, CoAPMessage(code, options))

    def refuse(self, code: int, text: str) -> None:
        """
        Answer that it can't be done, and why.
        """
        self.endpoint.answer(self._incoming, self._asked, diagnostic(code, text))


class ServerInterface:
    """
    Answers the requests of devices.
    """

    def __init__(self, gateway: DeviceGateway, lifetimes: Lifetimes, bootstrapping: Bootstrapping) -> None:
        """
        @param lifetimes: that registrations may have.
        """
        self._gateway = gateway
        self._registry = gateway.registry
        self._lifetimes = lifetimes
        self._bootstrapping = bootstrapping

    def serve(self, asked: Asked) -> None:
        """
        Answer a request, now or later.
        """
        path, code = pathOf(asked.message), asked.message.code
        try:
            if code == GET and uintOf(asked.message.options, OBSERVE) is not None:
                asked.refuse(METHOD_NOT_ALLOWED, "there is nothing to observe here")
            elif path == ["rd"] and code == POST:
                self._register(asked)
            elif path == ["rd"] and code == GET:
                asked.answer(CONTENT)
            elif len(path) == 2 and path[0] == "rd" and code in (POST, DELETE):
                self._changeRegistration(asked, path[1])
            elif path == ["dp"] and code == POST:
                self._send(asked)
            elif path == ["bs"] and code == POST and self._gateway.settings.bootstrap.enable:
                self._bootstrapping.begin(asked)
            else:
                asked.refuse(BAD_REQUEST, "there are POST to /rd and /dp, POST and DELETE to a location below /rd")
        except RegistrationError as error:
            asked.refuse(error.code, str(error))

    def _register(self, asked: Asked) -> None:
        identity = asked.identity
        # core 6.2.1.2: a device may leave its name to what it is known by.
        name = provenName(identity)
        registration, credentials = parseRegister(asked.queries, asked.message.payload, self._lifetimes, name)
        endpoint, address = asked.endpoint, asked.address
        location = stringOptions(LOCATION_PATH, ["rd", registration.endpoint])
        before = self._registry.devices.get(registration.endpoint)
        if before is not None and before.isComing:
            asked.refuse(SERVICE_UNAVAILABLE, "it is being registered")
        elif before is not None and before.isAt(endpoint, address) and before.isSame(credentials):
            before.reregister(registration, lambda: asked.answer(CREATED, location))
        elif before is not None and not before.yieldsTo(identity):
            self._gateway.log.info(
                "{host} may not register as {ep}, which is known by its key",
                host=address[0],
                ep=printable(registration.endpoint),
            )
            asked.refuse(FORBIDDEN, "the name is that of a device with a key of its own")
        else:
            self._letIn(asked, registration, credentials, before, location)

    def _letIn(
        self,
        asked: Asked,
        registration: DeviceRegistration,
        credentials: Credentials,
        before: Device | None,
        location: list[Option],
    ) -> None:
        registry = self._registry
        key = (asked.endpoint, asked.address, registration.endpoint)
        if key in registry.coming or (before is None and self._gateway.limit.refuses(registry.size, asked.address)):
            asked.refuse(SERVICE_UNAVAILABLE, "too many devices or registrations at once")
            return
        device = Device(self._gateway, asked.endpoint, asked.address, registration, credentials, asked.identity)
        registry.coming[key] = device
        if before is not None:
            before.successor = device

        def done(reason: int) -> None:
            registry.coming.pop(key, None)
            if before is not None and before.successor is device:
                before.successor = None
            if reason:
                asked.refuse(_CODES.get(reason, FORBIDDEN), nameOf(reason))
            else:
                asked.answer(CREATED, location)

        device.connect(done)

    def _changeRegistration(self, asked: Asked, name: str) -> None:
        device = self._registry.devices.get(name)
        if device is not None and device.isComing:
            device = None
        if device is not None and not device.isAt(asked.endpoint, asked.address):
            if device.isShownBy(asked.identity, credentialsIn(asked.queries)):
                # A device says by an update that its address has changed (LwM2M 1.1.1 core 6.2.2).
                device.move(asked.endpoint, asked.address)
            else:
                device = None
        if device is None:
            # core 6.2.2, 6.2.3: it registers anew, then.
            asked.refuse(NOT_FOUND, "no such device is registered from here")
        elif asked.message.code == DELETE:
            asked.answer(DELETED)
            device.deregister()
        else:
            payload = asked.message.payload
            registration, tell = parseUpdate(asked.queries, payload, self._lifetimes, device.registration)
            device.update(registration, lambda: asked.answer(CHANGED), tell)

    def _send(self, asked: Asked) -> None:
        """
        Take the values of a "send" request of LwM2M 1.1 (core 6.4.6).
        """
        there = self._registry.registeredAt(asked.endpoint, asked.address)
        if not there:
            asked.refuse(FORBIDDEN, "not registered")
            return
        if len(there) > 1:
            asked.refuse(BAD_REQUEST, "several devices are registered from this address")
            return
        [device] = there.values()
        message = asked.message
        try:
            payload = answers.sent(uintOf(message.options, CONTENT_FORMAT), message.payload, device.dialect)
        except ContentError as error:
            asked.refuse(BAD_REQUEST, str(error))
            return
        asked.answer(CHANGED)
        device.notify(payload)
