"""
The reference of the configuration, written from the schema: C{python -m twisted_mqtt.config.document}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import NODEFAULT, Struct

from twisted_mqtt.config.keys import Key, Since, keysOf
from twisted_mqtt.config.registry import IDeclaration, installed
from twisted_mqtt.config.schema_listeners import USUAL_BINDS, ListenerTables
from twisted_mqtt.config.schema_mqtt import Zone
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.config.zones import FROM_MQTT, FROM_TOP

DEFAULT_PATH = "docs/configuration.md"

#: The distribution that holds the broker and its own extensions.
DISTRIBUTION = "twisted-mqtt"

INTRODUCTION = """\
# Configuration

<!-- Written by `python -m twisted_mqtt.config.document` from the schema: change that, not this. -->

`twistd mqttbroker --config FILE` reads one TOML file. `etc/mqttbroker.toml` is a commented file to start from, and
`--init DIR` writes it, see [operations.md](operations.md#a-folder-for-the-broker). Without a file, every key has its
default: MQTT on 127.0.0.1:1883, MQTT over WebSocket on 127.0.0.1:8083, both for this machine only.

`twistd mqttbroker --check --config FILE` starts nothing and prints everything that would keep the broker, or a gateway,
from starting: every error in the file, names that are not known, addresses and ports that can't be had, certificates,
keys and access rules that can't be used, a store that is locked, damaged or on a full disk, folders that can't be
written. Its exit status is 0 only if there is nothing. With `--running`, it leaves out what a broker that runs with the
file has already: its ports and its store.

Where an address may stand, so may a host name. It is looked up when the port is opened; its first IPv4 address is used,
or else its first IPv6 address.

The key `zone.external.max_inflight` may be under `[zone.external]` or be written in full: TOML allows both. An unknown
key is an error, and the message names the nearest known key. File names are relative to the folder in which the broker
is started.

An environment variable overrides a key of the file: `MQTTBROKER__` and the key in capitals, with two underscores for
each dot. (`MQTTBROKER_` with one underscore is still read, with a warning. Variables that Kubernetes makes for
services, such as `MQTTBROKER_WS_SERVICE_HOST`, are passed over.)

```sh
MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT=64
MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND=0.0.0.0:1883
MQTTBROKER__LISTENER__TCP__EXTERNAL__ACCESS__1="allow 10.0.0.0/8"
```

The broker keeps changes at run time, by management or by a program (`node.settings.change`), in an overrides file
beside the main file: `mqttbroker.overrides.toml` beside `mqttbroker.toml`, or `overrides.toml` in `node.data_dir` for a
broker without a file. The overrides file takes precedence over the main file, and the environment over both; a key that
the environment sets cannot be changed in another way. Only the broker writes the overrides file, and only the broker's
user can read it.

`EMQX_NODE_NAME`, `EMQX_NODE_COOKIE` and `EMQX_MAX_PORTS` set the keys of `[node]`; `EMQX_TCP_PORT`, `EMQX_SSL_PORT`,
`EMQX_WS_PORT` and `EMQX_WSS_PORT` the port of the `external` listener of that kind, if there is one.

The column "changes hold" says when a change at run time takes effect: a change in the file, which SIGHUP reads again,
or by management. A change in an extension's table takes effect now, because the extension starts again.

A `.tac` file or a program makes the same settings from a dictionary with the same keys and values:

```python
from twisted_mqtt.config import settingsFrom

settings = settingsFrom({"listener": {"tcp": {"external": "127.0.0.1:1883"}}})
```

## How values are written

Numbers may be TOML numbers or text; everything else except flags is text in quotes.

| type | examples |
|---|---|
| flag | `true`, `false`, `"on"`, `"off"` |
| duration | `"500ms"`, `"15s"`, `"5m"`, `"1h30m"`, `"2d"`; a plain number is seconds |
| period | a duration of `"100ms"` or more, or 0 for never |
| size | `"64KB"`, `"1MB"`, `"2GB"` (1 KB is 1024 bytes); a plain number is bytes |
| percentage | `"80%"`; a plain number is percent as well |
| rate | `"100KB,10s"`: so much in a time; `"1024,4096"`: so much a second, and so much at once after a pause |
| number\\|size | `"1000\\|1MB"`: whichever is reached first |
| threshold, window, ban | `"30, 1m, 5m"` |
| priority table | `"alarm/fire=10,alarm/door=8"`, or a TOML table; `"none"` for an empty one |
| list of ... | `["tlsv1.2", "tlsv1.3"]`, or `"tlsv1.2,tlsv1.3"` |
| numbered list of ... | `["allow 10.0.0.0/8", "deny all"]`, or a table with `1 = "allow 10.0.0.0/8"` and so on |
| access rule | `"allow all"`, `"deny 192.168.0.0/24"`, `"allow 2001:db8::1"`; the first one that fits decides |
| port or address | `1883` (on every IPv4 address), `"127.0.0.1:1883"`, `"[::1]:1883"`, `"localhost:1883"` |

If a default is `none`, the text `"none"` may be written as well.

If a table has one main value, that value may take the place of the table: `external = "0.0.0.0:1883"` under
`[listener.tcp]` is `[listener.tcp.external]` with that `bind`.
"""

ZONES = """\
A listener names its zone; several listeners may share one. The value of an option is that of the zone, else that of
`[mqtt]` or the top of the file, else the default. The zones `external` and `internal` always exist; you may add others.
"""

LISTENERS = """\
`[listener.<kind>.<name>]`, with as many names of each kind as you like. Kinds are `tcp`, `ssl` (MQTT over TLS), `ws`
and `wss` (MQTT over WebSocket, without and with TLS) and `unix` (whose `bind` is the path of a socket). A file without
any listener has `tcp.external` and `ws.external`; an empty `[listener]` has none. The last columns are the defaults; a
dash means that the kind has no such key. Listeners with the usual names need no `bind`:
"""

EXTENSIONS = """\
Extensions and gateways start if `plugins.load` names them. Each has a table; an extension from another package brings
its own table.
"""


#: From when on a change of a key holds, as the tables say it.
WHEN: Final[dict[Since, str]] = {"now": "now", "next connection": "for new clients", "restart": "after a restart"}


def escaped(text: str) -> str:
    """
    A text for a cell of a Markdown table.
    """
    return text.replace("|", "\\|")


def default(key: Key) -> str:
    """
    The default of a key, as it would stand in the file.
    """
    if key.default is NODEFAULT:
        return "must be given"
    written = key.write(key.default)
    return f"`{escaped(written)}`" if written else "empty"


def rows(structure: type[Struct], table: str = "", since: Since = "restart") -> Iterator[tuple[str, Key, Since]]:
    """
    The keys of a table that are values, also those of tables within it, with their names seen from the outer one; and
    from when on a change of each holds.
    """
    for key in keysOf(structure).values():
        holds = key.since or since
        if key.entries:
            assert key.table is not None
            yield from rows(key.table, f"{table}<number>.", holds)
        elif key.table is not None:
            yield from rows(key.table, f"{table}{key.name}.<name>." if key.named else f"{table}{key.name}.", holds)
        else:
            yield f"{table}{key.name}", key, holds


def tableOf(structure: type[Struct], since: Since) -> Iterator[str]:
    """
    One table of the reference. Keys without effect stand elsewhere.
    """
    yield "| key | type | default | changes hold | meaning |"
    yield "|---|---|---|---|---|"
    for name, key, holds in rows(structure, since=since):
        if key.noEffect:
            continue
        standing = default(key)
        if structure is Zone and name in (*FROM_MQTT, *FROM_TOP):
            standing = f"that of `{'mqtt.' if name in FROM_MQTT else ''}{name}`"
        yield f"| `{name}` | {escaped(key.kind)} | {standing} | {WHEN[holds]} | {escaped(meaningOf(key))} |"


def meaningOf(key: Key) -> str:
    """
    The meaning of a key, and its other names.
    """
    also = "".join(f". Also called `{alias}`" for alias in key.aliases)
    return key.meaning + also


def listenerTable() -> Iterator[str]:
    """
    The keys of all kinds of listeners side by side.
    """
    kinds: dict[str, dict[str, Key]] = {}
    for kind, key in keysOf(ListenerTables).items():
        assert key.table is not None
        kinds[kind] = {name: inner for name, inner, _ in rows(key.table)}
    names = dict.fromkeys(name for keys in kinds.values() for name in keys)
    yield f"| key | type | changes hold | meaning | {' | '.join(kinds)} |"
    yield f"|---|---|---|---|{'---|' * len(kinds)}"
    for name in ["bind", *(name for name in names if name != "bind")]:
        found = [keys.get(name) for keys in kinds.values()]
        key = next(key for key in found if key)
        if key.noEffect:
            continue
        defaults = " | ".join(default(key) if key else "-" for key in found)
        when = WHEN[key.since or "next connection"]
        yield f"| `{name}` | {escaped(key.kind)} | {when} | {escaped(meaningOf(key))} | {defaults} |"


def withoutEffect(structure: type[Struct], path: str = "", why: str | None = None) -> Iterator[tuple[str, str]]:
    """
    Every key that is accepted and changes nothing, with the reason.
    """
    for key in keysOf(structure).values():
        name = f"{path}{key.name}"
        reason = key.noEffect or why
        if key.table is not None:
            inner = f"{name}.<name>." if key.named else f"{name}."
            yield from withoutEffect(key.table, inner, reason)
        elif reason:
            yield name, reason


def extensionOf(declaration: IDeclaration, structure: type[Struct]) -> Iterator[str]:
    """
    The part about one extension.
    """
    yield f"### `[{declaration.table}]` (`{declaration.name}`)"
    yield ""
    yield from tableOf(structure, "now")
    yield ""


def ownExtensions() -> Iterator[tuple[IDeclaration, type[Struct]]]:
    """
    The extensions that come with the broker and have a table, by name, whatever else is installed.
    """
    for declaration in sorted(installed(), key=lambda declaration: declaration.name):
        structure = declaration.loadSettings() if declaration.distribution == DISTRIBUTION else None
        if structure is not None:
            yield declaration, structure


def document() -> str:
    """
    The whole reference.
    """
    lines = [INTRODUCTION]
    top = keysOf(Settings)
    lines += ["## At the top of the file", ""]
    lines += ["| key | type | default | changes hold | meaning |", "|---|---|---|---|---|"]
    for name, key in top.items():
        if key.table is None:
            when = WHEN[key.since or "restart"]
            lines += [f"| `{name}` | {escaped(key.kind)} | {default(key)} | {when} | {escaped(meaningOf(key))} |"]
    for name, key in top.items():
        if key.table is None or key.noEffect:
            continue
        lines += ["", f"## `[{name}]`" if not key.named else f"## `[{name}.<name>]`", ""]
        if key.table is ListenerTables:
            lines += [LISTENERS]
            lines += [f"- `{kind}.{usual}`: {bind}" for (kind, usual), bind in USUAL_BINDS.items()]
            lines += ["", *listenerTable()]
        else:
            lines += [ZONES if key.table is Zone else f"{key.meaning}.\n", *tableOf(key.table, key.since or "restart")]
    lines += ["", "## Extensions and gateways", "", EXTENSIONS]
    for declaration, structure in ownExtensions():
        lines += extensionOf(declaration, structure)
    lines += ["## Accepted without effect", ""]
    lines += ["A configuration of EMQ X may have these keys; the broker says once that they change nothing.", ""]
    lines += ["| key | why |", "|---|---|"]
    unused = [*withoutEffect(Settings)]
    for declaration, structure in ownExtensions():
        unused += withoutEffect(structure, f"{declaration.table}.")
    lines += [f"| `{escaped(name)}` | {escaped(why)} |" for name, why in _gathered(unused)]
    return "\n".join(lines) + "\n"


def _gathered(keys: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """
    Keys of several kinds of listeners as one.
    """
    seen: dict[str, str] = {}
    for name, why in keys:
        words = name.split(".")
        if words[0] == "listener":
            words[1] = "<kind>"
        seen.setdefault(".".join(words), why)
    yield from seen.items()


def main(arguments: list[str]) -> None:
    """
    Write the reference.

    @param arguments: the file to write; none for the usual one.
    """
    path = arguments[0] if arguments else DEFAULT_PATH
    with open(path, "w", encoding="utf-8") as file:
        file.write(document())


if __name__ == "__main__":
    main(sys.argv[1:])
