"""
Tests for devices that answer wrongly: whatever they do, a command has its answer, and those behind it get their turn.
"""

import pytest

from gateways.coap.codes import CHANGED, CONTENT
from gateways.coap.message import ACK, CON, CoAPMessage, decode, encode
from gateways.coap.options import OBSERVE, URI_PATH, Option, stringsOf, uintOption
from tests.kits.lwm2m import Kit, Peer


def answering(kit: Kit, token: bytes | None, options: list[Option], code: int = CONTENT, kind: int = ACK) -> Peer:
    """
    A device that answers requests to C{/3/0/9} so, and all others as they should be.

    @param token: of its answers; L{None} for the right one.
    @param kind: whether an answer comes with the acknowledgement (ACK), or instead of it.
    """
    device = kit.registered("lt=86400&lwm2m=1.0&b=U")
    takeOthers = device.datagramReceived

    def datagramReceived(datagram: bytes) -> None:
        message = decode(datagram)
        if stringsOf(message.options, URI_PATH) != ["3", "0", "9"]:
            takeOthers(datagram)
            return
        device.requests.append(message)
        used = message.token if token is None else token
        response = CoAPMessage(code, options, b"15", used, kind, message.messageID)
        kit.carry(encode(response), device, up=True)

    device.datagramReceived = datagramReceived  # type: ignore[method-assign]  # the device is a part of the test
    return device


@pytest.mark.parametrize("kind", [ACK, CON])
@pytest.mark.parametrize(
    ("token", "options"),
    [
        (b"", []),
        (b"another", []),
        (None, [(65001, b"")]),
        (None, [(65001, b""), (OBSERVE, b"\2")]),
    ],
)
@pytest.mark.parametrize("command", ["read", "observe"])
def test_wrongAnswer(kind: int, token: bytes | None, options: list[Option], command: str) -> None:
    """
    An answer with another token, or with a critical option that nobody knows, is none: the request is sent again until
    its time is over, the client is told so, and the next command goes out (RFC 7252 4.2, 5.3.2, 5.4.1).
    """
    kit = Kit()
    device = answering(kit, token, options, kind=kind)
    kit.command(command, "/3/0/9", 1)
    kit.command("read", "/3/0/0", 2)
    kit.run(200)
    assert kit.codes() == [(1, command, "5.04"), (2, "read", "2.05")]
    assert [stringsOf(request.options, URI_PATH)[-1] for request in device.requests] == ["9"] * 5 + ["0"]
    assert not kit.endpoint.exchanges._awaiting


@pytest.mark.parametrize("token", [b"", b"another"])
def test_wrongThenRight(token: bytes) -> None:
    """
    A right answer after a wrong one is taken.
    """
    kit = Kit()
    device = answering(kit, token, [])
    kit.command("read", "/3/0/9", 1)
    kit.run(1)
    assert kit.codes() == []
    (request,) = device.requests
    right = CoAPMessage(CONTENT, [], b"16", request.token, ACK, request.messageID)
    kit.carry(encode(right), device, up=True)
    kit.run(1)
    assert kit.codes() == [(1, "read", "2.05")]


def test_wrongNotificationAcknowledged() -> None:
    """
    A critical option in a notification has it reset; the observation itself stays until the device ends it.
    """
    kit = Kit()
    device = kit.registered("lt=86400&lwm2m=1.0&b=U", lambda request: CoAPMessage(CONTENT, [(OBSERVE, b"\1")], b"15"))
    kit.command("observe", "/3/0/9", 1)
    kit.run(1)
    kit.taken()
    response = CoAPMessage(CONTENT, [uintOption(OBSERVE, 2), (65001, b"")], b"16", device.requests[0].token)
    device.exchanges.send(("gateway", 1), response, True, None, kit.clock.seconds())
    kit.run(1)
    assert kit.codes() == []


def test_acknowledgedByNothing() -> None:
    """
    A device that acknowledges with a code that is no answer, is asked again.
    """
    kit = Kit()
    answering(kit, None, [], code=CHANGED | 0x20)
    kit.command("read", "/3/0/9", 1)
    kit.run(200)
    assert [code for _, _, code in kit.codes()] == ["5.04"]
