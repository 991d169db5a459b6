"""
Tests for L{gateways.coap.multicast}: what is answered that was sent to a group, and how.
"""

import pytest

from gateways.coap.codes import CONTENT, DELETE, GET, PUT
from gateways.coap.message import CON, NON, CoAPMessage, encode
from gateways.coap.multicast import Discovery
from gateways.coap.options import (
    ACCEPT,
    IF_MATCH,
    NO_RESPONSE,
    OBSERVE,
    PROXY_URI,
    URI_HOST,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    uintOption,
)
from tests.gateways.coap.test_gateway import OTHER, PEER, Kit

CORE = stringOptions(URI_PATH, [".well-known", "core"])


class Group:
    """
    A group with the gateway in it.
    """

    def __init__(self) -> None:
        self.kit = Kit()
        self.discovery = Discovery(self.kit.endpoint, self.kit.clock, 5.0)

    def send(self, code: int, options: list[Option], type: int = NON, messageID: int = 1, port: int = 1) -> None:
        """
        Send a message to the group.
        """
        message = CoAPMessage(code, options, b"", b"tok", type, messageID)
        self.discovery.datagramReceived(encode(message), (PEER[0], port))

    def answers(self, seconds: int = 6) -> list[CoAPMessage]:
        """
        Get the datagrams that come within some time.
        """
        self.kit.clock.pump([0.5] * seconds * 2)
        return self.kit.notified()


@pytest.fixture
def group() -> Group:
    """
    A group.
    """
    return Group()


def test_found(group: Group) -> None:
    """
    A request for the links is answered after a while, not confirmably and under its token.
    """
    group.send(GET, CORE)
    assert group.kit.notified() == []
    answers = group.answers()
    assert [(answer.type, answer.code, answer.token) for answer in answers] == [(NON, CONTENT, b"tok")]
    assert answers[0].payload.startswith(b"</mqtt>") and len(answers[0].payload) <= 256


def test_filtered(group: Group) -> None:
    """
    Filters count, and where they leave nothing nothing is said (RFC 6690 4.1).
    """
    group.send(GET, [*CORE, (URI_QUERY, b"rt=core.ps"), (URI_HOST, b"all"), uintOption(ACCEPT, 40)])
    assert [answer.payload[:5] for answer in group.answers()] == [b"</ps>"]
    group.send(GET, [*CORE, (URI_QUERY, b"rt=light")], messageID=2)
    assert group.answers() == []


@pytest.mark.parametrize(
    ("code", "options", "type"),
    [
        (GET, CORE, CON),  # RFC 7252 8.1
        (PUT, stringOptions(URI_PATH, ["mqtt", "a"]) + [(URI_QUERY, b"c=me")], NON),
        (DELETE, stringOptions(URI_PATH, ["ps", "a"]), NON),
        (GET, stringOptions(URI_PATH, ["mqtt", "a"]) + [(URI_QUERY, b"c=me")], NON),
        (GET, stringOptions(URI_PATH, ["nothing"]), NON),
        (GET, [], NON),
        (PUT, CORE, NON),
        (GET, [(OBSERVE, b""), *CORE], NON),
        (GET, [*CORE, uintOption(ACCEPT, 50)], NON),
        (GET, [(IF_MATCH, b"x"), *CORE], NON),
        (GET, [*CORE, (PROXY_URI, b"coap://x/")], NON),
        (GET, [*CORE, (9, b"x")], NON),  # critical, and not understood
        (GET, [*CORE, uintOption(NO_RESPONSE, 2)], NON),
        (31, CORE, NON),
        (CONTENT, [], NON),
        (0, [], CON),  # a ping is answered by a reset elsewhere
    ],
)
def test_silent(group: Group, code: int, options: list[Option], type: int) -> None:
    """
    Everything else is met with silence, and does nothing: no error, no reset.
    """
    if code:
        group.send(code, options, type)
    else:
        group.discovery.datagramReceived(b"\x40\0\0\1", PEER)
    assert group.answers() == []
    assert group.kit.published == [] and not group.kit.gateway.clients


@pytest.mark.parametrize("datagram", [b"", b"\x50", b"\x7f\0\0\0", bytes(100), b"\x50\1\0\1\xff"])
def test_garbage(group: Group, datagram: bytes) -> None:
    """
    A malformed message is ignored.
    """
    group.discovery.datagramReceived(datagram, PEER)
    assert group.answers() == []


def test_bounded(group: Group) -> None:
    """
    A host gets one answer at a time, repetitions none, and of many hosts not all.
    """
    group.send(GET, CORE)
    group.send(GET, CORE, messageID=2, port=2)
    assert len(group.answers()) == 1
    group.send(GET, CORE)
    assert group.answers() == []
    message = encode(CoAPMessage(GET, CORE, type=NON, messageID=3))
    for number in range(200):
        group.discovery.datagramReceived(message, (f"192.0.2.{number}", 1))
    assert len(group.answers()) == 64


def test_stopped(group: Group) -> None:
    """
    Nothing is said any more once the gateway stops.
    """
    group.send(GET, CORE)
    group.discovery.datagramReceived(encode(CoAPMessage(GET, CORE, type=NON)), OTHER)
    group.discovery.stop()
    assert group.answers() == []
