"""
Tests for the CoAP gateway as its clients see it, from datagram to broker and back, without a network.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from gateways.client import GatewayClient
from gateways.coap.blockwise import Block, blockOf
from gateways.coap.codes import CONTENT, DELETE, EMPTY, FETCH, GET, IPATCH, POST, PUT, codeText
from gateways.coap.gateway import CoAPGateway
from gateways.coap.message import ACK, CON, NON, RST, CoAPMessage, decode, encode, encodeEmpty
from gateways.coap.options import (
    ACCEPT,
    BLOCK1,
    BLOCK2,
    CONTENT_FORMAT,
    ECHO,
    ETAG,
    IF_MATCH,
    IF_NONE_MATCH,
    LOCATION_PATH,
    MAX_AGE,
    OBSERVE,
    PROXY_SCHEME,
    PROXY_URI,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    stringsOf,
    uintOf,
    uintOption,
    valueOf,
)
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import PubSubTopics
from gateways.coap.roles import Address
from gateways.coap.settings import CoAPSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.hooks.verdicts import DENY, STOP, AuthResult
from twisted_mqtt.net.peeridentity import PeerIdentity
from twisted_mqtt.testing.broker import makeBroker

PEER: Address = ("192.0.2.1", 40000)
OTHER: Address = ("192.0.2.2", 40000)


class Port:
    """
    A port that keeps what is written.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[CoAPMessage, Address]] = []

    def write(self, datagram: bytes, address: Address) -> None:
        """
        Keep it.
        """
        self.sent.append((decode(datagram), address))

    def getHost(self) -> IPv4Address:
        """
        Some address.
        """
        return IPv4Address("UDP", "127.0.0.1", 5683)


class Kit:
    """
    A gateway with its broker, and an MQTT client's view of both.
    """

    def __init__(self, zone: dict[str, Any] | None = None, **keys: Any) -> None:
        """
        @param zone: keys of the zone.
        @param keys: of the gateway's table.
        """
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.broker, factory = makeBroker(self.clock, **(zone or {}))
        self.gateway = CoAPGateway(self.broker, CoAPSettings(**keys), PubSubTopics(3))
        self.endpoint = CoAPProtocol(self.gateway, factory.profile, self.clock)
        self.port = Port()
        self.endpoint.makeConnection(self.port)
        self.published: list[Message] = []
        self.broker.hooks["message.publish"].add(self._keep)
        self._number = 0
        self.sizes: list[int] = []
        self.local = GatewayClient(self.broker, factory.profile, self, "stomp", "127.0.0.1")
        self.local.connect("local")

    def _keep(self, message: Message) -> Message:
        if not message.system:
            self.published.append(message)
        return message

    def receive(self, *args: Any) -> None:
        """
        Nothing is subscribed here.
        """

    def released(self, packetID: int) -> None:
        """
        Nothing.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        Nothing.
        """

    def send(
        self,
        code: int,
        uri: str,
        payload: bytes = b"",
        options: list[Option] | None = None,
        address: Address = PEER,
        token: bytes = b"t",
        type: int = CON,
    ) -> None:
        """
        Send a request.
        """
        path, _, query = uri.partition("?")
        every = stringOptions(URI_PATH, path.strip("/").split("/")) if path.strip("/") else []
        every += stringOptions(URI_QUERY, query.split("&")) if query else []
        self._number += 1
        message = CoAPMessage(code, [*every, *(options or [])], payload, token, type, self._number)
        datagram = encode(message)
        self.sizes.append(len(datagram))
        self.endpoint.datagramReceived(datagram, address)

    def ask(self, *args: Any, **keys: Any) -> CoAPMessage:
        """
        Send a request and take its response.
        """
        before = len(self.port.sent)
        self.send(*args, **keys)
        self.clock.advance(0)
        assert len(self.port.sent) > before, "no response"
        return self.port.sent[before][0]

    def code(self, *args: Any, **keys: Any) -> str:
        """
        The code of a response.
        """
        return codeText(self.ask(*args, **keys).code)

    def notified(self) -> list[CoAPMessage]:
        """
        Take the messages that were sent since the last call. Pings are answered.
        """
        self.clock.advance(0)
        messages: list[CoAPMessage] = []
        while self.port.sent:
            message, address = self.port.sent.pop(0)
            if message.type == CON and message.code == EMPTY:
                self.acknowledge(message, RST, address)
            else:
                messages.append(message)
        return messages

    def verify(self, address: Address = PEER) -> None:
        """
        Have a peer show that it is where it says.
        """
        self.endpoint.exchanges.send(address, CoAPMessage(CONTENT), True, None, self.clock.seconds())
        self.acknowledge(self.notified()[-1], ACK, address)

    def acknowledge(self, message: CoAPMessage, type: int = ACK, address: Address = PEER) -> None:
        """
        Say something to a message.
        """
        self.endpoint.datagramReceived(encodeEmpty(type, message.messageID), address)

    def observe(self, uri: str, **keys: Any) -> CoAPMessage:
        """
        Begin an observation.
        """
        return self.ask(GET, uri, options=[(OBSERVE, b"")], **keys)


