"""
Ten thousand devices registered at once.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.system.lwm2m.conftest import gatewayTables, startGateway
from tests.system.paho_peer import Peer
from tests.system.swarm import (
    ACK,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CREATED,
    DELETE,
    DELETED,
    GET,
    POST,
    URI_PATH,
    Datagram,
    Swarm,
    path,
    residentBytes,
)

COUNT = 10_000
AT_ONCE = 500
# The memory of one device: its session, its subscription, its registration with five objects, and the last command.
MOST = 10_240
LINKS = b"</1/0>,</3/0>,</4/0>,</5/0>,</6/0>"


def register(number: int) -> Datagram:
    """
    A registration.
    """
    query = (f"ep=device{number}", "lt=86400", "lwm2m=1.0", "b=U")
    options = list(path("rd", query=query))
    options.insert(1, (CONTENT_FORMAT, b"\x28"))
    return Datagram(CON, POST, 1, number.to_bytes(4, "big"), tuple(options), LINKS)


def update(number: int) -> Datagram:
    """
    An update without anything new.
    """
    return Datagram(CON, POST, 2, b"u", path("rd", f"device{number}"))


def deregister(number: int) -> Datagram:
    """
    The end of a registration.
    """
    return Datagram(CON, DELETE, 3, b"d", path("rd", f"device{number}"))


@pytest.mark.slow
def test_tenThousandDevices(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """
    10,000 devices register, which MQTT clients are told; each gets a command of its own, and its answer arrives; all
    update, and go. Each costs less than 10 KB while it is there.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    broker = startGateway(tmp_path, {**gatewayTables(), "zone": {"external": {"max_mqueue_len": 0}}})
    begun = time.monotonic()
    # Paho waits with select(), and can't with descriptors above 1023, so it comes first.
    with Peer(broker, "manager") as manager, Swarm((broker.host, broker.ports["lwm2m"]), COUNT) as swarm:
        manager.subscribe("lwm2m/+/up/#")
        before = residentBytes(broker.process.pid)
        for number, answer in enumerate(swarm.ask(register, CREATED)):
            assert [value for each, value in answer.options] == [b"rd", b"device%d" % number]
        registered = time.monotonic()
        events = [json.loads(manager.receive().payload) for _ in range(COUNT)]
        assert {event["data"]["ep"] for event in events} == {f"device{number}" for number in range(COUNT)}
        begunAsking = time.monotonic()
        for start in range(0, COUNT, AT_ONCE):
            _askSome(swarm, manager, range(start, start + AT_ONCE))
        asked = time.monotonic()
        grown = residentBytes(broker.process.pid) - before
        swarm.ask(update, CHANGED)
        updated = time.monotonic()
        swarm.ask(deregister, DELETED)
        ended = time.monotonic()
    print(
        f"{grown / COUNT:.0f} bytes for each; {COUNT / (registered - begun):.0f} registrations/s, "
        f"{COUNT / (asked - begunAsking):.0f} commands/s, {COUNT / (updated - asked):.0f} updates/s, "
        f"{COUNT / (ended - updated):.0f} de-registrations/s"
    )
    broker.stop()
    assert grown / COUNT < MOST


def _askSome(swarm: Swarm, manager: Peer, some: range) -> None:
    """
    Give each of some devices a command, and see that its own answer comes back.
    """
    seen: set[int] = set()

    def hear(number: int, message: Datagram) -> bool:
        assert (message.type, message.code) == (CON, GET)
        assert message.values(URI_PATH) == [b"3", b"0", b"9"]
        options = ((CONTENT_FORMAT, b""),)
        swarm.reply(number, message, Datagram(ACK, CONTENT, message.mid, message.token, options, b"%d" % number))
        assert number not in seen
        seen.add(number)
        return True

    for number in some:
        command = {"reqID": number, "msgType": "read", "data": {"path": "/3/0/9"}}
        manager.client.publish(f"lwm2m/device{number}/dn", json.dumps(command), 0)
    swarm.hear(hear, len(some))
    assert seen == set(some)
    for _ in some:
        message = manager.receive()
        answer = json.loads(message.payload)
        number = answer["reqID"]
        assert message.topic == f"lwm2m/device{number}/up/resp"
        assert answer["data"]["content"][0]["value"] == number
        seen.remove(number)
