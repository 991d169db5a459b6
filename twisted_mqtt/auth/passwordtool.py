"""
C{mqttbroker-passwd}: makes and edits password files, as C{mosquitto_passwd} and C{vmq-passwd} do.

A file is replaced as a whole, and keeps its permissions and its owner. Passwords come from the terminal without echo,
or from the standard input, and are never printed. Exit status: 0 done, 1 refused, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import fcntl
import getpass
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from twisted_mqtt.auth.passwordfile import MOST_BYTES as MOST_FILE
from twisted_mqtt.auth.passwordfile import PasswordFile, checkName
from twisted_mqtt.auth.passwords import (
    ITERATIONS,
    MOST_BYTES,
    MOST_ITERATIONS,
    PBKDF2,
    SHA512,
    PasswordProblem,
    checkPassword,
    hashed,
)
from twisted_mqtt.base.about import versionText

REFUSED: Final = 1
USAGE: Final = 2

_PROGRAM: Final = "mqttbroker-passwd"
#: How long another program may hold the folder.
_LOCK_SECONDS: Final = 10.0


class _Refused(Exception):
    """
    It is not done; the text says why.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the program; ends with its exit status.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _checkUsage(parser, options)
    try:
        said = _run(options)
    except (_Refused, PasswordProblem) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _fail(f"{options.file}: {error.strerror or error}")
    _say(said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Make and edit password files: those of Mosquitto and VerneMQ (name:hash), and those of EMQ X "
        "(auth.user.1.username = name). Without an option a user is added, or gets another password.",
        epilog="A password is asked for twice; without a terminal it is the first line of the standard input.",
        allow_abbrev=False,
    )
    does = parser.add_mutually_exclusive_group()
    does.add_argument("-c", "--create", action="store_true", help="make the file anew; what it held is lost")
    does.add_argument("-D", "--delete", action="store_true", help="take the user out")
    does.add_argument("-U", "--upgrade", action="store_true", help="hash what stands in the file in clear")
    does.add_argument("--check", action="store_true", help="say by the exit status whether the password is right")
    parser.add_argument("-b", "--batch", action="store_true", help="take the password from the command line")
    parser.add_argument("-H", "--hash", choices=(PBKDF2, SHA512), default=PBKDF2, help="default: %(default)s")
    parser.add_argument(
        "-I",
        "--iterations",
        type=int,
        default=ITERATIONS,
        metavar="N",
        help=f"of {PBKDF2}, from 1 to {MOST_ITERATIONS}; default: %(default)s",
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {versionText()}")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("user", metavar="USER", nargs="?")
    parser.add_argument("password", metavar="PASSWORD", nargs="?")
    return parser


def _checkUsage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.upgrade and options.user is not None:
        parser.error("-U takes no user: it hashes the whole file")
    if not options.upgrade and options.user is None:
        parser.error("name a user")
    if options.batch and (options.delete or options.upgrade):
        parser.error("-b goes with a password")
    if options.batch and options.password is None:
        parser.error("-b needs a password after the user")
    if options.password is not None and not options.batch:
        parser.error("a password on the command line needs -b: other users of this machine can see it there")
    if not 1 <= options.iterations <= MOST_ITERATIONS:
        parser.error(f"-I is from 1 to {MOST_ITERATIONS}")
    if "\x00" in options.file:
        parser.error("the name of the file has a NUL character")


def _run(options: argparse.Namespace) -> str:
    """
    @return: what is to be printed.
    """
    # A link stays a link: what it points to is replaced.
    path = os.path.realpath(options.file)
    name = options.user
    if options.check:
        found = _read(path)
        if not found.verify(name, _password(options, again=False)):
            raise _Refused(f"the password of {_shown(name)} is not right")
        return f"the password of {_shown(name)} is right"
    if options.delete:
        with _locked(path):
            found = _read(path)
            if not found.remove(name):
                raise _Refused(f"there is no user {_shown(name)}; the file is as it was")
            _write(path, found)
        return f"{_shown(name)} is taken out"
    if options.upgrade:
        with _locked(path):
            found = _read(path)
            _refuseProblems(found)
            count = found.hashPlain(options.hash, options.iterations)
            if count:
                _write(path, found)
        return f"{count} of {len(found)} passwords were in clear, and are hashed now" if count else "all are hashed"
    if not options.create and not os.path.exists(path):
        raise _Refused(f"{options.file} is not there; -c makes it")
    new = PasswordFile() if options.create else _read(path)
    checkName(name, new.emqx)
    password = _password(options, again=True)
    # This takes its time, and so may whoever types: the lock comes after it.
    stored = "" if new.emqx else hashed(password, options.hash, options.iterations)
    with _locked(path):
        if not options.create:
            new = _read(path)
        added = new.put(name, password.decode("utf-8", "surrogateescape") if new.emqx else stored)
        _write(path, new)
    return f"{_shown(name)} is added" if added else f"{_shown(name)} has another password"


def _refuseProblems(found: PasswordFile) -> None:
    """
    A file with lines that say nothing is perhaps no password file at all.
    """
    if found.problems:
        line, reason = found.problems[0]
        raise _Refused(f"line {line}: {reason}; the file is as it was")


def _password(options: argparse.Namespace, again: bool) -> bytes:
    """
    @param again: whether it has to be typed twice.
    """
    if options.batch:
        password = os.fsencode(options.password)
    elif sys.stdin is not None and sys.stdin.isatty():
        try:
            typed = getpass.getpass("Password: ")
            if again and typed != getpass.getpass("Password again: "):
                raise _Refused("these were two different passwords")
        except EOFError:
            raise _Refused("no password was given") from None
        password = typed.encode("utf-8", "surrogateescape")
    elif sys.stdin is None:
        raise _Refused("there is neither a terminal nor a standard input to take the password from")
    else:
        line = sys.stdin.buffer.readline(MOST_BYTES + 3)
        password = line.removesuffix(b"\n").removesuffix(b"\r")
    checkPassword(password)
    return password


def _read(path: str) -> PasswordFile:
    """
    @raise _Refused: it is no ordinary file.
    """
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _Refused(f"{path} is no ordinary file")
        return PasswordFile(file.read(MOST_FILE + 1))


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """
    Keep other runs of this program out of the folder: of two that change the same file at once, both changes stay.
    """
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise _Refused(f"another program holds the folder of {path}") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(folder)


def _write(path: str, content: PasswordFile) -> None:
    """
    Put the new content in place of the old: a reader sees one of the two, also after a crash. The file keeps its
    permissions and its owner; a new one is for its owner alone.

    @raise _Refused: it belongs to somebody else, who could not read what we make.
    @raise OSError: it can't be written, and is as it was.
    """
    folder = os.path.dirname(path) or "."
    # mkstemp makes it readable for its owner alone.
    descriptor, temporary = tempfile.mkstemp(prefix=".passwd-", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            try:
                old = os.stat(path)
            except FileNotFoundError:
                pass
            else:
                if not stat.S_ISREG(old.st_mode):
                    raise _Refused(f"{path} is no ordinary file")
                try:
                    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(file.fileno(), old.st_uid, old.st_gid)
                except PermissionError:
                    raise _Refused(
                        f"{path} belongs to another user or group; run this as that user or as root"
                    ) from None
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(content.render())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    at = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


def _say(text: str) -> None:
    """
    Print what was done. It is done even if nobody can be told.
    """
    if sys.stdout is None:
        return
    try:
        print(text.encode(sys.stdout.encoding or "ascii", "backslashreplace").decode(sys.stdout.encoding or "ascii"))
        sys.stdout.flush()
    except OSError as error:
        # Python would try, and complain, once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"{_PROGRAM}: it is done, but can't be printed: {error.strerror}", file=sys.stderr)


def _shown(name: str) -> str:
    """
    A name as it may stand in a message.
    """
    shown = name.encode("unicode_escape").decode("ascii") if not name.isprintable() else name
    return repr(shown if len(shown) <= 60 else shown[:57] + "...")


def _fail(text: str) -> NoReturn:
    print(f"{_PROGRAM}: {text}", file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    main()