@pytest.fixture
def kit() -> Kit:
    """
    A gateway.
    """
    return Kit()


class SecurePort(Port):
    """
    A layer of DTLS above it, which knows who a peer is.
    """

    def __init__(self, identities: dict[Address, PeerIdentity]) -> None:
        super().__init__()
        self.identityOf = identities.get


class SecureKit(Kit):
    """
    A gateway with DTLS below: each peer has shown who it is.
    """

    def __init__(self, identities: dict[Address, PeerIdentity], usernamePart: str | None = None) -> None:
        super().__init__()
        profile = self.endpoint.profile
        profile.usernamePart = usernamePart
        self.endpoint = CoAPProtocol(self.gateway, profile, self.clock, True)
        self.port = SecurePort(identities)
        self.endpoint.makeConnection(self.port)


@pytest.mark.parametrize("waits", [False, True])
def test_keyDecides(waits: bool) -> None:
    """
    The identity of a key is the client's user name, whatever it calls itself; C{client.authenticate} sees it and lets
    in or refuses by it.
    """
    kit = SecureKit({PEER: PeerIdentity(psk=b"device1"), OTHER: PeerIdentity(psk=b"device2")})
    seen = []

    def authenticate(client: Any, result: AuthResult) -> Any:
        seen.append((client.protocol, client.username, client.pskIdentity, client.cn))
        verdict = STOP(AuthResult("success" if client.pskIdentity == "device1" else "not_authorized"))
        return succeed(verdict) if waits else verdict

    kit.broker.hooks["client.authenticate"].add(authenticate)
    assert kit.code(PUT, "/mqtt/a?c=one&u=admin&p=x", b"1") == "2.04"
    assert kit.code(PUT, "/mqtt/a?c=two", b"2", address=OTHER) == "4.01"
    assert seen == [("coap", "device1", "device1", None), ("coap", "device2", "device2", None)]
    assert [(message.payload, message.username) for message in kit.published] == [(b"1", "device1")]


@pytest.mark.parametrize(("part", "username"), [(None, "tom"), ("cn", "device3"), ("dn", "C=CH,CN=device3")])
def test_certificateDecides(part: str | None, username: str) -> None:
    """
    C{client.authenticate} sees the names in a certificate, and they are the user name if the table says so.
    """
    kit = SecureKit({PEER: PeerIdentity("device3", "C=CH,CN=device3", b"der")}, part)
    seen = []

    def authenticate(client: Any, result: AuthResult) -> None:
        seen.append((client.username, client.cn, client.dn, client.pskIdentity))

    kit.broker.hooks["client.authenticate"].add(authenticate)
    assert kit.code(PUT, "/mqtt/a?c=one&u=tom", b"1") == "2.04"
    assert seen == [(username, "device3", "C=CH,CN=device3", None)]


FORM = b"qos=1&retain=1&message=a%20b%26c+d&topic=x/y"


@pytest.mark.parametrize("method", [PUT, POST])
def test_form(kit: Kit, method: int) -> None:
    """
    I1: a form says what to publish.
    """
    assert kit.code(method, "/mqtt", FORM) == "2.04"
    message = kit.published[0]
    assert (message.topic, message.payload, message.qos, message.retain) == ("x/y", b"a b&c d", 1, True)
    assert message.protocol == "coap" and message.clientID


