"""
Tests for L{twisted_mqtt.config.overrides} and for the layers of a configuration: file, overrides, environment.
"""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.config import ConfigurationError, readSettings, settingsFrom
from twisted_mqtt.config.overrides import asTOML, overridesOf, readOverrides, writeOverrides
from twisted_mqtt.config.reader import readAgain
from twisted_mqtt.config.source import leavesOf

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
SINGLE_VALUES = st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.dictionaries(WORDS, SINGLE_VALUES | st.lists(SINGLE_VALUES, max_size=3), max_size=6))
def test_roundTrip(values: dict[str, object]) -> None:
    """
    The written text is what TOML reads, whatever characters keys and values have.
    """
    paths = {("zone", name): value for name, value in values.items()}
    assert dict(leavesOf(tomllib.loads(asTOML(paths)))) == paths


def test_place() -> None:
    """
    The file stands beside the main one; a broker without one has it among its data.
    """
    assert overridesOf("/etc/broker.toml", {}) == "/etc/broker.overrides.toml"
    assert overridesOf(None, {"MQTTBROKER__NODE__DATA_DIR": "/data"}) == "/data/overrides.toml"


def test_written(tmp_path: Path) -> None:
    """
    The file is readable for its owner alone, and replaced as a whole: no other file is left.
    """
    file = str(tmp_path / "b.overrides.toml")
    assert readOverrides(file) == {}
    for number in (1, 2):
        writeOverrides(file, {("zone", "external", "max_inflight"): number})
    assert readOverrides(file) == {("zone", "external", "max_inflight"): 2}
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["b.overrides.toml"]


def test_cannotBeWritten(tmp_path: Path) -> None:
    """
    Where it can't be replaced, it is as before and nothing else is left; the error names it, and no temporary file.
    """
    file = tmp_path / "b.overrides.toml"
    file.mkdir()
    with pytest.raises(OSError) as refusal:
        writeOverrides(str(file), {("acl_nomatch",): "deny"})
    assert (refusal.value.filename, refusal.value.filename2) == (str(file), None)
    assert [each.name for each in tmp_path.iterdir()] == ["b.overrides.toml"]


def test_layers(tmp_path: Path) -> None:
    """
    An override holds before the file, the environment before both; each value says where it comes from.
    """
    main = tmp_path / "b.toml"
    main.write_text("[zone.external]\nmax_inflight = 1\nmax_mqueue_len = 1\nidle_timeout = 1\n")
    writeOverrides(
        str(tmp_path / "b.overrides.toml"),
        {("zone", "external", "max_inflight"): 2, ("zone", "external", "max_mqueue_len"): 2},
    )
    settings = readSettings(main, {"MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT": "3"})
    zone = settings.zone["external"]
    assert (zone.max_inflight, zone.max_mqueue_len, zone.idle_timeout) == (3, 2, 1.0)
    places = settings.origin.places
    assert {key: (place.kind, place.line) for key, place in places.items() if key.startswith("zone")} == {
        "zone.external.max_inflight": ("environment", None),
        "zone.external.max_mqueue_len": ("override", 4),
        "zone.external.idle_timeout": ("file", 4),
    }


def test_wrongOverride(tmp_path: Path) -> None:
    """
    An error in the overrides file is reported with its name and line.
    """
    main = tmp_path / "b.toml"
    main.write_text("")
    (tmp_path / "b.overrides.toml").write_text("# x\nzone.external.max_inflihgt = 5\n")
    with pytest.raises(ConfigurationError, match=r"b\.overrides\.toml:2: zone\.external\.max_inflihgt"):
        readSettings(main, {})
    (tmp_path / "b.overrides.toml").write_text("zone.external.max_inflight 5\n")
    with pytest.raises(ConfigurationError, match=r"b\.overrides\.toml:1: this is not TOML"):
        readSettings(main, {})


def test_readAgain(tmp_path: Path) -> None:
    """
    Settings are read again from where they came from, with other overrides where some are given.
    """
    main = tmp_path / "b.toml"
    main.write_text("acl_nomatch = 'deny'\n")
    settings = readSettings(main, {})
    main.write_text("acl_cache_max_size = 7\n")
    again = readAgain(settings.origin)
    assert (again.acl_nomatch, again.acl_cache_max_size) == ("allow", 7)
    assert readAgain(settings.origin, {("acl_cache_max_size",): 8}).acl_cache_max_size == 8
    made = settingsFrom({"acl_nomatch": "deny"})
    assert readAgain(made.origin) == made
    assert readAgain(made.origin, {("acl_nomatch",): "allow"}).acl_nomatch == "allow"


def test_listenersOfOverrides(tmp_path: Path) -> None:
    """
    An override may add a listener, under a name with capitals, and change the port of one that has its usual address.
    """
    made = settingsFrom({})
    again = readAgain(
        made.origin,
        {("listener", "tcp", "Second", "bind"): "127.0.0.1:1999", ("listener", "tcp", "external", "bind"): 1884},
    )
    assert {listener.path: str(listener.bind) for listener in again.listener} == {
        "listener.tcp.external": "0.0.0.0:1884",
        "listener.tcp.Second": "127.0.0.1:1999",
        "listener.ws.external": "127.0.0.1:8083",
    }


def test_killed(tmp_path: Path) -> None:
    """
    What is left of a process that was killed amid its work is in nobody's way, and does not become more.
    """
    file = str(tmp_path / "b.overrides.toml")
    left = tmp_path / ".b.overrides.toml.new"
    left.write_text("half a li")
    left.chmod(0o644)
    writeOverrides(file, {("acl_nomatch",): "deny"})
    assert readOverrides(file) == {("acl_nomatch",): "deny"}
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["b.overrides.toml"]
