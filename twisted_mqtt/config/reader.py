"""
Reads a configuration: the file, then the environment over it. The result is L{Settings}, or all problems at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from twisted_mqtt.config.checks import check
from twisted_mqtt.config.convert import Conversion
from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.origin import Origin, Place
from twisted_mqtt.config.overrides import overridesOf
from twisted_mqtt.config.problems import ConfigurationError, Problem
from twisted_mqtt.config.registry import (
    WELL_KNOWN_TABLES,
    DeclarationError,
    IDeclaration,
    Registry,
    installed,
    structureOf,
)
from twisted_mqtt.config.schema_listeners import USUAL_BINDS
from twisted_mqtt.config.schema_mqtt import MQTT, Zone
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.config.source import SINGLE, Path, Source, spokenTo
from twisted_mqtt.config.zones import USUAL_ZONES, resolved


def readSettings(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], registry: Registry[IDeclaration] | None = None
) -> Settings:
    """
    Read the configuration: the file, over it what was changed at run time, over that the environment.

    @param path: the file; C{None} for the defaults.
    @param environ: the environment, such as C{os.environ}.
    @param registry: the extensions there are; without one, those that are installed.

    @raise ConfigurationError: it cannot be used; the error has all that is wrong.
    """
    file = None if path is None else os.path.abspath(path)
    return _read(
        Origin(
            name="the defaults" if path is None else os.fspath(path),
            path=file,
            environ=spokenTo(environ),
            registry=registry,
            overrides=overridesOf(file, environ),
        )
    )


def settingsFrom(
    tables: Mapping[str, Any], environ: Mapping[str, str] | None = None, registry: Registry[IDeclaration] | None = None
) -> Settings:
    """
    Settings from Python, for a C{.tac} file or a test: the same tables and values as in the file. What is changed at
    run time is not kept: whoever made them makes them anew.

    @raise ConfigurationError: they cannot be used.
    """
    origin = Origin(name="the settings", tables=_copied(tables), environ=spokenTo(environ or {}), registry=registry)
    return _read(origin)


def readAgain(origin: Origin, overrides: Mapping[Path, object] | None = None) -> Settings:
    """
    Read settings again from where they came from.

    @param overrides: what to take for the changes that were made at run time; without it, what the overrides file says.

    @raise ConfigurationError: they cannot be used; the error has all that is wrong.
    """
    return _read(origin, overrides)


def _read(origin: Origin, overrides: Mapping[Path, object] | None = None) -> Settings:
    source = Source(origin.name)
    if origin.tables is not None:
        source.tables = _copied(origin.tables)
    elif origin.path is not None:
        _addFile(source, origin.path)
    return _settings(source, origin, overrides)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _addFile(source: Source, path: str) -> None:
    text = _textOf(source, source.name, path)
    if text is not None:
        source.addText(text)


def _textOf(source: Source, name: str, path: str) -> str | None:
    """
    The text of a file; C{None} where it cannot be read, which is a problem of the source.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        message = f"cannot be read ({error.strerror}): name an existing file"
        source.problems.append(Problem(name, None, "", None, message))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        source.problems.append(Problem(name, line, "", None, "is not UTF-8 text: save it as UTF-8"))
    return None


def _settings(source: Source, origin: Origin, overrides: Mapping[Path, object] | None) -> Settings:
    registry = origin.registry
    if registry is None:
        try:
            registry = installed()
        except DeclarationError as error:
            raise ConfigurationError([Problem("the installed extensions", None, "", None, str(error))]) from error
    places: dict[str, Place] = {}
    sections = tuple(source.tables)
    if not source.problems:
        source.tables.setdefault("listener", {"tcp": {"external": {}}, "ws": {"external": {}}})
        # Before what comes over them, which may change the port only; after it, which may add listeners.
        _fillBinds(source.tables)
        if overrides is not None:
            source.addChanges(origin.overrides or "a change at run time", overrides)
        elif origin.overrides is not None and os.path.exists(origin.overrides):
            text = _textOf(source, origin.overrides, origin.overrides)
            source.addOverrides(origin.overrides, text or "")
        source.addEnvironment(origin.environ)
        _fillBinds(source.tables)
        places = source.places()
        reading = _Reading(source, registry)
        settings = reading.settings()
        check(settings, source, registry)
    if source.problems:
        raise ConfigurationError(sorted(source.problems, key=lambda problem: (problem.file, problem.line or 0)))
    settings.warnings.extend(source.warnings)
    return replace(settings, origin=replace(origin, sections=sections, places=places, found=registry))


def _fillBinds(tables: Mapping[str, Any]) -> None:
    """
    Give the listeners with the usual names their usual address on this machine.
    """
    listeners = tables.get("listener")
    for (kind, name), bind in USUAL_BINDS.items():
        within = listeners.get(kind) if isinstance(listeners, dict) else None
        table = within.get(name) if isinstance(within, dict) else None
        if isinstance(table, dict) and SINGLE not in table:
            table.setdefault("bind", str(bind))


