"""
LwM2M: very many devices behind one address.
"""

import socket

from tests.hostile.kit import StartSiege
from tests.system.lwm2m.conftest import gatewayTables
from tests.system.process import PATIENCE
from tests.system.swarm import CHANGED, CON, CREATED, POST, Datagram, parsed, path

# What a datagram did for each of them, it would do sixteen million times here.
DEVICES = 4000
LINKS = b"</1/0>,</3/0>"


def test_oneAddress(startSiege: StartSiege) -> None:
    """
    A datagram costs the same however many devices are registered from its address.
    """
    siege = startSiege({"persistence": {"store": "memory"}, **gatewayTables()}, listeners=2)
    broker = siege.broker
    with siege.unharmed(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy:
        proxy.settimeout(PATIENCE)
        proxy.connect((broker.host, broker.ports["lwm2m"]))
        places: list[tuple[tuple[int, bytes], ...]] = []
        for number in range(DEVICES):
            query = (f"ep=device{number}", "lt=3600", "lwm2m=1.0")
            proxy.send(Datagram(CON, POST, number, b"t", path("rd", query=query), LINKS).wire())
            answer = parsed(proxy.recv(2048))
            assert answer.code == CREATED
            places.append(tuple((11, segment) for segment in answer.values(8)))
        first = broker.processorSeconds
        for number, place in enumerate(places):
            proxy.send(Datagram(CON, POST, DEVICES + number, b"t", place).wire())
            assert parsed(proxy.recv(2048)).code == CHANGED
        each = (broker.processorSeconds - first) / DEVICES
    # Four milliseconds, on a slow machine with everything interpreted, are ten times what is usual.
    assert each < 0.004, each