def test_topicInPath(kit: Kit) -> None:
    """
    I2: the topic is the rest of the path, the payload is the message; who it is stands in the query.
    """
    assert kit.code(PUT, "/mqtt/a/b/%2F?c=me&u=tom&p=secret&x=y", b"1234") == "2.04"
    message = kit.published[0]
    assert (message.topic, message.payload, message.qos, message.clientID) == ("a/b/%2F", b"1234", 0, "me")
    assert message.username == "tom"


def test_ageInPath(kit: Kit) -> None:
    """
    A message that is published below C{/mqtt} may have an age, and a content format.
    """
    options = [uintOption(CONTENT_FORMAT, 50), uintOption(MAX_AGE, 30)]
    assert kit.code(PUT, "/mqtt/a?c=me", b"1", options=options) == "2.04"
    (message,) = kit.published
    assert message.properties is not None and message.properties.contentType == "application/json"
    assert message.properties.messageExpiry == 30
    assert message.expiresAt == kit.clock.seconds() + 30


@pytest.mark.parametrize("uri", ["/mqtt/a?c=me", "/ps/a?c=me"])
def test_publishLimit(uri: str) -> None:
    """
    Messages beyond the zone's C{publish_limit} are refused: 4.29, which says how long to wait (RFC 8516). Each client
    has a limit of its own.
    """
    kit = Kit(zone={"publish_limit": "1,10s"})
    assert kit.ask(PUT, uri, b"1").code >> 5 == 2
    for _ in range(3):
        kit.clock.advance(2.5)
        response = kit.ask(PUT, uri, b"2")
        assert codeText(response.code) == "4.29"
    assert uintOf(response.options, MAX_AGE) == 3
    assert kit.code(PUT, uri.replace("me", "other"), b"3") == "2.04"
    kit.clock.advance(2.5)
    assert kit.code(PUT, uri, b"4") == "2.04"
    assert [message.payload for message in kit.published] == [b"1", b"3", b"4"]


@pytest.mark.parametrize(
    ("method", "uri", "options", "payload", "code"),
    [
        (PUT, "/mqtt/a", [], b"x", "4.00"),  # no client identifier
        (GET, "/mqtt/a", [], b"", "4.00"),
        (GET, "/mqtt?c=me", [(OBSERVE, b"")], b"", "4.00"),  # no topic
        (PUT, "/mqtt", [], b"topic=a", "4.00"),
        (PUT, "/mqtt", [], b"qos=3&message=x&topic=a", "4.00"),
        (PUT, "/mqtt", [], b"message=x", "4.00"),
        (PUT, "/mqtt/a?c=me&qos=7", [], b"x", "4.00"),
        (PUT, "/mqtt/a/#?c=me", [], b"x", "4.00"),
        (GET, "/mqtt/a%23/#/b?c=me", [(OBSERVE, b"")], b"", "4.00"),
        (POST, "/mqtt/a?c=me", [], b"x", "4.05"),
        (DELETE, "/mqtt/a?c=me", [], b"", "4.05"),
        (FETCH, "/mqtt/a?c=me", [], b"", "4.05"),
        (FETCH, "/ps/a", [], b"", "4.05"),
        (PUT, "/.well-known/core", [], b"", "4.05"),
        (31, "/mqtt/a", [], b"", "4.05"),
        (GET, "/nothing", [], b"", "4.04"),
        (GET, "/.well-known/other", [], b"", "4.04"),
        (GET, "/.well-known/core", [uintOption(ACCEPT, 50)], b"", "4.06"),
        (GET, "/mqtt/a?c=me", [uintOption(ACCEPT, 0)], b"", "4.06"),
        (PUT, "/mqtt/a?c=me", [(IF_MATCH, b"e")], b"x", "4.12"),
        (GET, "/mqtt/a?c=me", [(9, b"")], b"", "4.02"),
        (GET, "/mqtt/a?c=me", [(PROXY_URI, b"coap://x/")], b"", "5.05"),
        (GET, "/mqtt/a?c=me", [(PROXY_SCHEME, b"http")], b"", "5.05"),
        (GET, "/ps", [uintOption(ACCEPT, 50)], b"", "4.06"),
        (PUT, "/ps", [], b"x", "4.00"),
        (DELETE, "/ps", [], b"", "4.00"),
        (IPATCH, "/ps", [], b"", "4.05"),
        (GET, "/ps/none", [], b"", "4.04"),
        (GET, "/ps/a/+", [], b"", "4.00"),
        (DELETE, "/ps/none", [], b"", "4.04"),
        (PUT, "/ps/a/#", [], b"x", "4.00"),
        (POST, "/ps", [uintOption(CONTENT_FORMAT, 40)], b"x", "4.00"),
        (POST, "/ps", [uintOption(CONTENT_FORMAT, 40)], b"<a>;ct=zero", "4.00"),
        (POST, "/ps", [uintOption(CONTENT_FORMAT, 40)], b"<a>,<b>", "4.00"),
        (POST, "/ps", [uintOption(CONTENT_FORMAT, 40)], b"<+>", "4.00"),
    ],
)
def test_refused(kit: Kit, method: int, uri: str, options: list[Option], payload: bytes, code: str) -> None:
    """
    A resource that is not there or not allowed is answered by its code, and by a hint.
    """
    response = kit.ask(method, uri, payload, options)
    assert codeText(response.code) == code
    assert response.payload.decode()
    assert kit.published == []


