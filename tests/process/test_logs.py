"""
Tests for L{twisted_mqtt.process.logs}.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from zope.interface.verify import verifyObject

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.schema_node import Log
from twisted_mqtt.process import logs, logwriter
from twisted_mqtt.process.logrecord import LEVELS
from twisted_mqtt.process.logs import BrokerLog
from twisted_mqtt.process.logsinks import LogStream

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
    Where a file can't be opened, that is said; what goes elsewhere goes on, and so does the file before.
    """
    output = StringIO()
    log = made(settings(tmp_path, to="both"), output)
    (tmp_path / "file").write_text("")
    wrong = settings(tmp_path / "file", to="both", level="debug", error={"file": "error.log"})
    problems = log.configure(wrong)
    assert [problem.partition(":")[0] for problem in problems] == ["file", "error"]
    loggerTo(log).debug("still here")
    assert "still here" in output.getvalue()
    assert read(tmp_path / "log" / "mqttbroker.log") == ["still here"]
    with pytest.raises(OSError):
        made(wrong)


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
    monkeypatch.setattr(logwriter, "MOST_WAITING", 5)
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


def test_json(made: Make, tmp_path: Path) -> None:
    """
    With C{format = "json"} each line is an object, with the fields of the message; a traceback is a part of its text.
    """
    logger = loggerTo(made(settings(tmp_path, to="file", format="json")))
    logger.info("{client} came\nwith {count}", client="a\x1b\ud800", count=3, big=1 << 70, some=object())
    try:
        raise ValueError("oh")
    except ValueError as error:
        logger.failure("{error} failed", error=error)
    first, second = [json.loads(line) for line in (tmp_path / "log" / "mqttbroker.log").read_bytes().splitlines()]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "info",
        "logger": "test",
        "message": "a\\x1b\\ud800 came\nwith 3",
        "fields": {"client": "a\\x1b\\ud800", "count": 3, "big": str(1 << 70)},
    }
    assert (second["level"], second["fields"]) == ("critical", {"error": "oh"})
    assert second["message"].startswith("oh failed\nTraceback") and "ValueError: oh" in second["message"]


def test_jsonWhileItRuns(made: Make, tmp_path: Path) -> None:
    """
    A reload that changes the form goes on in the same file.
    """
    log = made(settings(tmp_path, to="file"))
    logger = loggerTo(log)
    logger.info("one")
    log.configure(settings(tmp_path, to="file", format="json"))
    logger.info("two")
    first, second = (tmp_path / "log" / "mqttbroker.log").read_text().splitlines()
    assert first.endswith("] one") and json.loads(second)["message"] == "two"


def test_modules(made: Make, tmp_path: Path) -> None:
    """
    The level of a module holds for all in it, in place of the other levels but those of extra files. The nearest one
    counts.
    """
    output = StringIO()
    log = made(
        settings(
            tmp_path,
            level="warning",
            error={"file": "error.log"},
            modules={"a": "debug", "a.b": "critical", "c": "info"},
        ),
        output,
    )
    for namespace in ("a", "a.x", "ab", "a.b", "a.b.c", "c"):
        logger = Logger(namespace, observer=LogPublisher(log))
        for level in LogLevel.iterconstants():
            logger.emit(level, f"{namespace} {level.name}")
    said = [line.partition("] ")[2] for line in output.getvalue().splitlines()]
    assert said == [
        *(f"{name} {level}" for name in ("a", "a.x") for level in ("debug", "info", "warn", "error", "critical")),
        *(f"ab {level}" for level in ("warn", "error", "critical")),
        "a.b critical",
        "a.b.c critical",
        *(f"c {level}" for level in ("info", "warn", "error", "critical")),
    ]
    assert len(read(tmp_path / "log" / "error.log")) == 2 * 4 + 2
    assert (log.wants("info"), log.wants("info", "c.d"), log.wants("error", "a.b")) == (False, True, False)


def test_levelsAtRunTime(made: Make, tmp_path: Path) -> None:
    """
    The primary gate and each destination have levels that can be set; a reload leaves them, unless it changes
    C{log.level}.
    """
    output = StringIO()
    table = settings(tmp_path, to="both")
    log = made(table, output)
    logger = loggerTo(log)
    seen: list[None] = []
    log.changed = lambda: seen.append(None)
    log.setHandlerLevel("file", "error")
    log.setPrimaryLevel("warning")
    assert seen == [None, None]
    for level in LogLevel.iterconstants():
        logger.emit(level, level.name)
    path = tmp_path / "log" / "mqttbroker.log"
    assert [line.partition("] ")[2] for line in output.getvalue().splitlines()] == ["warn", "error", "critical"]
    assert read(path) == ["error", "critical"]
    log.configure(table)
    assert (log.primaryLevel, log.handlers()) == (
        "warning",
        [("default", "info", "console"), ("file", "error", str(path))],
    )
    log.configure(settings(tmp_path, to="both", level="debug"))
    assert (log.primaryLevel, [one.level for one in log.handlers()]) == ("debug", ["debug", "debug"])
    log.setLevel("critical")
    assert not log.wants("error") and log.wants("emergency")
    for wrong in (lambda: log.setLevel("loud"), lambda: log.setModuleLevel("a", "loud")):
        with pytest.raises(ValueError, match="there is no level 'loud'"):
            wrong()
    with pytest.raises(KeyError):
        log.setHandlerLevel("printer", "info")


