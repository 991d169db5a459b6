"""
Tests for L{twisted_mqtt.node.settings}: keys read and changed while the broker runs. What has the broker go by them is
tested with a process.
"""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.python.failure import Failure

from twisted_mqtt.config import ConfigurationError, Settings, readSettings, settingsFrom
from twisted_mqtt.config.differences import withoutRestart
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.node.settings import RuntimeSettings


class Node:
    """
    As much of a node as its settings need.
    """

    def __init__(self, settings: Settings) -> None:
        self.applied: list[Settings] = []
        self.settings = RuntimeSettings(settings, self._apply, DeferredLock().run, maybeDeferred)

    async def _apply(self, settings: Settings) -> ReloadReport:
        self.applied.append(settings)
        self.settings.current = withoutRestart(self.settings.current, settings)
        self.settings.took(settings)
        return ReloadReport(done=["x"])


def result(changing: Deferred[ReloadReport]) -> Any:
    """
    Get the result of a Deferred.
    """
    results: list[Any] = []
    changing.addBoth(results.append)
    assert results, "it has not fired"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@pytest.fixture
def main(tmp_path: Path) -> Path:
    """
    A configuration file.
    """
    path = tmp_path / "broker.toml"
    path.write_text('[zone.external]\nmax_inflight = 7\n\n[node]\ncookie = "hidden"\n')
    return path


def test_get(main: Path) -> None:
    """
    A value is had by its key, in Python's own types; a table as its structure.
    """
    settings = Node(readSettings(main, {})).settings
    assert settings.get("zone.external.max_inflight") == 7
    assert settings.get("acl_cache_ttl") == 60.0
    assert settings.get("mqtt").max_qos_allowed == 2
    assert str(settings.get("listener.tcp.external.bind")) == "127.0.0.1:1883"
    assert settings.get("retainer.max_payload_size") == 1 << 20
    assert settings.get("retainer").storage_type == "disc"


@pytest.mark.parametrize(
    "key, near",
    [
        ("zone.external.max_inflihgt", "zone.external.max_inflight"),
        ("zzz", "no key zzz"),
        ("zone.other", "no key zone.other"),
        ("", "no key"),
    ],
)
def test_noSuchKey(main: Path, key: str, near: str) -> None:
    """
    A key that does not exist is refused, and the nearest is named.
    """
    settings = Node(readSettings(main, {})).settings
    for ask in (settings.entry, settings.get) if key else (settings.entry,):
        with pytest.raises(KeyError, match=near):
            ask(key)


def test_entry(main: Path) -> None:
    """
    A key says where its value comes from, what it would be by default, and from when on a change holds.
    """
    settings = Node(readSettings(main, {})).settings
    entry = settings.entry("zone.external.max_inflight")
    assert (entry.written, entry.default, entry.since) == ("7", "32", "next connection")
    assert entry.place is not None and (entry.place.kind, entry.place.line) == ("file", 2)
    assert settings.entry("node.data_dir").since == "restart"
    assert settings.entry("acl_nomatch").place is None
    assert (settings.entry("node.cookie").value, settings.entry("node.cookie").written) == ("***", "***")


def test_entries(main: Path) -> None:
    """
    All keys are there, those of extensions too, each once; a prefix names a table.
    """
    settings = Node(readSettings(main, {})).settings
    keys = [entry.key for entry in settings.entries()]
    assert len(keys) == len(set(keys)) > 200
    assert {"acl_nomatch", "listener.tcp.external.bind", "retainer.storage_type", "log.rotation.size"} <= set(keys)
    names = [f"log.rotation.{name}" for name in ("size", "count", "period")]
    assert [entry.key for entry in settings.entries("log.rotation")] == names
    assert [entry.key for entry in settings.entries("log.rotation.size")] == ["log.rotation.size"]
    assert list(settings.entries("log.rot")) == []


def test_change(main: Path) -> None:
    """
    A change holds, is kept for the next start, and is shown as a change.
    """
    node = Node(readSettings(main, {}))
    assert result(node.settings.change({"zone.external.max_inflight": "9", "acl_nomatch": "deny"})).done == ["x"]
    assert node.settings.get("zone.external.max_inflight") == 9
    entry = node.settings.entry("zone.external.max_inflight")
    assert entry.place is not None and entry.place.kind == "override"
    assert node.settings.overridden() == {"acl_nomatch": "deny", "zone.external.max_inflight": "9"}
    again = readSettings(main, {})
    assert (again.zone["external"].max_inflight, again.acl_nomatch) == (9, "deny")