def test_observe(kit: Kit) -> None:
    """
    I3: messages of a topic come as notifications that are numbered; QoS 1 is confirmable, and acknowledged by that.
    """
    answer = kit.observe("/mqtt/a/+?c=me")
    assert codeText(answer.code) == "2.05" and uintOf(answer.options, OBSERVE) is not None
    kit.notified()
    for number in range(3):
        kit.local.publish(f"a/{number}", b"m%d" % number, 1)
    seen = []
    for _ in range(3):
        (message,) = kit.notified()
        assert (message.type, message.token) == (CON, b"t")
        assert uintOf(message.options, CONTENT_FORMAT) == 42
        seen.append((message.payload, uintOf(message.options, OBSERVE)))
        kit.acknowledge(message)
    assert [payload for payload, _ in seen] == [b"m0", b"m1", b"m2"]
    numbers = [number for _, number in seen]
    assert numbers == sorted(set(numbers))
    kit.local.publish("a/b", b"plain", 0)
    assert [message.type for message in kit.notified()] == [NON]


def test_observeShowsRetained(kit: Kit) -> None:
    """
    The answer to an observation holds the retained message of its topic; those of a filter come after the answer.
    """
    kit.local.publish("a/b", b"kept", 1, True)
    assert kit.observe("/mqtt/a/b?c=me").payload == b"kept"
    kit.notified()
    assert kit.observe("/mqtt/a/+?c=me", token=b"u").payload == b""
    assert [message.payload for message in kit.notified()][1:] == [b"kept"]


def test_observeAgain(kit: Kit) -> None:
    """
    An observation that is asked for again goes on, with numbers that grow, and tells everything once; a token that is
    used for another topic leaves the first.
    """
    first = uintOf(kit.observe("/mqtt/a?c=me").options, OBSERVE)
    second = uintOf(kit.observe("/mqtt/a?c=me").options, OBSERVE)
    assert first is not None and second is not None and first < second
    kit.notified()
    kit.local.publish("a", b"x")
    (message,) = kit.notified()
    kit.acknowledge(message)
    kit.observe("/mqtt/b?c=me")
    kit.notified()
    kit.local.publish("a", b"x")
    kit.local.publish("b", b"y")
    assert [message.payload for message in kit.notified()] == [b"y"]
    assert kit.broker.stats()["subscriptions"] == 1


def test_largeNotification(kit: Kit) -> None:
    """
    A large message is notified by its first block; the others are there to be asked for.
    """
    kit.observe("/mqtt/a?c=me")
    kit.notified()
    body = bytes(range(256)) * 8
    kit.local.publish("a", body, 1)
    (first,) = kit.notified()
    assert blockOf(first.options, BLOCK2) == Block(0, True, 6)
    kit.acknowledge(first)
    second = kit.ask(GET, "/mqtt/a?c=me", options=[Block(1, False, 6).option(BLOCK2)], token=b"u")
    assert first.payload + second.payload == body
    assert uintOf(second.options, OBSERVE) is None


