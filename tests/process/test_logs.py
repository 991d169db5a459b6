"""
Tests for L{twisted_mqtt.process.logs}.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from zope.interface.verify import verifyObject

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.schema_node import Log
from twisted_mqtt.process import logs
from twisted_mqtt.process.logs import LEVELS, BrokerLog, LogStream

PATIENCE = 10.0

# Makes a log that is closed after the test; without a console, one that nobody looks at.
Make = Callable[..., BrokerLog]


def settings(folder: Path, **keys: object) -> Log:
    """
    The table C{[log]}.
    """
    return settingsFrom({"log": {"dir": str(folder / "log"), **keys}}).log


@pytest.fixture
def made() -> Iterator[Make]:
    """
    Make logs that are closed after the test.
    """
    logs: list[BrokerLog] = []

    def make(table: Log, console: LogStream | None = None) -> BrokerLog:
        logs.append(BrokerLog(table, StringIO() if console is None else console))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


def loggerTo(log: BrokerLog) -> Logger:
    """
    A logger whose events this observer gets.
    """
    return Logger("test", observer=LogPublisher(log))


def read(path: Path) -> list[str]:
    """
    The messages in the lines of a file.
    """
    return [line.partition("] ")[2] or line for line in path.read_text().splitlines()]


def test_interface(made: Make, tmp_path: Path) -> None:
    """
    It is a log observer.
    """
    assert verifyObject(ILogObserver, made(settings(tmp_path)))


@pytest.mark.parametrize(
    ("to", "console", "file"),
    [("off", False, False), ("console", True, False), ("file", False, True), ("both", True, True)],
)
def test_destinations(made: Make, tmp_path: Path, to: str, console: bool, file: bool) -> None:
    """
    C{log.to} says where messages go, and no file appears that nobody asked for.
    """
    output = StringIO()
    loggerTo(made(settings(tmp_path, to=to), output)).info("hello")
    path = tmp_path / "log" / "mqttbroker.log"
    assert ("hello" in output.getvalue()) is console
    assert path.exists() is file
    if file:
        assert read(path) == ["hello"]


@pytest.mark.parametrize("level", LEVELS)
def test_levels(made: Make, tmp_path: Path, level: str) -> None:
    """
    Messages below C{log.level} are left out. Twisted knows fewer levels.
    """
    output = StringIO()
    logger = loggerTo(made(settings(tmp_path, level=level), output))
    for each in LogLevel.iterconstants():
        logger.emit(each, "said at {each}", each=each.name)
    said = [line.rpartition(" ")[2] for line in output.getvalue().splitlines()]
    everything = ["debug", "info", "warn", "error", "critical"]
    first = {"notice": "warn", "warning": "warn", "alert": "critical", "emergency": "critical"}.get(level, level)
    assert said == everything[everything.index(first) :]


def test_extraFiles(made: Make, tmp_path: Path) -> None:
    """
    Extra files get messages from their own level on, whatever the rest gets.
    """
    log = made(
        settings(tmp_path, level="error", error={"file": "worse.log"}, debug={"file": str(tmp_path / "all.log")}),
    )
    logger = loggerTo(log)
    logger.debug("one")
    logger.warn("two")
    logger.error("three")
    assert read(tmp_path / "log" / "worse.log") == ["three"]
    assert read(tmp_path / "all.log") == ["one", "two", "three"]


def test_oneLineEach(made: Make, tmp_path: Path) -> None:
    """
    A message of several lines can't pass for several messages.
    """
    output = StringIO()
    loggerTo(made(settings(tmp_path), output)).info("{name} came", name="eve\n2030-01-01 [x] root came")
    lines = output.getvalue().splitlines()
    assert len(lines) == 2 and lines[1].startswith("\t")


def test_rotation(made: Make, tmp_path: Path) -> None:
    """
    A file that has reached its size is put aside, and so many are kept.
    """
    log = made(settings(tmp_path, to="file", rotation={"size": "1KB", "count": 2}))
    logger = loggerTo(log)
    for number in range(100):
        logger.info("message {number}", number=number)
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert names == ["mqttbroker.log", "mqttbroker.log.1", "mqttbroker.log.2"]
    assert all(path.stat().st_size < 1200 for path in (tmp_path / "log").iterdir())
    assert read(tmp_path / "log" / "mqttbroker.log")[-1] == "message 99"


def test_otherSettings(made: Make, tmp_path: Path) -> None:
    """
    Other settings hold at once; a file that stays is written on.
    """
    output = StringIO()
    log = made(settings(tmp_path, to="both", level="error"), output)
    logger = loggerTo(log)
    logger.error("one")
    log.configure(settings(tmp_path, to="file", level="debug"))
    logger.debug("two")
    assert "two" not in output.getvalue()
    log.configure(settings(tmp_path, to="console"))
    logger.info("three")
    assert read(tmp_path / "log" / "mqttbroker.log") == ["one", "two"]
    assert "three" in output.getvalue()


def test_movedAway(made: Make, tmp_path: Path) -> None:
    """
    A file that somebody else has put aside is begun afresh when the configuration is read again.
    """
    table = settings(tmp_path, to="file")
    log = made(table)
    logger = loggerTo(log)
    logger.info("one")
    path = tmp_path / "log" / "mqttbroker.log"
    path.rename(path.with_suffix(".old"))
    log.configure(table)
    logger.info("two")
    assert read(path.with_suffix(".old")) == ["one"]
    assert read(path) == ["two"]


def test_unusable(made: Make, tmp_path: Path) -> None:
    """
    Where a file can't be opened, that is said, and what was before goes on.
    """
    output = StringIO()
    log = made(settings(tmp_path), output)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        log.configure(settings(tmp_path / "file", to="file"))
    loggerTo(log).info("still here")
    assert "still here" in output.getvalue()


class SlowConsole(StringIO):
    """
    A console that takes nothing until it is let.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.let = threading.Event()

    def write(self, text: str) -> int:
        """
        Wait, then write.
        """
        self.asked.set()
        assert self.let.wait(PATIENCE)
        return super().write(text)


