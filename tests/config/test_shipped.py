"""
The files that come with the broker agree with the schema: the commented configuration and the reference.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, Struct

from twisted_mqtt.config import Settings, document, readSettings
from twisted_mqtt.config.convert import Conversion
from twisted_mqtt.config.keys import Key, keysOf
from twisted_mqtt.config.schema_listeners import ListenerTables
from twisted_mqtt.config.source import Source

ROOT = Path(__file__).parents[2]
FILE = ROOT / "etc" / "mqttbroker.toml"

_COMMENTED = re.compile(r"^#(\[|[a-z0-9_]+ = )")


def uncommented() -> str:
    """
    The shipped file with every key that it shows as a comment.
    """
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[1:] if _COMMENTED.match(line) else line for line in lines)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A folder where the files exist that the commented keys name.
    """
    certificates = tmp_path / "etc" / "certs"
    certificates.mkdir(parents=True)
    for name in ("cert.pem", "key.pem"):
        (certificates / name).touch()
    (tmp_path / "etc" / "psk.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_listensOnThisMachine() -> None:
    """
    The shipped file starts MQTT and WebSocket where only this machine can connect, without any warning.
    """
    settings = readSettings(FILE, {})
    assert [str(listener.bind) for listener in settings.listener] == ["127.0.0.1:1883", "127.0.0.1:8083"]
    assert all(settings.allowsAnonymous(listener) for listener in settings.listener)
    assert settings.warnings == []


def test_meansTheDefaults() -> None:
    """
    The active lines of the shipped file are the defaults, except for the extensions that it starts.
    """
    assert readSettings(FILE, {}) == readSettings(
        None, {"MQTTBROKER__PLUGINS__LOAD": "management,stomp,mqttsn,coap,lwm2m"}
    )


def test_commentedKeysAreKnown(installed: Path) -> None:
    """
    With every comment that is a key taken for one, the file is still a good configuration.
    """
    path = installed / "all.toml"
    path.write_text(uncommented(), encoding="utf-8")
    settings = readSettings(path, {})
    assert [listener.listenerKind for listener in settings.listener] == ["tcp", "ssl", "ws", "wss", "unix"]
    # The file has the tables of extensions that it does not start, too.
    assert [warning for warning in settings.warnings if "plugins.load does not name" not in warning] == []


def test_commentedKeysShowTheirDefaults(installed: Path) -> None:
    """
    Each commented key has the value that it has without the line.
    """
    tables = tomllib.loads(uncommented())
    compared = 0

    def compare(structure: type[Struct], raw: dict[str, Any], path: tuple[str, ...]) -> None:
        nonlocal compared
        keys = keysOf(structure)
        if structure is ListenerTables:
            for kind, tablesOfKind in raw.items():
                inner = keys[kind].table
                assert inner is not None
                for name, table in tablesOfKind.items():
                    compare(inner, table, (*path, kind, name))
            return
        source = Source(str(FILE))
        values = Conversion(source, Settings).values(structure, raw, path)
        assert source.problems == []
        for name, value in raw.items():
            key: Key = keys[name]
            if key.table is not None:
                compare(key.table, value, (*path, name))
            elif key.default is not NODEFAULT:
                assert values[key.attribute] == key.default, ".".join((*path, name))
                compared += 1

    for declaration, structure in document.ownExtensions():
        *outer, last = declaration.table.split(".")
        within = tables
        for name in outer:
            within = within[name]
        compare(structure, within.pop(last), (*outer, last))
    assert not tables.pop("module")
    # The one value that is not a default: what `make run` starts.
    assert tables["plugins"].pop("load") == ["management", "stomp", "mqttsn", "coap", "lwm2m"]
    for name, table in tables.pop("zone").items():
        zone = keysOf(Settings)["zone"].table
        assert zone is not None
        compare(zone, table, ("zone", name))
    top = {name: value for name, value in tables.items() if not isinstance(value, dict)}
    compare(Settings, top, ())
    for name in tables.keys() - top.keys():
        inner = keysOf(Settings)[name].table
        assert inner is not None
        compare(inner, tables[name], (name,))
    assert compared > 160


def test_reference() -> None:
    """
    docs/configuration.md is what the schema says now; `make docs` writes it again.
    """
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == document.document()


def test_referenceHasEveryKey() -> None:
    """
    No key is left out of the reference.
    """
    text = document.document()
    structures: list[type[Struct]] = [Settings, *(structure for _, structure in document.ownExtensions())]
    while structures:
        for key in keysOf(structures.pop()).values():
            if key.table is not None:
                structures.append(key.table)
            assert key.entries or re.search(rf"\b{key.name}\b", text), key.name
            assert key.meaning[0].isupper() or key.meaning[0] in "`$", key.meaning
            assert not key.meaning.endswith("."), key.meaning


def test_writesReference(tmp_path: Path) -> None:
    """
    The command writes the file it is told to.
    """
    path = tmp_path / "configuration.md"
    document.main([str(path)])
    assert path.read_text(encoding="utf-8") == document.document()


def test_accessRules() -> None:
    """
    The shipped access rules are the four of the specification, one term each; this machine is all of 127.0.0.0/8, and
    ::1.
    """
    text = (ROOT / "etc" / "acl.conf").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line and not line.startswith("%%")] == [
        '{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.',
        '{allow, {ipaddr, "127.0.0.0/8"}, pubsub, ["$SYS/#", "#"]}.',
        '{allow, {ipaddr, "::1"}, pubsub, ["$SYS/#", "#"]}.',
        '{deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.',
        "{allow, all}.",
    ]
