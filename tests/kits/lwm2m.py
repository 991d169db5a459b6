"""
A gateway with its broker, devices, and whoever manages them, all in memory and on one clock; and what becomes of the
datagrams between them.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from gateways.coap.codes import CONTENT, DELETE, POST, codeText
from gateways.coap.exchange import Exchanges
from gateways.coap.message import CON, CoAPMessage
from gateways.coap.options import (
    CONTENT_FORMAT,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    stringsOf,
    uintOption,
)
from gateways.coap.parameters import Parameters
from gateways.coap.roles import Address, Incoming
from gateways.implements import GatewayClient
from gateways.lwm2m.extension import profileOf
from gateways.lwm2m.gateway import LwM2MGateway
from gateways.lwm2m.objects.definitions import loadModels
from gateways.lwm2m.protocol import LwM2MProtocol
from gateways.lwm2m.settings import LwM2MSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.net.peeridentity import PeerIdentity
from twisted_mqtt.testing.broker import makeBroker

Serve = Callable[[CoAPMessage], CoAPMessage | None]

MODELS, _ = loadModels()

LINKS = b"</1/0>,</3/0>,</5/0>"


def content(payload: bytes = b"15", form: int = 0, options: list[Option] | None = None) -> CoAPMessage:
    """
    A response with a value.
    """
    return CoAPMessage(CONTENT, [uintOption(CONTENT_FORMAT, form), *(options or [])], payload)


class Answer:
    """
    Get the gateway's answer to a request.

    @ivar code: such as C{"2.01"}; empty while nothing has come.
    """

    def __init__(self) -> None:
        self.code = ""
        self.message = CoAPMessage(0)
        self.times = 0

    def acknowledged(self, now: float) -> None:
        """
        It will come.
        """

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        Keep it.
        """
        self.code = codeText(response.code)
        self.message = response
        self.times += 1
        return False

    def failed(self, how: int, now: float) -> None:
        """
        Nothing will come.
        """
        self.code = f"failed {how}"