@pytest.mark.parametrize("token", [b"t", b"other"])
def test_cancel(kit: Kit, token: bytes) -> None:
    """
    I4: Observe 1 ends an observation.
    """
    kit.observe("/mqtt/a?c=me")
    assert kit.code(GET, "/mqtt/a?c=me", options=[(OBSERVE, b"\1")], token=token) == "2.05"
    kit.notified()
    kit.local.publish("a", b"x")
    assert kit.notified() == []
    assert kit.broker.stats()["subscriptions"] == 0


def test_cancelByReset(kit: Kit) -> None:
    """
    A reset ends an observation, too.
    """
    kit.observe("/mqtt/a?c=me")
    kit.notified()
    kit.local.publish("a", b"x")
    kit.acknowledge(kit.notified()[0], RST)
    kit.local.publish("a", b"y")
    assert kit.notified() == []


def test_silentObserver(kit: Kit) -> None:
    """
    An observer that acknowledges nothing is not told any more.
    """
    kit.verify()
    kit.observe("/mqtt/a?c=me")
    kit.notified()
    kit.local.publish("a", b"x", 1)
    for _ in range(110):
        kit.clock.advance(1)
    assert len(kit.notified()) == 5
    kit.local.publish("a", b"y")
    assert kit.notified() == []


def test_keepAlive(kit: Kit) -> None:
    """
    I5: a client is there as long as it says something now and then; when it is gone, its observation ends by 5.03.
    """
    kit.observe("/mqtt/a?c=me")
    for _ in range(4):
        kit.clock.pump([1] * 100)
        assert kit.code(GET, "/mqtt/any?c=me", token=b"u") == "2.05"
    assert (PEER, "me") in kit.gateway.clients
    kit.notified()
    kit.clock.pump([1] * 125)
    assert kit.gateway.clients == {}
    assert [(codeText(message.code), message.token) for message in kit.notified()] == [("5.03", b"t")]


def test_takeover(kit: Kit) -> None:
    """
    A client from another address with the same client identifier takes over.
    """
    kit.observe("/mqtt/a?c=me")
    kit.observe("/mqtt/a?c=me", address=OTHER)
    kit.notified()
    kit.local.publish("a", b"x")
    kit.clock.advance(0)
    assert [address for _, address in kit.port.sent] == [OTHER]
    assert list(kit.gateway.clients) == [(OTHER, "me")]


def refuse(kit: Kit, point: str, verdict: Callable[..., Any]) -> None:
    """
    Answer for the broker at a hook.
    """
    kit.broker.hooks[point].add(verdict)


def test_accessRules(kit: Kit) -> None:
    """
    A publication that is not allowed is acknowledged and goes nowhere; to /ps, and to observe, it is refused.
    """
    refuse(kit, "client.check_acl", lambda client, action, topic, verdict: STOP(DENY))
    assert kit.code(PUT, "/mqtt/a?c=me", b"x") == "2.04"
    assert kit.code(PUT, "/ps/a?c=me", b"x") == "4.03"
    assert kit.code(GET, "/ps/a?c=me") == "4.03"
    assert kit.observe("/mqtt/a?c=me").code == 4 << 5 | 3
    assert kit.published == []


def test_tooMany() -> None:
    """
    There are no more clients than the configuration says; those who are refused are counted, and named in the log.
    """
    kit = Kit(max_clients=2)
    with capturedLogs() as events:
        answers = [kit.code(PUT, f"/mqtt/a?c=me{number}", b"x") for number in range(4)]
    assert answers == ["2.04", "2.04", "5.03", "5.03"]
    assert kit.broker.counters.connections_refused_full == 2
    assert [formatEvent(event) for event in events if event["log_namespace"].endswith("ratelimitedlog")] == [
        f"coap: a client at {PEER[0]}:{PEER[1]} is refused: there are 2 already (max_clients)"
    ]


