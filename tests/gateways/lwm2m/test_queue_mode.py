"""
Tests for devices that sleep (spec/gateways.md 5.8): what waits, for how long, and how it is sent when they are back.
"""

import pytest

from gateways.coap.codes import POST
from tests.kits.lwm2m import LINKS, Kit, Peer, content, observing

ASLEEP = 30.0


def sleeper(kit: Kit, binding: str = "b=UQ", lifetime: int = 86400) -> Peer:
    """
    A device that sleeps.
    """
    device = kit.registered(f"lt={lifetime}&lwm2m=1.0&{binding}")
    kit.run(ASLEEP)
    return device


@pytest.mark.parametrize("binding", ["b=UQ", "b=UQS", "b=SQ", "b=U&Q"])
def test_waits(binding: str) -> None:
    """
    A command that comes later than the window after the device's last message waits until the device is heard of.
    """
    kit = Kit()
    device = sleeper(kit, binding)
    kit.command("read", "/3/0/9")
    kit.run(100)
    assert (device.requests, kit.taken()) == ([], [])
    device.update()
    kit.run(1)
    assert device.asked == ["/3/0/9"]
    assert kit.codes() == [(1, "read", "2.05")]


def test_window() -> None:
    """
    Within the window commands go out at once; it begins anew with whatever the device says.
    """
    kit = Kit(qmode_time_window=10.0)
    device = kit.registered("lt=300&b=UQ")
    for number in range(4):
        kit.run(9)
        kit.command("read", "/3/0/9", number)
        kit.run(0.5)
        assert len(device.requests) == number + 1
    kit.run(10)
    kit.command("read", "/3/0/9", 9)
    kit.run(5)
    assert len(device.requests) == 4


@pytest.mark.parametrize("how", ["register", "update", "ask", "notify", "ping"])
def test_flush(how: str) -> None:
    """
    Every message of the device shows that it is awake; then waiting commands go out, oldest first and 100 ms apart.
    """
    kit = Kit()
    device = kit.registered("lt=86400&b=UQ", observing)
    kit.command("observe", "/3/0/9")
    kit.run(ASLEEP)
    device.requests.clear()
    for number in range(4):
        kit.command("read", f"/3/0/{number}", number)
    times: list[float] = []

    def serve(request: object) -> object:
        times.append(kit.clock.seconds())
        return content()

    device.serve = serve  # type: ignore[assignment]  # it takes any
    kit.run(10)
    assert device.requests == []
    if how == "register":
        device.register("lt=86400&b=UQ")
    elif how == "update":
        device.update()
    elif how == "ask":
        device.code(POST, "/nothing")
    elif how == "notify":
        observation = next(iter(kit.gateway.registry.devices["ep1"].downlink.observations._held.values()))
        device.notify(b"16", 5, observation.token)
    else:
        device.kit.endpoint.datagramReceived(b"\x40\0\0\7", device.address)
    kit.run(1.9)
    # A device that has registered anew is then observed anew.
    assert device.asked[:4] == [f"/3/0/{number}" for number in range(4)]
    gaps = [after - before for before, after in zip(times[:4], times[1:4], strict=False)]
    assert all(0.099 < gap < 0.13 for gap in gaps), gaps


@pytest.mark.parametrize("uri", ["/rd/ep1", "/rd?ep=ep1&lt=300", "/rd?ep=ep1&lt=300&u=new"])
def test_answerComesFirst(uri: str) -> None:
    """
    A device that updates or registers is answered before it is asked anything.
    """
    kit = Kit()
    device = sleeper(kit)
    kit.command("read", "/3/0/9")
    order: list[str] = []
    device.serve = lambda request: order.append("asked") or content()
    answer = device.ask(POST, uri)
    answer.answered = lambda response, now: order.append("answered") or False  # type: ignore[method-assign,func-returns-value]
    kit.run(1)
    assert order == ["answered", "asked"]


def test_expiry() -> None:
    """
    A command waits as long as its publisher says, and no longer than the gateway lets it; then it is answered.
    """
    kit = Kit(command_expiry=1000.0)
    device = sleeper(kit)
    kit.command("read", "/3/0/1", 1, expiry=50)
    kit.command("read", "/3/0/2", 2)
    kit.command("read", "/3/0/3", 3, expiry=5000)
    kit.command("read", "/3/0/4", 4, expiry=500, qos=0)
    kit.run(49)
    assert kit.taken() == []
    kit.run(3)
    assert kit.codes() == [(1, "read", "5.04")]
    kit.run(450)
    assert kit.codes() == [(4, "read", "5.04")]
    kit.run(500)
    assert kit.codes() == [(2, "read", "5.04"), (3, "read", "5.04")]
    device.update()
    kit.run(5)
    assert device.requests == []
    assert not kit.broker.registry.sessions["ep1"].inflight


def test_noExpiry() -> None:
    """
    Without an expiry it waits as long as the device is there.
    """
    kit = Kit(command_expiry=0.0)
    sleeper(kit, lifetime=10000)
    kit.command("read", "/3/0/9")
    kit.run(9900)
    assert kit.taken() == []
    kit.run(200)
    assert kit.codes() == [(1, "read", "5.03")]


def test_fallsAsleep() -> None:
    """
    A command that it does not answer because it has fallen asleep is the first that it gets when it is back, unless the
    command might be done twice.
    """
    kit = Kit(qmode_time_window=1000.0)
    device = kit.registered("lt=86400&b=UQ")
    device.deaf = True
    kit.command("read", "/3/0/1", 1)
    kit.command("execute", "/3/0/4", 2)
    kit.run(200)
    assert kit.taken() == []
    device.deaf = False
    device.update()
    kit.run(1)
    assert device.asked == ["/3/0/1", "/3/0/4"]
    kit.taken()
    device.deaf = True
    kit.command("execute", "/3/0/5", 3)
    kit.run(200)
    assert kit.codes() == [(3, "execute", "5.04")]


def test_awakeAgain() -> None:
    """
    A device that registers or updates without queue mode is not thought asleep.
    """
    kit = Kit()
    device = sleeper(kit)
    device.update("b=U")
    kit.run(ASLEEP)
    kit.command("read", "/3/0/9")
    kit.run(1)
    assert len(device.requests) == 1


def test_survivesFarewellOfTheGateway() -> None:
    """
    Commands for a sleeping device survive a restart of the gateway; their expiry goes on.
    """
    kit = Kit(command_expiry=500.0)
    device = sleeper(kit)
    kit.command("read", "/3/0/1", 1, expiry=100)
    kit.command("read", "/3/0/2", 2)
    kit.gateway.endAll(0x8B)
    kit.run(200)
    assert device.update() == "4.04"
    assert device.code(POST, "/rd?ep=ep1&lt=86400&b=UQ", LINKS) == "2.01"
    kit.run(1)
    assert device.asked == ["/3/0/2"]
    kit.run(ASLEEP)
    kit.command("read", "/3/0/3", 3)
    kit.run(100)
    kit.gateway.endAll(0x8B)
    kit.run(200)
    kit.taken()
    device.code(POST, "/rd?ep=ep1&lt=86400&b=UQ", LINKS)
    kit.run(ASLEEP)
    assert kit.codes() == [(None, "register", ""), (3, "read", "2.05")]
    kit.command("read", "/3/0/4", 4)
    kit.run(300)
    kit.gateway.endAll(0x8B)
    device.deaf = True
    device.code(POST, "/rd?ep=ep1&lt=86400&b=UQ", LINKS)
    kit.taken()
    kit.run(205)
    assert kit.codes() == [(4, "read", "5.04")]
