"""
The overrides file: it keeps the keys that were changed at run time, so that the changes survive a restart.

It is a TOML file that only the broker writes, beside the main one: C{mqttbroker.toml} has
C{mqttbroker.overrides.toml}. A broker without a file has C{overrides.toml} in C{node.data_dir}.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping

from twisted_mqtt.config.source import PREFIX, Path, leavesOf, parsed

_HEADER = """\
# Keys that were changed while the broker ran. The broker writes this file; what stands here holds before the main file,
# and the environment before both. To take a change back, use the broker's management, or stop it and remove the line.
"""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def overridesOf(path: str | None, environ: Mapping[str, str]) -> str:
    """
    The overrides file of a main file.

    @param path: the main file; C{None} for a broker without one.
    """
    if path is None:
        return os.path.abspath(os.path.join(environ.get(f"{PREFIX}NODE__DATA_DIR", "data"), "overrides.toml"))
    stem, suffix = os.path.splitext(os.path.abspath(path))
    return f"{stem}.overrides{suffix or '.toml'}"


def readOverrides(file: str) -> dict[Path, object]:
    """
    The keys of an overrides file; none where there is no such file.

    @raise OSError: it cannot be read.
    @raise ValueError: it is not TOML, or not UTF-8.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            return dict(leavesOf(parsed(opened.read())))
    except FileNotFoundError:
        return {}


def writeOverrides(file: str, values: Mapping[Path, object]) -> None:
    """
    Put other keys into an overrides file. A reader sees either the old keys or the new ones, also after a crash. Only
    the broker's user may read it, because a value may be a secret. It blocks for as long as the disk takes.

    @raise OSError: it cannot be written, and is as it was.
    """
    try:
        _write(file, asTOML(values))
    except OSError as error:
        # Nobody knows the name of the temporary file, and a full disk names none.
        raise OSError(error.errno, error.strerror, file) from None


def _write(file: str, text: str) -> None:
    folder = os.path.dirname(file)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(file)}.new")
    # One may be left of a process that was killed. It is readable for its owner alone.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def asTOML(values: Mapping[Path, object]) -> str:
    """
    The text of an overrides file: a line for each key, in full.
    """
    lines = [f"{'.'.join(map(tomlWord, path))} = {tomlValue(value)}\n" for path, value in sorted(values.items())]
    return _HEADER + "".join(lines)


def tomlWord(word: str) -> str:
    return word if _BARE.fullmatch(word) else _text(word)


def tomlValue(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(tomlValue, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{tomlWord(str(name))} = {tomlValue(inner)}" for name, inner in value.items()) + "}"
    raise TypeError(f"a {type(value).__name__} cannot stand in TOML")


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
