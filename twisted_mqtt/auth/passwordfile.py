"""
Password files: read, changed line by line, written again.

Two forms, told apart by what stands in them. Lines C{name:hash} are those of Mosquitto and VerneMQ
(spec/vernemq.md 4); lines C{auth.user.1.username = name} and C{auth.user.1.password = password}, with C{client} and
C{clientid} as well, are those of EMQ X, whose passwords stand in clear (spec/auth.md 8). What is not changed stays as
it is written: comments, order, ends of lines, even bytes that are no UTF-8.

Nothing here touches the disk.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

from msgspec import Struct

from twisted_mqtt.auth.passwords import PLAIN, PasswordProblem, checkPassword, hashed, kindOf, verify

MOST_BYTES: Final = 64 * 1024 * 1024
"""
The largest file that is read: some 400,000 users.
"""

_MOST_NAME: Final = 65535
_EMQX: Final = re.compile(
    r"[ \t]*auth\.(?P<store>user|client)\.(?P<number>[0-9]{1,9})\.(?P<field>username|clientid|password)[ \t]*="
    r"[ \t]*(?P<value>.*?)[ \t]*"
)


class Entry(Struct):
    """
    What a file says of one name.

    @ivar line: the line of its password, from 0; of its name, where the file of EMQ X has no password for it.
    @ivar name: user name, or client identifier.
    @ivar stored: the hash, or a password in clear.
    """

    line: int
    name: str
    stored: str


class PasswordFile:
    """
    The content of a password file.

    @ivar emqx: whether it has the form of EMQ X.
    @ivar problems: lines that say nothing, numbered from 1, with the reason. They stay in the file.
    """

    def __init__(self, data: bytes = b"") -> None:
        """
        @raise PasswordProblem: it is too large.
        """
        if len(data) > MOST_BYTES:
            raise PasswordProblem(f"a password file has at most {MOST_BYTES >> 20} MB")
        text = data.decode("utf-8", "surrogateescape")
        self._lines = text.removeprefix("\ufeff").split("\n")
        if self._lines and not self._lines[-1]:
            self._lines.pop()
        self._start = "\ufeff" if text.startswith("\ufeff") else ""
        self.problems: list[tuple[int, str]] = []
        self.emqx = any(_EMQX.fullmatch(line.rstrip("\r")) for line in self._lines)
        self._entries: dict[str, Entry] = {}
        if self.emqx:
            self._readEMQX()
        else:
            self._readLines()

    def __len__(self) -> int:
        """
        How many names there are.
        """
        return len(self._entries)

    @property
    def users(self) -> dict[str, str]:
        """
        What is stored for each name. The last line of a name holds, as in Mosquitto.
        """
        return {name: entry.stored for name, entry in self._entries.items()}

    def render(self) -> bytes:
        """
        The content as bytes, every line with its end.
        """
        text = self._start + "".join(f"{line}\n" for line in self._lines)
        return text.encode("utf-8", "surrogateescape")

    def put(self, name: str, stored: str) -> bool:
        """
        Add a name, or give it another hash. Other lines of the same name go.

        @param stored: a hash; in a file of EMQ X a password in clear.
        @return: whether the name is new.
        @raise PasswordProblem: the name can't stand in such a file.
        """
        checkName(name, self.emqx)
        if self.emqx:
            _checkClear(stored)
        entry = self._entries.get(name)
        if entry is None:
            self._append(name, stored)
            return True
        if self.emqx:
            found = _EMQX.fullmatch(self._lines[entry.line].rstrip("\r"))
            assert found is not None  # or it would be no entry
            self._lines[entry.line] = f"auth.{found['store']}.{found['number']}.password = {stored}"
        else:
            self._lines[entry.line] = f"{name}:{stored}"
            self._removeLines({line for line, other in self._named() if other == name and line != entry.line})
        self._reread()
        return False

    def remove(self, name: str) -> bool:
        """
        Take a name out, with all of its lines.

        @return: whether it was there.
        """
        if name not in self._entries:
            return False
        self._removeLines({line for line, other in self._named() if other == name})
        self._reread()
        return True

    def hashPlain(self, kind: str, iterations: int) -> int:
        """
        Hash every password in clear; hashes stay as they are.

        @return: how many were hashed.
        @raise PasswordProblem: one can't be hashed, or the file is one of EMQ X, whose passwords stand in clear.
        """
        if self.emqx:
            raise PasswordProblem("this is a file of EMQ X, which wants its passwords in clear")
        plain = [entry for entry in self._entries.values() if kindOf(entry.stored) == PLAIN]
        for entry in plain:
            try:
                made = hashed(
                    entry.stored.encode("utf-8", "surrogateescape"),
                    "sha512" if kind == "sha512" else "sha512-pbkdf2",
                    iterations,
                )
            except PasswordProblem as problem:
                raise PasswordProblem(f"line {entry.line + 1}: {problem}") from None
            self._lines[entry.line] = f"{entry.name}:{made}"
        self._reread()
        return len(plain)

    def verify(self, name: str, password: bytes) -> bool:
        """
        Whether this is the password of a name.

        @raise PasswordProblem: the name is not there, or its hash is none that can be compared.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise PasswordProblem("there is no such user")
        if self.emqx:
            return hmac.compare_digest(entry.stored.encode("utf-8", "surrogateescape"), password)
        if kindOf(entry.stored) == PLAIN:
            raise PasswordProblem(f"line {entry.line + 1} is no hash; -U hashes passwords in clear")
        return verify(password, entry.stored)

    def _append(self, name: str, stored: str) -> None:
        if not self.emqx:
            self._entries[name] = Entry(len(self._lines), name, stored)
            self._lines.append(f"{name}:{stored}")
            return
        store = "user"
        numbers = [0]
        for line in self._lines:
            if found := _EMQX.fullmatch(line.rstrip("\r")):
                store = found["store"]
                numbers.append(int(found["number"]))
        field = "clientid" if store == "client" else "username"
        number = max(numbers) + 1
        self._lines += [f"auth.{store}.{number}.{field} = {name}", f"auth.{store}.{number}.password = {stored}"]
        self._reread()

    def _reread(self) -> None:
        self.problems = []
        self._entries = {}
        if self.emqx:
            self._readEMQX()
        else:
            self._readLines()

    def _removeLines(self, gone: set[int]) -> None:
        self._lines = [line for number, line in enumerate(self._lines) if number not in gone]

    def _named(self) -> list[tuple[int, str]]:
        """
        The lines that belong to a name, with the name.
        """
        if not self.emqx:
            return [(number, line.partition(":")[0].strip()) for number, line in enumerate(self._lines) if _says(line)]
        names: dict[tuple[str, str], str] = {}
        found = [(number, _EMQX.fullmatch(line.rstrip("\r"))) for number, line in enumerate(self._lines)]
        for _, match in found:
            if match and match["field"] != "password":
                names[match["store"], match["number"]] = match["value"]
        return [
            (number, names[match["store"], match["number"]])
            for number, match in found
            if match and (match["store"], match["number"]) in names
        ]

    def _readLines(self) -> None:
        for number, line in enumerate(self._lines):
            if not _says(line):
                continue
            name, colon, stored = line.partition(":")
            name, stored = name.strip(), stored.strip()
            if not colon:
                self.problems.append((number + 1, "it has no colon"))
            elif not name or not stored:
                self.problems.append((number + 1, "a name and a hash stand around the colon"))
            else:
                if name in self._entries:
                    self.problems.append((self._entries[name].line + 1, "a later line has the same name"))
                self._entries[name] = Entry(number, name, stored)

    def _readEMQX(self) -> None:
        names: dict[tuple[str, str], tuple[int, str]] = {}
        passwords: dict[tuple[str, str], tuple[int, str]] = {}
        for number, line in enumerate(self._lines):
            if found := _EMQX.fullmatch(line.rstrip("\r")):
                kept = passwords if found["field"] == "password" else names
                kept[found["store"], found["number"]] = (number, found["value"])
        for key, (number, name) in names.items():
            place, stored = passwords.get(key, (number, ""))
            if not name or not stored:
                self.problems.append((number + 1, "name or password is missing"))
            else:
                self._entries[name] = Entry(place, name, stored)


