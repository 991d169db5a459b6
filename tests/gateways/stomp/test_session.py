"""
The gateway's handling of a client's frames, in memory.
"""

from typing import Any

import pytest

from tests.kits.stomp import NOW, Client, Kit
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.hooks.verdicts import DENY, STOP, AuthResult

ALL = pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])


def publish(kit: Kit, topic: str, payload: bytes = b"x", **values: Any) -> None:
    """
    A message from somewhere else.
    """
    kit.broker.publish(Message(topic, payload, timestamp=kit.clock.seconds(), **values))


def ackOf(client: Client, headers: dict[str, str]) -> dict[str, str]:
    """
    How a client names a message that it acknowledges.
    """
    if client.version == 12:
        return {"id": headers["ack"]}
    if client.version == 11:
        return {"message_id": headers["message-id"], "subscription": headers["subscription"]}
    return {"message_id": headers["message-id"]}


class TestConnect:
    """
    Coming in.
    """

    @pytest.mark.parametrize(
        "accepted, version", [("1.0,1.1,1.2", "1.2"), ("1.0,1.1", "1.1"), ("1.0", "1.0"), ("1.1, 9.9", "1.1")]
    )
    def test_highestCommonVersion(self, accepted: str, version: str) -> None:
        """
        The highest version that both have is spoken.
        """
        client = Kit().client()
        client.send("CONNECT", accept_version=accepted, host="x")
        frame = client.next()
        assert (frame.command, frame.headers["version"]) == ("CONNECTED", version)

    def test_noVersionIs10(self) -> None:
        """
        Without accept-version it is 1.0; STOMP is as good as CONNECT.
        """
        client = Kit().client()
        client.send("STOMP")
        assert client.next().headers["version"] == "1.0"

    def test_noCommonVersion(self) -> None:
        """
        Without a common version the client learns which there are, and it is over.
        """
        client = Kit().client()
        client.send("CONNECT", accept_version="2.0", host="x")
        frame = client.error()
        assert frame.headers["version"] == "1.0,1.1,1.2"
        assert frame.headers["message"] == "unsupported version"

    @pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE", "DISCONNECT", "NONSENSE"])
    def test_connectFirst(self, command: str) -> None:
        """
        Nothing else may come before CONNECT.
        """
        client = Kit().client()
        client.send(command, destination="a", id="1")
        client.error()

    def test_connectTwice(self) -> None:
        """
        A second CONNECT is an error.
        """
        client = Kit().connected()
        client.send("CONNECT", accept_version="1.2")
        assert client.error().headers["message"] == "already connected"

    def test_connectInTime(self) -> None:
        """
        A silent client is sent away.
        """
        kit = Kit(zone={"idle_timeout": "5s"})
        client = kit.client()
        kit.clock.advance(4.9)
        assert not client.closed
        kit.clock.advance(0.2)
        assert client.error().headers["message"] == "no CONNECT came"
        # And cut, if it stays.
        kit.clock.advance(21)
        assert client.transport.disconnected

    def test_builtInAccount(self) -> None:
        """
        The default user comes in by its passcode and no other, whatever the broker's own authentication says.
        """
        kit = Kit(default_user={"login": "me", "passcode": "mine"})
        kit.broker.hooks.clientAuthenticate.add(lambda client, verdict: STOP(AuthResult("not_authorized")))
        client = kit.connected(login="me", passcode="mine")
        assert client.protocol.session.client.info.username == "me"
        other = kit.client()
        other.send("CONNECT", accept_version="1.2", login="me", passcode="no")
        assert other.error().headers["message"] == "Login or passcode error!"

    def test_guestIsLocal(self) -> None:
        """
        The passcode that everybody knows serves this machine alone.
        """
        kit = Kit()
        kit.connected(login="guest", passcode="guest")
        far = kit.client("192.0.2.1")
        far.send("CONNECT", accept_version="1.2", login="guest", passcode="guest")
        far.error()

    def test_chainDecides(self) -> None:
        """
        Any other login is the affair of the broker's authentication; one that nobody vouches for is refused.
        """
        kit = Kit()
        client = kit.client()
        client.send("CONNECT", accept_version="1.2", login="u", passcode="p")
        client.error()
        seen = []

        def authenticate(client: Any, verdict: Any) -> Any:
            seen.append((client.username, client.password, client.protocol))
            return AuthResult("success")

        kit.broker.hooks.clientAuthenticate.add(authenticate)
        kit.connected(login="u", passcode="p")
        assert seen == [("u", b"p", "stomp")]

    @pytest.mark.parametrize("allowed, zone", [(True, False), (False, True), (None, True), (None, False)])
    def test_anonymous(self, allowed: bool | None, zone: bool) -> None:
        """
        Clients without a login: as the gateway's table says, or else the zone.
        """
        table = {} if allowed is None else {"allow_anonymous": allowed}
        client = Kit(zone={"allow_anonymous": zone}, **table).client()
        client.send("CONNECT", accept_version="1.2")
        assert client.next().command == ("CONNECTED" if (zone if allowed is None else allowed) else "ERROR")

    def test_mqttIsNotConcerned(self) -> None:
        """
        The built-in account is none of MQTT's.
        """
        kit = Kit(zone={"allow_anonymous": False})
        info = type("Info", (), {"protocol": "mqtt", "username": "guest", "password": b"guest"})()
        refusal = AuthResult("not_authorized", anonymous=True)
        assert kit.broker.hooks.clientAuthenticate.fold(info, refusal) is refusal

    def test_tooMany(self) -> None:
        """
        Above max_clients nobody is let in; when one goes there is room again.
        """
        kit = Kit(max_clients=2)
        first = kit.connected()
        kit.connected()
        assert kit.factory.buildProtocol(None) is None
        assert kit.broker.counters.connections_refused_full == 1
        first.lose()
        kit.connected()

    def test_newcomersGiveWay(self) -> None:
        """
        A connection without a CONNECT does not keep others away: the oldest gives way to the next that comes.
        """
        kit = Kit(max_clients=3)
        first = kit.connected()
        second, third = kit.client(), kit.client()
        fourth = kit.connected()
        assert second.closed and not third.closed
        kit.connected()
        assert third.closed and not first.closed and not fourth.closed
        assert kit.factory.buildProtocol(None) is None