class Peer:
    """
    A device, in the words of CoAP; it knows nothing of LwM2M but what tests tell it.

    @ivar serve: what it answers; L{None} to answer later, by L{respond}.
    @ivar requests: what it was asked.
    @ivar deaf: whether nothing reaches it.
    """

    def __init__(self, kit: "Kit", name: str, address: Address, serve: Serve | None = None) -> None:
        self.kit = kit
        self.name = name
        self.address = address
        self.serve: Serve = serve or (lambda request: content())
        self.requests: list[CoAPMessage] = []
        self.pending: list[Incoming] = []
        self.deaf = False
        self.identity: PeerIdentity | None = None
        # Devices know who their server is.
        self.exchanges = Exchanges(self._transmit, self, Parameters(), Random(1), vouched=True)
        self._timer: Any = None
        self._observed = 1

    def _transmit(self, datagram: bytes, address: Address) -> None:
        self.kit.carry(datagram, self, up=True)

    def datagramReceived(self, datagram: bytes) -> None:
        """
        Something has come.
        """
        if not self.deaf:
            self.exchanges.receive(datagram, ("gateway", 1), self.kit.clock.seconds())
            self.arm()

    def arm(self) -> None:
        """
        See to the next deadline.
        """
        deadline = self.exchanges.nextDeadline()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if deadline is not None:
            delay = max(0.0, deadline - self.kit.clock.seconds())
            self._timer = self.kit.clock.callLater(delay, self._expire)

    def _expire(self) -> None:
        self.exchanges.expire(self.kit.clock.seconds())
        self.arm()

    def requested(self, request: CoAPMessage, incoming: Incoming, now: float) -> None:
        """
        See L{gateways.coap.roles.Upper}.
        """
        self.requests.append(request)
        response = self.serve(request)
        if response is None:
            self.pending.append(incoming)
        else:
            self.exchanges.respond(incoming, response, now)

    def refused(self, request: CoAPMessage, option: int, incoming: Incoming, now: float) -> None:
        """
        See L{gateways.coap.roles.Upper}.
        """
        raise AssertionError(f"option {option}")

    def respond(self, response: CoAPMessage) -> None:
        """
        Answer what has waited longest.
        """
        self.exchanges.respond(self.pending.pop(0), response, self.kit.clock.seconds())
        self.arm()

    @property
    def asked(self) -> list[str]:
        """
        The paths of what it was asked.
        """
        return ["/" + "/".join(stringsOf(request.options, URI_PATH)) for request in self.requests]

    # Questions

    def ask(self, code: int, uri: str, payload: bytes = b"", options: list[Option] | None = None) -> Answer:
        """
        Send a request; the answer comes as time goes on.
        """
        path, _, query = uri.partition("?")
        every = stringOptions(URI_PATH, path.strip("/").split("/")) if path.strip("/") else []
        every += stringOptions(URI_QUERY, query.split("&")) if query else []
        answer = Answer()
        message = CoAPMessage(code, [*every, *(options or [])], payload, type=CON)
        self.exchanges.request(("gateway", 1), message, answer, self.kit.clock.seconds())
        self.arm()
        return answer

    def code(self, code: int, uri: str, payload: bytes = b"", options: list[Option] | None = None) -> str:
        """
        Send a request and wait for the code of its answer.
        """
        answer = self.ask(code, uri, payload, options)
        self.kit.run(1)
        return answer.code

    def register(self, query: str = "lt=300&lwm2m=1.0&b=U", links: bytes = LINKS) -> str:
        """
        Register.
        """
        return self.code(POST, f"/rd?ep={self.name}&{query}", links)

    def update(self, query: str = "", links: bytes = b"") -> str:
        """
        Update the registration.
        """
        return self.code(POST, f"/rd/{self.name}" + (f"?{query}" if query else ""), links)

    def deregister(self) -> str:
        """
        End it.
        """
        return self.code(DELETE, f"/rd/{self.name}")

    def notify(self, payload: bytes, number: int | None = None, token: bytes | None = None, con: bool = True) -> None:
        """
        Send a notification of what was observed last.
        """
        if token is None:
            token = next(request.token for request in reversed(self.requests) if (OBSERVE, b"") in request.options)
        self._observed = number = self._observed + 1 if number is None else number
        response = content(payload, options=[uintOption(OBSERVE, number)])
        response.token = token
        self.exchanges.send(("gateway", 1), response, con, None, self.kit.clock.seconds())
        self.arm()


