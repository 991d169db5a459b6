"""
Tests for many devices behind one address, as behind a proxy: what each costs, and that each gets its turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from gateways.coap.codes import CONTENT, GET, POST
from gateways.coap.message import CON, CoAPMessage, encode
from gateways.coap.options import URI_PATH, URI_QUERY, stringOptions, stringsOf
from tests.kits.lwm2m import LINKS, Kit, Peer, content


def calls(work: Callable[[], object]) -> int:
    """
    How many Python functions are called for something: its cost, on any machine.
    """
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def crowd(count: int, query: str = "lt=86400&lwm2m=1.0&b=U") -> tuple[Kit, Peer]:
    """
    So many devices that share an address.
    """
    kit = Kit(max_clients=100_000)
    proxy = kit.device("proxy")
    for number in range(count):
        proxy.ask(POST, f"/rd?ep=d{number}&{query}", LINKS)
        kit.run(0.03)
    kit.run(1)
    assert len(kit.gateway.registry.devices) == count
    kit.heard.clear()
    return kit, proxy


def datagrams(kit: Kit, proxy: Peer) -> list[int]:
    """
    Measure the cost of an update, a refused request, a send, a ping, nonsense, and another registration.
    """
    costs = []
    for number, (path, query) in enumerate(
        [
            (["rd", "d1"], []),
            (["rd", "nobody"], []),
            (["dp"], []),
            (["nothing"], []),
            (["rd"], ["ep=d2", "lt=86400"]),
            (["rd"], ["ep=new", "lt=86400"]),
        ]
    ):
        options = stringOptions(URI_PATH, path) + stringOptions(URI_QUERY, query)
        datagram = encode(CoAPMessage(POST, options, b"", b"", CON, 60_000 + number))
        costs.append(calls(lambda datagram=datagram: kit.endpoint.datagramReceived(datagram, proxy.address)))
    for datagram in (b"\x40\x00\x12\x34", b"\x60\x00\x12\x34", b"\x70\x00\x12\x34", b"nonsense"):
        costs.append(calls(lambda datagram=datagram: kit.endpoint.datagramReceived(datagram, proxy.address)))
    return costs


def test_constantCost() -> None:
    """
    A datagram costs the same for a handful of devices at its address and for many.
    """
    few, many = (datagrams(*crowd(count)) for count in (5, 400))
    for one, other in zip(few, many, strict=True):
        assert other <= one + 20


@pytest.mark.parametrize("count", [300])
def test_everyDeviceGetsItsCommand(count: int) -> None:
    """
    More commands at once than may wait for an address all go out and are answered, one after the other.
    """
    kit, proxy = crowd(count)
    proxy.serve = lambda request: content(b"7")
    for number in range(count):
        kit.command("read", "/3/0/9", number, name=f"d{number}")
    kit.run(60)
    said = kit.codes()
    assert sorted(number or 0 for number, _, _ in said) == list(range(count))
    assert {code for _, _, code in said} == {"2.05"}
    assert all(not len(device.downlink) for device in kit.gateway.registry.devices.values())


def test_nobodyAnswers() -> None:
    """
    Where nobody is at the address any more, each command still has its answer.
    """
    count = 130
    kit, proxy = crowd(count)
    proxy.deaf = True
    for number in range(count):
        kit.command("read", "/3/0/9", number, name=f"d{number}", expiry=600)
    kit.run(700)
    said = kit.codes()
    assert sorted(number or 0 for number, _, _ in said) == list(range(count))
    assert {code for _, _, code in said} == {"5.04"}


def test_awakeOneByOne() -> None:
    """
    In queue mode, what one of several devices says shows that it is awake, and not that the others are.
    """
    kit, proxy = crowd(3, "lt=86400&lwm2m=1.0&b=UQ")
    proxy.serve = lambda request: CoAPMessage(CONTENT, [], b"7")
    kit.run(100)
    for number in range(3):
        kit.command("read", "/3/0/9", number, name=f"d{number}")
    kit.run(5)
    assert kit.codes() == []
    proxy.ask(POST, "/rd/d1")
    kit.run(5)
    assert kit.codes() == [(1, "read", "2.05")]
    proxy.ask(GET, "/rd")
    kit.run(5)
    assert kit.codes() == []
    assert [stringsOf(request.options, URI_PATH) for request in proxy.requests] == [["3", "0", "9"]]