class TestSending:
    """
    SEND, and what becomes of it.
    """

    @ALL
    def test_goesToSubscribers(self, version: str) -> None:
        """
        A message arrives with its headers; in 1.1 and 1.2 whatever characters they have.
        """
        kit = Kit()
        sender, receiver = kit.connected(), kit.connected(version)
        receiver.send("SUBSCRIBE", destination="a/+", id="7")
        sender.send("SEND", b"hello", destination="a/b", colour="red", content_type="text/x")
        (frame,) = receiver.all()
        assert frame.command == "MESSAGE" and frame.body == b"hello"
        assert frame.headers == {
            "subscription": "7",
            "message-id": "1",
            "destination": "a/b",
            "content-type": "text/x",
            "colour": "red",
            "content-length": "5",
        }
        sender.send("SEND", b"\0", destination="a/b", content_length="1", odd="x\\cy\\\\n\\n")
        (frame,) = receiver.all()
        assert frame.body == b"\0" and frame.headers["content-type"] == "text/plain"
        if version == "1.0":
            assert "odd" not in frame.headers
        else:
            assert frame.headers["odd"] == "x:y\\n\n"

    def test_becomesAMessage(self) -> None:
        """
        Headers are what they say in MQTT; others are user properties, in order.
        """
        kit = Kit()
        messages: list[Message] = []
        kit.broker.hooks.messagePublish.add(lambda message: messages.append(message))
        client = kit.connected()
        client.send(
            "SEND",
            b"x",
            destination="t",
            qos="2",
            retain="true",
            expires=str(int((NOW + 90) * 1000)),
            content_type="a/b",
            reply_to="r/s",
            correlation_id="c",
            one="1",
            two="2",
            receipt="9",
        )
        client.send("SEND", b"y", destination="t", persistent="true")
        client.send("SEND", b"z", destination="t", expires=str(int((NOW - 1) * 1000)), receipt="10")
        first, second = messages
        assert (first.topic, first.payload, first.qos, first.retain) == ("t", b"x", 2, True)
        assert first.expiresAt == NOW + 90
        assert first.clientID == client.protocol.session.client.info.clientID and first.protocol == "stomp"
        properties = first.properties
        assert properties is not None
        assert properties.userProperties == [("one", "1"), ("two", "2")]
        assert (properties.contentType, properties.responseTopic) == ("a/b", "r/s")
        assert properties.correlationData == b"c"
        assert (second.qos, second.properties) == (1, None)
        assert [frame.headers["receipt-id"] for frame in client.all()] == ["9", "10"]

    def test_comesFromAMessage(self) -> None:
        """
        And the other way round; what would pass for a header of STOMP's own is left out.
        """
        kit = Kit()
        client = kit.connected()
        client.send("SUBSCRIBE", destination="#", id="1")
        properties = Properties()
        properties.userProperties = [("k", "a"), ("k", "b"), ("subscription", "no"), ("destination", "no")]
        properties.responseTopic = "r"
        properties.correlationData = b"\xff"
        publish(kit, "t", b"\xff", qos=1, retain=True, properties=properties, expiresAt=NOW + 5)
        (frame,) = client.all()
        assert frame.headers == {
            "subscription": "1",
            "message-id": "1",
            "destination": "t",
            "persistent": "true",
            "qos": "1",
            "k": "a",
            "expires": str(int((NOW + 5) * 1000)),
            "reply-to": "r",
            "content-type": "application/octet-stream",
            "content-length": "1",
        }
        assert b"\nk:a\nk:b\n" in client.raw

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"destination": ""},
            {"destination": "a/+"},
            {"destination": "a/#"},
            {"destination": "$SYS/x"},
            {"destination": "a", "qos": "3"},
            {"destination": "a", "qos": "x"},
            {"destination": "a", "retain": "maybe"},
            {"destination": "a", "expires": "soon"},
            {"destination": "a", "reply-to": "#"},
        ],
    )
    def test_refused(self, headers: dict[str, str]) -> None:
        """
        A SEND that makes no sense is an error that names its receipt.
        """
        client = Kit(zone={"acl_deny_action": "disconnect"}).connected()
        client.send("SEND", b"x", **headers, receipt="r")
        assert client.error().headers["receipt-id"] == "r"

    @pytest.mark.parametrize(
        "data",
        [
            b"SEND\ndestination:a\ncontent-length:9000\nreceipt:r\n\n",
            b"SEND\ndestination:a\nreceipt:r\n\n" + b"x" * 9000,
            b"SEND\ndestination:a\ncontent-length:many\nreceipt:r\n\n",
            b"ACK\nid:1\nreceipt:r\n\nbody\0",
        ],
    )
    def test_wrongFrame(self, data: bytes) -> None:
        """
        Where the headers of a frame are known, the error says which receipt there will not be.
        """
        client = Kit().connected()
        client.bytes(data)
        assert client.error().headers["receipt-id"] == "r"

    def test_notAllowed(self) -> None:
        """
        A message that access rules refuse is dropped in silence if the zone says "ignore", unless a receipt is wanted.
        """
        kit = Kit()
        kit.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: STOP(DENY))
        client = kit.connected()
        client.send("SEND", b"x", destination="a")
        assert client.all() == [] and not client.closed
        client.send("SEND", b"x", destination="a", receipt="1")
        assert client.error().headers["message"] == "not_authorized"
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1")
        assert client.error().headers["message"] == "not_authorized"

    def test_waitsForHooks(self) -> None:
        """
        While a hook thinks about a message nothing overtakes it, and nothing is read.
        """
        from twisted.internet.defer import Deferred

        kit = Kit()
        waiting: list[Deferred[Any]] = []

        def think(message: Message) -> Any:
            if message.payload != b"1":
                return message
            waiting.append(Deferred())
            return waiting[0].addCallback(lambda _: message)

        kit.broker.hooks.messagePublish.add(think)
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1")
        client.bytes(b"".join(b"SEND\ndestination:a\nreceipt:%d\n\n%d\0" % (n, n) for n in (1, 2, 3)))
        assert client.all() == [] and client.transport.producerState == "paused"
        waiting[0].callback(None)
        kit.turn()
        frames = client.all()
        assert [frame.body for frame in frames if frame.command == "MESSAGE"] == [b"1", b"2", b"3"]
        assert [frame.headers["receipt-id"] for frame in frames if frame.command == "RECEIPT"] == ["1", "2", "3"]
        assert client.transport.producerState == "producing"

    def test_publishLimit(self) -> None:
        """
        Messages beyond the zone's C{publish_limit} wait for their time, those of a transaction too; none is lost, and
        what follows waits behind them. Meanwhile the client is not read, and nobody misses its heart-beats.
        """
        kit = Kit(zone={"publish_limit": "1,10s"}, min_heart_beat="1s")
        receiver = kit.connected()
        receiver.send("SUBSCRIBE", destination="a", id="1")
        client = kit.connected(heart_beat="1000,0")
        client.bytes(
            b"SEND\ndestination:a\nreceipt:1\n\n1\0BEGIN\ntransaction:t\n\n\0"
            b"SEND\ndestination:a\ntransaction:t\n\n2\0SEND\ndestination:a\ntransaction:t\n\n3\0"
            b"COMMIT\ntransaction:t\nreceipt:2\n\n\0SEND\ndestination:a\nreceipt:3\n\n4\0"
        )
        assert [frame.body for frame in receiver.all()] == [b"1"]
        assert [frame.headers["receipt-id"] for frame in client.all()] == ["1"]
        for body, receipts in ((b"2", []), (b"3", ["2"]), (b"4", ["3"])):
            assert client.transport.producerState == "paused"
            kit.clock.pump([1] * 9)
            assert receiver.all() == []
            kit.clock.advance(1)
            assert [frame.body for frame in receiver.all()] == [body]
            assert [frame.headers["receipt-id"] for frame in client.all()] == receipts
        assert client.transport.producerState == "producing"
        kit.clock.pump([0.5] * 3)
        assert not client.closed
        kit.clock.pump([0.5] * 3)
        assert client.error().headers["message"] == "no heart-beat came"

    def test_goneWhileAMessageWaits(self) -> None:
        """
        A message whose time has not come goes with its connection, whoever has ended that.
        """
        kit = Kit(zone={"publish_limit": "1,10s"})
        receiver = kit.connected()
        receiver.send("SUBSCRIBE", destination="a", id="1")
        lost, taken = kit.connected(), kit.connected(client_id="x")
        for client in (lost, taken):
            client.bytes(b"SEND\ndestination:a\n\n1\0SEND\ndestination:a\n\n2\0")
        lost.lose()
        kit.connected(client_id="x")
        assert taken.error().headers["message"] == "session_taken_over"
        kit.clock.pump([1] * 30)
        assert [frame.body for frame in receiver.all()] == [b"1", b"1"]

    def test_destinationsByPrefix(self) -> None:
        """
        With prefixes configured, /topic/x and /queue/x are the topic x, and those who subscribe /queue/x share it.
        """
        kit = Kit(destination={"topic_prefix": "/topic/", "queue_prefix": "/queue/"})
        one, two, all_ = kit.connected(), kit.connected(), kit.connected()
        for client in (one, two):
            client.send("SUBSCRIBE", destination="/queue/x", id="q")
        all_.send("SUBSCRIBE", destination="/topic/#", id="t")
        for _ in range(6):
            all_.send("SEND", b"x", destination="/queue/x", reply_to="/topic/answers")
        shared = one.all() + two.all()
        assert len(shared) == 6 and {frame.headers["destination"] for frame in shared} == {"/queue/x"}
        assert {frame.headers["reply-to"] for frame in shared} == {"/topic/answers"}
        assert [frame.headers["destination"] for frame in all_.all()] == ["/topic/x"] * 6


