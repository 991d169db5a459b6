"""
The commands about the log (spec/cli.md 12).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Literal

import pytest
from twisted.logger import Logger, LogPublisher

from tests.kits.commands import Commands
from tests.kits.rest import Rest
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.management.settings import ManagementSettings
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


def test_rest(tmp_path: Path) -> None:
    """
    The same by REST; what is wrong has a status, and names the field.
    """
    rest = Rest()
    table = settingsFrom({"log": {"to": "file", "dir": str(tmp_path)}}).log
    log = rest.memory.node.log = BrokerLog(table, StringIO())
    try:
        assert [row["id"] for row in rest.call("GET", "/log/handlers").data] == ["file"]
        assert rest.call("PUT", "/log/level", {"level": "debug"}).data == {"level": "debug"}
        assert rest.call("PUT", "/log/handlers/file", {"level": "error"}).data == {"level": "error"}
        assert rest.call("PUT", "/log/modules/gateways.coap", {"level": "debug"}).data == {"level": "debug"}
        for path, body, status in (
            ("/log/level", {}, 400),
            ("/log/level", {"level": 7}, 400),
            ("/log/level", {"level": None}, 400),
            ("/log/handlers/file", {"level": "loud"}, 400),
            ("/log/handlers/%00", {"level": "info"}, 404),
            ("/log/modules/a%20b", {"level": "info"}, 400),
            ("/log/modules/a", {"level": ""}, 400),
        ):
            answer = rest.call("PUT", path, body)
            assert answer.status == status, (path, body, answer)
            assert {"code", "message"} <= set(answer.json)
        assert log.modules() == {"gateways.coap": "debug"}
    finally:
        log.close()


@pytest.mark.parametrize(("dialect", "desc"), [("union", "the processors are busy"), ("emqx", "82.6")])
def test_alarmOfAValue(dialect: Literal["union", "emqx"], desc: str) -> None:
    """
    In the dialect of EMQ X the description of an alarm is what was measured.
    """
    rest = Rest(ManagementSettings(dialect=dialect))
    alarms = rest.memory.broker.alarms
    alarms.activate("cpu_high_watermark", "warning", "Busy", "the processors are busy", {"value": 82.6}).close()
    [row] = rest.call("GET", "/alarms/history/mqttbroker@127.0.0.1").data
    assert (row["id"], row["desc"]) == ("cpu_high_watermark", desc)