def test_publishSubscribe(kit: Kit) -> None:
    """
    I6: topics are made, published to, read, and removed with those below.
    """
    created = kit.ask(POST, "/ps?c=me", b"<room>;ct=50", [uintOption(CONTENT_FORMAT, 40), uintOption(MAX_AGE, 60)])
    assert codeText(created.code) == "2.01" and stringsOf(created.options, LOCATION_PATH) == ["ps", "room"]
    assert kit.code(GET, "/ps/room?c=me") == "2.07"
    assert kit.code(PUT, "/ps/room?c=me", b"x", [uintOption(CONTENT_FORMAT, 0)]) == "4.00"
    assert kit.code(PUT, "/ps/room?c=me", b"{}", [uintOption(CONTENT_FORMAT, 50)]) == "2.04"
    kit.clock.advance(10)
    value = kit.ask(GET, "/ps/room?c=me")
    assert (codeText(value.code), value.payload) == ("2.05", b"{}")
    assert (uintOf(value.options, CONTENT_FORMAT), uintOf(value.options, MAX_AGE)) == (50, 50)
    assert kit.code(GET, "/ps/room?c=me", options=[uintOption(ACCEPT, 0)]) == "4.00"
    kit.clock.advance(51)
    assert kit.code(GET, "/ps/room?c=me") == "2.07"
    assert kit.code(PUT, "/ps/room/lamp?c=me", b"on") == "2.01"
    assert kit.code(PUT, "/ps/room/lamp?c=me", b"off") == "2.04"
    assert kit.code(PUT, "/ps/room/lamp?c=me", b"on", [(IF_NONE_MATCH, b"")]) == "4.12"
    kit.observe("/ps/room/lamp?c=me", token=b"o")
    kit.notified()
    kit.send(DELETE, "/ps/room?c=me", token=b"d")
    empty, *_ = sent = kit.notified()
    kit.acknowledge(empty)
    sent += kit.notified()
    assert [(codeText(message.code), message.token) for message in sent] == [
        ("2.05", b"o"),
        ("2.02", b"d"),
        ("4.04", b"o"),
    ]
    assert kit.code(GET, "/ps/room/lamp?c=me") == "4.04"


def test_publishSubscribeSeesMQTT(kit: Kit) -> None:
    """
    A retained message of an MQTT client is a topic's value.
    """
    kit.local.publish("from/mqtt", b"hi", 0, True)
    assert kit.ask(GET, "/ps/from/mqtt?c=me").payload == b"hi"


def test_publishSubscribeIsBounded(kit: Kit) -> None:
    """
    There are no more topics than may be; values of others are retained all the same.
    """
    for number in range(3):
        assert kit.code(PUT, f"/ps/t{number}?c=me", b"x") == "2.01"
    assert kit.code(POST, "/ps?c=me", b"<t3>", [uintOption(CONTENT_FORMAT, 40)]) == "5.03"
    assert kit.code(PUT, "/ps/t4?c=me", b"x") == "2.01"
    assert len(kit.gateway.topics) == 3
    assert kit.ask(GET, "/ps/t4?c=me").payload == b"x"


@pytest.mark.parametrize(
    ("query", "expected"), [("", 2), ("?rt=core.ps", 1), ("?rt=core*", 1), ("?href=/m*", 1), ("?rt=nothing", 0)]
)
def test_discovery(kit: Kit, query: str, expected: int) -> None:
    """
    I7: the links say what there is.
    """
    response = kit.ask(GET, "/.well-known/core" + query)
    assert uintOf(response.options, CONTENT_FORMAT) == 40
    assert response.payload.count(b"</") == expected


