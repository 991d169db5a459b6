"""
Tests of L{twisted_mqtt.protocol}: time, parking, the end, and what must never get out of C{dataReceived}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.wire import Peer, connectPacket, propertiesOf
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.journal import Progress
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
    Request,
    Suback,
    Subscribe,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.reasons import (
    BAD_USERNAME_OR_PASSWORD,
    CONTINUE_AUTHENTICATION,
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    RE_AUTHENTICATE,
    SERVER_UNAVAILABLE,
    SESSION_TAKEN_OVER,
)
from twisted_mqtt.hooks import ALLOW, DENY, DROP, STOP, AuthResult, Challenge
from twisted_mqtt.testing import makeBroker

# A CONNECT, a DISCONNECT of MQTT 5 and what a refusal costs are said with these.
_DISCONNECT_REASONS = {
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
}  # fmt: skip


class ProtocolTestCase(SynchronousTestCase):
    """
    A broker, and peers of it.
    """

    def setUp(self) -> None:
        """
        Make a broker.
        """
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.begin()

    def begin(self, **zone: Any) -> None:
        """
        Begin anew, in a zone with these keys.
        """
        self.broker, self.factory = makeBroker(self.clock, **zone)

    def peer(self, version: int = 5) -> Peer:
        """
        A connection.
        """
        return Peer(self.factory, self.clock, version)

    def client(self, clientID: str = "client", version: int = 5, **fields: Any) -> Peer:
        """
        A client that is in.
        """
        peer = self.peer(version)
        peer.connect(clientID, **fields)
        return peer

    def pass_(self, seconds: float, *peers: Peer) -> None:
        """
        Let time pass in half seconds, with whatever that causes to be written.
        """
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            for peer in peers:
                peer.turn()

    def hook(self, point: str, *answers: Any) -> list[Any]:
        """
        A callback that gives these answers in turn, and the last one ever after; returns the list of its calls.
        """
        left, calls = list(answers), []

        def callback(*args: Any) -> Any:
            calls.append(args)
            return left.pop(0) if len(left) > 1 else left[0]

        self.broker.hooks[point].add(callback)
        return calls


class DeadlineTests(ProtocolTestCase):
    """
    What happens to those who are silent.
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
        self.hook("client.authenticate", Challenge(b"?"))
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


