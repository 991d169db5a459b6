"""
Tests of L{twisted_mqtt.mqtt.protocol}: time, the end, and what must never get out of C{dataReceived}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Ack,
    Auth,
    Connack,
    Disconnect,
    Ping,
    Publish,
    Suback,
)
from twisted_mqtt.core.reasons import (
    BAD_USERNAME_OR_PASSWORD,
    CONTINUE_AUTHENTICATION,
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    RE_AUTHENTICATE,
    SESSION_TAKEN_OVER,
)
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.hooks.verdicts import DROP, STOP, AuthResult, Challenge
from twisted_mqtt.testing.peer import connectPacket, propertiesOf

# The reason codes of a DISCONNECT of the server in MQTT 5 (table 3-10).
_DISCONNECT_REASONS = {
    0x00,
    0x80,
    0x81,
    0x82,
    0x83,
    0x87,
    0x89,
    0x8B,
    0x8D,
    0x8E,
    0x8F,
    0x90,
    0x93,
    0x94,
    0x95,
    0x96,
    0x97,
    0x98,
    0x99,
    0x9A,
    0x9B,
    0x9C,
    0x9D,
    0x9E,
    0x9F,
    0xA0,
    0xA1,
    0xA2,
}


class DeadlineTests(BrokerTestCase):
    """
    The fate of silent clients.
    """

    def test_noConnect(self) -> None:
        """
        A connection without a CONNECT is cut after C{idle_timeout}, though a byte comes now and then.
        """
        self.begin(idle_timeout=5)
        peer = self.peer()
        for byte in encode(connectPacket(), 5)[:4]:
            peer.send(bytes((byte,)))
            self.pass_(1, peer)
        self.assertFalse(peer.lost)
        self.pass_(3, peer)
        self.assertTrue(peer.lost and peer.transport.aborted)

    def test_slowHooksAreNotTheClientsFault(self) -> None:
        """
        A client whose hooks take longer than C{idle_timeout}, each less than its own time, is let in.
        """
        self.begin(idle_timeout=5, hook_timeout=8)
        slow: list[Deferred[Any]] = [Deferred(), Deferred()]
        self.hook("client.connect", slow[0])
        self.hook("client.authenticate", slow[1])
        peer = self.peer()
        peer.send(connectPacket())
        for each in slow:
            self.pass_(7, peer)
            self.assertFalse(peer.lost)
            each.callback(None)
        self.assertEqual(peer.expect(Connack).reason, 0)

    def test_unansweredChallenge(self) -> None:
        """
        A client that does not answer a challenge is cut after C{idle_timeout}.
        """
        self.begin(idle_timeout=5)
        self.hook("client.enhanced_authenticate", Challenge(b"?"))
        peer = self.peer()
        peer.send(connectPacket(authMethod="m"))
        peer.expect(Auth)
        self.pass_(4, peer)
        self.assertFalse(peer.lost)
        self.pass_(4, peer)
        self.assertTrue(peer.lost)

    def test_keepAlive(self) -> None:
        """
        A client silent for its keep-alive times the backoff times two is told so and closed; any packet puts it off.
        """
        self.begin(keepalive_backoff=1.0)
        peer = self.client(keepAlive=10)
        for _ in range(3):
            self.pass_(19, peer)
            peer.send(Ping(PINGREQ))
            peer.receive()
        self.pass_(19, peer)
        peer.expectNothing()
        self.pass_(3, peer)
        peer.expectClosed(KEEP_ALIVE_TIMEOUT)

    def test_keepAliveOfTheServer(self) -> None:
        """
        A C{server_keepalive} is told to a client of MQTT 5 and holds for it.
        """
        self.begin(server_keepalive=4)
        peer = self.peer()
        self.assertEqual(peer.connect(keepAlive=1000).properties.serverKeepAlive, 4)
        self.pass_(5, peer)
        self.assertFalse(peer.lost)
        self.pass_(3, peer)
        peer.expectClosed(KEEP_ALIVE_TIMEOUT)

    def test_noKeepAlive(self) -> None:
        """
        With a keep-alive of 0 a client may be silent for ever.
        """
        peer = self.client(keepAlive=0)
        self.pass_(5000, peer)
        self.assertFalse(peer.lost)

    def test_weDoNotRead(self) -> None:
        """
        A client is not taken for dead while it is the broker that does not read.
        """
        self.begin(hook_timeout=0)
        slow: Deferred[Any] = Deferred()
        self.hook("message.publish", slow, None)
        peer = self.client(keepAlive=2)
        peer.publish("a", b"", 1)
        self.pass_(20, peer)
        self.assertFalse(peer.lost)
        slow.callback(None)
        self.assertFalse(peer.lost)
        peer.expect(Ack)

    def test_unreadOutput(self) -> None:
        """
        A client that takes nothing of what waits for it is cut after the listener's C{sendTimeout}.
        """
        peer = self.client()
        peer.protocol.pauseProducing()
        self.assertFalse(peer.transport.reading)
        self.pass_(14, peer)
        self.assertFalse(peer.lost)
        self.pass_(3, peer)
        self.assertTrue(peer.lost)

    def test_readAgain(self) -> None:
        """
        One that reads again in time stays.
        """
        peer = self.client()
        peer.protocol.pauseProducing()
        self.pass_(10, peer)
        peer.protocol.resumeProducing()
        self.assertTrue(peer.transport.reading)
        self.pass_(60, peer)
        self.assertFalse(peer.lost)

    def test_patience(self) -> None:
        """
        A client that was told to go has some seconds to read that, however long it was silent before; then it is cut.
        """
        peer = self.client("a", keepAlive=100)
        self.pass_(120, peer)
        transport = peer.transport
        # The other end does not close: nothing is turned for it.
        self.broker.kick("a", SESSION_TAKEN_OVER)
        self.assertTrue(transport.disconnecting)
        for _ in range(36):
            self.clock.advance(0.5)
        self.assertFalse(transport.aborted)
        for _ in range(8):
            self.clock.advance(0.5)
        self.assertTrue(transport.aborted)
        peer.expectClosed(SESSION_TAKEN_OVER)


class EndTests(BrokerTestCase):
    """
    How connections end.
    """

    def test_secondConnect(self) -> None:
        """
        A second CONNECT is a protocol error ([MQTT-3.1.0-2]).
        """
        peer = self.client()
        peer.send(connectPacket())
        peer.expectClosed(PROTOCOL_ERROR)

    def test_packetsOfTheServer(self) -> None:
        """
        A packet that only a server may send is a protocol error.
        """
        for packet in (Connack(False, 0), Suback(SUBACK, 1, [0]), Suback(UNSUBACK, 1, [0]), Ping(13)):
            peer = self.client()
            peer.send(packet)
            peer.expectClosed(PROTOCOL_ERROR)

    def test_afterTheEnd(self) -> None:
        """
        Bytes after a DISCONNECT, in the same piece or later, are not examined.
        """
        watcher = self.client("watcher")
        watcher.subscribe("#")
        peer = self.client()
        self.hook("message.publish", None)
        peer.send(Publish("x", b"1"), Disconnect(), Publish("x", b"2"))
        peer.protocol.dataReceived(encode(Publish("x", b"3"), 5))
        self.assertEqual(watcher.payloads(), [b"1"])

    def test_reauthenticationThatFails(self) -> None:
        """
        Whatever the reason why a re-authentication fails, a DISCONNECT can carry it.
        """

        def fail(*args: Any) -> Any:
            raise ValueError("no")

        verdicts = [
            (lambda *args: AuthResult("bad_username_or_password"), NOT_AUTHORIZED),
            (lambda *args: AuthResult("server_unavailable"), None),
            (lambda *args: AuthResult("banned"), None),
            (lambda *args: None, None),
            (fail, None),
        ]
        for verdict, reason in verdicts:
            self.begin()
            point = self.broker.hooks.clientEnhancedAuthenticate
            point.add(lambda *args: AuthResult(), priority=1)
            peer = self.client(authMethod="m")
            (registration,) = point
            point.remove(registration.action)
            point.add(verdict)
            peer.send(Auth(RE_AUTHENTICATE, propertiesOf(authMethod="m")))
            (answer,) = (each for each in peer.receive() if isinstance(each, Disconnect))
            self.assertIn(answer.reason, _DISCONNECT_REASONS)
            if reason is not None:
                self.assertEqual(answer.reason, reason)
            self.assertTrue(peer.lost)
        self.flushLoggedErrors(ValueError)

    def test_authenticationInSteps(self) -> None:
        """
        A challenge goes out, the answer comes in, and CONNACK carries the last word; again later without CONNACK.
        """
        seen: list[Any] = []

        def authenticate(client: Any, method: str, data: bytes, state: object, result: AuthResult) -> Any:
            seen.append((data, state))
            return Challenge(b"more", state=7) if data == b"one" else STOP(AuthResult(data=b"last"))

        self.broker.hooks.clientEnhancedAuthenticate.add(authenticate)
        peer = self.peer()
        peer.send(connectPacket(authMethod="m", authData=b"one"))
        challenge = peer.expect(Auth)
        self.assertEqual(challenge.reason, CONTINUE_AUTHENTICATION)
        self.assertEqual(challenge.properties, propertiesOf(authMethod="m", authData=b"more"))
        peer.send(Auth(CONTINUE_AUTHENTICATION, propertiesOf(authMethod="m", authData=b"two")))
        connack = peer.expect(Connack)
        assert connack.properties is not None
        self.assertEqual((connack.properties.authMethod, connack.properties.authData), ("m", b"last"))
        peer.send(Auth(RE_AUTHENTICATE, propertiesOf(authMethod="m", authData=b"one")))
        self.assertEqual(peer.expect(Auth).reason, CONTINUE_AUTHENTICATION)
        peer.publish("x", b"", 1)
        peer.expectAck(PUBACK, 1, 0x10)
        peer.send(Auth(CONTINUE_AUTHENTICATION, propertiesOf(authMethod="m", authData=b"two")))
        self.assertEqual(peer.expect(Auth).reason, 0)
        self.assertEqual(seen, [(b"one", None), (b"two", 7)] * 2)

    def test_refusedCredentials(self) -> None:
        """
        A refusal is said in the words of the client's version, and what came with the CONNECT is not looked at.
        """
        watcher = self.client("watcher")
        watcher.subscribe("#")
        self.hook("client.authenticate", AuthResult("bad_username_or_password"))
        for version, reason in ((3, 4), (4, 4), (5, BAD_USERNAME_OR_PASSWORD)):
            peer = self.peer(version)
            peer.send(connectPacket("x", version), Publish("x", b"1"))
            peer.expectClosed(reason)
        watcher.expectNothing()
        self.assertEqual(list(self.broker.clients), ["watcher"])

    def test_ourOwnFault(self) -> None:
        """
        An error of the broker's own closes the connection on which it came up, and does not get out.
        """
        peer = self.client()

        class Faulty:
            """
            A subscriber against the rules.
            """

            clientID = ""
            online = True

            def deliver(self, message: Any, subscription: Any) -> None:
                """
                Raise.
                """
                raise ZeroDivisionError

        self.broker.subscribe(Faulty(), Subscription(Faulty(), "x"))
        peer.publish("x", b"")
        peer.expectClosed(IMPLEMENTATION_SPECIFIC_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_hookThatMakesNonsense(self) -> None:
        """
        A hook that makes a message that no packet can carry has failed: the message stays as it was, and neither its
        publisher nor its receivers come to harm.
        """
        for point in ("message.publish", "message.delivered"):
            for change in (
                {"topic": "x" * 70_000},
                {"topic": "a/+"},
                {"topic": ""},
                {"qos": 3},
                {"properties": propertiesOf(contentType="x" * 70_000)},
            ):
                self.begin()
                self.broker.hooks[point].add(lambda *args, change=change: args[-1].replace(**change))
                peer, other = self.client(), self.client("other")
                peer.subscribe("x")
                other.publish("x", b"1", 1)
                other.expectAck(PUBACK, 1)
                self.assertEqual(peer.payloads(), [b"1"])
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_dropped(self) -> None:
        """
        A message that a hook drops is told as dropped, at either point.
        """
        told = self.hook("message.dropped", None)
        peer, other = self.client(), self.client("other")
        peer.subscribe("x")
        self.hook("message.delivered", DROP)
        other.publish("x", b"1", 1)
        other.expectAck(PUBACK, 1)
        self.hook("message.publish", DROP)
        other.publish("x", b"2", 1)
        other.expectAck(PUBACK, 1)
        peer.expectNothing()
        self.assertEqual(
            [(call[0].payload, call[1] and call[1].clientID, call[2]) for call in told],
            [(b"1", "client", "hook"), (b"2", None, "hook")],
        )

    def test_qos2Conversation(self) -> None:
        """
        Both halves of a QoS 2 delivery, through the broker.
        """
        peer, other = self.client(), self.client("other")
        peer.subscribe("x")
        other.publish("x", b"1", 2, 7)
        other.expectAck(PUBREC, 7)
        other.acknowledge(PUBREL, 7).expectAck(PUBCOMP, 7)
        message = peer.expect(Publish)
        peer.acknowledge(PUBREC, message.packetID).expectAck(PUBREL, message.packetID)
        peer.acknowledge(PUBCOMP, message.packetID).expectNothing()