def test_neverWaits(made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A console that blocks blocks nobody; what is too much is left out, and that is said. All else is written in order.
    """
    monkeypatch.setattr(logs, "MOST_WAITING", 5)
    console = SlowConsole()
    log = made(settings(tmp_path), console)
    logger = loggerTo(log)
    log.start()
    logger.info("message 0")
    assert console.asked.wait(PATIENCE)
    for number in range(1, 20):
        logger.info("message {number}", number=number)
    console.let.set()
    log.stop()
    logger.info("the last")
    lines = [line.rpartition("] ")[2] for line in console.getvalue().splitlines()]
    told = "14 lines were left out: they came faster than they could be written"
    assert lines == ["message 0", told, *(f"message {number}" for number in range(1, 6)), "the last"]
    assert log.left == 14


def test_stuckForEver(made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A console that never takes anything does not keep the process from ending.
    """
    monkeypatch.setattr(logs, "SECONDS_TO_END", 0.05)
    console = SlowConsole()
    log = made(settings(tmp_path), console)
    logger = loggerTo(log)
    log.start()
    logger.info("one")
    assert console.asked.wait(PATIENCE)
    log.stop()
    logger.info("two")
    console.let.set()


_SIGNALS = """
import io, signal, sys, time
from twisted.logger import Logger, LogPublisher
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.process.logs import BrokerLog

log = BrokerLog(settingsFrom({"log": {"dir": sys.argv[1]}}).log, io.StringIO())
logger = Logger(observer=LogPublisher(log))
log.start()
signal.signal(signal.SIGALRM, lambda *_: logger.info("a signal came"))
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
end = time.monotonic() + 2
while time.monotonic() < end:
    logger.info("a line")
signal.setitimer(signal.ITIMER_REAL, 0)
log.stop()
print("ended")
"""


def test_signals(tmp_path: Path) -> None:
    """
    A signal that comes while a line is logged, and logs one too as SIGTERM does, does not stop everything.
    """
    run = subprocess.run([sys.executable, "-c", _SIGNALS, str(tmp_path)], capture_output=True, timeout=30, check=False)
    assert (run.stdout, run.stderr) == (b"ended\n", b"")


def test_broken(made: Make, tmp_path: Path) -> None:
    """
    Lines that can't be written are lost, and no more than these.
    """
    reading, writing = os.pipe()
    os.close(reading)
    console = os.fdopen(writing, "w")
    logger = loggerTo(made(settings(tmp_path, to="both"), console))
    logger.info("hello")
    assert read(tmp_path / "log" / "mqttbroker.log") == ["hello"]
    try:
        console.close()
    except BrokenPipeError:
        pass


def test_copyTruncate(made: Make, tmp_path: Path) -> None:
    """
    A file that logrotate has copied and cut off goes on at its new end, without a hole, and its size is counted anew.
    """
    log = made(settings(tmp_path, to="file", rotation={"size": "10KB"}))
    logger = loggerTo(log)
    path = tmp_path / "log" / "mqttbroker.log"
    for round in range(3):
        for _ in range(60):
            logger.info("x" * 60)
        os.truncate(path, 0)
        logger.info("after {round}", round=round)
        assert path.read_bytes().count(b"\0") == 0
        assert read(path) == [f"after {round}"]
    assert [name.name for name in path.parent.iterdir()] == ["mqttbroker.log"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_otherEncodings(made: Make, tmp_path: Path, encoding: str) -> None:
    """
    Characters that a console's encoding does not have are escaped; the rest of the line is there.
    """
    raw = BytesIO()
    console = TextIOWrapper(raw, encoding)
    loggerTo(made(settings(tmp_path), console)).info("client {name} \ud800 came", name="žlutý 客")
    (line,) = raw.getvalue().decode(encoding).splitlines()
    assert line.endswith("\\ud800 came") and "\\u017elut" in line and "\\u5ba2" in line


def test_halfCharacters(made: Make, tmp_path: Path) -> None:
    """
    The same in a file, which has every character but no halves of one.
    """
    loggerTo(made(settings(tmp_path, to="file"))).info("a \ud800 b žlutý")
    assert read(tmp_path / "log" / "mqttbroker.log") == ["a \\ud800 b žlutý"]


def test_namesOfStrangers(made: Make, tmp_path: Path) -> None:
    """
    Nothing in a message begins a line, or steers the terminal of whoever reads it; nothing is without end.
    """
    logger = loggerTo(made(settings(tmp_path, to="file")))
    logger.info("{name}", name="a\r\nb\x1b[2J\u2028c\u202e")
    logger.info("{name}", name="x" * 1_000_000)
    first, second, third = read(tmp_path / "log" / "mqttbroker.log")
    assert (first, second) == ("a\\r", "\tb\\x1b[2J\\u2028c\\u202e")
    assert third.startswith("xxx") and len(third) < 21_000 and third.endswith(" characters more)")
