"""
Tests for L{gateways.coap.exchange}: types, message IDs, tokens, and what a bad network does to them.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.codes import CONTENT, EMPTY, GET
from gateways.coap.generations import Generations
from gateways.coap.message import ACK, CON, NON, RST, CoAPMessage, decode, encode, encodeEmpty
from gateways.coap.options import NO_RESPONSE, OBSERVE
from gateways.coap.parameters import Parameters
from gateways.coap.roles import ACKNOWLEDGED, DROPPED, RESET, TIMED_OUT
from tests.kits.coap import A, Answers, B, Network, Side


def content(request: CoAPMessage) -> CoAPMessage:
    """
    Answer with what was asked.
    """
    return CoAPMessage(CONTENT, payload=request.payload + b"!")


def ask(network: Network, payload: bytes = b"x", type: int = CON, more: bool = False) -> Answers:
    """
    Let A ask B.
    """
    answers = Answers(more)
    network.sides[A].exchanges.request(B, CoAPMessage(GET, payload=payload, type=type), answers, network.now)
    return answers


def types(network: Network) -> list[tuple[str, int, int]]:
    """
    The sender, type and code of each message.
    """
    messages = [(source[0], decode(datagram)) for source, datagram in network.log]
    return [(source, message.type, message.code) for source, message in messages]


@pytest.mark.parametrize(("type", "answer"), [(CON, ACK), (NON, NON)])
def test_piggybacked(type: int, answer: int) -> None:
    """
    A confirmable request is answered in its acknowledgement, another one by a message of its own.
    """
    network = Network(content)
    answers = ask(network, type=type)
    network.run()
    assert [response.payload for response in answers.responses] == [b"x!"]
    assert types(network) == [("a", type, GET), ("b", answer, CONTENT)]


def test_separate() -> None:
    """
    A request whose response takes long is acknowledged first; the response is confirmable, and acknowledged too.
    """
    network = Network(lambda request: None)
    answers = ask(network)
    network.run(1.5)
    b = network.sides[B]
    b.exchanges.respond(b.pending[0], CoAPMessage(CONTENT, payload=b"late"), network.now)
    network.run()
    assert [response.payload for response in answers.responses] == [b"late"]
    assert answers.acknowledgements == 1
    assert types(network) == [("a", CON, GET), ("b", ACK, 0), ("b", CON, CONTENT), ("a", ACK, 0)]


def test_retransmission() -> None:
    """
    A message that nobody acknowledges is sent five times, each time after twice as long, and then has failed.
    """
    network = Network(content)
    network.fate = lambda datagram: []
    times: list[float] = []
    network.fate = lambda datagram: times.append(network.now) or []  # type: ignore[func-returns-value]  # a list of none
    answers = ask(network)
    network.run()
    assert answers.failures == [TIMED_OUT]
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert len(times) == 5
    assert 2 <= gaps[0] <= 3
    assert gaps[1:] == pytest.approx([gaps[0] * 2, gaps[0] * 4, gaps[0] * 8])


def test_oneAtATime() -> None:
    """
    Only one confirmable message is on its way to a peer; the others go in order.
    """
    network = Network(content)
    answers = [ask(network, bytes((number,))) for number in range(5)]
    assert len(network.log) == 1
    network.run()
    assert [decode(datagram).payload[0] for source, datagram in network.log if source == A] == [0, 1, 2, 3, 4]
    assert all(len(answer.responses) == 1 for answer in answers)


def test_waitingIsBounded() -> None:
    """
    More than there is room for is dropped, the oldest first, and its sender hears of it.
    """
    network = Network(content)
    answers = [ask(network) for _ in range(202)]
    assert [number for number, answer in enumerate(answers) if answer.failures == [DROPPED]] == [1]


def test_ping() -> None:
    """
    An empty confirmable message is answered by a reset.
    """
    network = Network(content)
    network.sides[B].exchanges.receive(encodeEmpty(CON, 7), A, network.now)
    assert network.log == [(B, encodeEmpty(RST, 7))]


@pytest.mark.parametrize(
    ("datagram", "reset"),
    [
        ("49010007" + "00" * 9, True),  # confirmable and malformed
        ("59010007" + "00" * 9, False),  # not confirmable
        ("69450007" + "00" * 9, False),
        ("80010007", False),  # another version
        ("40200007", True),  # a reserved class
        ("50000007", False),
        ("60000007", False),  # an acknowledgement of nothing
        ("70000007", False),
        ("60010007", False),  # a request in an acknowledgement
        ("40450007", True),  # a response to nothing
        ("50450007", True),  # it need not be, but then nothing would end what is not wanted (RFC 7641 3.6)
    ],
)
def test_unexpected(datagram: str, reset: bool) -> None:
    """
    A malformed message is reset if it is confirmable, and ignored if it is not; a response to nothing is reset.
    """
    network = Network(content)
    network.sides[B].exchanges.receive(bytes.fromhex(datagram), A, network.now)
    assert network.log == ([(B, encodeEmpty(RST, 7))] if reset else [])
    assert network.sides[B].requests == []


def test_duplicate() -> None:
    """
    A request that comes again is not run again; its answer is sent again.
    """
    network = Network(content)
    b = network.sides[B]
    datagram = encode(CoAPMessage(GET, type=CON, messageID=5, token=b"t"))
    for _ in range(3):
        b.exchanges.receive(datagram, A, network.now)
    assert len(b.requests) == 1
    assert len({data for _, data in network.log}) == 1 and len(network.log) == 3


def test_afterSilence() -> None:
    """
    The same datagram after a long silence is a new request, whether or not anything else has come meanwhile.
    """
    network = Network(content)
    b = network.sides[B]
    datagram = encode(CoAPMessage(GET, type=CON, messageID=5, token=b"t"))
    for pause in (0.0, 2 * Parameters().exchangeLifetime + 1, 10_000.0):
        network.now += pause
        b.exchanges.receive(datagram, A, network.now)
    assert len(b.requests) == 3


def test_sameIDWithOtherContent() -> None:
    """
    A message ID that is used again too early, for something else, is not taken for a duplicate.
    """
    network = Network(content)
    b = network.sides[B]
    for payload in (b"1", b"2"):
        b.exchanges.receive(encode(CoAPMessage(GET, [], payload, b"t", CON, 5)), A, network.now)
    assert [request.payload for request in b.requests] == [b"1", b"2"]


def test_otherPeerWithSameID() -> None:
    """
    Message IDs are each peer's own.
    """
    network = Network(content)
    b = network.sides[B]
    datagram = encode(CoAPMessage(GET, type=CON, messageID=5))
    b.exchanges.receive(datagram, A, network.now)
    network.sides[("a", 2)] = network.sides[A]
    b.exchanges.receive(datagram, ("a", 2), network.now)
    assert len(b.requests) == 2


@pytest.mark.parametrize(("confirmable", "expected"), [(True, 1), (False, 0)])
def test_criticalOption(confirmable: bool, expected: int) -> None:
    """
    A critical option that is not understood is told of a confirmable request; another request is ignored.
    """
    network = Network(content)
    b = network.sides[B]
    b.exchanges.receive(
        encode(CoAPMessage(GET, [(9, b"")], type=CON if confirmable else NON, messageID=1)), A, network.now
    )
    assert len(b.refusals) == expected and b.requests == []


def test_notificationReset() -> None:
    """
    A reset of a notification, confirmable or not, is heeded.
    """
    network = Network(content)
    heard: list[int] = []
    for confirmable in (True, False):
        network.sides[B].exchanges.send(
            A, CoAPMessage(CONTENT, token=b"unknown"), confirmable, lambda how, now: heard.append(how), network.now
        )
        message = decode(network.log[-1][1])
        network.sides[B].exchanges.receive(encodeEmpty(RST, message.messageID), A, network.now)
    assert heard == [RESET, RESET]


def test_acknowledgedShowsWhereItIs() -> None:
    """
    A peer that has acknowledged a message is where it says, be it a ping.
    """
    network = Network(content, vouched=False)
    heard: list[int] = []
    b = network.sides[B]
    b.exchanges.send(A, CoAPMessage(CONTENT), True, lambda how, now: heard.append(how), network.now)
    assert not b.exchanges.verification.isVerified(A)
    ping = decode(network.log[-1][1])
    assert (ping.type, ping.code) == (CON, EMPTY)
    b.exchanges.receive(encodeEmpty(RST, ping.messageID), A, network.now)
    assert heard == []
    assert b.exchanges.verification.isVerified(A)
    b.exchanges.receive(encodeEmpty(ACK, decode(network.log[-1][1]).messageID), A, network.now)
    assert heard == [ACKNOWLEDGED]


@pytest.mark.parametrize("confirmable", [True, False])
def test_observedAsClient(confirmable: bool) -> None:
    """
    A request for notifications gets them until it is forgotten; then they are reset.
    """
    network = Network(content)
    answers = ask(network, more=True)
    network.run(1)
    token = answers.responses[0].token
    b = network.sides[B].exchanges
    b.send(A, CoAPMessage(CONTENT, [(OBSERVE, b"\2")], b"n", token), confirmable, None, network.now)
    network.run(1)
    assert [response.payload for response in answers.responses] == [b"x!", b"n"]
    network.sides[A].exchanges.forgetRequest(B, token, network.now)
    heard: list[int] = []
    third = CoAPMessage(CONTENT, [(OBSERVE, b"\3")], b"n", token)
    b.send(A, third, confirmable, lambda how, now: heard.append(how), network.now)
    network.run(1)
    assert heard == [RESET]


def test_requestForgotten() -> None:
    """
    A request that nobody wants answered any more is not sent again, and no longer stands in the way of others.
    """
    network = Network(content)
    network.fate = lambda datagram: []
    a = network.sides[A].exchanges
    answers = [Answers(), Answers(), Answers()]
    requests = [CoAPMessage(GET, payload=b"%d" % number) for number in range(3)]
    tokens = [a.request(B, *pair, network.now) for pair in zip(requests, answers, strict=True)]
    a.forgetRequest(B, tokens[0], network.now)
    a.forgetRequest(B, tokens[2], network.now)
    network.run()
    assert [decode(datagram).payload for _, datagram in network.log] == [b"0"] + [b"1"] * 5
    assert [each.failures for each in answers] == [[], [TIMED_OUT], []]


@pytest.mark.parametrize(("mask", "answered"), [(0, True), (2, False), (8, True), (26, False)])
def test_noResponse(mask: int, answered: bool) -> None:
    """
    RFC 7967: a class of responses that is not wanted is not sent; a confirmable request is acknowledged still.
    """
    network = Network(content)
    b = network.sides[B].exchanges
    for type in (CON, NON):
        b.receive(
            encode(CoAPMessage(GET, [(NO_RESPONSE, bytes((mask,)))], type=type, messageID=1 + type)), A, network.now
        )
    sent = [decode(datagram) for _, datagram in network.log]
    assert [message.code for message in sent] == ([CONTENT, CONTENT] if answered else [0])


def test_forgotten() -> None:
    """
    Nothing more goes to a peer that is forgotten, and whoever waits for it hears of that.
    """
    network = Network(content)
    answers = [ask(network), ask(network)]
    network.sides[A].exchanges.forget(B, network.now)
    assert [answer.failures for answer in answers] == [[DROPPED], [DROPPED]]
    assert network.sides[A].exchanges.nextDeadline() is None


@given(st.randoms(use_true_random=False), st.sampled_from([CON, NON]), st.booleans())
def test_badNetwork(random: Random, type: int, late: bool) -> None:
    """
    Whatever is lost, doubled, or late, a request runs at most once, and its sender gets at most one response; over a
    network that lets enough through, exactly one.
    """
    network = Network((lambda request: None) if late else content)

    def fate(datagram: bytes) -> list[float]:
        if random.random() < 0.2:
            return []
        return [random.choice([0.01, 0.5, 4.0]) for _ in range(random.choice([1, 1, 2]))]

    network.fate = fate
    answers = [ask(network, bytes((number,)), type) for number in range(4)]
    b: Side = network.sides[B]
    for _ in range(8 if late else 1):
        network.run(60)
        while b.pending:
            incoming = b.pending.pop()
            b.exchanges.respond(incoming, CoAPMessage(CONTENT, payload=b"late"), network.now)
    network.run(400)  # four, one after the other, with 93 seconds at most for each
    ran = [request.payload for request in b.requests]
    assert len(ran) == len(set(ran))
    for answer in answers:
        assert len(answer.responses) + len(answer.failures) <= 1
        if type == CON and not late:
            assert len(answer.responses) + len(answer.failures) == 1
    network.fate = lambda datagram: [0.01]
    again = ask(network, b"again", CON)
    network.run(1)
    assert len(again.responses) + len(b.pending) == 1


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=20).map(lambda rest: b"\x40\x01\0\1" + rest), max_size=20))
def test_fuzz(datagrams: list[bytes]) -> None:
    """
    Any datagrams leave the exchanges as able as they were.
    """
    network = Network(content)
    b = network.sides[B].exchanges
    for datagram in datagrams:
        b.receive(datagram, A, network.now)
    network.run(300)
    answers = ask(network)
    network.run(1)
    assert len(answers.responses) == 1


def test_generations() -> None:
    """
    Entries live for one to two lifetimes, and for less where there are too many.
    """
    table: Generations[int, str] = Generations(10.0, 3)
    table.put(1, "one", 0.0)
    table.put(2, "two", 9.0)
    table.turn(10.0)
    assert (table.get(1), table.get(2)) == ("one", "two")
    table.turn(20.0)
    assert table.get(1) is None
    for number in range(100):
        table.put(number, "x", 21.0)
    assert 3 <= len(table) <= 6 and table.get(99) == "x" and table.get(0) is None
    table.put(7, "y", 1000.0)
    assert len(table) == 1


def test_generationsByWeight() -> None:
    """
    Large responses make the memory shorter, too.
    """
    table: Generations[int, str] = Generations(10.0, 1000, 100)
    for number in range(50):
        table.put(number, "x", 0.0, 30)
    assert len(table) <= 6