class Kit:
    """
    The gateway and all around it.

    @ivar fate: says when copies of a datagram arrive, in seconds from now: an empty list loses it.
    @ivar heard: what was published about devices, as topic and what the JSON says.
    @ivar events: names of hook points that were run for devices, in order.
    """

    def __init__(self, zone: dict[str, Any] | None = None, **keys: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.broker, factory = makeBroker(self.clock, **(zone or {}))
        self.settings = LwM2MSettings(**keys)
        self.fate: Callable[[bytes], list[float]] = lambda datagram: [0.01]
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.peers: dict[Address, Peer] = {}
        self.gateway = LwM2MGateway(self.broker, self.settings, MODELS)
        self.endpoint = self.makeEndpoint()
        self.secure = self.makeEndpoint(True)
        self.manager = GatewayClient(self.broker, factory.profile, self, "stomp", "127.0.0.1")
        self.manager.connect("manager")
        self.manager.begin()
        self.manager.subscribe("#")
        self._addresses = 0

    def makeEndpoint(self, secure: bool = False) -> LwM2MProtocol:
        """
        An endpoint of the gateway.
        """
        kind = "dtls" if secure else "udp"
        profile = profileOf(self.broker.settings.resolveZone("external"), kind, True, self.settings)
        endpoint = LwM2MProtocol(self.gateway, profile, self.clock, secure)
        endpoint.makeConnection(self)
        return endpoint

    def device(self, name: str = "ep1", serve: Serve | None = None, identity: PeerIdentity | None = None) -> Peer:
        """
        A device, at an address of its own; with DTLS where it has an identity.
        """
        self._addresses += 1
        address: Address = (f"192.0.2.{self._addresses}", 40000)
        if identity is not None:
            address = (*address, self._addresses)
        peer = Peer(self, name, address, serve)
        peer.identity = identity
        self.peers[address] = peer
        return peer

    def registered(self, query: str = "lt=300&lwm2m=1.0&b=U", serve: Serve | None = None, name: str = "ep1") -> Peer:
        """
        A device that has registered; what was said of that is forgotten.
        """
        peer = self.device(name, serve)
        assert peer.register(query) == "2.01"
        self.heard.clear()
        return peer

    # The network

    def carry(self, datagram: bytes, peer: Peer, up: bool) -> None:
        """
        Take a datagram to or from a device.
        """
        for delay in self.fate(datagram):
            if up:
                endpoint = self.endpoint if peer.identity is None else self.secure
                self.clock.callLater(delay, endpoint.datagramReceived, datagram, peer.address)
            else:
                self.clock.callLater(delay, peer.datagramReceived, datagram)

    def write(self, datagram: bytes, address: Address) -> None:
        """
        The messages that an endpoint sends.
        """
        peer = self.peers.get(address)
        if peer is not None:
            self.carry(datagram, peer, up=False)

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        The identity that DTLS has proved for a peer.
        """
        return self.peers[address].identity

    def getHost(self) -> IPv4Address:
        """
        Some address.
        """
        return IPv4Address("UDP", "127.0.0.1", 5783)

    def run(self, seconds: float) -> None:
        """
        Let time go on.
        """
        end = self.clock.seconds() + seconds
        for _ in range(100_000):
            calls = self.clock.getDelayedCalls()
            following = min((call.getTime() for call in calls), default=end)
            if following > end:
                break
            self.clock.advance(max(0.0, following - self.clock.seconds()))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    # The manager of the devices

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        if "/up/" in message.topic:
            self.heard.append((message.topic, json.loads(message.payload)))

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """

    def command(
        self, kind: str, data: dict[str, Any] | str, number: int = 1, qos: int = 1, expiry: int = 0, name: str = "ep1"
    ) -> None:
        """
        Send a device a command.
        """
        data = {"path": data} if isinstance(data, str) else data
        payload = json.dumps({"reqID": number, "msgType": kind, "data": data}).encode()
        properties = None
        if expiry:
            properties = Properties()
            properties.messageExpiry = expiry
        self.manager.publish(f"lwm2m/{name}/dn", payload, qos, properties=properties)

    def taken(self) -> list[dict[str, Any]]:
        """
        Take the messages since the last call.
        """
        said = [what for _, what in self.heard]
        self.heard.clear()
        return said

    def codes(self) -> list[tuple[int | None, str, str]]:
        """
        The same in short: number, kind, code.
        """
        return [(what.get("reqID"), what["msgType"], what["data"].get("code", "")) for what in self.taken()]


def losing(random: Random, chance: float = 0.2) -> Callable[[bytes], list[float]]:
    """
    A fate that loses some datagrams, doubles some and delays some; of a message and its acknowledgement at most
    two each, or nobody could expect an answer.
    """
    lost: dict[bytes, int] = {}

    def fate(datagram: bytes) -> list[float]:
        copies = [random.choice((0.01, 0.01, 0.5, 1.5)) for _ in range(random.choice((1, 1, 1, 2)))]
        if random.random() < chance and lost.get(datagram, 0) < 2:
            lost[datagram] = lost.get(datagram, 0) + 1
            return []
        return copies

    return fate


def observing(request: CoAPMessage) -> CoAPMessage:
    """
    Serve what is observed like anything else.
    """
    return content(options=[(OBSERVE, b"\1")] if (OBSERVE, b"") in request.options else [])