# Forged requests of every kind, from the shortest.
FORGED: list[tuple[int, str, list[Option], bytes]] = [
    (GET, "", [], b""),
    (GET, "/x", [], b""),
    (GET, "/ps", [], b""),
    (GET, "/ps/big", [], b""),
    (GET, "/ps/big", [Block(3, False, 6).option(BLOCK2)], b""),
    (GET, "/ps/big", [(OBSERVE, b"")], b""),
    (GET, "/ps/+", [(OBSERVE, b"")], b""),
    (GET, "/.well-known/core", [], b""),
    (GET, "/mqtt/a", [], b""),
    (GET, "/mqtt/a?c=m", [(OBSERVE, b"")], b""),
    (GET, "/mqtt/#?c=m", [(OBSERVE, b"")], b""),
    (GET, "/mqtt/a?c=m", [(9, b"")], b""),
    (GET, "", [(PROXY_SCHEME, b"x")], b""),
    (PUT, "/mqtt/a?c=m", [], b""),
    (PUT, "/ps/a", [Block(3, True, 0).option(BLOCK1)], bytes(16)),
    (POST, "/ps", [uintOption(CONTENT_FORMAT, 40)], b"<a>"),
    (POST, "/ps", [uintOption(CONTENT_FORMAT, 606)], b"\xa2\0aq\2ax"),
    (GET, "/.well-known/core?rt=core.ps.conf", [], b""),
    (FETCH, "/ps", [uintOption(CONTENT_FORMAT, 606)], b"\xa1\2ax"),
    (FETCH, "/ps/q", [uintOption(CONTENT_FORMAT, 606)], b"\xa1\x09\x81\0"),
    (IPATCH, "/ps/q", [uintOption(CONTENT_FORMAT, 606)], b"\xa1\6\1"),
    (IPATCH, "/ps", [], b""),
    (DELETE, "/ps/big", [], b""),
    (31, "", [], b""),
]


@pytest.mark.parametrize("type", [CON, NON])
@pytest.mark.parametrize("token", [b"", b"12345678"])
def test_amplification(type: int, token: bytes) -> None:
    """
    RFC 7252 11.3: an address that has not answered gets at most three times the bytes that have come from it, whatever
    was asked, in whatever order, and whatever is published afterwards.
    """
    everything = [[forged] for forged in FORGED] + [FORGED, FORGED[::-1]]
    for requests in everything:
        kit = Kit()
        kit.local.publish("big", bytes(5000), 1, True)
        kit.notified()
        came = 0
        for code, uri, options, payload in requests:
            kit.send(code, uri, payload, options, token=token, type=type)
            came += kit.sizes[-1]
        kit.local.publish("a", bytes(500), 1)
        kit.local.publish("big", bytes(600), 0)
        for _ in range(300):
            kit.clock.advance(1)
        assert sum(len(encode(message)) for message, _ in kit.port.sent) <= 3 * came, requests


def test_amplificationByGarbage(kit: Kit) -> None:
    """
    Answers to datagrams that are no requests are no longer than these.
    """
    for datagram in (b"\x40\x00\x12\x34", b"\x40\x00\x12\x34x", b"\x49\x01\x12\x34", b"\x40\x45\x12\x34"):
        kit.endpoint.datagramReceived(datagram, PEER)
        assert len(encode(kit.port.sent.pop()[0])) <= len(datagram)


def test_shownByAcknowledging(kit: Kit) -> None:
    """
    A client that has acknowledged something gets blocks of the configured size; another one gets as much as may be
    sent.
    """
    kit.local.publish("big", bytes(5000), 1, True)
    first = kit.ask(GET, "/ps/big?c=me")
    assert blockOf(first.options, BLOCK2) == Block(0, True, 0)
    kit.verify()
    assert blockOf(kit.ask(GET, "/ps/big?c=me").options, BLOCK2) == Block(0, True, 6)
    last = kit.ask(GET, "/ps/big?c=me", options=[Block(4, False, 6).option(BLOCK2)])
    assert len(last.payload) == 5000 - 4096


