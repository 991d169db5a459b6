"""
Tests for commands on their way to a device: one answer each, in order, whatever the network does.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.coap.codes import CHANGED, CREATED, DELETED, GET, NOT_FOUND, POST, PUT
from gateways.coap.message import RST, CoAPMessage, encodeEmpty
from gateways.coap.options import LOCATION_PATH, URI_PATH, stringOptions, stringsOf
from gateways.coap.parameters import Parameters
from gateways.lwm2m.settings import LwM2MTopics
from tests.kits.lwm2m import LINKS, Kit, Peer, content, losing
from twisted_mqtt.hooks.verdicts import DENY


def test_answer() -> None:
    """
    A command becomes a request, and its answer is published with what ties them together.
    """
    kit = Kit()
    device = kit.registered()
    kit.command("read", "/3/0/9", 7)
    kit.run(1)
    [request] = device.requests
    assert (request.code, stringsOf(request.options, URI_PATH)) == (GET, ["3", "0", "9"])
    [(topic, answer)] = kit.heard
    assert topic == "lwm2m/ep1/up/resp"
    assert (answer["reqID"], answer["msgType"], answer["data"]["code"]) == (7, "read", "2.05")
    assert answer["data"]["content"][0]["value"] == 15


def test_location() -> None:
    """
    Where a device has chosen the number of an instance, the answer says it.
    """
    kit = Kit()
    location = stringOptions(LOCATION_PATH, ["5", "4"])
    kit.registered(serve=lambda request: CoAPMessage(CREATED, location))
    kit.command("create", {"basePath": "/5", "content": [{"path": "/4/1", "type": "String", "value": "x"}]})
    kit.run(1)
    assert kit.taken()[0]["data"]["location"] == "/5/4"


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff"])
@pytest.mark.parametrize("qos", [0, 1])
def test_noCommand(payload: bytes, qos: int) -> None:
    """
    A payload that is no JSON object is not answered, and does not stay with the session.
    """
    kit = Kit()
    device = kit.registered()
    kit.manager.publish("lwm2m/ep1/dn", payload, qos)
    kit.run(1)
    assert (kit.taken(), device.requests) == ([], [])
    assert not kit.broker.registry.sessions["ep1"].inflight


@pytest.mark.parametrize("data", [{"path": "/99999/0"}, {"path": "x"}, {}])
def test_badRequest(data: dict[str, Any]) -> None:
    """
    A command that can't be understood is answered without asking the device.
    """
    kit = Kit()
    device = kit.registered()
    kit.command("read", data)
    kit.run(1)
    assert kit.codes() == [(1, "read", "4.00")]
    assert device.requests == []
    assert not kit.broker.registry.sessions["ep1"].inflight


def test_notOfThisVersion() -> None:
    """
    A composite for a device of 1.0 is answered by the gateway, which knows better.
    """
    kit = Kit()
    device = kit.registered()
    kit.command("read-composite", {"paths": ["/3/0/9", "/1/0"]})
    kit.command("read", "/3/0/9", 2)
    kit.run(1)
    assert [code for _, _, code in kit.codes()] == ["4.00", "2.05"]
    assert device.asked == ["/3/0/9"]
    assert not kit.broker.registry.sessions["ep1"].inflight


def test_oneAtATime() -> None:
    """
    The next command waits for the answer to the one before it (RFC 7252 4.7); the order is kept.
    """
    kit = Kit()
    device = kit.registered(serve=lambda request: None)
    for number in range(5):
        kit.command("read", f"/3/0/{number}", number)
    kit.run(0.5)
    for number in range(5):
        assert device.asked == [f"/3/0/{each}" for each in range(number + 1)]
        device.respond(content())
        kit.run(0.5)
    assert [number for number, _, _ in kit.codes()] == [0, 1, 2, 3, 4]


def test_separateResponse() -> None:
    """
    A device that has received a command and has no answer yet is told of; others need not wait for that answer.
    """
    kit = Kit()
    device = kit.registered(serve=lambda request: None)
    kit.command("read", "/3/0/9", 1)
    kit.run(1.5)
    assert kit.codes() == [(1, "ack", "")]
    device.serve = lambda request: content()
    kit.command("read", "/3/0/10", 2)
    kit.run(1)
    assert kit.codes() == [(2, "read", "2.05")]
    device.respond(content())
    kit.run(1)
    assert kit.codes() == [(1, "read", "2.05")]
    assert not kit.broker.registry.sessions["ep1"].inflight


def test_neverAnswered() -> None:
    """
    A command that a device has received and does not answer in time is given up; a later answer is ignored.
    """
    kit = Kit(response_timeout=30.0)
    device = kit.registered(serve=lambda request: None)
    kit.command("read", "/3/0/9")
    kit.run(40)
    assert kit.codes() == [(1, "ack", ""), (1, "read", "5.04")]
    device.respond(content())
    kit.run(5)
    assert kit.taken() == []


def test_manyUnanswered() -> None:
    """
    A device that acknowledges everything and answers nothing is not asked without bound.
    """
    kit = Kit(response_timeout=1000.0)
    device = kit.registered("lt=5000", serve=lambda request: None)
    for number in range(30):
        kit.command("read", "/3/0/9", number)
    kit.run(200)
    assert len(device.requests) == 16
    device.respond(content())
    kit.run(2)
    assert len(device.requests) == 17


def test_doesNotAnswer() -> None:
    """
    A device that can't be reached is tried as RFC 7252 says; then it is the turn of the next command.
    """
    kit = Kit()
    device = kit.registered("lt=5000")
    device.deaf = True
    kit.command("read", "/3/0/9", 1)
    kit.command("read", "/3/0/9", 2)
    begun = kit.clock.seconds()
    while not kit.heard:
        kit.run(1)
    assert 62 <= kit.clock.seconds() - begun <= 94
    assert kit.codes() == [(1, "read", "5.04")]
    device.deaf = False
    kit.run(50)
    assert kit.codes() == [(2, "read", "2.05")]


def test_reset() -> None:
    """
    A reset is an answer of its kind.
    """
    kit = Kit()
    device = kit.registered()
    device.deaf = True
    kit.command("read", "/3/0/9")
    sent: list[bytes] = []
    kit.fate = lambda datagram: sent.append(datagram) or []
    kit.run(3)
    kit.endpoint.datagramReceived(encodeEmpty(RST, int.from_bytes(sent[0][2:4], "big")), device.address)
    assert kit.codes() == [(1, "read", "5.02")]


@pytest.mark.parametrize("qos", [0, 1])
def test_tooMany(qos: int) -> None:
    """
    Of more commands than may wait, the oldest is answered and dropped; none is without an answer in the end.
    """
    kit = Kit(max_commands=3)
    device = kit.registered("lt=5000&b=UQ")
    kit.run(30)
    for number in range(6):
        kit.command("read", f"/3/0/{number}", number, qos)
    kit.run(1)
    assert kit.codes() == [(0, "read", "5.03"), (1, "read", "5.03"), (2, "read", "5.03")]
    device.update()
    kit.run(1)
    assert device.asked == ["/3/0/3", "/3/0/4", "/3/0/5"]
    assert [code for _, _, code in kit.codes()] == ["2.05"] * 3


def test_tooMuch() -> None:
    """
    The same for their size; a single one may be as large as it is.
    """
    kit = Kit(max_command_bytes=1000)
    kit.registered("lt=5000&b=UQ")
    kit.run(30)
    for number in range(3):
        kit.command("write", {"path": "/3/0/14", "type": "String", "value": "x" * 600}, number)
    kit.command("write", {"path": "/3/0/14", "type": "String", "value": "x" * 2000}, 3)
    kit.run(1)
    assert kit.codes() == [(number, "write", "5.03") for number in range(3)]


def test_deregistered() -> None:
    """
    Commands that wait for a device that goes are answered.
    """
    kit = Kit()
    device = kit.registered("lt=5000&b=UQ")
    kit.run(30)
    kit.command("read", "/3/0/9", 1, qos=0)
    kit.command("read", "/3/0/9", 2)
    device.deaf = True  # the flush that its own farewell begins does not reach it
    device.ask(4, "/rd/ep1")
    kit.run(1)
    assert kit.codes() == [(1, "read", "5.03"), (2, "read", "5.03")]
    assert device.requests == []


def test_deregisteredMeanwhile() -> None:
    """
    A command that was running when the device went is answered once, whatever the device still says.
    """
    kit = Kit()
    device = kit.registered(serve=lambda request: None)
    kit.command("read", "/3/0/9")
    kit.run(2)
    device.deregister()
    assert kit.codes() == [(1, "ack", ""), (1, "read", "5.03")]
    assert not kit.endpoint.exchanges._awaiting
    device.respond(content())
    kit.run(5)
    assert kit.taken() == []


def test_restarted() -> None:
    """
    A device that registers anew in the middle of a command has restarted, perhaps because of it: what would be done
    twice is not sent again, not even by the message layer.
    """
    kit = Kit()
    device = kit.registered()
    device.deaf = True
    kit.command("execute", "/3/0/4", 1)
    kit.command("read", "/3/0/9", 2)
    kit.run(1)
    device.deaf = False
    device.exchanges = type(device.exchanges)(device._transmit, device, Parameters(), Random(2))
    assert device.register() == "2.01"
    kit.run(100)
    assert device.asked == ["/3/0/9"]
    assert kit.codes() == [(1, "execute", "5.04"), (None, "register", ""), (2, "read", "2.05")]
    device.serve = lambda request: None
    kit.command("read", "/3/0/1", 3)
    kit.run(3)
    device.serve = lambda request: content()
    assert device.register() == "2.01"
    kit.run(1)
    assert device.asked == ["/3/0/9", "/3/0/1", "/3/0/1"]
    assert kit.codes() == [(3, "ack", ""), (None, "register", ""), (3, "read", "2.05")]
    assert not kit.endpoint.exchanges._awaiting and not kit.endpoint.exchanges._lanes


def test_otherSettings() -> None:
    """
    A session that was kept under other settings has the subscription of the present ones alone.
    """
    kit = Kit()
    device = kit.registered()
    kit.gateway.registry.devices["ep1"].client.subscribe("elsewhere/#", 1)
    kit.gateway.endAll(0x8B)
    device.register()
    assert list(kit.broker.registry.sessions["ep1"].subscriptions) == ["lwm2m/ep1/dn/#"]


def test_takenAway() -> None:
    """
    Commands that wait for a device that is sent away come again, if they were published to be kept; else they are
    answered.
    """
    kit = Kit()
    device = kit.registered("lt=5000&b=UQ")
    kit.run(30)
    kit.command("read", "/3/0/1", 1, qos=0)
    kit.command("read", "/3/0/2", 2)
    kit.broker.kick("ep1", 0x98)
    assert kit.codes() == [(1, "read", "5.03")]
    kit.command("read", "/3/0/3", 3)
    assert device.register() == "2.01"
    kit.run(1)
    assert device.asked == ["/3/0/2", "/3/0/3"]
    assert kit.codes() == [(None, "register", ""), (2, "read", "2.05"), (3, "read", "2.05")]


@pytest.mark.parametrize("qos", [0, 1])
def test_takenAlong(qos: int) -> None:
    """
    A device that registers from elsewhere takes along what waits for it, once.
    """
    kit = Kit()
    kit.registered("lt=5000&b=UQ")
    kit.run(30)
    kit.command("read", "/3/0/1", 1, qos)
    kit.command("read", "/3/0/2", 2, qos)
    after = kit.device("ep1")
    assert after.register() == "2.01"
    kit.run(1)
    assert after.asked == ["/3/0/1", "/3/0/2"]
    assert [code for _, kind, code in kit.codes() if kind == "read"] == ["2.05", "2.05"]


def test_restart() -> None:
    """
    A gateway that stops leaves commands of QoS 1 with the session; those of QoS 0 are answered.
    """
    kit = Kit()
    device = kit.registered("lt=5000&b=UQ")
    kit.run(30)
    kit.command("read", "/3/0/1", 1, qos=0)
    kit.command("read", "/3/0/2", 2)
    kit.gateway.endAll(0x8B)
    assert kit.codes() == [(1, "read", "5.03")]
    assert device.update() == "4.04"
    kit.command("read", "/3/0/3", 3)
    assert device.register() == "2.01"
    kit.run(1)
    assert device.asked == ["/3/0/2", "/3/0/3"]


def test_sessionEndsWithItsLifetime() -> None:
    """
    The state of a device that does not come back ends when its registration would have ended.
    """
    kit = Kit()
    kit.registered("lt=100")
    kit.gateway.endAll(0x8B)
    kit.run(90)
    assert "ep1" in kit.broker.registry.sessions
    kit.run(15)
    assert "ep1" not in kit.broker.registry.sessions


def test_lifetimeOfAnUpdate() -> None:
    """
    A new lifetime holds for what is left of it, too.
    """
    kit = Kit()
    device = kit.registered("lt=100")
    device.update("lt=1000")
    kit.gateway.endAll(0x8B)
    kit.run(900)
    assert "ep1" in kit.broker.registry.sessions


def test_retained() -> None:
    """
    A retained command is none: it would be given to a device each time that it registers.
    """
    kit = Kit()
    kit.manager.publish("lwm2m/ep1/dn", b'{"msgType": "read", "data": {"path": "/3/0/0"}}', 1, True)
    device = kit.registered()
    kit.run(1)
    assert device.requests == []


def test_ownAnswersAreNoCommands() -> None:
    """
    A gateway whose answers go to the command topic does not answer itself.
    """
    kit = Kit(topics=LwM2MTopics(response="dn/answer", register="dn/x"))
    device = kit.registered()
    kit.command("read", "/3/0/9")
    kit.run(5)
    assert len(device.requests) == 1


def test_notAllowedToSubscribe() -> None:
    """
    A device that may not subscribe its command topic is registered, and gets no commands.
    """
    kit = Kit()
    kit.broker.hooks["client.check_acl"].add(
        lambda client, action, topic, verdict: DENY if (client.clientID, action) == ("ep1", "subscribe") else verdict
    )
    device = kit.registered()
    kit.command("read", "/3/0/9")
    kit.run(1)
    assert (device.requests, kit.taken()) == ([], [])
    assert device.update() == "2.04"


def test_send() -> None:
    """
    Values that a device sends unasked are published like a notification (LwM2M 1.1).
    """
    kit = Kit()
    device = kit.registered("lt=300&lwm2m=1.1")
    senml = b'[{"bn": "/3/0/", "n": "9", "v": 95}]'
    assert device.code(POST, "/dp", senml, [(12, b"\x6e")]) == "2.04"
    [(topic, event)] = kit.heard
    assert (topic, event["msgType"]) == ("lwm2m/ep1/up/notify", "send")
    assert event["data"]["content"][0]["value"] == 95
    assert device.code(POST, "/dp", b"nonsense", [(12, b"\x6e")]) == "4.00"


class Counting:
    """
    Serves every operation, and counts how often it is done.
    """

    def __init__(self) -> None:
        self.done: list[str] = []

    def __call__(self, request: CoAPMessage) -> CoAPMessage:
        """
        Do it.
        """
        path = "/" + "/".join(stringsOf(request.options, URI_PATH))
        self.done.append(path)
        code = {GET: None, PUT: CHANGED, POST: CHANGED, 4: DELETED}.get(request.code, NOT_FOUND)
        return content() if code is None else CoAPMessage(code)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_badNetwork(random: Random, count: int) -> None:
    """
    Under loss, doubling and reordering each command reaches the device once, in order, and has one answer.
    """
    kit = Kit()
    serve = Counting()
    device = kit.device(serve=serve)
    kit.fate = losing(random)
    answer = device.ask(POST, "/rd?ep=ep1&lt=86400&lwm2m=1.0", LINKS)
    kit.run(100)
    assert answer.code == "2.01"
    for number in range(count):
        kit.command("execute", f"/3/0/{number}", number)
    kit.run(100 * count)
    assert serve.done == [f"/3/0/{number}" for number in range(count)]
    said = kit.codes()
    assert said[0][1] == "register"
    assert said[1:] == [(number, "execute", "2.04") for number in range(count)]
    assert not kit.broker.registry.sessions["ep1"].inflight


def test_nothingStays() -> None:
    """
    When all is done, nothing of it is left in the exchanges.
    """
    kit = Kit()
    device: Peer = kit.registered()
    for number in range(20):
        kit.command("read", "/3/0/9", number)
    kit.run(5)
    device.deregister()
    kit.run(1)
    exchanges = kit.endpoint.exchanges
    assert not exchanges._awaiting and not exchanges._lanes
