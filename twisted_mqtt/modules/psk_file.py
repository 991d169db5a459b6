"""
Pre-shared keys for TLS and DTLS from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config.keys import File, Short
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext, IPreflight

_log = Logger()

#: The limits of OpenSSL, in bytes.
_LONGEST_IDENTITY = 128
_LONGEST_KEY = 256


class PSKFileError(Exception):
    """
    The file can't be used; the text names the lines and says why. It never shows a key.
    """


class PSKFileTable(Struct, frozen=True, kw_only=True):
    """
    C{[psk.file]}.
    """

    path: Annotated[File, "File of lines `identity:key`, the key in hexadecimal digits"] = "etc/psk.txt"


class PSKSettings(Struct, frozen=True, kw_only=True):
    """
    C{[psk]}: pre-shared keys for TLS and DTLS.
    """

    file: Annotated[PSKFileTable, Short("path"), "Where the keys stand"] = PSKFileTable()


@implementer(IExtension)
class PSKFile:
    """
    The extension C{psk_file}.
    """

    def __init__(self, settings: PSKSettings) -> None:
        self._path = settings.file.path
        self._keys: dict[bytes, bytes] = {}

    def start(self, context: IExtensionContext) -> None:
        """
        Read the file, and answer handshakes.

        @raise PSKFileError: where it can't be used.
        """
        self.refresh()
        context.preSharedKeys.add(self.find)

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        checks.attempt(self._read)
        checks.preSharedKeys.add(self.find)

    def refresh(self) -> None:
        """
        Read the file again.

        @raise PSKFileError: where it can't be used; what was read before stays.
        """
        self._read()
        _log.info("{count} pre-shared keys in {path}", count=len(self._keys), path=self._path)

    def _read(self) -> None:
        try:
            content = Path(self._path).read_bytes()
        except OSError as error:
            raise PSKFileError(f'psk.file.path = "{self._path}": can\'t be read ({error.strerror})') from error
        self._keys = parseKeys(content, self._path)

    def stop(self) -> None:
        """
        Forget the keys.
        """
        self._keys = {}

    def find(self, identity: bytes) -> bytes | None:
        """
        See L{twisted_mqtt.net.tls.psk.Find}.
        """
        return self._keys.get(identity)


def parseKeys(content: bytes, path: str) -> dict[bytes, bytes]:
    """
    Read lines C{identity:key}, the key in hexadecimal digits. Empty lines and those that begin with C{#} mean nothing.
    An identity may hold colons; a key can't.

    @return: the keys by identity.
    @raise PSKFileError: with every line that is wrong.
    """
    keys: dict[bytes, bytes] = {}
    problems = []
    for number, line in enumerate(content.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        identity, separator, digits = line.rpartition(b":")
        key = _fromHex(digits)
        if not separator or not identity:
            problems.append(f"{path}:{number}: must be identity:key")
        elif key is None:
            problems.append(f"{path}:{number}: the key must be an even number of hexadecimal digits")
        elif len(identity) > _LONGEST_IDENTITY or len(key) > _LONGEST_KEY:
            problems.append(f"{path}:{number}: an identity has {_LONGEST_IDENTITY} bytes at most, a key {_LONGEST_KEY}")
        elif identity in keys:
            problems.append(f"{path}:{number}: this identity has a key already")
        else:
            keys[identity] = key
    if problems:
        raise PSKFileError("\n".join(problems))
    return keys


def _fromHex(digits: bytes) -> bytes | None:
    try:
        return bytes.fromhex(digits.decode("ascii")) or None
    except ValueError:
        return None