@pytest.mark.parametrize("topic", ["a", "abcdefgh", "abcdefghijklmnop"])
def test_blocksAreAlike(kit: Kit, topic: str) -> None:
    """
    RFC 7959 2.4: all blocks of a value have the same ETag or none, however short the requests of an address are that
    has shown nothing.
    """
    kit.local.publish(topic, bytes(100), 1, True)
    first = kit.ask(GET, f"/ps/{topic}")
    block = blockOf(first.options, BLOCK2)
    assert block is not None
    numbers = range(1, -(-100 // block.size))
    later = [kit.ask(GET, f"/ps/{topic}", options=[Block(n, False, block.exponent).option(BLOCK2)]) for n in numbers]
    assert len(first.payload) + sum(len(each.payload) for each in later) == 100
    assert {valueOf(each.options, ETAG) for each in later} == {valueOf(first.options, ETAG)}


def test_shownByEcho(kit: Kit) -> None:
    """
    RFC 9175 2.4: where nothing of a value may be sent, 4.01 asks for an Echo; whoever returns that is where it says,
    and nobody else is.
    """
    kit.local.publish("a", bytes(5000), 1, True)
    refused = kit.ask(GET, "", token=b"")
    assert codeText(refused.code) == "4.01"
    echo = valueOf(refused.options, ECHO)
    assert echo is not None
    other = kit.ask(GET, "/ps/a", options=[(ECHO, echo)], address=OTHER, token=b"")
    assert not kit.endpoint.exchanges.verification.isVerified(OTHER) and len(other.payload) <= 16
    assert len(kit.ask(GET, "/ps/a", options=[(ECHO, bytes(6))], token=b"").payload) <= 16
    assert len(kit.ask(GET, "/ps/a", options=[(ECHO, echo)], token=b"").payload) == 1024


def test_notifiedAfterPing(kit: Kit) -> None:
    """
    An observer that has sent too little for a notification is asked first whether it is there; one that does not say
    so is not told anything any more.
    """
    kit.observe("/mqtt/a?c=me")
    kit.notified()
    kit.local.publish("a", bytes(500), 1)
    kit.clock.advance(0)
    ((ping, _),) = kit.port.sent
    assert (ping.type, ping.code) == (CON, EMPTY)
    (notification,) = kit.notified()
    assert len(notification.payload) == 500
    kit.acknowledge(notification)
    kit.observe("/mqtt/b?c=you", address=OTHER)
    kit.notified()
    kit.local.publish("b", bytes(500), 1)
    for _ in range(110):
        kit.clock.advance(1)
    assert kit.broker.stats()["subscriptions"] == 1


def test_credentialsChange(kit: Kit) -> None:
    """
    Other credentials under the same name are another client.
    """
    kit.code(PUT, "/mqtt/a?c=me&u=one", b"x")
    kit.code(PUT, "/mqtt/a?c=me&u=two", b"x")
    assert [message.username for message in kit.published] == ["one", "two"]


def test_end(kit: Kit) -> None:
    """
    When the gateway ends, observers hear of it and the broker has no client left of it.
    """
    kit.observe("/mqtt/a?c=me")
    kit.notified()
    kit.gateway.endAll("shutting down")
    assert [codeText(message.code) for message in kit.notified()] == ["5.03"]
    assert kit.broker.stats()["connections"] == 1


PATHS = st.lists(
    st.sampled_from(["mqtt", "ps", ".well-known", "core", "a", "+", "#", "$SYS", "", "\0", "é"]), max_size=4
)
QUERIES = st.lists(st.sampled_from(["c=me", "c=", "u=x", "p=y", "qos=1", "qos=9", "retain=1", "rt=*", "="]), max_size=3)
FUZZ = st.tuples(
    st.integers(1, 8),
    PATHS,
    QUERIES,
    st.lists(st.tuples(st.integers(1, 60), st.binary(max_size=4)), max_size=3),
    st.binary(max_size=30) | st.sampled_from([FORM, b"<a>;ct=1"]),
    st.binary(max_size=2),
)


@settings(max_examples=60)
@given(st.lists(FUZZ, max_size=12))
def test_fuzz(requests: list[Any]) -> None:
    """
    Each request gets an answer, none of them 5.00, and the gateway works afterwards.
    """
    kit = Kit()
    for code, path, query, options, payload, token in requests:
        every = stringOptions(URI_PATH, path) + stringOptions(URI_QUERY, query) + options
        kit.send(code, "", payload, every, token=token)
        for message in kit.notified():
            assert codeText(message.code) not in ("5.00",)
            if message.type == CON:
                kit.acknowledge(message)
    assert kit.code(PUT, "/mqtt/end?c=last", b"x", token=b"end") == "2.04"
