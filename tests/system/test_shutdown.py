"""
The end of a broker that is in use: clients are told, what waits for them is sent, and nobody keeps it from ending.
"""

import signal
import socket
import threading
from contextlib import closing

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE
from tests.system.rawclient import (
    ACCEPTED,
    Stopwatch,
    accepted,
    connect,
    connect5,
    opened,
    publish,
    read,
    untilClosed,
)
from tests.vectors.packets import counted, frame

SHUTTING_DOWN = b"\xe0\x01\x8b"


def test_underLoad(startBroker: StartBroker, name: str) -> None:
    """
    While others publish as fast as they can, a client of MQTT 5 is told why (0x8B) after all that was on its way to it,
    and one of 3.1.1 sees an end in order. What publishers were told to be taken has reached the subscriber.
    """
    broker = startBroker()
    subscriber = opened(broker, connect5(f"{name}s"))
    answer = read(subscriber, 2)
    read(subscriber, answer[1])
    subscriber.sendall(frame(0x82, b"\x00\x01\x00" + counted(f"{name}/#".encode()) + b"\x00"))
    assert read(subscriber, 6) == b"\x90\x04\x00\x01\x00\x00"
    idle = accepted(broker, f"{name}i")
    taken: list[int] = []
    busy = threading.Event()

    def load(publisher: socket.socket) -> None:
        """
        Publish, and count what is acknowledged, until it is over.
        """
        with closing(publisher) as link:
            acknowledged = 0
            try:
                while True:
                    # The identifiers may come again: each was acknowledged before.
                    link.sendall(b"".join(publish(f"{name}/a", bytes(100), each) for each in range(1, 51)))
                    answers = read(link, 200)
                    acknowledged += len(answers) // 4
                    if acknowledged >= 500:
                        busy.set()
                    if len(answers) < 200:
                        break
            except OSError:
                pass
            taken.append(acknowledged)

    # All are there before any of them begins: one alone may have been busy enough by the time another is let in.
    publishers = [accepted(broker, f"{name}p{number}") for number in range(3)]
    threads = [threading.Thread(target=load, args=(each,)) for each in publishers]
    for thread in threads:
        thread.start()
    received = bytearray()
    reading = threading.Thread(target=lambda: received.extend(untilClosed(subscriber)))
    reading.start()
    assert busy.wait(PATIENCE)
    broker.stop()
    for thread in [*threads, reading]:
        thread.join(PATIENCE)
    assert received.endswith(SHUTTING_DOWN)
    size = 2 + 2 + len(f"{name}/a") + 1 + 100
    delivered, odd = divmod(len(received) - len(SHUTTING_DOWN), size)
    assert odd == 0
    assert delivered >= sum(taken) > 500
    assert untilClosed(idle) == b""


@pytest.mark.parametrize(
    "tables, most",
    [({"node": {"shutdown_timeout": "2s", "name": "test@127.0.0.1"}}, 5.0), ({}, 8.0)],
    ids=["2 s", "default"],
)
def test_deafClients(startBroker: StartBroker, name: str, tables: dict[str, object], most: float) -> None:
    """
    Clients that take nothing, and connections that say nothing, are cut off when the time is over. By default that is
    well before containers are killed, which is after 10 s.
    """
    broker = startBroker(tables)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(PATIENCE)
    deaf.connect((broker.host, broker.port))
    deaf.sendall(connect(f"{name}d") + frame(0x82, b"\x00\x01" + counted(f"{name}/#".encode()) + b"\x00"))
    assert read(deaf, 9) == ACCEPTED + b"\x90\x03\x00\x01\x00"
    with closing(deaf), closing(opened(broker)) as silent, closing(accepted(broker, f"{name}p")) as sending:
        for number in range(1, 101):
            sending.sendall(publish(f"{name}/a", bytes(60000), number))
        assert len(read(sending, 400)) == 400
        clock = Stopwatch()
        broker.stop()
        assert 1.5 < clock.seconds < most
        assert untilClosed(silent) == b""
    broker.waitFor(r"[123] connections have not ended in time and are cut off")


def test_quick(startBroker: StartBroker, name: str) -> None:
    """
    With clients that go when they are told to, it takes no time worth mentioning.
    """
    broker = startBroker()
    links = [accepted(broker, f"{name}{number}") for number in range(300)]
    threads = [threading.Thread(target=untilClosed, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    clock = Stopwatch()
    broker.stop(signal.SIGTERM)
    assert clock.seconds < 5
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
