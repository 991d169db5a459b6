"""
Alarms about the system: processors, memory, files, connections, the disk, the store, certificates.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.kits.certificates import Authority
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.values import Bind
from twisted_mqtt.core.message import Message
from twisted_mqtt.monitoring.systemmonitor import SystemMonitor
from twisted_mqtt.process.logs import BrokerLog
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.extension import MemoryListening, MemoryNode


class Use(NamedTuple):
    """
    How much of something is in use.
    """

    used: int
    total: int

    @property
    def share(self) -> float:
        """
        The part.
        """
        return self.used / self.total


class FakeMachine:
    """
    A machine whose figures a test sets; None where it does not say.
    """

    def __init__(self) -> None:
        self.cpu: float | None = 0.1
        self.uses: dict[str, Use | None] = dict.fromkeys(("memory", "process", "files", "disk"), Use(10, 100))
        self.error: Exception | None = None

    def processors(self) -> float | None:
        """
        See L{systemmonitor.Machine}.
        """
        return self.cpu

    def memory(self) -> Use | None:
        """
        See L{systemmonitor.Machine}.
        """
        return self.uses["memory"]

    def process(self) -> Use | None:
        """
        See L{systemmonitor.Machine}.
        """
        return self.uses["process"]

    def files(self) -> Use | None:
        """
        See L{systemmonitor.Machine}.
        """
        return self.uses["files"]

    def disk(self, folder: str) -> Use | None:
        """
        See L{systemmonitor.Machine}.
        """
        if self.error is not None:
            raise self.error
        return self.uses["disk"]


class Bed:
    """
    A monitor of a broker in memory.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        # Certificates are made as of now.
        self.clock.advance(time.time())
        self.broker: Broker = makeBroker(self.clock)[0]
        self.node = MemoryNode(self.broker)
        self.machine = FakeMachine()
        self.published: list[tuple[str, dict[str, object]]] = []
        self.broker.watch("$SYS/#", self._note)
        self.monitor = SystemMonitor(self.node, self.machine)
        self.monitor.startService()

    def _note(self, message: Message) -> None:
        self.published.append((message.topic.rpartition("/")[2], json.loads(message.payload)))

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        for _ in range(int(seconds)):
            self.clock.advance(1)

    @property
    def active(self) -> list[str]:
        """
        The names of the alarms.
        """
        return list(self.broker.alarms.active)


@pytest.fixture
def bed() -> Iterator[Bed]:
    """
    A monitor that runs.
    """
    made = Bed()
    yield made
    made.monitor.stopService()
    made.broker.stopService()
    assert made.clock.getDelayedCalls() == []