def test_moduleLevelsAtRunTime(made: Make, tmp_path: Path) -> None:
    """
    A module is given a level, and loses it again: one of the configuration too.
    """
    log = made(settings(tmp_path, modules={"a": "debug"}))
    log.setModuleLevel("b", "error")
    log.setModuleLevel("a", "")
    assert log.modules() == {"b": "error"}
    assert not log.wants("debug", "a") and not log.wants("info", "b.c")
    log.setModuleLevel("b", "")
    assert log.modules() == {}
    log.configure(settings(tmp_path, modules={"a": "info"}))
    assert log.modules() == {"a": "info"}


def test_stuckConsole(made: Make, tmp_path: Path) -> None:
    """
    A console that takes nothing keeps nothing from the file.
    """
    console = SlowConsole()
    log = made(settings(tmp_path, to="both"), console)
    logger = loggerTo(log)
    log.start()
    for number in range(100):
        logger.info("message {number}", number=number)
    assert console.asked.wait(PATIENCE)
    path = tmp_path / "log" / "mqttbroker.log"
    until = time.monotonic() + PATIENCE
    while path.read_text().count("\n") < 100 and time.monotonic() < until:
        time.sleep(0.001)
    assert path.read_text().count("\n") == 100
    console.let.set()


def test_lostLines(made: Make, tmp_path: Path) -> None:
    """
    Lines that can't be written are a problem that is told, and counted in the log once they can be again.
    """
    path = tmp_path / "log"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log = made(settings(tmp_path, to="off", syslog={"enabled": True, "address": str(path), "format": "rfc5424"}))
    logger = loggerTo(log)
    logger.info("one")
    logger.info("two")
    assert log.problems() == [f"{path}: No such file or directory (2 lines lost so far)"]
    with listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE)
        logger.info("three")
        assert [listening.recv(10000).decode().partition("] ")[2] for _ in range(2)] == [
            "three",
            "2 lines could not be written: No such file or directory",
        ]
    assert log.problems() == []


def test_sameFileTwice(made: Make, tmp_path: Path) -> None:
    """
    A file that is named for two levels has each line once.
    """
    log = made(settings(tmp_path, to="file", file="a.log", error={"file": "a.log"}))
    loggerTo(log).error("once")
    assert read(tmp_path / "log" / "a.log") == ["once"]


def test_reopen(made: Make, tmp_path: Path) -> None:
    """
    Files that were moved away are begun afresh, by the thread that writes them, in order.
    """
    log = made(settings(tmp_path, to="file"))
    logger = loggerTo(log)
    log.start()
    logger.info("one")
    log.stop()
    path = tmp_path / "log" / "mqttbroker.log"
    path.rename(tmp_path / "old.log")
    log.start()
    log.reopen()
    logger.info("two")
    log.stop()
    assert (read(tmp_path / "old.log"), read(path)) == (["one"], ["two"])


@pytest.mark.parametrize("when", [-1.0, float("nan"), float("inf"), 1e300, "now", None])
def test_oddDates(made: Make, tmp_path: Path, when: object) -> None:
    """
    A program that logs with an odd date has its line all the same, in every form.
    """
    for form in ("text", "json"):
        log = made(settings(tmp_path, to="file", file=f"{form}.log", format=form))
        log({"log_format": "hello", "log_time": when, "log_level": LogLevel.info, "log_namespace": "x"})
        assert "hello" in (tmp_path / "log" / f"{form}.log").read_text()


def test_odd(made: Make, tmp_path: Path) -> None:
    """
    Nor does anything else that a program may log do harm.
    """

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log = made(settings(tmp_path, to="file", format="json"))
    log({"log_format": "{x}", "x": Rude(), "log_system": Rude(), "log_namespace": 3, "log_time": 1.0})
    log({"log_format": "", "log_time": 1.0})
    log({})
    log({"log_format": "{nothing}", "log_time": 1.0, 5: 6})
    lines = (tmp_path / "log" / "mqttbroker.log").read_text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)
