"""
The changes that C{client.authenticate} and C{client.enhanced_authenticate} can make to a client.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, Auth, Connack, Disconnect, Publish
from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION, SESSION_TAKEN_OVER
from twisted_mqtt.hooks.verdicts import STOP, AuthResult, Challenge, SessionLimits
from twisted_mqtt.testing.peer import connectPacket, propertiesOf


class OverrideTests(BrokerTestCase):
    """
    The values of an L{AuthResult} replace those of the client and its listener.
    """

    def admit(self, result: AuthResult, clientID: str = "client", version: int = 5, **fields: Any) -> Connack:
        """
        Let a client in as this result says; returns its CONNACK.
        """
        self.broker, self.factory = self.broker, self.factory
        point = self.broker.hooks.clientAuthenticate
        point.add(lambda client, given: result)
        self.last = self.peer(version)
        connack = self.last.connect(clientID, **fields)
        (registration,) = point
        point.remove(registration.action)
        return connack

    def test_clientID(self) -> None:
        """
        The client has the identifier that it is given: for its session, for takeover, and it is told.
        """
        connack = self.admit(AuthResult(clientID="other"))
        first = self.last
        assert connack.properties is not None
        self.assertEqual(connack.properties.assignedClientID, "other")
        self.assertEqual((list(self.broker.clients), list(self.broker.sessions)), (["other"], ["other"]))
        self.admit(AuthResult(clientID="other"), "third")
        first.expectClosed(0x8E)
        self.assertEqual(list(self.broker.clients), ["other"])
        self.admit(AuthResult(clientID="fourth"), version=4)
        self.assertEqual(list(self.broker.clients), ["other", "fourth"])

    def test_username(self) -> None:
        """
        Later callbacks, access rules and receivers of messages see the user name that it is given.
        """
        seen = self.hook("client.check_acl", None)
        connected = self.hook("client.connected", None)
        self.admit(AuthResult(username="known"), username="claimed")
        self.last.publish("a", b"")
        self.assertEqual((seen[0][0].username, connected[0][0].username), ("known", "known"))
        published = self.hook("message.publish", None)
        self.last.publish("a", b"")
        self.assertEqual(published[0][0].username, "known")

    def test_mountpoint(self) -> None:
        """
        All its topics are below the prefix that it is given.
        """
        self.admit(AuthResult(mountpoint="%c/"))
        published = self.hook("message.publish", None)
        self.last.publish("a", b"")
        self.assertEqual(published[0][0].topic, "client/a")

    def test_topicTree(self) -> None:
        """
        Its session, and what it publishes, are in the topic tree that it is given.
        """
        self.admit(AuthResult(topicTree="other"))
        self.last.subscribe("a")
        here = self.client("here")
        here.subscribe("a")
        self.last.publish("a", b"1")
        self.assertEqual((self.last.payloads(), here.payloads()), ([b"1"], []))

    def test_cleanStart(self) -> None:
        """
        A client may be made to begin anew, or to go on where it was.
        """
        self.admit(AuthResult(), sessionExpiry=100)
        self.last.disconnect()
        self.assertFalse(self.admit(AuthResult(cleanStart=True), cleanStart=False, sessionExpiry=100).sessionPresent)
        self.last.disconnect()
        self.assertTrue(self.admit(AuthResult(cleanStart=False), cleanStart=True).sessionPresent)

    def test_sessionExpiry(self) -> None:
        """
        Its session lives as long as it is given, and it is told; below 5 too.
        """
        connack = self.admit(AuthResult(session=SessionLimits(sessionExpiry=50)), sessionExpiry=1000)
        assert connack.properties is not None
        self.assertEqual(connack.properties.sessionExpiry, 50)
        self.last.disconnect()
        self.pass_(49)
        self.assertIn("client", self.broker.sessions)
        self.pass_(3)
        self.assertNotIn("client", self.broker.sessions)
        self.admit(AuthResult(session=SessionLimits(sessionExpiry=50)), version=4, cleanStart=True)
        self.last.disconnect()
        self.pass_(40)
        self.assertIn("client", self.broker.sessions)

    def test_maxInflight(self) -> None:
        """
        No more messages are on their way to it than it is allowed; those of others are not touched by that.
        """
        self.admit(AuthResult(session=SessionLimits(maxInflight=1)))
        first = self.last
        first.subscribe("a")
        other = self.client("other")
        other.subscribe("a")
        for number in range(3):
            self.broker.publish(Message("a", b"%d" % number, 1))
        self.assertEqual((first.payloads(), other.payloads()), ([b"0"], [b"0", b"1", b"2"]))

    def test_maxQueue(self) -> None:
        """
        No more messages wait for it than it is allowed.
        """
        self.admit(AuthResult(session=SessionLimits(maxQueue=2)), sessionExpiry=1000)
        self.last.subscribe("a")
        self.last.disconnect()
        for number in range(5):
            self.broker.publish(Message("a", b"%d" % number, 1))
        self.assertEqual(self.broker.sessions["client"].queueLength, 2)

    def test_queueByState(self) -> None:
        """
        How many messages wait may differ by whether the client is there; so may how many bytes.
        """
        limits = SessionLimits(maxOnlineMessages=3, maxOfflineMessages=2, maxInflight=1)
        self.admit(AuthResult(session=limits), sessionExpiry=1000)
        self.last.subscribe("a")
        for _ in range(9):
            self.broker.publish(Message("a", b"x", 1))
        session = self.broker.sessions["client"]
        self.assertEqual(session.queueLength, 3)
        self.last.disconnect()
        for _ in range(9):
            self.broker.publish(Message("a", b"x", 1))
        self.assertEqual(session.queueLength, 3)  # what waits already stays
        self.admit(AuthResult(session=SessionLimits(maxQueueBytes=100, maxInflight=1)), cleanStart=False)
        for _ in range(9):
            self.broker.publish(Message("a", b"x" * 39, 1))
        self.assertEqual(session.stats()["mqueue_bytes"], 80)

    def test_connectionLifetime(self) -> None:
        """
        It is sent away when its connection has lasted long enough; one that has come back since is not.
        """
        self.admit(AuthResult(session=SessionLimits(connectionLifetime=10)))
        first = self.last
        self.pass_(5, first)
        self.admit(AuthResult(session=SessionLimits(connectionLifetime=10)))
        first.expectClosed(SESSION_TAKEN_OVER)
        self.pass_(8, self.last)
        self.last.expectNothing()
        self.pass_(3, self.last)
        self.last.expectClosed(ADMINISTRATIVE_ACTION)

    def test_sharedStrategy(self) -> None:
        """
        For its own messages the members of a shared subscription take turns; for those of others chance decides.
        """
        members = [self.client(name) for name in "xyz"]
        for member in members:
            member.subscribe("$share/g/t")
        self.admit(AuthResult(session=SessionLimits(sharedStrategy="round_robin")))
        for _ in range(6):
            self.last.publish("t", b"1")
        self.assertEqual([len(member.payloads()) for member in members], [2, 2, 2])
        other = self.client("other")
        for _ in range(6):
            other.publish("t", b"2")
        self.assertEqual([len(member.payloads()) for member in members], [6, 0, 0])
        self.last.disconnect()
        self.assertEqual(self.broker.router.strategies, {})

    def test_maxSubscriptions(self) -> None:
        """
        It has no more subscriptions than it is allowed.
        """
        self.admit(AuthResult(session=SessionLimits(maxSubscriptions=1)))
        self.assertEqual(self.last.subscribe("a", "b", qos=0), [0, 0x97])

    def test_maxPacketSize(self) -> None:
        """
        It is told the size of the largest packet that it may send, and has to keep to it.
        """
        connack = self.admit(AuthResult(session=SessionLimits(maxPacketSize=100)))
        assert connack.properties is not None
        self.assertEqual(connack.properties.maximumPacketSize, 100)
        self.last.publish("a", b"x" * 80, 1)
        self.last.expectAck(PUBACK, 1, 0x10)
        self.last.publish("a", b"x" * 100, 1)
        self.last.expectClosed(0x95)

    def test_publishRate(self) -> None:
        """
        No more messages are taken from it than its rate allows.
        """
        self.admit(AuthResult(session=SessionLimits(publishRate=RateLimit(1, 10.0, 1))))
        self.last.send(Publish("a", b"1", 1, packetID=1), Publish("a", b"2", 1, packetID=2))
        self.last.expectAck(PUBACK, 1, 0x10)
        self.last.expectNothing()
        self.clock.advance(10)
        self.last.expectAck(PUBACK, 2, 0x10)

    def test_upgradeQoS(self) -> None:
        """
        Messages come to it with the QoS of its subscription.
        """
        self.admit(AuthResult(session=SessionLimits(upgradeQoS=True)))
        self.last.subscribe("a", qos=1)
        self.broker.publish(Message("a", b""))
        self.assertEqual(self.last.expect(Publish).qos, 1)

    def test_refusal(self) -> None:
        """
        A refusal says why, and where to go instead.
        """
        self.hook(
            "client.authenticate",
            AuthResult("use_another_server", reasonString="moving house", serverReference="other.example:1883"),
        )
        peer = self.peer()
        peer.send(connectPacket())
        connack = peer.expect(Connack)
        assert connack.properties is not None
        self.assertEqual(
            (connack.reason, connack.properties.reasonString, connack.properties.serverReference),
            (0x9C, "moving house", "other.example:1883"),
        )
        peer.expectClosed()

    def test_properties(self) -> None:
        """
        Further properties go into CONNACK.
        """
        connack = self.admit(AuthResult(properties=propertiesOf(userProperties=[("a", "b")])))
        assert connack.properties is not None
        self.assertEqual(connack.properties.userProperties, [("a", "b")])

    def test_wrong(self) -> None:
        """
        A value that no client can have refuses it, is logged and leaves nothing behind.
        """
        wrong: list[dict[str, Any]] = [
            {"clientID": ""},
            {"clientID": "a\0b"},
            {"clientID": 7},
            {"clientID": "\ud800"},
            {"clientID": "x" * 70000},
            {"username": b"bytes"},
            {"mountpoint": "a/#"},
            {"mountpoint": "a\0"},
            {"topicTree": 3},
            {"topicTree": "a/#"},
            {"cleanStart": 1},
            {"isSuperuser": "yes"},
            {"anonymous": None},
            {"data": b"without a method"},
            {"reasonString": "x" * 70000},
            {"serverReference": "elsewhere"},
            {"session": SessionLimits(maxInflight=65536)},
            {"session": SessionLimits(maxInflight=True)},
            {"session": SessionLimits(maxPacketSize=1)},
            {"session": SessionLimits(maxQueue=-1)},
            {"session": SessionLimits(maxOnlineMessages=-1)},
            {"session": SessionLimits(retryInterval=0)},
            {"session": SessionLimits(connectionLifetime=True)},
            {"session": SessionLimits(sharedStrategy="fair")},
            {"session": SessionLimits(sessionExpiry=1 << 32)},
            {"session": SessionLimits(publishRate=10)},  # type: ignore[arg-type]  # that is what is wrong with it
            {"session": SessionLimits(upgradeQoS="no")},  # type: ignore[arg-type]  # that is what is wrong with it
        ]
        for fields in wrong:
            self.begin()
            self.hook("client.authenticate", AuthResult(**fields))
            self.refused("client", 0x88)
            self.assertEqual((dict(self.broker.clients), dict(self.broker.sessions)), ({}, {}), fields)

    def test_wrongForAnExchange(self) -> None:
        """
        So does one at the end of an enhanced authentication.
        """
        self.hook("client.enhanced_authenticate", AuthResult(clientID=""))
        self.refused("client", 0x88, authMethod="m")


class EnhancedTests(BrokerTestCase):
    """
    Tests for C{client.enhanced_authenticate}.
    """

    def test_method(self) -> None:
        """
        A callback is given the method, the data, and what it has kept; each exchange has its own.
        """
        seen: list[Any] = []

        def step(client: Any, method: str, data: bytes | None, state: Any, result: AuthResult) -> Any:
            seen.append((client.clientID, method, data, state))
            return Challenge(b"?", state=(state or 0) + 1) if (state or 0) < 2 else STOP(AuthResult(data=b"!"))

        self.broker.hooks.clientEnhancedAuthenticate.add(step)
        peers = [self.peer(), self.peer()]
        for number, peer in enumerate(peers):
            peer.send(connectPacket(f"c{number}", authMethod="m", authData=b"0"))
            peer.expect(Auth)
        for data in (b"1", b"2"):
            for peer in peers:
                peer.send(Auth(0x18, propertiesOf(authMethod="m", authData=data)))
                peer.next()
        for name in ("c0", "c1"):
            mine = [each[1:] for each in seen if each[0] == name]
            self.assertEqual(mine, [("m", b"0", None), ("m", b"1", 1), ("m", b"2", 2)])
        self.assertEqual(list(self.broker.clients), ["c0", "c1"])

    def test_notForOthers(self) -> None:
        """
        A client without a method is the affair of C{client.authenticate}, one with a method is not.
        """
        plain = self.hook("client.authenticate", AuthResult())
        enhanced = self.hook("client.enhanced_authenticate", AuthResult())
        self.client("a")
        self.assertEqual((len(plain), len(enhanced)), (1, 0))
        self.client("b", authMethod="m")
        self.assertEqual((len(plain), len(enhanced)), (1, 1))

    def test_unknownMethod(self) -> None:
        """
        A method that no callback knows is refused, with and without callbacks.
        """
        self.refused("a", 0x8C, authMethod="m")
        self.hook("client.enhanced_authenticate", None)
        self.refused("a", 0x8C, authMethod="m")

    def test_waits(self) -> None:
        """
        A callback may take its time.
        """
        answer: Deferred[Any] = Deferred()
        self.hook("client.enhanced_authenticate", answer)
        peer = self.peer()
        peer.send(connectPacket(authMethod="m"))
        peer.expectNothing()
        answer.callback(Challenge(b"?"))
        self.assertEqual(peer.expect(Auth).reason, 0x18)

    def test_fails(self) -> None:
        """
        A callback that fails refuses.
        """
        self.broker.hooks.clientEnhancedAuthenticate.add(lambda *args: 1 / 0)
        self.refused("a", 0x88, authMethod="m")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_again(self) -> None:
        """
        A client that proves itself again is asked by the same callbacks; refused, it is sent away with the reason.
        """
        answers: list[Any] = [AuthResult(), Challenge(b"?", state="kept"), AuthResult("banned", reasonString="no more")]
        seen: list[Any] = []

        def step(client: Any, method: str, data: Any, state: Any, result: AuthResult) -> Any:
            seen.append(state)
            return answers.pop(0)

        self.broker.hooks.clientEnhancedAuthenticate.add(step)
        client = self.client(authMethod="m")
        client.send(Auth(0x19, propertiesOf(authMethod="m")))
        self.assertEqual(client.expect(Auth).reason, 0x18)
        client.send(Auth(0x18, propertiesOf(authMethod="m")))
        self.assertEqual(client.expect(Disconnect).reason, 0x87)
        self.assertEqual(seen, [None, None, "kept"])
