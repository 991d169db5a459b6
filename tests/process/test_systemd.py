"""
Tests for L{twisted_mqtt.process.systemd} and L{twisted_mqtt.process.openfiles}, with a service manager that is a socket
of the test.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.systemd import ListenFDs

from twisted_mqtt.process.openfiles import raiseLimit
from twisted_mqtt.process.systemd import Notifier, handedOver, inheritedSockets


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """
    A service manager that listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    """
    The lines of the next message.
    """
    return manager.recv(4096).decode().splitlines()


def silent(manager: socket.socket) -> bool:
    """
    Whether nothing more was sent.
    """
    manager.setblocking(False)
    try:
        manager.recv(4096)
    except BlockingIOError:
        return True
    finally:
        manager.settimeout(5)
    return False


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_notify(manager: socket.socket, tmp_path: Path, abstract: bool) -> None:
    """
    The manager is told how the broker is, whatever kind its address is of.
    """
    address = f"@mqttbroker-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager.bind("\0" + address[1:] if abstract else address)
    notifier = Notifier({"NOTIFY_SOCKET": address}, Clock(), lambda: 12.5)
    assert notifier.wanted
    notifier.ready("serving")
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    assert heard(manager) == ["READY=1", "STATUS=serving"]
    assert heard(manager) == ["RELOADING=1", "MONOTONIC_USEC=12500000"]
    assert heard(manager) == ["READY=1"]
    assert heard(manager) == ["STOPPING=1"]
    assert silent(manager)


def test_nobodyListens(tmp_path: Path) -> None:
    """
    Without a manager nothing is sent; one that has gone is a line in the log and no more.
    """
    alone = Notifier({}, Clock())
    assert not alone.wanted
    alone.ready()
    with capturedLogs() as events:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, Clock()).ready()
    assert len(events) == 1


def test_watchdog(manager: socket.socket, tmp_path: Path) -> None:
    """
    From the time when it is ready the broker says that it lives, twice as often as is demanded.
    """
    manager.bind(str(tmp_path / "notify"))
    clock = Clock()
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(environ, clock)
    clock.advance(20)
    assert silent(manager)
    notifier.ready()
    assert heard(manager) == ["READY=1"]
    assert heard(manager) == ["WATCHDOG=1"]
    clock.advance(4.9)
    assert silent(manager)
    clock.advance(0.2)
    assert heard(manager) == ["WATCHDOG=1"]
    notifier.ready()
    assert heard(manager) == ["READY=1"]
    notifier.stop()
    clock.advance(20)
    assert silent(manager)


@pytest.mark.parametrize("wrong", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": ""}])
def test_watchdogOfOthers(manager: socket.socket, tmp_path: Path, wrong: dict[str, str]) -> None:
    """
    A watchdog that waits for another process, or for nothing that can be read, is not ours to keep calm.
    """
    manager.bind(str(tmp_path / "notify"))
    clock = Clock()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "10000000", **wrong}, clock).ready()
    assert heard(manager) == ["READY=1"]
    clock.advance(20)
    assert silent(manager)


def handed(environ: dict[str, str], first: int = 500) -> ListenFDs:
    """
    Get the sockets that Twisted finds in an environment.
    """
    return ListenFDs.fromEnvironment({"LISTEN_PID": str(os.getpid()), **environ}, first)


def test_inherited() -> None:
    """
    Sockets that are handed over are found by their names, and are not handed on to children.
    """
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        os.dup2(one.fileno(), 500)
        os.dup2(two.fileno(), 501)
        found = inheritedSockets(handed({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "tcp.external:ws.external"}))
        try:
            assert [inherited.name for inherited in found] == ["tcp.external", "ws.external"]
            assert [each.socket.getsockname() for each in found] == [one.getsockname(), two.getsockname()]
            assert not any(os.get_inheritable(inherited.socket.fileno()) for inherited in found)
        finally:
            for inherited in found:
                inherited.socket.close()


def test_nothingInherited() -> None:
    """
    Nobody has handed anything to the process of these tests.
    """
    assert inheritedSockets(handedOver()) == []


def test_noSocket() -> None:
    """
    A descriptor that is no socket is reported, and the others are used; of two with one name, either has it.
    """
    with socket.create_server(("127.0.0.1", 0)) as one, open(os.devnull) as other:
        os.dup2(other.fileno(), 500)
        os.dup2(one.fileno(), 501)
        with capturedLogs() as events:
            [found] = inheritedSockets(handed({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "x:x"}))
        os.close(500)
        assert found.socket.getsockname() == one.getsockname() and found.name == "x"
        found.socket.close()
        assert len(events) == 1


@pytest.mark.parametrize(
    ("wanted", "limits", "expected"),
    [(None, (100, 300), "300 (300, 300)"), (200, (100, 300), "200 (200, 300)"), (50, (100, 300), "100 (100, 300)")],
)
def test_openFiles(wanted: int | None, limits: tuple[int, int], expected: str) -> None:
    """
    The limit is raised to what is wanted, and never lowered; in a process of its own, which can't take it back.
    """
    script = (
        "import resource, sys; from twisted_mqtt.process.openfiles import raiseLimit;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, {limits});"
        f"print(raiseLimit({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == expected, done.stderr


def test_moreOpenFilesThanThereCanBe() -> None:
    """
    A limit that the kernel refuses is raised as far as it can be.
    """
    script = (
        "import resource; from twisted_mqtt.process.openfiles import raiseLimit;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "limit = raiseLimit(1 << 40); print(limit is None or limit >= hard)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "True", done.stderr
    assert raiseLimit(1) is None or isinstance(raiseLimit(1), int)