def test_restart(main: Path) -> None:
    """
    A change that waits for a restart is kept, does not hold yet, and is shown as waiting.
    """
    node = Node(readSettings(main, {}))
    result(node.settings.change({"node.data_dir": "elsewhere"}))
    assert node.settings.get("node.data_dir") == "data"
    assert {key: entry.written for key, entry in node.settings.waiting().items()} == {"node.data_dir": "elsewhere"}
    assert readSettings(main, {}).node.data_dir == "elsewhere"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"acl_nomatch": "maybe"}, 'acl_nomatch = "maybe"'),
        ({"acl_nomatch": "deny", "zone.external.max_inflight": "many"}, "max_inflight"),
        ({"zone.external.max_inflihgt": 5}, 'the nearest is "max_inflight"'),
        ({"listener.tcp.other.bind": "127.0.0.1:8083"}, "8083"),
        ({"node.name": "n@1"}, "environment variable MQTTBROKER__NODE__NAME"),
    ],
)
def test_refused(main: Path, values: dict[str, object], message: str) -> None:
    """
    Where one value does not pass, nothing changes and nothing is kept; the error says which and why.
    """
    node = Node(readSettings(main, {"MQTTBROKER__NODE__NAME": "n@2"}))
    with pytest.raises(ConfigurationError, match=message):
        result(node.settings.change(values))
    assert node.applied == []
    assert readSettings(main, {}).acl_nomatch == "allow"
    assert [path.name for path in main.parent.iterdir()] == ["broker.toml"]


def test_cannotBeKept(main: Path) -> None:
    """
    A change that can't be kept is no change.
    """
    node = Node(readSettings(main, {}))
    (main.parent / "broker.overrides.toml").mkdir()
    with pytest.raises(ConfigurationError, match="broker.overrides.toml"):
        result(node.settings.change({"acl_nomatch": "deny"}))
    assert node.applied == []


def test_reset(main: Path) -> None:
    """
    A change can be taken back: then the file holds again. What was not changed can't.
    """
    node = Node(readSettings(main, {}))
    result(node.settings.change({"zone.external.max_inflight": 9}))
    result(node.settings.reset(["zone.external.max_inflight"]))
    assert node.settings.get("zone.external.max_inflight") == 7
    assert node.settings.overridden() == {}
    with pytest.raises(ConfigurationError, match="nothing to take back"):
        result(node.settings.reset(["zone.external.max_inflight"]))


def test_shortForm(main: Path) -> None:
    """
    A value in place of a table is kept as the key that it stands for, so that other keys of the table can be changed
    too, and the file can still be read; it is taken back by either name.
    """
    settings = Node(readSettings(main, {})).settings
    result(settings.change({"log.syslog": "on"}))
    result(settings.change({"listener.tcp.external": "127.0.0.1:1999"}))
    result(settings.change({"log.syslog.facility": "user", "listener.tcp.external.backlog": 7}))
    assert set(settings.overridden()) == {
        "log.syslog.enabled",
        "log.syslog.facility",
        "listener.tcp.external.bind",
        "listener.tcp.external.backlog",
    }
    again = readSettings(main, {})
    assert again.log.syslog.enabled and again.log.syslog.facility == "user"
    result(settings.reset(["log.syslog"]))
    assert not readSettings(main, {}).log.syslog.enabled


def test_tableAndKey(main: Path) -> None:
    """
    A text for a whole table and a key in it can't both be kept: the second is refused, and nothing changes.
    """
    settings = Node(readSettings(main, {})).settings
    result(settings.change({"log.modules": "a=debug"}))
    before = settings.overridden()
    with pytest.raises(ConfigurationError, match="does not go together with log.modules"):
        result(settings.change({"log.modules.b": "debug"}))
    assert settings.overridden() == before
    readSettings(main, {})


def test_notKept(main: Path) -> None:
    """
    A change may hold for this run alone; it holds through a reading of the file again, and before one that is kept.
    """
    node = Node(readSettings(main, {}))
    result(node.settings.change({"zone.external.max_inflight": 8}))
    result(node.settings.change({"zone.external.max_inflight": 9}, keep=False))
    assert node.settings.get("zone.external.max_inflight") == 9
    assert node.settings.read().zone["external"].max_inflight == 9
    assert readSettings(main, {}).zone["external"].max_inflight == 8


def test_settingsOfAProgram() -> None:
    """
    Settings that a program made can be changed too, as long as it runs.
    """
    node = Node(settingsFrom({"acl_nomatch": "deny"}))
    result(node.settings.change({"acl_nomatch": "allow", "zone.external.mqueue_priorities": "none"}))
    assert node.settings.get("acl_nomatch") == "allow"
    assert node.settings.overridden()["acl_nomatch"] == "allow"


def test_oneAfterTheOther(main: Path) -> None:
    """
    Two changes that are asked for at once both hold.
    """
    node = Node(readSettings(main, {}))
    first = node.settings.change({"acl_nomatch": "deny"})
    second = node.settings.change({"zone.external.max_inflight": 9})
    result(first)
    result(second)
    again = readSettings(main, {})
    assert (again.acl_nomatch, again.zone["external"].max_inflight) == ("deny", 9)
