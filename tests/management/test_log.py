"""
The commands about the log (spec/cli.md 12).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from twisted.logger import Logger, LogPublisher

from tests.kits.commands import Commands
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.operations.operation import NotFound, Refused
from twisted_mqtt.process.logs import BrokerLog


class Bed(Commands):
    """
    A broker in memory with a log of its own.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.console = StringIO()
        table = settingsFrom({"log": {"to": "both", "dir": str(folder), "error": {"file": "error.log"}}}).log
        self.log = BrokerLog(table, self.console)
        self.memory.node.log = self.log
        self.logger = Logger("twisted_mqtt.stores.sqlite", observer=LogPublisher(self.log))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A log whose files are closed after the test.
    """
    made = Bed(tmp_path)
    yield made
    made.log.close()


@pytest.mark.shows("list_log_handlers", "set_log_handler_level")
def test_handlers(bed: Bed, tmp_path: Path) -> None:
    """
    The destinations are listed as EMQ X lists them; the level of one is set, and echoed.
    """
    assert bed.lines("log handlers list") == [
        "LogHandler (id=default, level=info, destination=console)",
        f"LogHandler (id=file, level=info, destination={tmp_path}/mqttbroker.log)",
        f"LogHandler (id=error, level=error, destination={tmp_path}/error.log)",
    ]
    assert bed.lines("log handlers set-level default error") == ["error"]
    bed.logger.warn("said")
    assert "said" not in bed.console.getvalue()
    assert "said" in (tmp_path / "mqttbroker.log").read_text()
    with pytest.raises(NotFound, match="there is no destination 'printer'; there are default, file, error"):
        bed.lines("log handlers set-level printer error")
    with pytest.raises(Refused, match="level"):
        bed.lines("log handlers set-level default loud")


@pytest.mark.shows("set_log_level", "log_primary_level")
def test_levels(bed: Bed) -> None:
    """
    The primary level is shown and set by the same words; C{set-level} sets those of the destinations too.
    """
    assert bed.lines("log primary-level") == ["info"]
    assert bed.lines("log primary-level critical") == ["critical"]
    bed.logger.error("one")
    assert bed.console.getvalue() == ""
    assert bed.lines("log set-level debug") == ["debug"]
    assert bed.lines("log primary-level") == ["debug"]
    bed.logger.debug("two")
    assert "two" in bed.console.getvalue()
    assert [row.level for row in bed.answer("log handlers list")] == ["debug"] * 3
    with pytest.raises(Refused, match="level"):
        bed.lines("log set-level 7")


@pytest.mark.shows("list_log_modules", "set_log_module_level")
def test_modules(bed: Bed) -> None:
    """
    A package is given a level of its own, and loses it again.
    """
    assert bed.lines("log modules set-level twisted_mqtt.stores debug") == ["debug"]
    bed.logger.debug("one")
    assert "one" in bed.console.getvalue()
    assert bed.lines("log modules list") == ["LogModule (module=twisted_mqtt.stores, level=debug)"]
    assert bed.lines("log modules set-level twisted_mqtt.stores default") == ["default"]
    bed.logger.debug("two")
    assert "two" not in bed.console.getvalue()
    assert bed.lines("log modules list") == []
    for wrong in ("a..b", "x/y", "\0", "a" * 201):
        with pytest.raises(Refused, match="module"):
            bed.answer(f"log modules set-level {wrong} debug")


@pytest.mark.shows("reopen_log")
def test_reopen(bed: Bed, tmp_path: Path) -> None:
    """
    Files that were moved away are begun afresh.
    """
    bed.logger.info("one")
    (tmp_path / "mqttbroker.log").rename(tmp_path / "old.log")
    assert bed.lines("log reopen") == ["ok"]
    bed.logger.info("two")
    assert "two" in (tmp_path / "mqttbroker.log").read_text()


def test_otherLog(bed: Bed) -> None:
    """
    Where the log is another program's, that is said.
    """
    bed.memory.node.log = None
    for words in ("log handlers list", "log set-level debug", "log reopen", "log modules list"):
        with pytest.raises(Refused, match="the log is that of another program"):
            bed.lines(words)
