"""
Another configuration file in the place of the present one (spec/rest-api-nanomq.md 3.12): in our own keys, or NanoMQ's,
which C{mqttbroker-ctl convert} makes ours. The broker goes by it when it is started or reloaded next.

All of this waits for other processes and the disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from twisted_mqtt.config.overrides import tomlValue, tomlWord
from twisted_mqtt.operations.operation import INVALID, NOT_HOCON, NOT_WRITTEN, UNKNOWN, Refused

_ONE_AT_A_TIME: Final = threading.Lock()

#: Seconds that converting, and checking, may take.
_PATIENCE: Final = 60.0
#: Characters of what they say that are passed on.
_LONGEST: Final = 4000

_TWISTD: Final = "from twisted.scripts.twistd import run; run()"

#: How a line ends that C{mqttbroker-ctl convert} has made of none.
_UNSAID: Final = "  # NanoMQ's default"

#: Tables that NanoMQ has and this broker does not.
_NANOMQS: Final = ("http_server", "listeners", "bridges", "system", "sqlite")


class Replaced(Struct, kw_only=True):
    """
    What has become of it.

    @ivar remarks: what could not be taken over, or has another meaning here.
    @ivar backup: the file as it was.
    """

    remarks: list[str]
    backup: str


def replaceFile(path: str | None, text: str) -> Replaced:
    """
    Put a configuration into the place of the present one, which is kept with C{.bak} behind its name.

    @param path: the present file.
    @param text: TOML in our keys, which is taken as it is; or HOCON in NanoMQ's, whose keys replace those of the
        present file: what NanoMQ has no words for stays.

    @raise Refused: it can't be used, or can't be written, and nothing has changed.
    """
    if path is None:
        raise Refused(NOT_WRITTEN, "the broker was started without a configuration file", 404)
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise Refused(UNKNOWN, "another file is being looked at", 500)
    file = Path(path)
    try:
        prefix = f".{file.name}-update-"
        for left in [each for each in file.parent.iterdir() if each.name.startswith(prefix)]:
            # Of a process that was killed meanwhile; there may be secrets in it.
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=file.parent) as folder:
            return _replace(file, text, Path(folder))
    except OSError as error:
        raise Refused(NOT_WRITTEN, f"{path} can't be written: {error.strerror or error}", 500) from None
    finally:
        _ONE_AT_A_TIME.release()


def _replace(file: Path, text: str, folder: Path) -> Replaced:
    """
    @param folder: on the same disk, for what is being made.
    """
    made, rules = folder / file.name, folder / "converted.acl.conf"
    made.touch(file.stat().st_mode & 0o777)
    remarks: list[str] = []
    tables: dict[str, Any] = {}
    if _isOurs(text):
        made.write_text(text, encoding="utf-8")
    else:
        remarks, tables = _convert(file, text, folder)
        made.write_text(_toml(tables), encoding="utf-8")
    _check(made)
    if rules.exists():
        # They were looked at where they are; the broker finds them beside its file.
        place = file.with_name(f"{file.stem}.acl.conf").absolute()
        _exchange(place, rules)
        tables["acl_file"] = str(place)
        made.write_text(_toml(tables), encoding="utf-8")
    return Replaced(remarks=remarks, backup=str(_exchange(file, made)))


def _isOurs(text: str) -> bool:
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    access = tables.get("auth", {})
    isNanoMQ = any(name in tables for name in _NANOMQS) or (
        isinstance(access, dict) and any(not isinstance(value, dict) for value in access.values())
    )
    return not isNanoMQ


def _convert(file: Path, text: str, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """
    Make ours of NanoMQ's.

    @return: the remarks, and the tables of the new file.
    """
    source, result = folder / "nanomq.conf", folder / "converted.toml"
    source.write_text(text, encoding="utf-8")
    done = _run(["-m", "twisted_mqtt.ctl", "convert", "--from", "nanomq", "-o", str(result), str(source)])
    said = done.stderr.replace(f"{folder}/", "").strip()
    if done.returncode != 0:
        raise Refused(NOT_HOCON, said[:_LONGEST])
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    # What the text does not say stays as it is here, and does not become what it would be in NanoMQ.
    lines = [line for line in result.read_text(encoding="utf-8").split("\n") if not line.endswith(_UNSAID)]
    converted = tomllib.loads("\n".join(lines))
    loaded = [*tables.get("plugins", {}).get("load", ()), *converted.get("plugins", {}).get("load", ())]
    _put(tables, converted)
    if loaded:
        tables["plugins"]["load"] = list(dict.fromkeys(loaded))
    # The last line counts.
    return said.splitlines()[:-1], tables


def _put(tables: dict[str, Any], others: dict[str, Any]) -> None:
    """
    Put keys into tables.
    """
    for name, value in others.items():
        there = tables.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            _put(there, value)
        else:
            tables[name] = value


def _check(file: Path) -> None:
    """
    @raise Refused: the broker would not start with it.
    """
    done = _run(
        ["-c", _TWISTD, "--nodaemon", "--pidfile=", "mqttbroker", "--check", "--running", "--config", str(file)]
    )
    if done.returncode != 0:
        raise Refused(INVALID, (done.stderr or done.stdout).replace(f"{file.parent}/", "").strip()[:_LONGEST])


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "NO_COLOR": "1"}
    try:
        return subprocess.run(
            [sys.executable, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(INVALID, f"to look at it takes longer than {_PATIENCE:.0f} s") from None


def _exchange(file: Path, made: Path) -> Path:
    """
    Put a file into the place of another.

    @return: where that is kept.
    """
    backup = file.with_name(f"{file.name}.bak")
    with made.open("rb") as written:
        os.fsync(written.fileno())
    if file.exists():
        backup.unlink(missing_ok=True)
        # There is a file of the name all the time.
        os.link(file, backup)
    os.replace(made, file)
    at = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
    return backup


def _toml(tables: dict[str, Any], path: str = "") -> str:
    plain = {name: value for name, value in tables.items() if not isinstance(value, dict)}
    text = "".join(f"{tomlWord(name)} = {tomlValue(value)}\n" for name, value in plain.items())
    if path and (plain or not tables):
        text = f"\n[{path}]\n{text}"
    for name, value in tables.items():
        if isinstance(value, dict):
            text += _toml(value, f"{path}.{tomlWord(name)}" if path else tomlWord(name))
    return text
