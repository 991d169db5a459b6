"""
Access rules and limits of listeners, against a real process: what is too much waits, or is refused and said.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import (
    ACCEPTED,
    PING,
    PONG,
    Stopwatch,
    accepted,
    connect,
    connect5,
    opened,
    publish,
    read,
    serves,
    untilClosed,
)
from tests.vectors.packets import counted, frame

# Starts a broker whose one listener has these keys, and the zone of its clients those.
Limited = Callable[..., Broker]


@pytest.fixture
def limited(startBroker: StartBroker) -> Iterator[Limited]:
    """
    Start brokers with limits.
    """

    def start(zone: dict[str, object] | None = None, top: dict[str, object] | None = None, **keys: object) -> Broker:
        listener = {"tcp": {"external": {"bind": "127.0.0.1:0", **keys}}}
        return startBroker({**(top or {}), "listener": listener, "zone": {"external": zone or {}}})

    yield start


def test_accessRules(limited: Limited, name: str) -> None:
    """
    The first rule that names an address decides; who is refused hears nothing.
    """
    broker = limited(access=["deny 127.0.0.2", "allow 127.0.0.0/29", "deny all"])
    for source, allowed in (("127.0.0.1", True), ("127.0.0.2", False), ("127.0.0.3", True), ("127.0.0.9", False)):
        with closing(opened(broker, source=source)) as link:
            try:
                link.sendall(connect(name))
            except OSError:
                assert not allowed
            assert read(link, 4) == (ACCEPTED if allowed else b""), source
    broker.waitFor(r"listener\.tcp\.external: connection from 127\.0\.0\.2:\d+ refused")


def test_accessBehindABalancer(limited: Limited, name: str) -> None:
    """
    Behind a balancer it is the client's address that counts, not the balancer's.
    """
    broker = limited(access=["deny 192.0.2.0/24", "allow all"], proxy_protocol=True)
    for source, allowed in (("198.51.100.1", True), ("192.0.2.1", False)):
        header = f"PROXY TCP4 {source} 203.0.113.1 1234 1883\r\n".encode()
        with closing(opened(broker, header + connect(name))) as link:
            assert read(link, 4) == (ACCEPTED if allowed else b""), source


def test_maxConnections(limited: Limited, name: str) -> None:
    """
    One connection too many is closed, and the next comes in when another has gone; CONNECT or not, it counts.
    """
    broker = limited(max_connections=3)
    with ExitStack() as stack:
        stack.enter_context(closing(accepted(broker, f"{name}1")))
        stack.enter_context(closing(opened(broker)))
        third = accepted(broker, f"{name}3")
        assert untilClosed(opened(broker)) == b""
        broker.waitFor(r"refused: there are 3 already")
        third.sendall(b"\xe0\x00")
        # The broker has closed it when this has returned.
        assert untilClosed(third) == b""
        stack.enter_context(closing(accepted(broker, f"{name}4")))


def test_connectionRate(limited: Limited, name: str) -> None:
    """
    Connections that come too fast wait, and none is refused.
    """
    broker = limited(max_conn_rate=20)
    clock = Stopwatch()
    with ExitStack() as stack:
        links = [stack.enter_context(closing(opened(broker, connect(f"{name}{n}")))) for n in range(60)]
        assert all(read(link, 4) == ACCEPTED for link in links)
    # Twenty at once, and the others at twenty a second.
    assert 1.5 < clock.seconds < 10


def test_byteRate(limited: Limited, name: str) -> None:
    """
    A client that sends too much is read slowly, loses nothing, and slows nobody else.
    """
    broker = limited(rate_limit="100KB,1s")
    with (
        closing(accepted(broker, f"{name}r")) as reading,
        closing(accepted(broker, f"{name}s")) as sending,
        closing(accepted(broker, f"{name}o")) as other,
    ):
        reading.sendall(frame(0x82, b"\x00\x01" + counted(f"{name}/#".encode()) + b"\x00"))
        assert read(reading, 5) == b"\x90\x03\x00\x01\x00"
        clock = Stopwatch()
        packet = publish(f"{name}/a", bytes(10000))
        sending.sendall(packet * 35 + PING)
        others = Stopwatch()
        other.sendall(PING)
        assert read(other, 2) == PONG
        assert others.seconds < 1.5
        assert read(reading, 35 * len(packet)) == packet * 35
        assert read(sending, 2) == PONG
        # 100 KB at once, the other 240 KB at 100 KB a second, of which the last 64 KB are read before they are due.
        assert 1.5 < clock.seconds < 10


@pytest.mark.parametrize("where", ["zone", "listener"])
def test_publishRate(limited: Limited, name: str, where: str) -> None:
    """
    Messages beyond the rate wait for their turn, whoever limits them.
    """
    broker = limited(zone={"publish_limit": "20,1s"}) if where == "zone" else limited(max_publish_rate="20,1s")
    with closing(accepted(broker, name)) as link:
        clock = Stopwatch()
        link.sendall(b"".join(publish(f"{name}/a", b"x", number) for number in range(1, 61)))
        acknowledged = [read(link, 4)[2:] for _ in range(60)]
        # Twenty at once, forty at twenty a second.
        assert 1.8 < clock.seconds < 10
        assert acknowledged == [number.to_bytes(2, "big") for number in range(1, 61)]


def test_slowLoris(limited: Limited) -> None:
    """
    A client that dribbles bytes but no CONNECT is closed when its time is over, however busy it looks.
    """
    broker = limited(zone={"idle_timeout": "2s"})
    with closing(opened(broker, frame(0x10, counted(b"MQTT") + b"\x04\x02" + bytes(200))[:1] + b"\xc8\x01")) as link:
        clock = Stopwatch()
        link.settimeout(0.1)
        ended = False
        while not ended and clock.seconds < PATIENCE:
            try:
                link.sendall(b"\x00")
                ended = link.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended
        assert 1.5 < clock.seconds < 10


def test_overload(limited: Limited, name: str) -> None:
    """
    A client for which too many bytes wait is cut off, and the others are served.
    """
    broker = limited(zone={"force_shutdown_policy": "100000|256KB"})
    deaf = socket.socket()
    deaf.settimeout(PATIENCE)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((broker.host, broker.port))
    deaf.sendall(connect(f"{name}d") + frame(0x82, b"\x00\x01" + counted(f"{name}/#".encode()) + b"\x00"))
    assert read(deaf, 9) == ACCEPTED + b"\x90\x03\x00\x01\x00"
    with closing(deaf), closing(accepted(broker, f"{name}s")) as sending:
        # More than the kernel holds for a connection that nobody reads.
        for _ in range(200):
            sending.sendall(publish(f"{name}/a", bytes(60000)))
        broker.waitFor(rf"'{name}d' is sent away: \d+ bytes wait for it")
        sending.sendall(PING)
        assert read(sending, 2) == PONG


def test_flapping(limited: Limited, name: str) -> None:
    """
    A client that connects again and again is sent away and then refused: banned (0x8A), or "not authorized" before 5.0.
    """
    policy: dict[str, object] = {"flapping_detect_policy": "3, 1m, 1m"}
    broker = limited(zone={"enable_flapping_detect": True}, top=policy)
    for _ in range(3):
        assert serves(broker, name)
    assert untilClosed(opened(broker, connect(name))) == ACCEPTED
    broker.waitFor(f'"{name}" connected more than 3 times within 60 s: banned for 60 s')
    assert untilClosed(opened(broker, connect(name))) == b"\x20\x02\x00\x05"
    assert untilClosed(opened(broker, connect5(name)))[:4] == b"\x20\x03\x00\x8a"
    assert serves(broker, f"{name}o")


def test_windowOfAnOldClient(limited: Limited, name: str) -> None:
    """
    A client of 3.1.1 has never heard of a receive maximum: whatever its window, each QoS 2 message gets its PUBREC,
    and its PUBCOMP in the end.
    """
    broker = limited()
    with closing(accepted(broker, name)) as link:
        identifiers = [number.to_bytes(2, "big") for number in range(1, 2001)]
        link.sendall(b"".join(frame(0x34, counted(b"q") + each + b"x") for each in identifiers))
        assert read(link, 4 * 2000) == b"".join(b"\x50\x02" + each for each in identifiers)
        link.sendall(b"".join(b"\x62\x02" + each for each in identifiers))
        assert read(link, 4 * 2000) == b"".join(b"\x70\x02" + each for each in identifiers)
        link.sendall(PING)
        assert read(link, 2) == PONG
