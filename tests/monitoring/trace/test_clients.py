"""
Traces of clients: what they are told, and that nobody else pays for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.tracing import Tracing
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import Publish, Subscribe, SubscriptionRequest
from twisted_mqtt.hooks.verdicts import DROP, AuthResult, Challenge, Deny
from twisted_mqtt.monitoring.trace import sinks
from twisted_mqtt.mqtt.shell import TappedWriter
from twisted_mqtt.testing.memory import MemoryBroker
from twisted_mqtt.testing.peer import connectPacket, propertiesOf

PEER = "<127.0.0.1:54321>"


@pytest.fixture
def memory() -> MemoryBroker:
    """
    A broker.
    """
    return MemoryBroker()


@pytest.fixture
def tracing(memory: MemoryBroker, tmp_path: Path) -> Tracing:
    """
    The tracer of that broker.
    """
    return Tracing(memory.broker, tmp_path / "log")


def _packets(lines: list[str]) -> list[str]:
    return [line for line in lines if " MQTT " in line or line.startswith("    ")]


def test_packets(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A client that comes after its trace has begun is traced from its CONNECT on, each packet in VerneMQ's form.
    """
    tracing.start("clientid", "c1")
    client = memory.client("c1", version=4, username="anna", password=b"secret", keepAlive=30)
    client.subscribe("t/#", qos=1)
    client.publish("t/1", b"hello", qos=1, packetID=5)
    client.send(b"\xc0\x00")
    client.disconnect()
    memory.wait(1)
    assert tracing.lines() == [
        "# Trace of clientid c1, level debug, since 1970-01-12T13:46:40.000Z",
        '[info] No sessions found for client "c1"',
        f'[info] {PEER} MQTT RECV: CID: "c1" CONNECT(c: c1, v: 4, u: anna, p: ***, cs: 1, ka: 30)',
        f'[info] {PEER} MQTT SEND: CID: "c1" CONNACK(sp: 0, rc: 0)',
        f'[debug] {PEER} MQTT RECV: CID: "c1" SUBSCRIBE(m77) with topics:',
        '    q:1, t: "t/#"',
        f'[debug] {PEER} MQTT SEND: CID: "c1" SUBACK(m77, qt[1])',
        f'[debug] {PEER} MQTT RECV: CID: "c1" PUBLISH(d0, q1, r0, m5, "t/1") with payload:',
        "    hello",
        f'[debug] {PEER} MQTT SEND: CID: "c1" PUBLISH(d0, q1, r0, m1, "t/1") with payload:',
        "    hello",
        f'[debug] {PEER} MQTT SEND: CID: "c1" PUBACK(m5)',
        f'[debug] {PEER} MQTT RECV: CID: "c1" PINGREQ()',
        f'[debug] {PEER} MQTT SEND: CID: "c1" PINGRESP()',
        f'[info] {PEER} MQTT RECV: CID: "c1" DISCONNECT()',
        f'[info] {PEER} CID: "c1" is gone: success',
    ]


