"""
Tests for observations (RFC 7641; spec/gateways.md 5.5, 5.8): who is told what, in which order, and how each one ends.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.coap.blockwise import Slicer
from gateways.coap.codes import CONTENT, NOT_FOUND
from gateways.coap.message import CoAPMessage
from gateways.coap.options import OBSERVE, uintOf, uintOption
from gateways.coap.roles import RESET
from gateways.lwm2m.observing import isNewer
from tests.kits.lwm2m import Kit, Peer, content, losing, observing


def observed(kit: Kit, query: str = "lt=86400&lwm2m=1.0") -> Peer:
    """
    A device of which /3/0/9 is observed.
    """
    device = kit.registered(query, observing)
    kit.command("observe", "/3/0/9")
    kit.run(1)
    assert kit.codes() == [(1, "observe", "2.05")]
    return device


def values(kit: Kit) -> list[tuple[int, object]]:
    """
    Get the notifications: number and value.
    """
    said = kit.taken()
    assert all((what["msgType"], what["reqID"]) == ("notify", 1) for what in said)
    return [(what["seqNum"], what["data"]["content"][0]["value"]) for what in said]


def heldTokens(kit: Kit) -> list[bytes]:
    """
    The tokens of all observations of the device.
    """
    return [
        observation.token for observation in kit.gateway.registry.devices["ep1"].downlink.observations._held.values()
    ]


def test_notifications() -> None:
    """
    The first answer is that of the command, all others are notifications, under the number of that command.
    """
    kit = Kit()
    device = observed(kit)
    device.notify(b"16", 2)
    kit.run(1)
    device.notify(b"17", 3, con=False)
    kit.run(1)
    assert {topic for topic, _ in kit.heard} == {"lwm2m/ep1/up/notify"}
    assert values(kit) == [(2, 16), (3, 17)]


def test_notObservable() -> None:
    """
    A device that does not observe just answers; nothing is kept of that.
    """
    kit = Kit()
    kit.registered()
    kit.command("observe", "/3/0/9")
    kit.run(1)
    assert kit.codes() == [(1, "observe", "2.05")]
    assert heldTokens(kit) == [] and not kit.endpoint.exchanges._awaiting


@pytest.mark.parametrize(
    ("number", "at", "before", "beforeAt", "newer"),
    [
        (2, 0, 1, 0, True),
        (1, 0, 2, 0, False),
        (1, 0, 1, 0, False),
        (0, 0, 0xFFFFFF, 0, True),
        (0xFFFFFF, 0, 0, 0, False),
        (1, 129, 2, 0, True),
        (1, 128, 2, 0, False),
    ],
)
def test_order(number: int, at: float, before: int, beforeAt: float, newer: bool) -> None:
    """
    RFC 7641 3.4: numbers go round, and after two minutes they count no more.
    """
    assert isNewer(number, at, before, beforeAt) is newer


def test_late() -> None:
    """
    A late notification is not published.
    """
    kit = Kit()
    device = observed(kit)
    for number in (5, 3, 5, 6):
        device.notify(b"%d" % number, number)
        kit.run(1)
    assert values(kit) == [(5, 5), (6, 6)]


def test_again() -> None:
    """
    A path that is observed already is observed again under the same token (RFC 7641 3.3.1), and the client that asked
    last is told.
    """
    kit = Kit()
    device = observed(kit)
    kit.command("observe", "/3/0/9", 2)
    kit.run(1)
    assert kit.codes() == [(2, "observe", "2.05")]
    assert len({request.token for request in device.requests}) == 1
    device.notify(b"16", 2)
    kit.run(1)
    assert kit.codes() == [(2, "notify", "2.05")]


def test_cancel() -> None:
    """
    A cancellation goes out under the token of its observation; what still comes then is reset.
    """
    kit = Kit()
    device = observed(kit)
    kit.command("cancel-observe", "/3/0/9", 2)
    kit.run(1)
    assert kit.codes() == [(2, "cancel-observe", "2.05")]
    begun, cancelled = device.requests
    assert (cancelled.token, uintOf(cancelled.options, OBSERVE)) == (begun.token, 1)
    heard: list[int] = []
    for con in (True, False):
        late = content(b"16", options=[uintOption(OBSERVE, 9)])
        late.token = begun.token
        device.exchanges.send(("gateway", 1), late, con, lambda how, now: heard.append(how), kit.clock.seconds())
        device.arm()
        kit.run(1)
    assert heard == [RESET, RESET]
    assert kit.taken() == []
    kit.command("cancel-observe", "/3/0/9", 3)
    kit.run(1)
    assert kit.codes() == [(3, "cancel-observe", "2.05")]


def test_lastWord() -> None:
    """
    A notification that is no success is the last (RFC 7641 4.2).
    """
    kit = Kit()
    device = observed(kit)
    gone = CoAPMessage(NOT_FOUND, token=device.requests[0].token)
    device.exchanges.send(("gateway", 1), gone, True, None, kit.clock.seconds())
    device.arm()
    kit.run(1)
    assert kit.codes() == [(1, "notify", "4.04")]
    assert heldTokens(kit) == [] and not kit.endpoint.exchanges._awaiting


def test_tooMany() -> None:
    """
    One device can't be observed without bound.
    """
    kit = Kit(max_observations=2)
    kit.registered(serve=observing)
    for number in range(3):
        kit.command("observe", f"/3/0/{number}", number)
    kit.command("observe", "/3/0/0", 3)
    kit.run(1)
    assert [code for _, _, code in kit.codes()] == ["2.05", "2.05", "5.03", "2.05"]


def test_deregistered() -> None:
    """
    Nothing is observed on a device that has gone.
    """
    kit = Kit()
    device = observed(kit)
    device.deregister()
    device.notify(b"16", 2)
    kit.run(1)
    assert kit.taken() == []
    assert not kit.endpoint.exchanges._awaiting


@pytest.mark.parametrize("elsewhere", [False, True])
def test_registersAgain(elsewhere: bool) -> None:
    """
    The observations of a device are made again when it registers anew, for it may have forgotten them; the response is
    a notification, as the command had its answer long ago.
    """
    kit = Kit()
    device = observed(kit)
    if elsewhere:
        device = kit.device("ep1", observing)
    assert device.register() == "2.01"
    kit.run(3)
    assert kit.codes() == [(None, "register", ""), (1, "notify", "2.05")]
    device.notify(b"17", 2)
    kit.run(1)
    assert values(kit) == [(2, 17)]
    assert len(heldTokens(kit)) == 1


def test_registersAgainWithout() -> None:
    """
    Where that is not there any more, those who have observed it are told.
    """
    kit = Kit()
    device = observed(kit)
    device.serve = lambda request: CoAPMessage(NOT_FOUND)
    device.register()
    kit.run(3)
    assert kit.codes() == [(None, "register", ""), (1, "notify", "4.04")]


def test_autoObserve() -> None:
    """
    Two seconds after the registration each of its objects is observed, 100 ms apart; and again with the next one.
    """
    kit = Kit(auto_observe=True)
    times: list[float] = []

    def serve(request: CoAPMessage) -> CoAPMessage:
        times.append(kit.clock.seconds())
        return observing(request)

    device = kit.registered(serve=serve)
    kit.run(0.9)
    assert device.requests == []
    kit.run(2)
    assert device.asked == ["/1/0", "/3/0", "/5/0"]
    assert all(uintOf(request.options, OBSERVE) == 0 for request in device.requests)
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert all(0.099 < gap < 0.13 for gap in gaps)
    assert [what["msgType"] for what in kit.taken()] == ["observe"] * 3
    device.register()
    kit.run(3)
    assert device.asked[3:] == ["/1/0", "/3/0", "/5/0"]
    assert len(heldTokens(kit)) == 3


def test_autoObserveOnlyTheLast() -> None:
    """
    A device that registers twice in a row is observed once.
    """
    kit = Kit(auto_observe=True)
    device = kit.registered(serve=observing)
    device.register(links=b"</3/0>")
    kit.run(5)
    assert device.asked == ["/3/0"]


def test_nobodyThere() -> None:
    """
    A registration under somebody else's address makes the gateway send there the retransmissions of one small request,
    and no more of what nobody has asked for.
    """
    kit = Kit(auto_observe=True)
    device = kit.registered("lt=86400")
    device.deaf = True
    sent: list[bytes] = []

    def fate(datagram: bytes) -> list[float]:
        sent.append(datagram)
        return [0.01]

    kit.fate = fate
    kit.run(1000)
    assert len(sent) == 5 and len(set(sent)) == 1
    assert sum(map(len, sent)) < 100


def test_blocks() -> None:
    """
    A notification that is larger than a message is fetched block by block, and told as one (RFC 7959 2.6); where a
    newer one comes meanwhile, only that is told.
    """
    kit = Kit()
    slicer = Slicer(100)
    body = b"x" * 3000

    def serve(request: CoAPMessage) -> CoAPMessage:
        following = slicer.following(request, 1)
        if following is not None:
            return following
        response = CoAPMessage(CONTENT, [(12, b""), (OBSERVE, b"\1")], body)
        return slicer.cut(request, 1, response, 512, kit.clock.seconds())

    device = kit.registered(serve=serve)
    kit.command("observe", "/3/0/0")
    kit.run(2)
    [first] = kit.taken()
    assert (first["msgType"], first["data"]["content"][0]["value"]) == ("observe", body.decode())
    body = b"y" * 3000
    request = device.requests[0]
    notification = slicer.cut(request, 1, CoAPMessage(CONTENT, [(12, b""), (OBSERVE, b"\2")], body), 512, 0)
    notification.token = request.token
    device.exchanges.send(("gateway", 1), notification, True, None, kit.clock.seconds())
    device.arm()
    kit.run(0.05)
    device.notify(b"short", 3, request.token)
    kit.run(2)
    assert values(kit) == [(3, "short")]
    body = b"z" * 3000
    notification = slicer.cut(request, 1, CoAPMessage(CONTENT, [(12, b""), (OBSERVE, b"\4")], body), 512, 0)
    notification.token = request.token
    device.exchanges.send(("gateway", 1), notification, True, None, kit.clock.seconds())
    device.arm()
    kit.run(2)
    assert values(kit) == [(4, body.decode())]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 10))
def test_badNetwork(random: Random, count: int) -> None:
    """
    Under loss, doubling and reordering what is told is in order, nothing twice, and the last is told.
    """
    kit = Kit()
    device = observed(kit)
    kit.fate = losing(random)
    for number in range(2, 2 + count):
        device.notify(b"%d" % number, number, device.requests[0].token)
        kit.run(random.choice((0.1, 5)))
    kit.run(1000)
    told = [number for number, _ in values(kit)]
    assert told == sorted(set(told)) and told[-1] == 1 + count


def test_observedAgainAfterMove() -> None:
    """
    Observations are made again from another port, however often the device updates its registration then.
    """
    kit = Kit()
    device = observed(kit)
    moved = kit.device("ep1", observing)
    assert moved.update() == "2.04"
    for _ in range(4):
        kit.run(0.8)
        assert moved.update("lt=80000") == "2.04"
    kit.run(3)
    assert [request.options[0] for request in moved.requests] == [(OBSERVE, b"")]
    assert len(heldTokens(kit)) == 1
    moved.notify(b"17", 9)
    kit.run(1)
    assert values(kit)[-1] == (9, 17)
    assert len(device.requests) == 1


def test_automaticDespiteUpdates() -> None:
    """
    An update soon after the registration does not keep the gateway from observing of its own accord, once.
    """
    kit = Kit(auto_observe=True)
    device = kit.registered("lt=86400&lwm2m=1.0", observing)
    for _ in range(4):
        kit.run(0.7)
        assert device.update() == "2.04"
    kit.run(5)
    assert device.asked == ["/1/0", "/3/0", "/5/0"]
    assert device.deregister() == "2.02"
    kit.run(5)
    assert device.asked == ["/1/0", "/3/0", "/5/0"]