def test_log(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The alarm about the log names every destination that takes nothing now, and the log has a line for each change.
    """
    problems: list[str] = []
    log = BrokerLog(bed.broker.settings.log, io.StringIO())
    monkeypatch.setattr(log, "problems", lambda: list(problems))
    bed.node.log = log
    with capturedLogs() as events:
        for problems[:] in (["/dev/log: away"], ["/dev/log: away", "b.log: full"], ["b.log: full"]):
            bed.wait(5)
            assert bed.broker.alarms.active["log_not_written"].summary == "; ".join(problems)
    assert [event["summary"] for event in events if event.get("title") == "Log messages are lost"] == [
        "/dev/log: away",
        "/dev/log: away; b.log: full",
        "b.log: full",
    ]
    problems.clear()
    bed.wait(61)
    assert "log_not_written" not in bed.active


def test_processors(bed: Bed) -> None:
    """
    The alarm of the processors begins at C{cpu_high_watermark} and ends below C{cpu_low_watermark}; a load between them
    changes nothing. Both are in the log and under $SYS, with the measured value.
    """
    with capturedLogs() as events:
        bed.wait(60)
        assert bed.active == []
        bed.machine.cpu = 0.826
        bed.wait(60)
        assert bed.active == ["cpu_high_watermark"]
        bed.machine.cpu = 0.7
        bed.wait(180)
        assert bed.active == ["cpu_high_watermark"]
        bed.machine.cpu = 0.59
        bed.wait(60)
        assert bed.active == []
    [past] = bed.broker.alarms.history()
    assert (past.summary, past.severity, past.details) == (
        "the processors are 82.6 % busy",
        "warning",
        {"value": 82.6},
    )
    bed.wait(1)
    assert [(topic, content["id"]) for topic, content in bed.published] == [
        ("alert", "cpu_high_watermark"),
        ("clear", "cpu_high_watermark"),
    ]
    assert [event["log_level"].name for event in events if "title" in event] == ["warn", "info"]


def test_least(bed: Bed) -> None:
    """
    However often is looked, an alarm lasts for a minute at least.
    """
    bed.broker.configure(settingsFrom({"os_mon": {"cpu_check_interval": "1s"}}))
    bed.machine.cpu = 0.9
    bed.wait(2)
    bed.machine.cpu = 0.1
    bed.wait(55)
    assert bed.active == ["cpu_high_watermark"]
    bed.wait(10)
    assert bed.active == []


@pytest.mark.parametrize(
    ("what", "used", "name"),
    [
        ("memory", 70, "sysmem_high_watermark"),
        ("process", 50, "procmem_high_watermark"),
        ("files", 90, "fd_high_watermark"),
        ("disk", 90, "disk_high_watermark"),
    ],
)
def test_uses(bed: Bed, what: str, used: int, name: str) -> None:
    """
    Each of them has an alarm at its watermark, and not before; one that the system does not tell has none.
    """
    bed.machine.uses[what] = Use(used - 1, 100)
    bed.wait(61)
    assert bed.active == []
    bed.machine.uses[what] = Use(used, 100)
    bed.wait(60)
    assert bed.active == [name]
    assert bed.broker.alarms.active[name].details == {"value": float(used), "used": used, "total": 100}
    bed.machine.uses[what] = None
    bed.wait(60)
    assert bed.active == []


def test_endedByHand(bed: Bed) -> None:
    """
    An alarm that somebody ends while its cause is there comes again.
    """
    bed.machine.cpu = 0.9
    bed.wait(61)
    assert bed.broker.alarms.deactivate("cpu_high_watermark")
    bed.wait(1)
    assert bed.active == []
    bed.wait(60)
    assert bed.active == ["cpu_high_watermark"]


def test_off(bed: Bed) -> None:
    """
    A period of 0 looks never, and a watermark of 0 ends the alarm there is.
    """
    bed.machine.cpu = 0.9
    bed.wait(61)
    bed.broker.configure(settingsFrom({"os_mon": {"cpu_high_watermark": "0%", "cpu_low_watermark": "0%"}}))
    bed.wait(60)
    assert bed.active == []
    bed.broker.configure(settingsFrom({"os_mon": {"cpu_check_interval": 0}}))
    bed.wait(200)
    assert bed.active == []


def test_connections(bed: Bed) -> None:
    """
    Connections are compared with what the fullest port allows, and with the open files.
    """
    port = MemoryListening("tcp.external", "tcp", "listener.tcp.external", Bind("127.0.0.1", 1), None, bed.node.ports)
    bed.node.ports["tcp.external"] = port
    port.connections = 79
    port.figures = lambda: {"max_connections": 100}  # type: ignore[method-assign]  # the port of a test has none
    bed.machine.uses["files"] = Use(10, 100_000)
    bed.wait(31)
    assert bed.active == []
    port.connections = 80
    bed.wait(30)
    assert bed.active == ["connections_high_watermark"]
    assert bed.broker.alarms.active["connections_high_watermark"].summary == (
        "80 of 100 connections of listener.tcp.external are taken"
    )
    port.connections = 59
    bed.wait(60)
    assert bed.active == []
    bed.machine.uses["files"] = Use(10, 170)
    bed.wait(30)
    assert bed.broker.alarms.active["connections_high_watermark"].summary == (
        "59 of 70 connections that the limit of open files allows are taken"
    )


def test_failing(bed: Bed) -> None:
    """
    A disk that can't be asked is a line in the log, and the next look is taken all the same.
    """
    bed.machine.error = OSError(5, "Input/output error")
    with capturedLogs() as events:
        bed.wait(61)
    assert [event["what"] for event in events if "what" in event] == ["the disk"]
    bed.machine.error = None
    bed.machine.uses["disk"] = Use(95, 100)
    bed.wait(60)
    assert bed.active == ["disk_high_watermark"]


def test_silentDisk(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A disk that does not answer holds up nothing, is not asked a second time meanwhile, and has an alarm until it does.
    """
    waiting: list[Deferred[object]] = []
    real = bed.broker.threads.defer

    def defer(function: Callable[[], object]) -> Deferred[object]:
        if "disk" in repr(function):
            waiting.append(Deferred())
            return waiting[-1]
        return real(function)

    monkeypatch.setattr(bed.broker.threads, "defer", defer)
    bed.machine.cpu = 0.9
    bed.wait(200)
    assert len(waiting) == 1
    assert sorted(bed.active) == ["cpu_high_watermark", "disk_unreachable"]
    waiting[0].callback(Use(10, 100))
    bed.wait(1)
    assert bed.active == ["cpu_high_watermark"]


def test_storeBehind(bed: Bed) -> None:
    """
    A store that has not written for C{store_delay} what it was given is behind; one with nothing to write is not.
    """
    bed.wait(30)
    progress = bed.broker.store.progress
    progress.sequence += 1
    for _ in range(9):
        progress.sequence += 1
        bed.wait(1)
        progress.stored += 1
    assert bed.active == []
    bed.wait(12)
    assert bed.active == ["store_behind"]
    progress.reached(progress.sequence)
    bed.wait(61)
    assert bed.active == []


def port(bed: Bed, file: str) -> None:
    """
    A port with a certificate.
    """
    listening = MemoryListening("ssl.a", "ssl", "listener.ssl.a", Bind("127.0.0.1", 1), None, bed.node.ports)
    listening.certificate = file
    bed.node.ports["ssl.a"] = listening


def test_certificates(bed: Bed, tmp_path: Path) -> None:
    """
    A certificate that expires within C{certificate_expiry} has an alarm that names it, until it is another or the port
    is closed.
    """
    authority = Authority(tmp_path)
    issued = authority.issue("soon", end=timedelta(days=29, hours=2))
    later = authority.issue("later", end=timedelta(days=31))
    port(bed, later.certfile)
    bed.wait(61)
    assert bed.active == []
    Path(later.certfile).write_bytes(Path(issued.certfile).read_bytes())
    bed.wait(3601)
    name = "certificate_expiry.listener.ssl.a"
    assert bed.active == [name]
    assert "expires in 29 days" in bed.broker.alarms.active[name].summary
    del bed.node.ports["ssl.a"]
    bed.wait(3600)
    assert bed.active == []


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_noCertificate(bed: Bed, tmp_path: Path, content: bytes) -> None:
    """
    A file that holds no certificate any more is an alarm too, and no failure.
    """
    file = tmp_path / "x.pem"
    file.write_bytes(content)
    port(bed, str(file))
    bed.wait(61)
    assert bed.active == ["certificate_expiry.listener.ssl.a"]