class _Reading:
    """
    One pass over a source.
    """

    def __init__(self, source: Source, registry: Registry[IDeclaration]) -> None:
        self._source = source
        self._registry = registry
        tables = [declaration.table.partition(".")[0] for declaration in registry if declaration.table]
        named = {name: each.table for each in registry if each.table for name in (each.name, *each.aliases)}
        self._conversion = Conversion(source, Settings, tables, named)

    def settings(self) -> Settings:
        """
        The settings, as far as they can be read.
        """
        tables = self._source.tables
        self._refuseForeignTables()
        extensions = self._extensions()
        mentioned = list(extensions)
        self._refuseMissingExtensions()
        zones = tables.pop("zone", {})
        values = self._conversion.values(Settings, tables, ())
        mqtt = values.setdefault("mqtt", MQTT())
        values["zone"] = self._zones(zones, mqtt, values)
        starting = self._starting(values.get("plugins", Settings().plugins).load, extensions)
        for declaration in self._registry:
            if declaration.name in starting and declaration.name not in extensions and declaration.table:
                table = self._built(declaration, {})
                if table is not None:
                    extensions[declaration.name] = table
        self._idleTables(mentioned, starting)
        return Settings(extensions=extensions, startingExtensions=starting, warnings=self._warnings(), **values)

    def _idleTables(self, mentioned: Sequence[str], starting: Sequence[str]) -> None:
        """
        Say of the tables of extensions that do not start that nothing comes of them.
        """
        for declaration in self._registry:
            name = declaration.name
            byItself = declaration.short == "enable" or getattr(declaration, "always", False)
            if name in mentioned and name not in starting and not byItself:
                table = declaration.table
                self._source.warnings.append(f'[{table}] has no effect: plugins.load does not name "{name}"')

    def _refuseForeignTables(self) -> None:
        """
        Say of an extension that its table would hide one of the broker's.
        """
        for declaration in self._registry:
            keys = keysOf(Settings)
            for name in declaration.table.split("."):
                key = keys.get(name)
                if key is None:
                    break
                keys = keysOf(key.table) if key.table is not None else {}
            else:
                whose = f"the extension {declaration.name} ({declaration.distribution})"
                message = f"{whose} has a table that is the broker's own: uninstall it"
                self._source.problem(tuple(declaration.table.split(".")), None, message)

    def _extensions(self) -> dict[str, Any]:
        """
        Take the tables of extensions out of the tree.
        """
        found = {}
        for declaration in self._registry:
            raw = self._taken(declaration)
            if raw is None and declaration.short == "enable":
                # It may start although nothing mentions it.
                raw = {}
            if raw is not None:
                table = self._built(declaration, raw)
                if table is not None:
                    found[declaration.name] = table
        return found

    def _built(self, declaration: IDeclaration, raw: object) -> Struct | None:
        """
        The table of one extension as its structure; C{None} where that cannot be had.
        """
        path = tuple(declaration.table.split("."))
        try:
            structure = structureOf(declaration)
        except DeclarationError as error:
            self._source.problem(path, None, str(error))
            return None
        return None if structure is None else self._conversion.built(structure, raw, path, declaration.short)

    def _taken(self, declaration: IDeclaration) -> object:
        if not declaration.table:
            return None
        *outer, last = declaration.table.split(".")
        within = [self._source.tables]
        for name in outer:
            inner = within[-1].get(name)
            if not isinstance(inner, dict):
                return None
            within.append(inner)
        raw = within[-1].pop(last, None)
        # A table that is now empty and only held extensions must not look like a key of its own.
        for table, name in zip(reversed(within[:-1]), reversed(outer), strict=True):
            if not table[name] and name not in keysOf(Settings):
                del table[name]
        return raw

    def _refuseMissingExtensions(self) -> None:
        """
        Say of the tables that belong to an extension which one is missing.
        """
        for dotted, extension in WELL_KNOWN_TABLES.items():
            path = tuple(dotted.split("."))
            within: Any = self._source.tables
            for name in path[:-1]:
                within = within.get(name, {}) if isinstance(within, dict) else {}
            if isinstance(within, dict) and path[-1] in within:
                del within[path[-1]]
                self._source.problem(path, None, f'no extension "{extension}" is installed; remove the table')
                if not within and path[0] in self._source.tables and not self._source.tables[path[0]]:
                    del self._source.tables[path[0]]

    def _zones(self, raw: Any, mqtt: MQTT, top: Mapping[str, Any]) -> dict[str, Zone]:
        tables: dict[str, Any] = {name: {} for name in USUAL_ZONES}
        if isinstance(raw, dict):
            tables.update(raw)
        else:
            self._source.problem(("zone",), raw, "must be a table: write its keys under [zone.<name>]")
        return {
            name: resolved(name, self._conversion.values(Zone, table, ("zone", name)), mqtt, top)
            for name, table in tables.items()
        }

    def _starting(self, names: Sequence[str], extensions: Mapping[str, Any]) -> tuple[str, ...]:
        """
        The extensions that start: those that are named, then those whose own table says so.
        """
        starting = []
        for name in names:
            declaration = self._registry.find(name)
            if declaration:
                starting.append(declaration.name)
            else:
                self._source.problem(("plugins", "load"), name, self._registry.advice(name))
        starting.extend(name for name, table in extensions.items() if getattr(table, "enable", False))
        return tuple(dict.fromkeys(starting))

    def _warnings(self) -> list[str]:
        if not self._conversion.idle:
            return []
        return [f"accepted, but without effect here: {', '.join(self._conversion.idle)}"]
