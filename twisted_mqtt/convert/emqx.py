"""
EMQ X 4.0: C{emqx.conf} and the files of its plugins (spec/config.md). Its keys are ours, so the schema says which can
stand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from twisted_mqtt.auth.aclfile import ACLProblem, parseRules
from twisted_mqtt.config.registry import installed
from twisted_mqtt.convert.result import Result, nameOf
from twisted_mqtt.convert.sources import ConversionError, Line, filesIn, located, pairs, textOf

_LISTENER: Final = re.compile(r"listener\.(tcp|ssl|ws|wss)\.([^.]+)(?:\.(.+))?")
#: Keys of release 3 (spec/config.md 9) and of 4.1, and what they are called in 4.0.
_OTHER: Final = {
    "mqtt.allow_anonymous": "allow_anonymous",
    "coap.bind.udp.1": "coap.port",
    "coap.bind.dtls.1": "coap.dtls.port",
}
_FOLDER: Final = re.compile(r"\{\{\s*(?:platform|runner)_(etc|data|log|lib|bin)_dir\s*\}\}")
#: Whose value is a file that the broker reads.
_FILES: Final = ("keyfile", "certfile", "cacertfile", "dhfile", "crlfile", "acl_file")
#: The file beside it with its access rules, if no line names one (spec/config.md 5).
_RULES: Final = "acl.conf"
#: What EMQ X starts where no file says it (spec/config.md 1).
_LOADED: Final = ("emqx_management", "emqx_recon", "emqx_retainer", "emqx_dashboard", "emqx_rule_engine")
#: What is part of this broker here, or has another name.
_PART: Final = {"emqx_reloader": "management", "emqx_prometheus": "management"}
_REASONS: Final = (
    ("bridge.", "there are no bridges yet"),
    ("auth.", "there is no extension yet that lets clients in by names and passwords"),
    ("modules.", "which modules start is said by module.<name>"),
    ("plugins.", "extensions start by plugins.load, and have their tables in the one file"),
    ("dashboard.", "there is no dashboard yet"),
    ("web.hook.", "there are no web hooks yet"),
    ("rule_engine.", "there are no rules yet"),
    ("prometheus.", "metrics are read at /metrics of the management listener"),
    ("node.data_dir", "what EMQ X keeps there can't be read; the folder for ours is data, or as you say"),
    ("recon.gc_interval", "a full collection of garbage holds up all clients here; Python's own is enough"),
    ("reloader.", "extensions are read again when that is asked"),
)


def convert(path: Path, result: Result) -> None:
    """
    Read C{emqx.conf}, which plugins start, and their files.

    @raise ConversionError: a file can't be read; or the access rules can't, without which everything would be allowed.
    """
    main = list(result.lines(pairs(textOf(path), path.name)))
    for line in main:
        _take(line, path, result)
    _forAllZones(main, result)
    rules = path.with_name(_RULES)
    if rules.is_file() and not any(line.key == "acl_file" for line in main):
        _rules(Line(path.name, 0, "acl_file", _RULES), str(rules.absolute()), path, result)
    _withoutAddress(main, result)
    said = {line.key: line for line in main if line.key.startswith("plugins.")}
    _plugins(path, said, result)


def _plugins(path: Path, said: dict[str, Line], result: Result) -> None:
    loadedFile = said.get("plugins.loaded_file")
    found = located(_filled(loadedFile.value) if loadedFile else "data/loaded_plugins", path)
    source: Line | None = None
    names = list(_LOADED)
    if found is not None and found.is_file():
        # One name and a full stop in each line; since 4.1, also {name, true}.
        names = re.findall(
            r"^\s*(?:\{\s*(?=\w+\s*,\s*true\s*\}))?([a-z0-9_]+)\s*(?:,\s*true\s*\}\s*)?\.", textOf(found), re.MULTILINE
        )
        source = Line(found.name, 0, "plugins", ", ".join(names))
    # With a plugin that knows clients, which there is none of here, it would let in more than EMQ X does.
    if result.get("allow_anonymous") is None and not any(name.startswith("emqx_auth") for name in names):
        result.put("allow_anonymous", True, None, "EMQ X's default")
    registry = installed()
    starting: list[str] = []
    for name in names:
        own = _PART.get(name, name)
        declaration = registry.find(own)
        if declaration is None:
            line = Line(found.name if source and found else path.name, 0, name, "")
            result.lost(line, "there is no such extension here")
        elif declaration.name not in starting:
            starting.append(declaration.name)
            result.load(declaration.name, source, "what EMQ X starts where no file says it")
    folder = said.get("plugins.etc_dir")
    within = located(_filled(folder.value) if folder else "plugins", path) or path.parent / "plugins"
    if not within.is_dir():
        result.lost(Line(path.name, 0, "plugins", ""), f"there is no folder {within} with files of plugins")
        return
    for file in filesIn(within):
        lines = list(result.lines(pairs(textOf(file), file.name)))
        declaration = registry.find(_PART.get(file.stem, file.stem))
        if declaration is not None and declaration.name in starting:
            for line in lines:
                _take(line, file, result)
        elif file.stem in names:
            for line in lines:
                result.lost(line, _reason(line.key) or "there is no such extension here")
        elif lines:
            result.lost(Line(file.name, 0, "", ""), "EMQ X does not start this plugin")


def _forAllZones(lines: list[Line], result: Result) -> None:
    """
    What release 3 says once holds in each zone that says nothing else (spec/config.md 9).
    """
    zones = {"external", *(path[0] for path, _ in result.under(("zone",)))}
    for line in lines:
        if line.key == "acl_deny_action":
            for zone in sorted(zones):
                if result.get(("zone", zone, line.key)) is None:
                    result.put(("zone", zone, line.key), line.value, line)


def _withoutAddress(lines: list[Line], result: Result) -> None:
    """
    A listener of which no line says where it is, EMQ X does not open.
    """
    opened = {line.key for line in lines}
    for line in lines:
        found = _LISTENER.fullmatch(line.key)
        if found and found[3] and f"listener.{found[1]}.{found[2]}" not in opened:
            result.discard(("listener", found[1], nameOf(found[2])))
            result.lost(line, f"no line says where listener.{found[1]}.{found[2]} listens")


def _take(line: Line, path: Path, result: Result) -> None:
    """
    Take over one line.
    """
    value = _filled(line.value)
    if value != line.value:
        result.changed(line, f"it is read as {value}")
    if line.key == "acl_file":
        _rules(line, value, path, result)
        return
    if line.key == "acl_deny_action":
        # See _forAllZones.
        return
    reason = _reason(line.key)
    if reason:
        result.lost(line, reason)
        return
    if line.key.rpartition(".")[2] in _FILES and (found := located(value, path)) is not None:
        value = str(found)
    if listener := _LISTENER.fullmatch(line.key):
        kind, name, option = listener.groups()
        table = ("listener", kind, nameOf(name))
        if option == "zone":
            value = nameOf(value)
        result.put((*table, *(option.split(".") if option else ("bind",))), value, line)
        return
    words = tuple(_OTHER.get(line.key, line.key).split("."))
    if not all(words):
        result.lost(line, "its key has an empty word")
        return
    if words[0] == "zone" and len(words) > 2:
        words = ("zone", nameOf(words[1]), *words[2:])
    if words[0] == "module" and len(words) == 2:
        words = (*words, "enable")
    if words in (("management", "listener", "http"), ("management", "listener", "https")):
        words = (*words, "bind")
    if words == ("statsd", "interval") and re.fullmatch("[0-9]{1,9}", value):
        # In milliseconds (spec/hooks-modules-sys.md 6.3).
        value = f"{value}ms"
    result.put(words, value, line)


def _rules(line: Line, value: str, path: Path, result: Result) -> None:
    """
    The file of access rules has our form, and stays where it is.
    """
    found = located(value, path)
    try:
        if found is None:
            raise ACLProblem(f"there is no file {value}")
        parseRules(textOf(found), str(found))
    except (ACLProblem, ConversionError) as error:
        result.withoutRules(line, str(error))
        return
    result.put("acl_file", str(found), line)


def _reason(key: str) -> str:
    return next((reason for start, reason in _REASONS if key.startswith(start)), "")


def _filled(value: str) -> str:
    return _FOLDER.sub(lambda found: found[1], value)