def checkName(name: str, emqx: bool = False) -> None:
    """
    @raise PasswordProblem: a name can't stand in a password file, or would be another one there.
    """
    if not name:
        raise PasswordProblem("the name is empty")
    if len(name.encode("utf-8", "surrogateescape")) > _MOST_NAME:
        raise PasswordProblem(f"the name has more than {_MOST_NAME} bytes")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise PasswordProblem("the name is not UTF-8, as MQTT wants it")
    if any(character < " " or "\x7f" <= character < "\xa0" for character in name):
        raise PasswordProblem("the name has a control character")
    if name != name.strip():
        raise PasswordProblem("the name begins or ends with a blank, which is lost in the file")
    if not emqx and ":" in name:
        raise PasswordProblem("the name has a colon, which ends the name in the file")
    if not emqx and name.startswith("#"):
        raise PasswordProblem("the name begins with #, which makes a comment of its line")


def _checkClear(password: str) -> None:
    """
    @raise PasswordProblem: a password can't stand in a file of EMQ X.
    """
    checkPassword(password.encode("utf-8", "surrogateescape"))
    if password != password.strip() or any(character < " " or character == "\x7f" for character in password):
        raise PasswordProblem("in a file of EMQ X a password has no blanks at its ends and no control characters")


def _says(line: str) -> bool:
    line = line.strip()
    return bool(line) and not line.startswith("#")