def test_others(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    Another client is in no trace of this one, and its connection is not touched.
    """
    tracing.start("clientid", "c1")
    traced, other = memory.client("c1"), memory.client("c2")
    other.publish("elsewhere", b"x")
    memory.wait(1)
    assert not any("c2" in line or "elsewhere" in line for line in tracing.lines())
    writers = {
        clientID: memory.broker.clients[clientID].connection.writer  # type: ignore[attr-defined]  # it is MQTT's
        for clientID in ("c1", "c2")
    }
    assert isinstance(writers["c1"], TappedWriter)
    assert not isinstance(writers["c2"], TappedWriter)
    assert traced.transport.connected


def test_nothing_is_left(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    Where nobody is traced, nobody looks at connections or hooks.
    """
    assert (memory.broker.tracer, memory.broker.hooks.tracing) == (None, None)
    trace = tracing.start("clientid", "c1")
    memory.client("c1")
    assert memory.broker.tracer is tracing.tracer
    tracing.tracer.end(trace)
    info: Any = memory.broker.clients["c1"]
    assert (memory.broker.tracer, memory.broker.hooks.tracing) == (None, None)
    assert not isinstance(info.connection.writer, TappedWriter)
    memory.client("c1").publish("t", b"later")
    memory.wait(1)
    assert not any("later" in line for line in tracing.lines())


def test_client_that_is_here(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A client that is connected is traced from here on, in the midst of a packet too.
    """
    client = memory.client("c1")
    whole = encode(Publish("t", b"in two parts"), 5)
    client.send(whole[:5])
    tracing.start("clientid", "c1")
    client.send(whole[5:])
    memory.wait(1)
    assert tracing.lines()[1:] == [
        '[info] Starting trace for 1 existing session for client "c1"',
        f'[info] New session with PID {PEER} found for client "c1"',
        f'[debug] {PEER} MQTT RECV: CID: "c1" PUBLISH(d0, q0, r0, m0, "t") with payload:',
        "    in two parts",
    ]


def test_behind_connect(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    What has come in one piece with CONNECT is in the trace, each packet once, and is handled as ever.
    """
    tracing.start("clientid", "c1")
    peer = memory.peer()
    subscribe = Subscribe(3, [SubscriptionRequest("a", 0)])
    publish = encode(Publish("a", b"1234"), 5)
    peer.send(b"".join([encode(connectPacket("c1"), 5), encode(subscribe, 5), publish, publish[:4]]))
    peer.send(publish[4:])
    assert [packet.payload for packet in peer.receive() if isinstance(packet, Publish)] == [b"1234", b"1234"]
    memory.wait(1)
    received = [line.split('"c1" ')[1].split("(")[0] for line in tracing.lines() if "RECV" in line]
    assert received == ["CONNECT", "SUBSCRIBE", "PUBLISH", "PUBLISH"]


def test_aliases(tmp_path: Path) -> None:
    """
    A topic that is said by an alias is shown in full; the message itself is left as it was.
    """
    memory = MemoryBroker(max_topic_alias=5)
    tracing = Tracing(memory.broker, tmp_path)
    tracing.start("clientid", "c1")
    client = memory.client("c1")
    watched = memory.client("c2")
    watched.subscribe("far/away")
    for topic, payload in (("far/away", b"1"), ("", b"2")):
        client.send(Publish(topic, payload, properties=propertiesOf(topicAlias=3)))
    assert watched.payloads() == [b"1", b"2"]
    memory.wait(1)
    assert sum('PUBLISH(d0, q0, r0, m0, "far/away")' in line for line in tracing.lines()) == 2


def test_malformed(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    What is no packet is shown as an error, with its first bytes and what the client is told.
    """
    tracing.start("clientid", "c1", level="warning")
    client = memory.client("c1")
    client.send(b"\x36\x03\x00\x01t")
    memory.wait(1)
    (error,) = [line for line in tracing.lines() if line.startswith("[error]")]
    assert error.startswith(f'[error] {PEER} MQTT RECV: CID: "c1" malformed: malformed_packet: ')
    assert error.endswith("3603000174")


def test_address(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    All clients of an address are traced, those that are here and those that come, and who says no CONNECT.
    """
    before = memory.peer(host="192.0.2.7")
    before.connect("before")
    tracing.start("ip_address", "192.0.2.7")
    memory.wait(1)
    memory.peer(host="192.0.2.7").connect("after")
    memory.peer(host="192.0.2.8").connect("other")
    before.publish("t", b"x")
    stranger = memory.peer(host="192.0.2.7")
    stranger.send(b"GET / HTTP/1.1\r\n\r\n")
    memory.wait(1)
    text = "\n".join(tracing.lines())
    assert 'found for client "before"' in text
    assert "CONNECT(c: after" in text
    assert 'CID: "before" PUBLISH(' in text
    assert "other" not in text
    assert 'MQTT RECV: CID: "" malformed: ' in text


def test_name_given_by_the_broker(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A client is traced by the identifier that an extension has given it, from when it is in.
    """
    memory.broker.hooks.clientAuthenticate.add(lambda client, result: AuthResult("success", clientID="given"))
    tracing.start("clientid", "given")
    client = memory.client("own")
    client.publish("t", b"x")
    memory.wait(1)
    assert any('CID: "given" PUBLISH(' in line for line in tracing.lines())


class TestHooks(SynchronousTestCase):
    """
    Calls of hooks; one of them fails, which is logged as ever.
    """

    def test_answers(self) -> None:
        """
        Each callback that is called for the client is shown with what it has answered and how long that took; those
        called for another client are not.
        """
        memory = MemoryBroker()
        tracing = Tracing(memory.broker, Path(self.mktemp()))
        hooks = memory.broker.hooks
        waiting: Deferred[None] = Deferred()

        def checkName(client: object, result: object) -> AuthResult:
            return AuthResult("success", isSuperuser=True)

        def checkTopic(message: Any) -> object:
            if message.topic == "wait":
                return waiting
            if message.topic == "fail":
                raise ValueError("token=geheim is wrong")
            return DROP if message.topic == "drop" else None

        hooks.clientAuthenticate.add(checkName)
        hooks.messagePublish.add(checkTopic)
        tracing.start("clientid", "c1")
        client = memory.client("c1")
        memory.client("c2").publish("other", b"")
        for topic in ("plain", "drop", "fail", "wait"):
            client.publish(topic, b"")
        memory.wait(2)
        waiting.callback(None)
        memory.wait(1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        lines = [line for line in tracing.lines() if "HOOK" in line]
        prefix = f"{PEER} HOOK: CID: "
        where = f"{__name__}.TestHooks.test_answers.<locals>."
        assert [line.rpartition(" (")[0].replace(where, "") for line in lines] == [
            f'[debug] {prefix}"c1" client.authenticate checkName: success, superuser',
            f'[debug] {prefix}"c1" message.publish checkTopic "plain": ok',
            f'[warning] {prefix}"c1" message.publish checkTopic "drop": drop',
            f'[error] {prefix}"c1" message.publish checkTopic "fail": failed: ValueError: token=*** is wrong',
            f'[debug] {prefix}"c1" message.publish checkTopic "wait": ok',
        ]
        assert lines[-1].endswith(", waited)")
        assert all(" ms" in line.rpartition(" (")[2] for line in lines)


def test_verdicts(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A refusal is a warning, whoever says it.
    """
    memory.broker.hooks.clientCheckAcl.add(lambda client, access, topic, verdict: Deny("not_authorized"))
    tracing.start("clientid", "c1", level="warning")
    client = memory.client("c1")
    client.subscribe("t")
    client.publish("t", b"", qos=1)
    memory.wait(1)
    lines = tracing.lines()[2:]
    assert [line.split(": ")[0].rpartition(" ")[2] for line in lines] == ["HOOK", "SEND", "HOOK", "SEND"]
    assert lines[0].startswith("[warning]") and "deny, not_authorized" in lines[0]


def test_authentication_data(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    Nothing of an enhanced authentication is shown, whichever way it goes.
    """
    memory.broker.hooks.clientEnhancedAuthenticate.add(
        lambda client, method, data, state, result: (
            Challenge(b"server-proof", state=1) if state is None else AuthResult()
        )
    )
    tracing.start("clientid", "c1")
    peer = memory.peer()
    more = {"authMethod": "SCRAM", "authData": b"client-proof", "userProperties": [("Api-Key", "k1"), ("a", "b")]}
    peer.send(connectPacket("c1", username="x", password=b"p4ss", **more))
    memory.wait(1)
    text = "\n".join(tracing.lines())
    assert "AUTH(rc: 24" in text and "asks for more" in text
    for secret in ("client-proof", "server-proof", "p4ss", "k1"):
        assert secret not in text
    assert "    Api-Key: ***" in text and "    a: b" in text and "    authData: ***" in text


def test_payloads(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    Payloads are cut, others than text are in hexadecimal digits, and what could steer a terminal is escaped.
    """
    tracing = Tracing(memory.broker, tmp_path, payload_limit=10)
    tracing.start("clientid", "c1")
    client = memory.client("c1")
    for payload in (b"x" * 11, "ä".encode() * 6, b"\xff\x00", b"\x1b[2J\n", b"", b"eyJhbGciOi"):
        client.publish("t", payload)
    memory.wait(1)
    assert [line for line in tracing.lines() if line.startswith("    ") and ":" not in line] == [
        "    xxxxxxxxxx (truncated)",
        "    äääää (truncated)",
        "    0xff00",
        "    \\x1b[2J\\n",
        "    eyJhbGciOi",
    ]
    assert any("with payload of 0 bytes" in line for line in tracing.lines())


def test_rate_of_a_file(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    Packets beyond the rate are left out and counted; the trace goes on.
    """
    tracing = Tracing(memory.broker, tmp_path, rate_max=5, rate_interval=1.0)
    client = memory.client("c1")
    trace = tracing.start("clientid", "c1")
    for number in range(20):
        client.publish("t", b"%d" % number)
    memory.wait(2)
    client.publish("t", b"later")
    memory.wait(1)
    lines = tracing.lines()
    assert sum("PUBLISH(" in line for line in lines) == 6
    assert "# 15 events are left out here" in lines
    assert (lines[-1], trace.leftOut) == ("    later", 15)


def test_left_out_at_the_end(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    Where nothing follows what is left out, the end of the trace says how much that was.
    """
    tracing = Tracing(memory.broker, tmp_path, rate_max=5, rate_interval=1.0)
    client = memory.client("c1")
    trace = tracing.start("clientid", "c1")
    for number in range(20):
        client.publish("t", b"%d" % number)
    tracing.tracer.end(trace)
    memory.wait(1)
    assert tracing.lines()[-2:] == ["# 15 events are left out here", "# The trace has ended: it was stopped"]


def test_slow_onlooker(memory: MemoryBroker, tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who looks on and reads late is told how many events are missing, although the client does nothing any more.
    """
    monkeypatch.setattr(sinks, "MOST_WAITING", 2000)
    client = memory.client("c1")
    sink = tracing.tracer.startLive("clientid", "c1", "debug")
    for number in range(100):
        client.publish("t", b"%d" % number)
    seen: list[str] = []

    async def read() -> None:
        async for piece in sink.pieces():
            seen.extend(piece.decode().removesuffix("\n\n").split("\n\n"))

    Deferred.fromCoroutine(read())
    memory.wait(1)
    shown = sum("PUBLISH(" in event for event in seen)
    assert 0 < shown < 100
    assert seen[-1] == f"data: # {100 - shown} events are left out here"


def test_rate_live(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A live trace ends itself beyond its rate, and says so.
    """
    client = memory.client("c1")
    seen = tracing.look("clientid", "c1", rate=(3, 1.0))
    for number in range(20):
        client.publish("t", b"%d" % number)
    memory.wait(1)
    assert sum("PUBLISH(" in event for event in seen) == 3
    assert seen[-1].startswith("# The trace has ended: more than 3 packets within 1000 ms")
    assert not tracing.tracer.running
    assert memory.broker.tracer is None


def test_several(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    Several traces go on at once, each with its own; the end of one leaves the others.
    """
    first = tracing.start("clientid", "c1", "one.log")
    seen = tracing.look("clientid", "c1", "info")
    tracing.start("ip_address", "127.0.0.1", "three.log")
    client = memory.client("c1")
    tracing.tracer.end(first)
    client.publish("t", b"x")
    memory.wait(1)
    assert not any("PUBLISH" in line for line in tracing.lines("one.log"))
    assert any("PUBLISH" in line for line in tracing.lines("three.log"))
    assert [event.partition("CID")[2] for event in seen if " MQTT " in event][0].startswith(': "c1" CONNECT(')
    assert not any("PUBLISH" in event for event in seen)


def test_takeover(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    A second connection of the same client is traced beside the first, until that is gone.
    """
    tracing.start("clientid", "c1")
    first = memory.client("c1")
    second = memory.client("c1")
    first.lose()
    second.publish("t", b"of the second")
    memory.wait(1)
    lines = tracing.lines()
    assert any("is gone: session_taken_over" in line for line in lines)
    assert "    of the second" in lines


def test_many_come_and_go(memory: MemoryBroker, tracing: Tracing) -> None:
    """
    Nothing is kept of traced clients that have gone.
    """
    tracing.start("ip_address", "127.0.0.1")
    for number in range(50):
        memory.client(f"c{number}").disconnect()
    memory.wait(1)
    tracer = tracing.tracer
    assert (len(tracer._taps), len(tracer._tapsNamed), len(tracer._clientIDs)) == (0, 0, 0)
