"""
Tests for L{twisted_mqtt.tap}: the command line, and what a broker has around it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Application
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, capturedLogs

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.reader import readAgain
from twisted_mqtt.node.service import BrokerService, ProcessContext
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.tap import Options


def parsed(parent: dict[str, Any] | None, *words: str) -> Options:
    """
    The options of a command line, after those of C{twistd}.
    """
    options = Options()
    options.parent = parent  # type: ignore[assignment]  # a dictionary has all that is asked for
    options.parseOptions(list(words))
    return options


def test_readsAgainFromElsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that was named from one folder is found again from another.
    """
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b.toml").write_text("acl_nomatch = 'deny'\n")
    monkeypatch.chdir(tmp_path)
    options = parsed(None, "--config", "b.toml")
    (tmp_path / "b.toml").write_text("acl_cache_max_size = 7\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for _ in range(2):
        settings = readAgain(options.settings.origin)
        assert (settings.acl_nomatch, settings.acl_cache_max_size) == ("allow", 7)


@pytest.mark.parametrize("option", ["logger", "logfile", "syslog"])
def test_commandLineLogs(option: str) -> None:
    """
    The options of C{twistd} about logging take precedence over the configuration; without C{twistd} the broker
    sets up no log.
    """
    assert parsed({option: "x"}).log is None
    assert parsed(None).log is None


def test_logs(tmp_path: Path) -> None:
    """
    Else the application that the broker belongs to logs as the configuration says.
    """
    listener = "[listener.tcp.x]\nbind = '127.0.0.1:0'\n"
    (tmp_path / "b.toml").write_text(f"{listener}[log]\nto = 'file'\ndir = '{tmp_path}'\n")
    options = parsed({"nodaemon": False}, "--config", str(tmp_path / "b.toml"))
    assert options.log is not None
    service = BrokerService(options.settings, MemoryReactorClock(), MemoryStore(), ProcessContext(log=options.log))
    application: Any = Application("broker")
    service.setServiceParent(application)
    assert ILogObserver(application) is options.log
    options.log.close()
    assert (tmp_path / "mqttbroker.log").exists()


def test_logCannotBeOpened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A log file that can't be is a fault of the configuration, said before anything starts.
    """
    (tmp_path / "b.toml").write_text(f"[log]\nto = 'file'\ndir = '{tmp_path}/b.toml'\n")
    with pytest.raises(SystemExit):
        parsed({"nodaemon": True}, "--config", str(tmp_path / "b.toml"))
    assert capsys.readouterr().err.startswith("log: ")


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, []), (100_000, []), (1000, ["warn"]), (1099, ["warn"]), (1100, [])]
)
def test_openFiles(limit: int | None, expected: list[str]) -> None:
    """
    A listener that lets more in than the process can have is warned about.
    """
    settings = settingsFrom({"listener": {"tcp": {"x": {"bind": "127.0.0.1:0", "max_connections": 1000}}}})
    assert warned(settings, limit) == expected


def test_openFilesByDefault() -> None:
    """
    The default is beyond most systems: no warning for what nobody has asked for, and one line for all listeners.
    """
    tables = {name: {"bind": "127.0.0.1:0"} for name in ("x", "y")}
    assert warned(settingsFrom({"listener": {"tcp": tables}}), 1000) == ["info"]


def warned(settings: Any, limit: int | None) -> list[str]:
    """
    The levels of what is said about open files.
    """
    service = BrokerService(settings, MemoryReactorClock(), MemoryStore(), ProcessContext(openFiles=limit))
    with capturedLogs() as events:
        service._checkOpenFiles()
    return [event["log_level"].name for event in events if "files open" in event["log_format"]]
