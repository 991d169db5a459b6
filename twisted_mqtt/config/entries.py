"""
Single keys of settings by name: the value of each, where it comes from, and when a change takes effect.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import NODEFAULT, Struct

from twisted_mqtt.config.keys import Key, Since, keysOf
from twisted_mqtt.config.origin import Place
from twisted_mqtt.config.problems import isSecret, nearest
from twisted_mqtt.config.settings import Settings


class SettingEntry(Struct, frozen=True, kw_only=True):
    """
    One key with its value.

    @ivar key: its name in full.
    @ivar value: its value as the broker uses it; C{"***"} for a secret.
    @ivar written: the same as it would stand in the file.
    @ivar default: what it would be if nobody said anything, as it would stand in the file; C{None} where it must be
        given.
    @ivar place: where it comes from; C{None} for the default.
    @ivar since: from when on a change of it holds.
    @ivar meaning: what it does, in a sentence or two.
    @ivar noEffect: why it changes nothing here; C{None} if it does.
    """

    key: str
    value: object
    written: str
    default: str | None
    place: Place | None
    since: Since
    meaning: str
    noEffect: str | None = None


def entries(settings: Settings, prefix: str = "") -> Iterator[SettingEntry]:
    """
    The keys of settings with their values, also those that have their defaults.

    @param prefix: a table, such as C{"zone.external"}, or a key; C{""} for all there are.
    """
    for path, table, since in _tables(settings):
        yield from _within(settings, table, path, since, prefix)


def entryOf(settings: Settings, key: str) -> SettingEntry:
    """
    One key.

    @raise KeyError: there is no such key; the text names the nearest.
    """
    for entry in entries(settings, key):
        if entry.key == key:
            return entry
    known = [entry.key for entry in entries(settings)]
    close = nearest(key, known)
    raise KeyError(f"there is no key {key}" + (f"; the nearest is {close}" if close else ""))


def valueOf(settings: Settings, key: str) -> object:
    """
    The value of a key, a secret too; or a table, as its structure.

    @raise KeyError: there is no such key or table; the text names the nearest.
    """
    for path, table, _ in _tables(settings):
        if path and (key == path or key.startswith(f"{path}.")):
            found = _walk(table, key[len(path) + 1 :])
        else:
            found = _walk(table, key) if not path else _MISSING
        if found is not _MISSING:
            return found
    entryOf(settings, key)
    raise KeyError(f"there is no key {key}")


def shortFor(settings: Settings, key: str) -> str:
    """
    The key for which a single value stands, where somebody gives one in place of a table: for
    C{listener.tcp.external} it is C{listener.tcp.external.bind}.

    @return: the key itself where it is no such table.
    """
    for path, table, _ in _tables(settings):
        if path and not key.startswith(f"{path}."):
            continue
        structure: type[Struct] | None = type(table)
        found: Key | None = None
        named = False
        for word in key[len(path) + 1 if path else 0 :].split("."):
            if named:
                # The word is the name of one of the tables.
                named = False
                continue
            found = keysOf(structure).get(word) if structure is not None else None
            structure, named = (None, False) if found is None else (found.table, found.named)
        if found is not None and found.table is not None and found.short and not named:
            return f"{key}.{found.short}"
    return key


_MISSING = object()


def _tables(settings: Settings) -> Iterator[tuple[str, Struct, Since]]:
    """
    The tables of extensions, and last the one that all keys of the broker stand in.
    """
    for path, table in settings.extensionTables():
        yield path, table, "now"
    yield "", settings, "restart"


def _walk(table: object, key: str) -> object:
    """
    The value of a dotted key in a table.
    """
    words = key.split(".") if key else []
    found: object = table
    for number, word in enumerate(words):
        if isinstance(found, Struct):
            known = keysOf(type(found)).get(word)
            if known is None:
                return _MISSING
            found = getattr(found, known.attribute)
        elif isinstance(found, dict):
            # The name of a listener or a zone has no dots, but a topic that is a key of a table may.
            rest = ".".join(words[number:])
            if rest in found:
                return found[rest]
            if word not in found:
                return _MISSING
            found = found[word]
        elif isinstance(found, tuple) and word.isdigit() and 0 < int(word) <= len(found):
            found = found[int(word) - 1]
        else:
            return _MISSING
    return found


def _within(settings: Settings, table: Struct, path: str, since: Since, prefix: str) -> Iterator[SettingEntry]:
    for key in keysOf(type(table)).values():
        name = f"{path}.{key.name}" if path else key.name
        if not (_leadsTo(name, prefix) or _leadsTo(prefix, name)):
            continue
        holds = key.since or since
        value = getattr(table, key.attribute)
        if key.named:
            for inner, each in value.items():
                yield from _within(settings, each, f"{name}.{inner}", holds, prefix)
        elif key.entries:
            for number, each in enumerate(value, 1):
                yield from _within(settings, each, f"{path}.{number}" if path else str(number), holds, prefix)
        elif key.table is not None:
            if isinstance(value, Struct):
                yield from _within(settings, value, name, holds, prefix)
        elif _leadsTo(prefix, name):
            yield _entry(settings, key, name, value, holds)


def _leadsTo(outer: str, inner: str) -> bool:
    return not outer or inner == outer or inner.startswith(f"{outer}.")


def _entry(settings: Settings, key: Key, name: str, value: object, since: Since) -> SettingEntry:
    secret = isSecret(name)
    places = settings.origin.places
    return SettingEntry(
        key=name,
        value="***" if secret else value,
        written="***" if secret and value else key.write(value),
        default=None if key.default is NODEFAULT else key.write(key.default),
        place=places.get(name) or next((place for at, place in places.items() if at.startswith(f"{name}.")), None),
        since=since,
        meaning=key.meaning,
        noEffect=key.noEffect,
    )
