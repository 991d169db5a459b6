"""
Traces of a real process: live to a terminal, and to a file, of clients of MQTT and of STOMP.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.system.commandline import ROOT, Ctl, run
from tests.system.conftest import StartBroker
from tests.system.paho_peer import V5, Peer
from tests.system.process import Broker
from twisted_mqtt.core.codec import encode
from twisted_mqtt.testing.peer import connectPacket

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def traced(startBroker: StartBroker, tmp_path: Path) -> Iterator[tuple[Broker, Ctl]]:
    """
    A broker with STOMP, and the program that calls it.
    """
    broker = startBroker(
        {
            "plugins": {"load": ["management", "stomp"]},
            "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}},
            "stomp": {"listener": "127.0.0.1:0", "allow_anonymous": True},
            "log": {"dir": str(tmp_path / "log")},
        },
        3,
    )
    broker.waitFor("listening: ctl:http")
    (path,) = tmp_path.rglob("ctl.sock")

    def ctl(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run("--socket", str(path), *words, **more)

    yield broker, ctl


def _look(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    (path,) = tmp_path.rglob("ctl.sock")
    return subprocess.Popen(
        [sys.executable, "-m", "twisted_mqtt.ctl", "--socket", str(path), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(out: IO[str] | None, pattern: str) -> list[str]:
    """
    Read lines until one matches.
    """
    assert out is not None
    lines = []
    for line in out:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError(f"no {pattern} in {''.join(lines)}")


def test_live(traced: tuple[Broker, Ctl], tmp_path: Path, name: str) -> None:
    """
    What a client does is on the terminal as it happens; Ctrl-C ends that, in the broker too.
    """
    broker, ctl = traced
    viewer = _look(tmp_path, "trace", "client", f"client-id={name}")
    try:
        _until(viewer.stdout, f'No sessions found for client "{name}"')
        with Peer(broker, name, V5) as peer:
            peer.publish(f"{name}/a", "hello", 1)
        lines = _until(viewer.stdout, "is gone")
        text = "".join(lines)
        assert re.search(rf'^{STAMP} \[info\] <127\.0\.0\.1:\d+> MQTT RECV: CID: "{name}" CONNECT\(', text, re.M)
        assert re.search(rf'^{STAMP} \[debug\] .* PUBLISH\(d0, q1, r0, m1, "{name}/a"\) with payload:$', text, re.M)
        assert "\n    hello\n" in text
        assert re.search(r"HOOK: CID: .* client\.connected .*presence.*: ok \([\d.]+ ms\)$", text, re.M)
        assert ctl("trace", "list").stdout == f'Trace(clientid={name}, level=debug, destination="live")\n'
        viewer.send_signal(signal.SIGINT)
        assert viewer.wait(10) == 130
        assert viewer.stderr is not None
        assert viewer.stderr.read().strip() == ""
    finally:
        viewer.kill()
        viewer.communicate()
    deadline = time.monotonic() + 5
    while ctl("trace", "list").stdout and time.monotonic() < deadline:
        pass
    assert ctl("trace", "list").stdout == ""


def test_live_ends_itself(traced: tuple[Broker, Ctl], tmp_path: Path, name: str) -> None:
    """
    A client that sends too much ends a live trace; the program ends with it, and says why.
    """
    broker, _ = traced
    viewer = _look(tmp_path, "trace", "topic", f"{name}/#", "--rate-max", "5", "--rate-interval", "60000")
    try:
        _until(viewer.stdout, "Starting trace")
        with Peer(broker, name, V5) as peer:
            for number in range(20):
                peer.publish(f"{name}/{number}", "x", 1)
        out, error = viewer.communicate(timeout=20)
    finally:
        viewer.kill()
    assert out.count("MESSAGE") == 5
    assert out.splitlines()[-1].startswith("# The trace has ended: more than 5 packets within 60000 ms")
    assert (viewer.returncode, error) == (0, "")


def test_file(traced: tuple[Broker, Ctl], tmp_path: Path, name: str) -> None:
    """
    The file of a trace has what a client of MQTT and one of STOMP do, and not their passwords; it can be stopped.
    """
    broker, ctl = traced
    started = ctl("trace", "start", "ip_address", "127.0.0.1", "log/all.log")
    assert (started.stdout, started.stderr) == ("trace ip_address 127.0.0.1 successfully\n", "")
    with socket.create_connection(("127.0.0.1", broker.port)) as mqtt:
        mqtt.sendall(encode(connectPacket(name, username="anna", password=b"geheim"), 5))
        assert mqtt.recv(4096)[0] == 0x20
    with socket.create_connection(("127.0.0.1", broker.ports["stomp"])) as stomp:
        stomp.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert stomp.recv(4096).startswith(b"CONNECTED")
        stomp.sendall(b"SEND\ndestination:/x\nreceipt:1\n\nhallo\0")
        assert b"RECEIPT" in stomp.recv(4096)
    assert ctl("trace", "stop", "ip_address", "127.0.0.1").returncode == 0
    text = (tmp_path / "log" / "all.log").read_text()
    assert text.startswith("# Trace of ip_address 127.0.0.1, level debug, since ")
    assert text.endswith("# The trace has ended: it was stopped\n")
    assert f'MQTT RECV: CID: "{name}" CONNECT(c: {name}, v: 5, u: anna, p: ***, cs: 1, ka: 0)' in text
    assert "STOMP RECV: CID: " in text
    assert "\n    hallo\n" in text
    assert "geheim" not in text


def test_refusals(traced: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    A file elsewhere, and one that is the log, are refused with the reason; so is what is not traced.
    """
    _, ctl = traced
    for words, why in (
        (("start", "client", "c1", "/etc/passwd"), "file: '/etc/passwd' is not in the folder of traces"),
        (("start", "client", "c1", "../x.log"), "file: '../x.log' leads out of the folder of traces"),
        (("stop", "client", "c1"), "clientid: 'c1' is not traced"),
        (("topic", "a/#/b"), "topic: "),
    ):
        refused = ctl("trace", *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"mqttbroker-ctl: {why}")
    assert ctl("trace", "start", "client", "c1").returncode == 2
    assert ctl("trace", "start", "client", "c1", "x.log", "loud").returncode == 2
