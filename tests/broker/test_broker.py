"""
Tests of L{twisted_mqtt.broker.broker} and its parts, through the wire: sessions and what zones say of them.
"""

from __future__ import annotations

import gc
from typing import Any

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREC, Connack, Disconnect, Publish, Unsubscribe
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, QUOTA_EXCEEDED, RECEIVE_MAXIMUM_EXCEEDED
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import ROUND_ROBIN
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf


def _sessions() -> int:
    """
    How many sessions somebody holds.
    """
    gc.collect()
    return sum(isinstance(each, Session) for each in gc.get_objects())


class SessionTests(BrokerTestCase):
    """
    How long sessions live, and what they do meanwhile.
    """

    def present(self, version: int = 5, **fields: Any) -> bool:
        """
        Connect, and see whether there was a session; then go.
        """
        peer = Peer(self.factory, self.clock, version)
        present = peer.connect("client", **fields).sessionPresent
        peer.lose()
        return present

    def test_expiresByTheClock(self) -> None:
        """
        A session is there until its expiry interval has passed since its connection ended, and no longer.
        """
        self.client(sessionExpiry=10).lose()
        self.pass_(9)
        self.assertTrue(self.present(cleanStart=False, sessionExpiry=10))
        self.pass_(9)
        self.assertTrue(self.present(cleanStart=False, sessionExpiry=10))
        self.pass_(11)
        self.assertEqual(self.broker.sessions, {})
        self.assertFalse(self.present(cleanStart=False))

    def test_neverExpires(self) -> None:
        """
        0xFFFFFFFF is for ever, where the zone sets no limit.
        """
        self.begin(max_session_expiry_interval=0)
        self.client(sessionExpiry=0xFFFFFFFF).lose()
        self.clock.advance(10_000_000)
        self.assertTrue(self.present(cleanStart=False))

    def test_below5(self) -> None:
        """
        Below MQTT 5 the zone says how long; a clean session ends with its connection.
        """
        self.begin(session_expiry_interval=20)
        self.client(version=4, cleanStart=False).lose()
        self.pass_(18)
        self.assertTrue(self.present(4, cleanStart=False))
        self.pass_(22)
        self.assertEqual(self.broker.sessions, {})
        self.client(version=4, cleanStart=True).lose()
        self.assertEqual(self.broker.sessions, {})

    def test_changedByDisconnect(self) -> None:
        """
        A DISCONNECT may change the interval, but not from 0 (3.14.2.2.2).
        """
        peer = self.client(sessionExpiry=10)
        peer.send(Disconnect(0, propertiesOf(sessionExpiry=100)))
        self.pass_(50)
        self.assertTrue(self.present(cleanStart=False, sessionExpiry=10))
        peer = self.client(cleanStart=True)
        peer.send(Disconnect(0, propertiesOf(sessionExpiry=100)))
        peer.expectClosed(0x82)

    def test_comingAndGoing(self) -> None:
        """
        A client that comes and goes all the time, with a session that lasts for years, does not make the process grow.
        """
        for _ in range(3000):
            self.client(cleanStart=False, sessionExpiry=100_000_000).lose()
        self.assertTrue(len(self.broker.registry._ending) < 1100)
        self.clock.advance(100_000_001)
        self.pass_(2)
        self.assertEqual(self.broker.sessions, {})

    def test_endedSessionsAreLetGo(self) -> None:
        """
        Nothing holds a session that has ended before its time, nor what waits in it.
        """
        before = _sessions()
        for _ in range(20):
            self.client(sessionExpiry=100_000_000).lose()
        self.assertTrue(self.broker.endSession("client"))
        self.assertEqual(_sessions(), before)

    def test_endsInPortions(self) -> None:
        """
        A session with very many subscriptions ends at once, and they leave in later turns. Meanwhile it gets nothing:
        messages for a share go to its other member.
        """
        self.begin(max_subscribe_filters=0)
        leaving, staying = self.client("leaving", sessionExpiry=100), self.client("staying", sessionExpiry=100)
        leaving.subscribe("$share/g/t", *(f"a/{number}/+" for number in range(1000)))
        staying.subscribe("$share/g/t")
        staying.lose()
        leaving.lose()
        tree = self.broker.router.tree
        self.assertTrue(self.broker.endSession("leaving"))
        self.assertEqual(list(self.broker.sessions), ["staying"])
        self.assertGreater(tree.count, 500)
        publisher = self.client("publisher")
        for _ in range(10):
            self.broker.publish(Message("t", b"x", 1))
        self.clock.advance(0)
        self.assertEqual(tree.count, 1)
        again = self.peer()
        again.connect("staying", cleanStart=False)
        self.assertEqual(len(again.receive()), 10)
        publisher.lose()

    def test_expireInPortions(self) -> None:
        """
        Sessions that expire all at once end little by little, each once.
        """
        ended = self.hook("session.terminated", None)
        for number in range(100):
            self.client(f"c{number}", sessionExpiry=10).lose()
        self.assertEqual(len(self.broker.sessions), 100)
        self.broker.registry.expire(self.clock.seconds() + 11)
        self.assertEqual(len(self.broker.sessions), 92)
        self.pass_(12)
        self.assertEqual(self.broker.sessions, {})
        self.assertEqual(len(ended), 100)

    def test_anotherMountpointIsAnotherSession(self) -> None:
        """
        A session is not resumed by a client whose topics lie elsewhere.
        """
        self.begin(mountpoint="%u/")
        self.client(sessionExpiry=10, username="a").subscribe("x")
        self.assertFalse(self.present(cleanStart=False, username="b"))

    def test_sharedGroupsOfAbsentMembers(self) -> None:
        """
        Where all members are away a message waits for one of them, and that one gets it.
        """
        for name in ("a", "b"):
            peer = self.client(name, sessionExpiry=100)
            peer.subscribe("$share/g/x")
            peer.lose()
        publisher = self.client("p")
        for number in range(4):
            publisher.publish("x", b"%d" % number, 1, number + 1)
        found = []
        for name in ("a", "b"):
            peer = self.client(name, cleanStart=False, sessionExpiry=100)
            found += peer.payloads()
        self.assertEqual(sorted(found), [b"0", b"1", b"2", b"3"])

    def test_memberThatLeaves(self) -> None:
        """
        When the session of a member ends, another member gets its unacknowledged QoS 1 messages; a QoS 2 message in
        flight does not change its receiver.
        """
        self.broker.router.strategy = ROUND_ROBIN
        leaving, staying = self.client("leaving"), self.client("staying")
        for peer in (leaving, staying):
            peer.subscribe("$share/g/x")
        publisher = self.client("p")
        for number in range(6):
            publisher.publish("x", b"%d" % number, 1 + number // 2 % 2, number + 1)
        self.assertEqual(leaving.payloads(), [b"0", b"2", b"4"])
        self.assertEqual(staying.payloads(), [b"1", b"3", b"5"])
        leaving.lose()
        self.assertEqual(staying.payloads(), [b"0", b"4"])

    def test_dispatchAck(self) -> None:
        """
        With C{shared_dispatch_ack_enabled} that happens when the member goes, though its session lives on.
        """
        for enabled in (False, True):
            self.begin()
            self.broker.registry._passesOn = enabled
            self.broker.router.strategy = ROUND_ROBIN
            leaving, staying = self.client("leaving", sessionExpiry=100), self.client("staying")
            for peer in (leaving, staying):
                peer.subscribe("$share/g/x")
            self.client("p").publish("x", b"1", 1)
            self.assertEqual(leaving.payloads(), [b"1"])
            leaving.lose()
            self.assertEqual(staying.payloads(), [b"1"] if enabled else [])
            again = self.client("leaving", cleanStart=False)
            self.assertEqual(again.payloads(), [] if enabled else [b"1"])

    def test_endOfAQueue(self) -> None:
        """
        Messages that wait for a session that ends are reported as dropped.
        """
        told: list[tuple[bytes, str]] = []
        self.broker.hooks["message.dropped"].add(lambda message, by, reason: told.append((message.payload, reason)))
        peer = self.client(sessionExpiry=10)
        peer.subscribe("x")
        peer.lose()
        self.client("p").publish("x", b"1", 1).publish("x", b"2", 2, 2)
        self.pass_(12)
        self.assertEqual(told, [(b"1", "session_terminated"), (b"2", "session_terminated")])


class ZoneTests(BrokerTestCase):
    """
    Keys of zones that concern sessions.
    """

    def test_usernameAsClientID(self) -> None:
        """
        With C{use_username_as_clientid} the user name takes the place of the identifier, where there is one.
        """
        self.begin(use_username_as_clientid=True)
        self.client("a", username="u")
        self.client("b")
        self.assertEqual(sorted(self.broker.clients), ["b", "u"])

    def test_assignedClientID(self) -> None:
        """
        A client without an identifier gets one, and is told if it can be; below MQTT 5 only with a clean session, and
        in MQTT 3.1 never.
        """
        assigned = self.client("").protocol.client.clientID
        self.assertEqual(list(self.broker.clients), [assigned])
        self.client("", version=4, cleanStart=True)
        self.assertEqual(len(self.broker.clients), 2)
        self.refused("", 2, version=4, cleanStart=False)
        self.refused("", 2, version=3)

    def test_maxClientIDLength(self) -> None:
        """
        Counted in bytes.
        """
        self.begin(max_clientid_len=4)
        self.client("éé")
        self.refused("ééé", 0x85)

    def test_maxSubscriptions(self) -> None:
        """
        Over C{max_subscriptions} filters are refused, but those that are there can be changed.
        """
        self.begin(max_subscriptions=2)
        peer = self.client()
        self.assertEqual(peer.subscribe("a", "b", "c", "a"), [2, 2, QUOTA_EXCEEDED, 2])
        peer.send(Unsubscribe(1, ["a"]))
        peer.receive()
        self.assertEqual(peer.subscribe("c"), [2])
        self.assertEqual(self.broker.router.tree.count, 2)

    def test_upgradeQoS(self) -> None:
        """
        With C{upgrade_qos} messages come with the QoS of the subscription.
        """
        self.begin(upgrade_qos=True)
        peer = self.client()
        peer.subscribe("x", qos=2)
        self.client("p").publish("x", b"1", 0)
        self.assertEqual(peer.expect(Publish).qos, 2)

    def test_ignoreLoopDeliver(self) -> None:
        """
        With C{ignore_loop_deliver} a client does not get what it has published itself, in any version.
        """
        self.begin(ignore_loop_deliver=True)
        for version in (4, 5):
            peer = self.client(version=version)
            peer.subscribe("x")
            peer.publish("x", b"own")
            self.client("p").publish("x", b"other")
            self.assertEqual(peer.payloads(), [b"other"])

    def test_mountpoint(self) -> None:
        """
        Clients with different mount points do not hear each other; their retained messages and shares are apart too.
        """
        self.begin(mountpoint="%c/")
        a, b = self.client("a"), self.client("b")
        self.assertEqual(a.subscribe("x/#", "$share/g/y"), [2, 2])
        b.subscribe("x/#", "$share/g/y")
        a.publish("x/1", b"1", retain=True).publish("y", b"2")
        self.assertEqual([(each.topic, each.payload) for each in a.receive()], [("x/1", b"1"), ("y", b"2")])  # type: ignore[attr-defined]  # PUBLISH
        b.expectNothing()
        self.assertEqual(self.broker.retained.topics(), ["a/x/1"])
        self.assertEqual(a.subscribe("x/#"), [2])
        self.assertEqual([(each.topic, each.retain) for each in a.receive()], [("x/1", True)])  # type: ignore[attr-defined]  # PUBLISH
        a.send(Unsubscribe(5, ["x/#", "$share/g/y"]))
        self.assertEqual(a.next().reasons, [0, 0])  # type: ignore[attr-defined]  # UNSUBACK
        self.assertEqual(self.broker.router.tree.count, 2)

    def test_mountpointWithAWildcard(self) -> None:
        """
        A name with wildcards in a mount point would let a client listen to others: it is kept out.
        """
        self.begin(mountpoint="%u/")
        self.refused("a", NOT_AUTHORIZED, username="+")
        self.refused("a", NOT_AUTHORIZED, username="#")

    def test_mountpointOfSomebodyElse(self) -> None:
        """
        Nor may a name reach into the mount point of another one, or be filled in twice, or make a C{$} topic.
        """
        self.begin(mountpoint="t/%c/%u/")
        self.refused("a/b", NOT_AUTHORIZED)
        self.refused("a", NOT_AUTHORIZED, username="b/c")
        self.client("%u", username="other")
        self.client("$SYS", username="%c")
        self.assertEqual(
            sorted(client.mountpoint for client in self.broker.clients.values()), ["t/$SYS/%c/", "t/%u/other/"]
        )
        self.begin(mountpoint="%c/")
        self.refused("$SYS", NOT_AUTHORIZED)
        self.refused("$share", NOT_AUTHORIZED)

    def test_maxAwaitingRel(self) -> None:
        """
        Over C{max_awaiting_rel} a QoS 2 message is refused, until the others are older than C{await_rel_timeout}.
        """
        self.begin(max_awaiting_rel=2, await_rel_timeout=10)
        peer = self.client(sessionExpiry=100)
        peer.publish("x", b"", 2, 1).publish("x", b"", 2, 2).publish("x", b"", 2, 3)
        self.assertEqual([each.type for each in peer.receive()], [5, 5, 14])
        self.assertEqual(self.broker.traffic.total("messages_received"), 2)
        peer = self.client(sessionExpiry=100, cleanStart=False)
        peer.publish("x", b"", 2, 3)
        peer.expectClosed(RECEIVE_MAXIMUM_EXCEEDED)
        self.pass_(11)
        peer = self.client(sessionExpiry=100, cleanStart=False)
        peer.publish("x", b"", 2, 3)
        peer.expectAck(PUBREC, 3, 0x10)

    def test_localAndPlain(self) -> None:
        """
        A filter subscribed with and without C{$local/} stays subscribed when one of the two goes.
        """
        peer = self.client()
        for gone, left in (("$local/x", "x"), ("x", "$local/x")):
            peer.subscribe("x", "$local/x")
            peer.send(Unsubscribe(1, [gone]))
            peer.receive()
            peer.publish("x", b"1")
            self.assertEqual(peer.payloads(), [b"1"])
            peer.send(Unsubscribe(1, [left]))
            peer.receive()
            peer.publish("x", b"1")
            peer.expectNothing()
            self.assertEqual(self.broker.router.tree.count, 0)


class ConnackTests(BrokerTestCase):
    """
    Get the CONNACK of a client.
    """

    def test_limits(self) -> None:
        """
        CONNACK tells what the zone does not offer and what it limits.
        """
        self.begin(
            max_qos_allowed=1,
            retain_available=False,
            wildcard_subscription=False,
            shared_subscription=False,
            max_topic_alias=7,
            max_packet_size=5000,
            max_awaiting_rel=9,
            server_keepalive=33,
        )
        peer = Peer(self.factory, self.clock)
        peer.send(connectPacket(requestResponse=1))
        self.assertEqual(
            peer.expect(Connack).properties,
            propertiesOf(
                receiveMaximum=9,
                maximumQoS=1,
                retainAvailable=0,
                maximumPacketSize=5000,
                topicAliasMaximum=7,
                wildcardAvailable=0,
                sharedAvailable=0,
                serverKeepAlive=33,
                responseInformation="response/client/",
            ),
        )

    def test_below5(self) -> None:
        """
        Below MQTT 5 there is nothing to be told but whether there was a session, in 3.1 not even that.
        """
        for version, present in ((4, True), (3, False)):
            self.client(version=version, cleanStart=False).lose()
            peer = Peer(self.factory, self.clock, version)
            self.assertEqual(peer.connect("client", cleanStart=False).sessionPresent, present)
            peer.lose()
