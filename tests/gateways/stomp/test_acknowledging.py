"""
ACK, NACK, transactions, sessions that outlive a connection, heart-beats, and how it ends.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.stomp.frame import Frame, StompError
from gateways.stomp.heartbeat import HeartBeats
from tests.gateways.stomp.test_session import ALL, ackOf, publish
from tests.kits.stomp import Client, Kit
from twisted_mqtt.hooks.verdicts import ALLOW, DENY


def inflight(client: Client) -> int:
    """
    How many messages the session waits to hear of.
    """
    return len(client.protocol.session.client.session.inflight)


def bodies(frames: list[Frame]) -> list[bytes]:
    """
    The payloads of the messages among frames.
    """
    return [frame.body for frame in frames if frame.command == "MESSAGE"]


STEPS = st.lists(st.tuples(st.sampled_from(["publish", "ACK", "NACK"]), st.integers(0, 9)), max_size=40)


class TestAcknowledging:
    """
    The three modes.
    """

    @ALL
    def test_auto(self, version: str) -> None:
        """
        Nothing has to be acknowledged, and nothing is expected to be, even at QoS 1.
        """
        kit = Kit()
        client = kit.connected(version)
        client.send("SUBSCRIBE", destination="a", id="1", qos="1")
        for n in range(3):
            publish(kit, "a", b"%d" % n, qos=1)
        frames = client.all()
        assert bodies(frames) == [b"0", b"1", b"2"] and "ack" not in frames[0].headers
        assert inflight(client) == 0

    @ALL
    def test_cumulative(self, version: str) -> None:
        """
        With ack:client, ACK is for that message and all before it, of that subscription.
        """
        kit = Kit()
        client = kit.connected(version)
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        client.send("SUBSCRIBE", destination="b", id="2", ack="client")
        for topic in "aabba":
            # Published without an assurance: it is the subscription that wants acknowledgements.
            publish(kit, topic)
        frames = client.all()
        assert inflight(client) == 5
        client.send("ACK", **ackOf(client, frames[1].headers))
        assert inflight(client) == 3
        client.send("ACK", **ackOf(client, frames[4].headers))
        assert inflight(client) == 2
        client.send("ACK", **ackOf(client, frames[3].headers))
        assert inflight(client) == 0
        assert not client.closed

    @ALL
    def test_individual(self, version: str) -> None:
        """
        With ack:client-individual it is for that message alone; twice is once.
        """
        kit = Kit()
        client = kit.connected(version)
        client.send("SUBSCRIBE", destination="a", id="1", ack="client-individual")
        for _ in range(3):
            publish(kit, "a")
        frames = client.all()
        for _ in range(2):
            client.send("ACK", **ackOf(client, frames[1].headers))
            assert inflight(client) == 2
        assert not client.closed

    @pytest.mark.parametrize("name", ["0", "2", "x", "-1", "9" * 30])
    def test_noSuchMessage(self, name: str) -> None:
        """
        Acknowledging what was never sent is an error.
        """
        kit = Kit()
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        publish(kit, "a")
        client.all()
        client.send("ACK", id=name, receipt="r")
        assert client.error().headers["receipt-id"] == "r"

    def test_rightSubscription(self) -> None:
        """
        In 1.1 the subscription has to be named, and to be the right one.
        """
        kit = Kit()
        for headers in ({}, {"subscription": "2"}):
            client = kit.connected("1.1")
            client.send("SUBSCRIBE", destination="a", id="1", ack="client")
            publish(kit, "a")
            client.all()
            client.send("ACK", message_id="1", **headers)
            client.error()

    def test_window(self) -> None:
        """
        So many messages go out unacknowledged, and the others wait; prefetch-count makes it fewer.
        """
        kit = Kit(max_unacknowledged=5)
        client, few = kit.connected(), kit.connected(prefetch_count="2")
        for each in (client, few):
            each.send("SUBSCRIBE", destination="a", id="1", ack="client")
        for n in range(8):
            publish(kit, "a", b"%d" % n)
        frames = client.all()
        assert bodies(frames) == [b"0", b"1", b"2", b"3", b"4"]
        assert len(few.all()) == 2
        client.send("ACK", id=frames[-1].headers["ack"])
        assert bodies(client.all()) == [b"5", b"6", b"7"]

    def test_severalWaitForOne(self) -> None:
        """
        A message that several subscriptions got is settled when all have acknowledged it.
        """
        kit = Kit()
        client = kit.connected()
        for n in "12":
            client.send("SUBSCRIBE", destination="a", id=n, ack="client-individual")
        client.send("SUBSCRIBE", destination="#", id="3")
        publish(kit, "a")
        first, second, _ = client.all()
        client.send("ACK", id=first.headers["ack"])
        assert inflight(client) == 1
        client.send("ACK", id=second.headers["ack"])
        assert inflight(client) == 0

    def test_afterUnsubscribe(self) -> None:
        """
        A message that was sent before UNSUBSCRIBE can be acknowledged after it.
        """
        kit = Kit()
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        publish(kit, "a")
        client.all()
        client.send("UNSUBSCRIBE", id="1")
        client.send("ACK", id="1")
        assert not client.closed and inflight(client) == 0


class TestRefusing:
    """
    NACK.
    """

    def test_sentAgain(self) -> None:
        """
        A refused message is sent again, marked, so often; then it is dropped, and hooks are told.
        """
        kit = Kit(max_redeliveries=2)
        dropped: list[Any] = []
        kit.broker.hooks.messageDropped.add(lambda message, client, reason: dropped.append((message.payload, reason)))
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client-individual")
        publish(kit, "a", b"bad")
        for times in range(3):
            (frame,) = client.all()
            assert frame.body == b"bad"
            assert frame.headers.get("redelivered") == (None if times == 0 else "true")
            assert inflight(client) == 1
            client.send("NACK", id=frame.headers["ack"])
        assert client.all() == [] and inflight(client) == 0
        assert dropped == [(b"bad", "refused")]

    def test_cumulative(self) -> None:
        """
        With ack:client all before it are refused, too, and come again in order.
        """
        kit = Kit()
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        for n in range(4):
            publish(kit, "a", b"%d" % n)
        frames = client.all()
        client.send("NACK", id=frames[2].headers["ack"])
        again = client.all()
        assert bodies(again) == [b"0", b"1", b"2"]
        client.send("ACK", id=again[-1].headers["ack"])
        assert inflight(client) == 0

    def test_anotherOfTheQueue(self) -> None:
        """
        A message of a shared subscription goes to another member; the number of its refusals goes with it.
        """
        kit = Kit(max_redeliveries=3)
        one, two = kit.connected(), kit.connected()
        for client in (one, two):
            client.send("SUBSCRIBE", destination="$queue/a", id="1", ack="client-individual")
        publish(kit, "a", b"job")
        holders = []
        for _ in range(4):
            got = {client: client.all() for client in (one, two)}
            (holder,) = [client for client, frames in got.items() if frames]
            holders.append(holder)
            holder.send("NACK", id=got[holder][0].headers["ack"])
        assert holders[0] is not holders[1] and holders[0] is holders[2] and holders[1] is holders[3]
        assert one.all() == [] and two.all() == []
        assert inflight(one) == inflight(two) == 0

    def test_notIn10(self) -> None:
        """
        1.0 has no NACK.
        """
        client = Kit().connected("1.0")
        client.send("NACK", message_id="1")
        client.error()

    @settings(max_examples=60)
    @given(STEPS, st.booleans())
    def test_nothingIsLost(self, steps: list[tuple[str, int]], cumulative: bool) -> None:
        """
        Whatever is acknowledged and refused, each message is in flight until acknowledged, or dropped for its refusals.
        """
        kit = Kit(max_redeliveries=1)
        dropped: list[bytes] = []
        kit.broker.hooks.messageDropped.add(lambda message, client, reason: dropped.append(message.payload))
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client" if cumulative else "client-individual")
        held: list[Frame] = []
        settled: list[bytes] = []
        count = 0
        for what, which in steps:
            if what == "publish":
                publish(kit, "a", b"%d" % count)
                count += 1
            elif held:
                at = which % len(held)
                taken = held[: at + 1] if cumulative else [held[at]]
                held = [frame for frame in held if frame not in taken]
                client.send(what, id=taken[-1].headers["ack"])
                if what == "ACK":
                    settled += bodies(taken)
            held += client.all()
            assert inflight(client) == len(held)
        assert sorted(bodies(held) + settled + dropped) == sorted(b"%d" % n for n in range(count))


class TestTransactions:
    """
    BEGIN, COMMIT and ABORT.
    """

    def test_commit(self) -> None:
        """
        Nothing happens before COMMIT, and then all of it, in order.
        """
        kit = Kit()
        client, other = kit.connected(), kit.connected()
        other.send("SUBSCRIBE", destination="#", id="1")
        client.send("SUBSCRIBE", destination="q", id="1", ack="client")
        publish(kit, "q", b"q")
        client.all()
        other.all()
        client.send("BEGIN", transaction="t")
        client.send("SEND", b"1", destination="a", transaction="t", receipt="r")
        client.send("ACK", id="1", transaction="t")
        client.send("SEND", b"2", destination="b", transaction="t")
        client.send("SEND", b"outside", destination="c")
        assert bodies(other.all()) == [b"outside"] and inflight(client) == 1
        client.send("COMMIT", transaction="t")
        assert bodies(other.all()) == [b"1", b"2"] and inflight(client) == 0

    def test_abort(self) -> None:
        """
        After ABORT, or when the client goes, it has not been.
        """
        kit = Kit()
        client, other = kit.connected(), kit.connected()
        other.send("SUBSCRIBE", destination="#", id="1")
        client.send("SUBSCRIBE", destination="q", id="1", ack="client")
        publish(kit, "q")
        other.all()
        client.send("BEGIN", transaction="t")
        client.send("SEND", b"1", destination="a", transaction="t")
        client.send("ACK", id="1", transaction="t")
        client.send("ABORT", transaction="t")
        assert inflight(client) == 1
        client.send("BEGIN", transaction="t")
        client.send("SEND", b"1", destination="a", transaction="t")
        client.send("DISCONNECT")
        assert other.all() == []

    @pytest.mark.parametrize(
        "frames, message",
        [
            ([("BEGIN", {})], "missing header"),
            ([("BEGIN", {"transaction": "t"})] * 2, "transaction already started"),
            ([("COMMIT", {"transaction": "t"})], "transaction not found"),
            ([("ABORT", {"transaction": "t"})], "transaction not found"),
            ([("SEND", {"transaction": "t", "destination": "a"})], "transaction not found"),
            ([("BEGIN", {"transaction": str(n)}) for n in range(3)], "too many transactions"),
            (
                [("BEGIN", {"transaction": "t"})] + [("SEND", {"transaction": "t", "destination": "a"})] * 4,
                "transaction too large",
            ),
            (
                [("BEGIN", {"transaction": "t"}), ("SEND", {"transaction": "t", "destination": "a", "x": "y" * 300})],
                "transaction too large",
            ),
            (
                [("BEGIN", {"transaction": "t"}), ("SEND", {"transaction": "t", "destination": "a/#"})],
                "topic_name_invalid",
            ),
        ],
    )
    def test_refused(self, frames: list[tuple[str, dict[str, str]]], message: str) -> None:
        """
        An impossible acknowledgement is an error, and so are too many.
        """
        kit = Kit(transaction={"max_transactions": 2, "max_frames": 3, "max_size": 250})
        client = kit.connected()
        for command, headers in frames:
            client.send(command, **headers)
        assert client.error().headers["message"] == message

    def test_timeout(self) -> None:
        """
        One that is open for too long is aborted; the client learns of it when it goes on.
        """
        kit = Kit(transaction={"timeout": "10s"})
        client = kit.connected()
        client.send("BEGIN", transaction="t")
        kit.clock.advance(9)
        client.send("BEGIN", transaction="u")
        kit.clock.advance(2)
        client.send("COMMIT", transaction="u")
        assert not client.closed
        client.send("COMMIT", transaction="t")
        assert client.error().headers["message"] == "transaction not found"

    def test_allOrNothing(self) -> None:
        """
        A message that access rules refuse is refused when it is sent, before anything of the transaction is done.
        """
        kit = Kit()
        kit.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: DENY if topic == "no" else ALLOW)
        client, other = kit.connected(), kit.connected()
        other.send("SUBSCRIBE", destination="#", id="1")
        client.send("BEGIN", transaction="t")
        client.send("SEND", b"1", destination="yes", transaction="t")
        client.send("SEND", b"2", destination="no", transaction="t")
        client.error()
        assert other.all() == []


class TestSessions:
    """
    Sessions that outlive their connection, and how connections end.
    """

    def test_comesBack(self) -> None:
        """
        With client-id and clean-session:false, what was not acknowledged and what came meanwhile is there again once
        the client has subscribed again.
        """
        kit = Kit(zone={"session_expiry_interval": "1h"})
        who = {"client_id": "me", "clean_session": "false"}
        client = kit.client()
        assert client.connect("1.2", **who).headers["session-present"] == "false"
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        client.send("SUBSCRIBE", destination="b", id="2", qos="1")
        publish(kit, "a", b"1")
        client.all()
        client.lose()
        publish(kit, "a", b"2")
        publish(kit, "b", b"3")
        client = kit.client()
        assert client.connect("1.2", **who).headers["session-present"] == "true"
        assert client.all() == []
        client.send("SUBSCRIBE", destination="a", id="x", ack="client")
        frames = client.all()
        assert bodies(frames) == [b"1", b"2"] and frames[0].headers["redelivered"] == "true"
        client.send("ACK", id=frames[-1].headers["ack"])
        client.send("SUBSCRIBE", destination="b", id="y")
        assert bodies(client.all()) == [b"3"] and inflight(client) == 0
        client.send("SUBSCRIBE", destination="c", id="z")
        publish(kit, "c", b"4")
        assert bodies(client.all()) == [b"4"]

    def test_takeover(self) -> None:
        """
        A client with the same client-id takes over; the other one is told.
        """
        kit = Kit()
        client = kit.connected(client_id="me")
        kit.connected(client_id="me")
        assert client.error().headers["message"] == "session_taken_over"

    def test_kicked(self) -> None:
        """
        Whom the broker does not want any more is told why, after what was to be sent before.
        """
        kit = Kit()
        client = kit.connected(client_id="me")
        client.send("SUBSCRIBE", destination="a", id="1")
        publish(kit, "a")
        kit.broker.kick("me", 0x98, "go")
        message, error = client.all()
        assert message.command == "MESSAGE"
        assert (error.headers["message"], error.body) == ("administrative_action", b"go\n")
        assert client.closed and kit.broker.clients == {}

    def test_ends(self) -> None:
        """
        Whichever way a client goes, nothing of it is left.
        """
        kit = Kit()
        for way in ("DISCONNECT", "lost", "error"):
            client = kit.connected()
            client.send("SUBSCRIBE", destination="a", id="1", ack="client")
            publish(kit, "a")
            if way == "DISCONNECT":
                client.send("DISCONNECT")
            elif way == "error":
                client.bytes(b"nonsense\n\n\0")
            client.lose()
            assert kit.broker.clients == kit.broker.sessions == {} and kit.gateway.clients == 0
            assert kit.broker.router.tree.count == 0
        # But for housekeeping, nothing is to come.
        assert all("_keepHouse" in repr(call) or "LoopingCall" in repr(call) for call in kit.clock.getDelayedCalls())

    def test_slowClient(self) -> None:
        """
        To a client that does not read, messages wait; they come in order when it reads again.
        """
        kit = Kit(zone={"max_pending_bytes": 1000})
        client = kit.connected()
        client.send("SUBSCRIBE", destination="a", id="1", ack="client")
        client.protocol.pauseProducing()
        for n in range(50):
            publish(kit, "a", b"%d" % n)
        assert client.all() == [] and client.transport.producerState == "paused"
        client.protocol.resumeProducing()
        assert bodies(client.all()) == [b"%d" % n for n in range(50)]

    def test_stopsReading(self) -> None:
        """
        A client that does not read for too long is cut off.
        """
        kit = Kit()
        client = kit.connected()
        client.protocol.pauseProducing()
        kit.clock.advance(16)
        assert client.transport.disconnected and kit.broker.clients == {}


class TestHeartBeats:
    """
    Heart-beats in both directions.
    """

    @pytest.mark.parametrize(
        "asked, answer", [("0,0", "0,0"), ("1000,2000", "2000,1000"), ("10,0", "0,100"), ("0, 1", "100,0")]
    )
    def test_agreed(self, asked: str, answer: str) -> None:
        """
        The client's wish holds, within limits.
        """
        assert Kit().client().connect("1.2", heart_beat=asked).headers["heart-beat"] == answer

    @pytest.mark.parametrize("asked", ["", "1", "1,2,3", "a,b", "-1,0", "1.5,0"])
    def test_refused(self, asked: str) -> None:
        """
        A header that is no pair of numbers is an error.
        """
        with pytest.raises(StompError):
            HeartBeats.of(asked, 0.1)

    def test_sends(self) -> None:
        """
        Something comes at least that often; a message is as good as a heart-beat.
        """
        kit = Kit()
        client = kit.connected(heart_beat="0,1000")
        client.send("SUBSCRIBE", destination="a", id="1")
        seen = []
        for tick in range(200):
            kit.clock.advance(0.1)
            if tick >= 100:
                publish(kit, "a")
                kit.clock.advance(0)
            data = client.transport.value()
            client.transport.clear()
            if data:
                seen.append((tick, data))
        beats = [tick for tick, data in seen if data == b"\n"]
        assert all(later - earlier <= 10 for earlier, later in zip(beats, beats[1:], strict=False))
        assert len(beats) >= 10 and max(beats) <= 101 + 10

    def test_expects(self) -> None:
        """
        A client that promised to and sends nothing is gone; heart-beats keep it.
        """
        kit = Kit()
        client = kit.connected(heart_beat="1000,0")
        for _ in range(50):
            kit.clock.advance(0.9)
            client.bytes(b"\n")
        assert not client.closed
        kit.clock.advance(1.9)
        assert not client.closed
        kit.clock.advance(0.3)
        assert client.error().headers["message"] == "no heart-beat came"


WORDS = ["a", "b", "1", "2", "3", "t", "client", "client-individual", "auto", "true", "#", "", "x:y"]
NAMES = ["destination", "id", "ack", "transaction", "receipt", "message-id", "subscription", "qos", "retain", "expires"]
COMMANDS = ["SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "SEND", "SUBSCRIBE"]
SOME = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORDS), max_size=6)
FRAMES = st.lists(st.tuples(st.sampled_from(COMMANDS), SOME, st.binary()), max_size=12)


@settings(max_examples=150)
@given(st.sampled_from(["1.0", "1.1", "1.2"]), FRAMES, st.binary(max_size=50))
def test_anyFrames(version: str, frames: list[tuple[str, dict[str, str], bytes]], rest: bytes) -> None:
    """
    Whatever frames and bytes a client sends, it is answered or sent away with one ERROR, the broker goes on, and
    nothing of the client is left when it has gone.
    """
    kit = Kit(max_redeliveries=1)
    client = kit.connected(version)
    for command, headers, body in frames:
        if not client.closed:
            client.send(command, body, **{**headers, "content-length": str(len(body))})
    if not client.closed:
        client.bytes(rest)
    received = client.all()
    errors = [frame for frame in received if frame.command == "ERROR"]
    assert len(errors) == client.closed and (not errors or received[-1] is errors[0])
    assert not any(frame.headers["message"] == "internal error" for frame in errors)
    client.lose()
    assert kit.broker.sessions == {} and kit.broker.router.tree.count == 0
    kit.connected()
