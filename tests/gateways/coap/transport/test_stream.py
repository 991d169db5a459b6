"""
Tests for L{gateways.coap.transport.stream}: CoAP over TCP, from the stream to the broker and back.
"""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from gateways.coap.codes import GET, PUT, codeText
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    BLOCK1,
    BLOCK2,
    NO_RESPONSE,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    uintOf,
    uintOption,
)
from gateways.coap.transport.framing import ABORT, CSM, MAX_MESSAGE_SIZE, PING, PONG, RELEASE, Deframer, frame, signal
from gateways.coap.transport.stream import CoAPConnection, StreamFactory
from tests.gateways.coap.test_gateway import Kit

CSM_OF_PEER = signal(CSM, [uintOption(MAX_MESSAGE_SIZE, 100_000)])


class Transport:
    """
    Keeps what is written.
    """

    def __init__(self) -> None:
        self.deframer = Deframer(10_000_000)
        self.messages: list[CoAPMessage] = []
        self.ended = ""
        self.reading = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Nothing.
        """

    def write(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.messages += self.deframer.feed(data)

    def loseConnection(self) -> None:
        """
        Keep it.
        """
        self.ended = self.ended or "closed"

    def abortConnection(self) -> None:
        """
        Keep it.
        """
        self.ended = "aborted"

    def pauseProducing(self) -> None:
        """
        Keep it.
        """
        self.reading = False

    def resumeProducing(self) -> None:
        """
        Keep it.
        """
        self.reading = True

    def take(self) -> list[CoAPMessage]:
        """
        Take the bytes that were written since the last call.
        """
        messages, self.messages = self.messages, []
        return messages


class Peer:
    """
    A peer of the gateway's.
    """

    def __init__(self, kit: Kit, factory: StreamFactory, begin: bytes | None = CSM_OF_PEER) -> None:
        self.kit = kit
        self.transport = Transport()
        self.connection: CoAPConnection = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        self.connection.makeConnection(self.transport)
        if begin is not None:
            self.connection.dataReceived(begin)

    def send(self, code: int, path: str, payload: bytes = b"", options: list[Option] | None = None) -> None:
        """
        Send a request.
        """
        where, _, query = path.partition("?")
        every = [*stringOptions(URI_PATH, where.strip("/").split("/")), (URI_QUERY, query.encode()), *(options or [])]
        self.connection.dataReceived(frame(CoAPMessage(code, every, payload, b"tok")))

    def ask(self, *args: Any) -> CoAPMessage:
        """
        Send a request and take its response.
        """
        self.transport.take()
        self.send(*args)
        (answer,) = self.transport.take()
        return answer


@pytest.fixture
def kit() -> Kit:
    """
    A gateway.
    """
    return Kit()


@pytest.fixture
def factory(kit: Kit) -> StreamFactory:
    """
    Its factory.
    """
    return StreamFactory(kit.gateway, kit.endpoint.profile)


@pytest.fixture
def peer(kit: Kit, factory: StreamFactory) -> Peer:
    """
    A peer that has begun.
    """
    return Peer(kit, factory)


def test_begins(peer: Peer, factory: StreamFactory) -> None:
    """
    The first message of either side is a CSM; the gateway's says how large a body may be.
    """
    (csm,) = peer.transport.take()
    assert csm.code == CSM and (uintOf(csm.options, MAX_MESSAGE_SIZE) or 0) > peer.kit.gateway.settings.max_body
    other = Peer(peer.kit, factory, frame(CoAPMessage(GET, stringOptions(URI_PATH, ["x"]))))
    assert [message.code for message in other.transport.take()] == [CSM, ABORT]
    assert other.transport.ended == "closed"


def test_requests(peer: Peer) -> None:
    """
    Requests do what they do with datagrams; several may come in one chunk, and large bodies come whole.
    """
    assert codeText(peer.ask(PUT, "/ps/a?c=me", bytes(200_000)).code) == "2.01"
    answer = peer.ask(GET, "/ps/a?c=me", b"", [(BLOCK2, b"\x06")])
    assert codeText(answer.code) == "2.05" and len(answer.payload) == 1024 and answer.token == b"tok"
    assert codeText(peer.ask(GET, "/nothing?c=me").code) == "4.04"
    assert codeText(peer.ask(GET, "/ps/a?c=me", b"", [(9, b"")]).code) == "4.02"
    request = frame(CoAPMessage(PUT, [*stringOptions(URI_PATH, ["mqtt", "t"]), (URI_QUERY, b"c=me")], b"x", b"t"))
    peer.connection.dataReceived(request * 3)
    assert [codeText(message.code) for message in peer.transport.take()] == ["2.04"] * 3
    assert [message.payload for message in peer.kit.published[1:]] == [b"x"] * 3


def test_sizeOfPeer(kit: Kit, factory: StreamFactory) -> None:
    """
    A client that has not said that it takes more gets blocks.
    """
    peer = Peer(kit, factory, signal(CSM))
    peer.ask(PUT, "/ps/a?c=me", bytes(3000))
    answer = peer.ask(GET, "/ps/a?c=me")
    assert len(answer.payload) == 1024 and uintOf(answer.options, BLOCK2) == 0x0E


def test_severalBlocksAtOnce(peer: Peer) -> None:
    """
    On a stream, blocks may come several at once (RFC 8323 6); what is asked for so comes one at a time.
    """
    body = bytes(range(256)) * 20
    for number, more in ((0, True), (3, True), (4, False)):
        end = len(body) if not more else (number + (3 if number == 0 else 1)) * 1024
        block = uintOption(BLOCK1, number << 4 | more << 3 | 7)
        answer = peer.ask(PUT, "/ps/a?c=me", body[number * 1024 : end], [block])
        assert codeText(answer.code) == ("2.31" if more else "2.01")
    back = b""
    for number in range(5):
        back += peer.ask(GET, "/ps/a?c=me", b"", [uintOption(BLOCK2, number << 4 | 7)]).payload
    assert back == body
    wrong = peer.ask(PUT, "/ps/a?c=me", bytes(1000), [uintOption(BLOCK1, 0x0F)])
    assert codeText(wrong.code) == "4.00"


def test_noResponse(peer: Peer) -> None:
    """
    A client that does not want to hear of successes does not (RFC 7967).
    """
    peer.transport.take()
    peer.send(PUT, "/mqtt/a?c=me", b"x", [(NO_RESPONSE, b"\x02")])
    assert peer.transport.take() == []
    assert len(peer.kit.published) == 1


def test_observes(peer: Peer) -> None:
    """
    Notifications come until the connection is closed; those of QoS 1 count as received.
    """
    assert uintOf(peer.ask(GET, "/mqtt/a?c=me", b"", [(OBSERVE, b"")]).options, OBSERVE) is not None
    for number in range(50):
        peer.kit.local.publish("a", b"%d" % number, 1)
        peer.kit.clock.advance(0)
    assert [message.payload for message in peer.transport.take()] == [b"%d" % number for number in range(50)]
    peer.connection.connectionLost(None)
    assert not peer.kit.gateway.clients


def test_notRead(peer: Peer) -> None:
    """
    For who does not read, little is kept; and nothing more is taken from it.
    """
    peer.ask(GET, "/mqtt/a?c=me", b"", [(OBSERVE, b"")])
    peer.connection.pauseProducing()
    assert not peer.transport.reading
    for number in range(100):
        peer.kit.local.publish("a", b"%d" % number)
    assert peer.transport.take() == []
    peer.connection.resumeProducing()
    assert peer.transport.reading and len(peer.transport.take()) == 100
    peer.connection.pauseProducing()
    for number in range(300):
        peer.kit.local.publish("a", b"%d" % number)
    assert peer.transport.ended == "aborted"


@pytest.mark.parametrize(
    ("data", "answer", "closes"),
    [
        (signal(PING, token=b"p"), PONG, False),
        (signal(PONG), None, False),
        (signal(CSM, [(40, b"")]), None, False),
        (signal(CSM, [(41, b"")]), ABORT, True),
        (signal(RELEASE, [(40, b"")]), None, True),
        (signal(ABORT), None, True),
        (signal(0xE6), ABORT, True),
        (frame(CoAPMessage(0)), None, False),
        (frame(CoAPMessage(0x45)), ABORT, True),
        (b"\x0f\x01", ABORT, True),
        (b"\xf0\xff\xff\xff\xff\x01", ABORT, True),
    ],
)
def test_signals(peer: Peer, data: bytes, answer: int | None, closes: bool) -> None:
    """
    Signals are answered (RFC 8323 5); what is wrong ends the connection with an abort that says why.
    """
    peer.transport.take()
    peer.connection.dataReceived(data)
    assert [message.code for message in peer.transport.take()] == ([] if answer is None else [answer])
    assert bool(peer.transport.ended) is closes
    peer.connection.dataReceived(data)
    assert len(peer.transport.take()) == (0 if closes or answer is None else 1)


def test_silence(peer: Peer, factory: StreamFactory) -> None:
    """
    A client that is silent for too long is released, and cut off if it takes no notice; a ping is a sign of life.
    """
    mute = Peer(peer.kit, factory, None)
    peer.ask(PUT, "/mqtt/a?c=me", b"x")
    for _ in range(10):
        peer.kit.clock.pump([10] * 10)
        peer.connection.dataReceived(signal(PING))
    assert peer.kit.gateway.clients and not peer.transport.ended
    assert [message.code for message in mute.transport.take()] == [CSM, RELEASE]
    assert mute.transport.ended == "aborted"


def test_released(kit: Kit, factory: StreamFactory) -> None:
    """
    When the gateway stops, all connections are released.
    """
    peers = [Peer(kit, factory) for _ in range(3)]
    peers[0].connection.connectionLost(None)
    factory.releaseAll()
    assert [message.code for message in peers[1].transport.take()] == [CSM, RELEASE]