class TestSubscribing:
    """
    SUBSCRIBE and UNSUBSCRIBE.
    """

    def test_idIsNeeded(self) -> None:
        """
        From 1.1 on.
        """
        client = Kit().connected("1.1")
        client.send("SUBSCRIBE", destination="a")
        client.error()

    def test_idOnce(self) -> None:
        """
        An id can't be used twice at a time.
        """
        client = Kit().connected()
        client.send("SUBSCRIBE", destination="a", id="1")
        client.send("SUBSCRIBE", destination="b", id="1")
        client.error()

    @pytest.mark.parametrize(
        "headers", [{"ack": "maybe"}, {"destination": "a/#/b"}, {"destination": "$share/x"}, {"destination": ""}]
    )
    def test_refused(self, headers: dict[str, str]) -> None:
        """
        An impossible subscription is an error.
        """
        client = Kit().connected()
        client.send("SUBSCRIBE", **{"destination": "a", "id": "1", **headers})
        client.error()

    def test_byDestination(self) -> None:
        """
        In 1.0 a subscription needs no id, and its messages then name none.
        """
        kit = Kit()
        client = kit.connected("1.0")
        client.send("SUBSCRIBE", destination="a")
        publish(kit, "a")
        (frame,) = client.all()
        assert "subscription" not in frame.headers
        client.send("UNSUBSCRIBE", destination="a", receipt="r")
        publish(kit, "a")
        assert [frame.command for frame in client.all()] == ["RECEIPT"]
        assert kit.broker.router.tree.count == 0

    def test_sameDestinationTwice(self) -> None:
        """
        Each subscription gets its own, overlapping ones too; what was retained goes to the newest alone.
        """
        kit = Kit()
        publish(kit, "a", b"old", retain=True)
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1")
        client.send("SUBSCRIBE", destination="a", id="2")
        client.send("SUBSCRIBE", destination="+", id="3")
        frames = client.all()
        assert [frame.headers["subscription"] for frame in frames] == ["1", "2", "3"]
        assert {frame.headers["retain"] for frame in frames} == {"true"}
        publish(kit, "a", b"new")
        assert sorted(frame.headers["subscription"] for frame in client.all()) == ["1", "2", "3"]
        client.send("UNSUBSCRIBE", id="1")
        publish(kit, "a")
        assert sorted(frame.headers["subscription"] for frame in client.all()) == ["2", "3"]
        client.send("UNSUBSCRIBE", id="1")
        client.error()

    def test_tooMany(self) -> None:
        """
        A client may have only so many.
        """
        client = Kit(max_subscriptions=2).connected()
        for n in range(3):
            client.send("SUBSCRIBE", destination="a", id=str(n))
        assert client.error().headers["message"] == "too many subscriptions"

    @ALL
    def test_receiptsOnEveryFrame(self, version: str) -> None:
        """
        Every frame is answered if it wants to be, in order.
        """
        client = Kit().connected(version)
        n = iter(range(1, 100))
        client.send("SUBSCRIBE", destination="a", id="1", ack="client", receipt=str(next(n)))
        client.send("SEND", b"x", destination="a", receipt=str(next(n)))
        (message,) = [frame for frame in client.received if frame.command == "MESSAGE"]
        client.send("BEGIN", transaction="t", receipt=str(next(n)))
        client.send("ACK", transaction="t", receipt=str(next(n)), **ackOf(client, message.headers))
        client.send("COMMIT", transaction="t", receipt=str(next(n)))
        client.send("BEGIN", transaction="t", receipt=str(next(n)))
        client.send("ABORT", transaction="t", receipt=str(next(n)))
        client.send("UNSUBSCRIBE", id="1", receipt=str(next(n)))
        client.send("DISCONNECT", receipt=str(next(n)))
        receipts = [frame.headers["receipt-id"] for frame in client.all() if frame.command == "RECEIPT"]
        assert receipts == [str(number) for number in range(1, 10)]
        assert client.closed