class ParkingTests(ProtocolTestCase):
    """
    While a hook waits, the client waits, and nobody else; order is kept.
    """

    def test_everyFoldPointKeepsOrder(self) -> None:
        """
        A hook that waits, at any point that a packet passes, holds up what its client has sent after, which then
        follows in order, but for pings; the client is not read from meanwhile, and others are served.
        """
        script = [
            Subscribe(1, [Request("x", 1)]),
            Publish("x", b"1", 1, packetID=2),
            Unsubscribe(3, ["x"]),
            Publish("x", b"2", 2, packetID=4),
            Ping(PINGREQ),
        ]
        wanted = [SUBACK, 3, PUBACK, UNSUBACK, PUBREC]
        for point in ("client.subscribe", "client.check_acl", "message.publish", "message.delivered",
                      "client.unsubscribe"):  # fmt: skip
            self.begin()
            slow: Deferred[Any] = Deferred()
            other = self.client("other")
            peer = self.client()
            self.hook(point, slow, None)
            for packet in script:
                peer.send(packet)
            before = [each.type for each in peer.receive() if each.type != 13]
            self.assertTrue(len(before) < len(wanted), point)
            if point != "message.delivered":
                self.assertFalse(peer.transport.reading, point)
            other.send(Ping(PINGREQ))
            self.assertEqual(len(other.receive()), 1, point)
            slow.callback(None)
            after = [each.type for each in peer.receive() if each.type != 13]
            found = before + after
            if point == "message.delivered":
                # Only the delivery waits: acknowledgements don't.
                found = [each for each in found if each != 3]
                self.assertEqual(found, [each for each in wanted if each != 3])
                self.assertIn(3, after)
            else:
                self.assertEqual(found, wanted, point)
            self.assertTrue(peer.transport.reading, point)

    def test_connectPoints(self) -> None:
        """
        The points that a CONNECT passes hold it up, and what came with it.
        """
        for point in ("client.connect", "client.authenticate", "client.connack", "client.connected"):
            self.begin()
            slow: Deferred[Any] = Deferred()
            self.hook(point, slow)
            peer = self.peer()
            peer.send(connectPacket(), Subscribe(1, [Request("x", 1)]), Publish("x", b"1", 1, packetID=2))
            found: list[Any] = peer.receive()
            self.assertEqual(len(found), 1 if point == "client.connected" else 0, point)
            slow.callback(None)
            found += peer.receive()
            kinds = [each.type for each in found]
            self.assertEqual(sorted(kinds), [2, 3, 4, 9], point)
            self.assertEqual(kinds[0], 2, point)

    def test_willWaitsForItsRule(self) -> None:
        """
        The access rules are asked about a will before its client is let in.
        """
        slow: Deferred[Any] = Deferred()
        calls = self.hook("client.check_acl", slow)
        peer = self.peer()
        peer.send(connectPacket(will=Will("w", b"", 0, False, None)))
        peer.expectNothing()
        self.assertEqual([call[1:3] for call in calls], [("publish", "w")])
        slow.callback(STOP(DENY))
        peer.expectClosed(NOT_AUTHORIZED)

    def test_hookTimeout(self) -> None:
        """
        A hook that does not answer in time has said nothing; one that decides has refused.
        """
        self.begin(hook_timeout=3)
        self.hook("message.publish", Deferred(), None)
        self.hook("client.check_acl", None, Deferred())
        peer = self.client()
        peer.publish("x", b"", 1)
        peer.expectNothing()
        self.pass_(4, peer)
        peer.expectAck(PUBACK, 1, 0x10)
        peer.publish("y", b"", 1)
        self.pass_(4, peer)
        peer.expectAck(PUBACK, 1, NOT_AUTHORIZED)
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_hookFailure(self) -> None:
        """
        A hook that fails is passed over, but one that decides has refused; the connection goes on.
        """

        def fail(*args: Any) -> Any:
            failing: Deferred[Any] = Deferred()
            failing.errback(ValueError("no"))
            return failing

        peer = self.client()
        for point in ("client.subscribe", "client.unsubscribe", "message.publish", "message.delivered"):
            self.broker.hooks[point].add(fail)
        self.assertEqual(peer.subscribe("x"), [2])
        peer.publish("x", b"1", 1)
        self.assertEqual([each.type for each in peer.receive()], [3, 4])
        self.broker.hooks["client.check_acl"].add(fail)
        peer.publish("x", b"2", 1)
        peer.expectAck(PUBACK, 1, NOT_AUTHORIZED)
        self.broker.hooks["client.authenticate"].add(fail)
        refused = self.peer()
        refused.send(connectPacket("b"))
        refused.expectClosed(SERVER_UNAVAILABLE)
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_clientGoesWhileAHookWaits(self) -> None:
        """
        If the client goes while a hook waits, at any point, nothing happens when the hook answers, and its session and
        its name are free.
        """
        packets: dict[str, Any] = {
            "client.subscribe": Subscribe(1, [Request("x", 1)]),
            "client.check_acl": Publish("x", b"1", 1, packetID=2),
            "message.publish": Publish("x", b"1", 1, packetID=2),
            "client.unsubscribe": Unsubscribe(3, ["x"]),
            "client.connect": None,
            "client.authenticate": None,
            "client.connack": None,
            "client.connected": None,
        }
        for point, packet in packets.items():
            for abruptly in (True, False):
                self.begin()
                slow: Deferred[Any] = Deferred()
                cancelled: list[Any] = []
                slow.addErrback(cancelled.append)
                watcher = self.client("watcher")
                watcher.subscribe("x")
                peer = self.peer()
                if packet is None:
                    self.hook(point, slow, None)
                    peer.send(connectPacket())
                else:
                    peer.connect()
                    self.hook(point, slow, None)
                    peer.send(packet)
                peer.lose(abruptly)
                self.assertEqual(len(cancelled), 1, point)
                self.pass_(1)
                self.assertEqual(list(self.broker.clients), ["watcher"], point)
                self.assertEqual(list(self.broker.sessions), ["watcher"], point)
                watcher.expectNothing()
                again = self.peer()
                again.send(connectPacket())
                self.assertEqual(again.expect(Connack).reason, 0, point)

    def test_takenOverWhileAHookWaits(self) -> None:
        """
        A client whose hook waits can be taken over; its answer then does nothing.
        """
        for point in ("client.connack", "client.connected", "message.publish"):
            self.begin()
            slow: Deferred[Any] = Deferred()
            self.hook(point, slow, None)
            first = self.peer()
            first.send(connectPacket(), Publish("x", b"1", 1, packetID=2))
            first.receive()
            second = self.peer()
            second.send(connectPacket())
            self.assertEqual(second.expect(Connack).reason, 0, point)
            first.receive()
            self.assertTrue(first.lost, point)
            if not slow.called:
                slow.callback(None)
            second.expectNothing()
            self.assertEqual(list(self.broker.clients), ["client"])
            second.send(Ping(PINGREQ))
            self.assertEqual(len(second.receive()), 1)

    def test_thousandsOfAnswersThatAreThere(self) -> None:
        """
        Hooks that answer each of thousands of packets with a Deferred that has fired cost no stack.
        """
        self.begin(max_awaiting_rel=0)
        self.broker.hooks["message.publish"].add(lambda message: succeed(None))
        self.broker.hooks["client.check_acl"].add(lambda *args: succeed(STOP(ALLOW)))
        peer = self.client()
        slow: Deferred[Any] = Deferred()
        self.hook("client.subscribe", slow)
        publishes = [Publish(f"x/{number}", b"", 1, packetID=number + 1) for number in range(3000)]
        peer.send(Subscribe(1, [Request("y", 0)]), *publishes)
        peer.expectNothing()
        slow.callback(None)
        self.assertEqual([getattr(each, "packetID", 0) for each in peer.receive()], [1, *range(1, 3001)])

    def test_manyThatWait(self) -> None:
        """
        Hooks that make each of thousands of packets wait cost no stack either, whenever they answer.
        """
        self.begin(max_awaiting_rel=0)
        waiting: list[Deferred[Any]] = []

        def wait(message: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.broker.hooks["message.publish"].add(wait)
        peer = self.client()
        peer.send(*(Publish("x", b"", 1, packetID=number + 1) for number in range(2000)))
        for number in range(2000):
            self.assertEqual(len(waiting), number + 1)
            waiting[number].callback(None)
        self.assertEqual([getattr(each, "packetID", 0) for each in peer.receive()], list(range(1, 2001)))

    def test_errorAfterWhatWaits(self) -> None:
        """
        A fault in the stream is answered after what came before it, though that had to wait.
        """
        slow: Deferred[Any] = Deferred()
        self.hook("message.publish", slow)
        peer = self.client()
        peer.send(Publish("x", b"", 1, packetID=1), b"\x00\x00")
        peer.expectNothing()
        slow.callback(None)
        self.assertEqual([each.type for each in peer.receive()], [4, 14])
        self.assertTrue(peer.lost)


class StoreTests(ProtocolTestCase):
    """
    With a store that takes its time.
    """

    def setUp(self) -> None:
        """
        Make a store that writes when told.
        """
        super().setUp()
        self.progress: Progress = self.broker.router.progress

    def commit(self) -> None:
        """
        All that was asked for is written.
        """
        self.progress.committed = self.progress.sequence
        self.broker.router.committed()

    def test_connackFirst(self) -> None:
        """
        While the CONNACK waits for the store, nothing else is sent, though messages wait for the client and it asks.
        """
        peer = self.client(cleanStart=False, sessionExpiry=100)
        peer.subscribe("x")
        peer.lose()
        self.client("other").publish("x", b"1", 1)
        # As the store does when it is asked to keep the session.
        self.broker.hooks["session.resumed"].add(self._write)
        peer = self.peer()
        peer.send(connectPacket(cleanStart=False, sessionExpiry=100), Ping(PINGREQ))
        self.client("third").publish("x", b"2", 1)
        peer.expectNothing()
        self.commit()
        self.assertEqual([each.type for each in peer.receive()], [2, 3, 3, 13])

    def test_goesBeforeConnack(self) -> None:
        """
        A client that goes before its CONNACK could be sent leaves nothing behind.
        """
        self.broker.hooks["session.created"].add(self._write)
        peer = self.peer()
        peer.send(connectPacket())
        peer.expectNothing()
        peer.lose()
        self.commit()
        self.assertEqual((self.broker.clients, self.broker.sessions), ({}, {}))
        self.assertEqual(self.broker.counters.client_connected, 0)

    def test_broken(self) -> None:
        """
        While the store can't keep anything, QoS 1 and 2 are refused (0x97, or the close below MQTT 5); QoS 0 goes on.
        """
        old, new, watcher = self.client("old", 4), self.client("new"), self.client("watcher")
        watcher.subscribe("#")
        self.progress.broken = True
        new.publish("x", b"0").publish("x", b"1", 1).publish("x", b"2", 2, 2)
        new.expectAck(PUBACK, 1, 0x97)
        new.expectAck(PUBREC, 2, 0x97)
        old.publish("x", b"3", 1)
        old.expectClosed()
        self.assertEqual(watcher.payloads(), [b"0"])

    def _write(self, *args: Any) -> None:
        self.progress.sequence += 1


class EndTests(ProtocolTestCase):
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
        What only a server may send is a protocol error.
        """
        for packet in (Connack(False, 0), Suback(SUBACK, 1, [0]), Suback(UNSUBACK, 1, [0]), Ping(13)):
            peer = self.client()
            peer.send(packet)
            peer.expectClosed(PROTOCOL_ERROR)

    def test_afterTheEnd(self) -> None:
        """
        What comes after a DISCONNECT, in the same bytes or later, is not looked at.
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
        Whatever the reason why a re-authentication fails, it is one that a DISCONNECT can say.
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
            self.broker.hooks["client.authenticate"].add(lambda *args: AuthResult(), priority=1)
            peer = self.client(authMethod="m")
            (registration,) = self.broker.hooks["client.authenticate"]
            self.broker.hooks["client.authenticate"].remove(registration.action)
            self.broker.hooks["client.authenticate"].add(verdict)
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
        seen: list[bytes | None] = []

        def authenticate(client: Any, result: AuthResult) -> Any:
            seen.append(client.authData)
            return Challenge(b"more") if client.authData == b"one" else STOP(AuthResult(data=b"last"))

        self.broker.hooks["client.authenticate"].add(authenticate)
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
        self.assertEqual(seen, [b"one", b"two", b"one", b"two"])

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

        from twisted_mqtt.core.subscription import Subscription

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
            for change in ({"topic": "x" * 70_000}, {"topic": "a/+"}, {"topic": ""}, {"qos": 3},
                           {"properties": propertiesOf(contentType="x" * 70_000)}):  # fmt: skip
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
