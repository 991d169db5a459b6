"""
The folder of a new broker: C{twistd mqttbroker --init DIR} fills it.

It holds a configuration, access rules, a file for pre-shared keys, units for systemd and a script that makes sample
certificates. All are the files of C{etc/}, with the paths of this folder and of this Python.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["InitializeError", "initialize", "shipped"]

#: The account that the unit names where root writes it: a broker needs no privilege.
ACCOUNT: Final = "mqttbroker"

#: Each file, and its mode: those that hold secrets, or will, are for their owner alone.
_FILES: Final = {
    "mqttbroker.toml": 0o600,
    "psk.txt": 0o600,
    "acl.conf": 0o644,
    "mqttbroker.service": 0o644,
    "mqttbroker.socket": 0o644,
    "make_certs.py": 0o644,
}

#: Lines of the shipped unit that hide folders from the broker, and those folders.
_HIDING: Final = {
    "ProtectHome=true": ("/home", "/root", "/run/user"),
    "PrivateTmp=true": ("/tmp", "/var/tmp"),
}


class InitializeError(Exception):
    """
    The folder can't be filled; nothing was written.
    """


@dataclass(frozen=True)
class Place:
    """
    Where a broker lives.

    @ivar folder: the folder that is filled, absolute.
    @ivar twistd: the program that starts the broker.
    @ivar account: the user whose process it is.
    """

    folder: Path
    twistd: Path
    account: str


def shipped(name: str) -> Path:
    """
    Find the folder C{etc} or C{docs} that came with the broker: in the package where that is installed, and beside it
    in a clone.
    """
    package = Path(__file__).parents[1]
    installed = package / name
    return installed if installed.is_dir() else package.with_name(name)


def initialize(folder: Path) -> str:
    """
    Fill a folder, which is made if it is not there.

    @return: the message to the user: the files, and the command that comes next.

    @raise InitializeError: if one of the files exists, or can't be written.
    """
    root = os.geteuid() == 0
    try:
        account = ACCOUNT if root else pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # A container may run under a number that has no name.
        account = str(os.geteuid())
    place = Place(Path(os.path.abspath(folder)), _twistd(), account)
    if not str(place.folder).isprintable():
        raise InitializeError(f"{str(folder)!r}: the name has characters that a unit of systemd can't hold")
    present = [name for name in _FILES if os.path.lexists(place.folder / name)]
    if present:
        raise InitializeError(f"{place.folder} has {', '.join(present)} already; nothing was written")
    texts = {name: (shipped("etc") / name).read_text(encoding="utf-8") for name in _FILES}
    texts["mqttbroker.toml"] = _configuration(texts["mqttbroker.toml"], place.folder)
    texts["mqttbroker.service"] = _unit(texts["mqttbroker.service"], place)
    made = not os.path.exists(place.folder)
    written: list[Path] = []
    try:
        place.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, mode in _FILES.items():
            path = place.folder / name
            # Nobody else may read a secret, not even for the moment in which the file is made.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            written.append(path)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(texts[name])
                os.fchmod(descriptor, mode)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        if made and os.path.isdir(place.folder):
            place.folder.rmdir()
        raise InitializeError(f"{error}; nothing was written") from None
    if root:
        _give(place, [*written, place.folder] if made else written)
    return _message(place)


def _twistd() -> Path:
    """
    The C{twistd} of this Python; the one that runs, if it lies elsewhere.
    """
    beside = Path(sys.executable).with_name("twistd")
    return beside if beside.exists() else Path(os.path.abspath(sys.argv[0]))


def _configuration(text: str, folder: Path) -> str:
    """
    The shipped configuration with the paths of C{folder}, so that it means the same wherever the broker is started.
    """

    def quoted(name: str) -> str:
        # A basic string of TOML is written as one of JSON.
        return json.dumps(str(folder / name), ensure_ascii=False)

    for line, replacement in (
        ('#acl_file = "none"', f"acl_file = {quoted('acl.conf')}"),
        ('#data_dir = "data"', f"data_dir = {quoted('data')}"),
        ('#dir = "log"', f"dir = {quoted('log')}"),
        ('#path = "etc/psk.txt"', f"#path = {quoted('psk.txt')}"),
        ('#keyfile = "etc/certs/key.pem"', f"#keyfile = {quoted('certs/key.pem')}"),
        ('#certfile = "etc/certs/cert.pem"', f"#certfile = {quoted('certs/cert.pem')}"),
    ):
        text = _replace(text, line, replacement)
    return text


def _unit(text: str, place: Place) -> str:
    """
    The shipped unit for C{place}. It sees the folders that it needs, although they may be in somebody's home.
    """
    head, _, rest = text.partition("\n\n")
    folder = _word(str(place.folder))
    for line, replacement in (
        (_line(rest, "Documentation="), f"Documentation=file:{_percent(str(shipped('docs') / 'operations.md'))}"),
        (_line(rest, "User="), f"User={place.account}"),
        (_line(rest, "Group=") + "\n", ""),
        (_line(rest, "StateDirectory="), f"ReadWritePaths={folder}"),
        (_line(rest, "LogsDirectory=") + "\n", ""),
        # The rest of the line, whatever it holds.
        (_line(rest, "WorkingDirectory="), f"WorkingDirectory={_percent(str(place.folder))}"),
        (
            _line(rest, "ExecStart="),
            f"ExecStart={_word(str(place.twistd))} --nodaemon --pidfile= mqttbroker --config "
            f"{_word(str(place.folder / 'mqttbroker.toml'))}",
        ),
    ):
        rest = _replace(rest, line, replacement)
    used = [place.folder, place.twistd, Path(sys.prefix), shipped("etc")]
    for line, hidden in _HIDING.items():
        if any(path.is_relative_to(outer) for path in used for outer in hidden):
            rest = _replace(rest, line, line.replace("true", "false"))
    lines = [
        f"# For systemd, written by twistd mqttbroker --init {shlex.quote(str(place.folder))}; to use it:",
        *(f"#   {command}" for command in _systemd(place)),
    ]
    return "\n".join(lines) + "\n\n" + rest


def _line(text: str, begins: str) -> str:
    """
    The line of a text that begins so.
    """
    return next(line for line in text.splitlines() if line.startswith(begins))


def _replace(text: str, line: str, replacement: str) -> str:
    assert line in text, line
    return text.replace(line, replacement)


def _percent(text: str) -> str:
    """
    A text in which systemd finds none of its specifiers.
    """
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """
    One word of a list in a unit: quoted where it would be several.
    """
    text = _percent(text).replace("\\", "\\\\").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if any(character in text for character in " '\"\\;") else text


def _systemd(place: Place) -> list[str]:
    unit = shlex.quote(str(place.folder / "mqttbroker.service"))
    return [f"cp {unit} /etc/systemd/system/", "systemctl daemon-reload", "systemctl enable --now mqttbroker"]


def _give(place: Place, paths: list[Path]) -> None:
    """
    Give what root has written to the account of the unit, if there is one; L{_message} says how to make it.
    """
    try:
        account = pwd.getpwnam(place.account)
    except KeyError:
        return
    for path in paths:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _message(place: Place) -> str:
    twistd, folder = shlex.quote(str(place.twistd)), shlex.quote(str(place.folder))
    commands = _systemd(place)
    if place.account == ACCOUNT:
        commands[:0] = [
            f"id {ACCOUNT} || useradd --system --home-dir {folder} --shell /usr/sbin/nologin {ACCOUNT}",
            f"chown -R {ACCOUNT} {folder}",
        ]
    configuration = shlex.quote(str(place.folder / "mqttbroker.toml"))
    return "\n".join(
        [
            f"wrote {', '.join(_FILES)} to {place.folder}",
            "To start the broker:",
            f"  {twistd} --nodaemon --pidfile= mqttbroker --config {configuration}",
            "To have systemd start it, as root:",
            *(f"  {command}" for command in commands),
            f"The documents are in {shipped('docs')}",
        ]
    )
