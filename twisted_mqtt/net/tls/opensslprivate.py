"""
Features of OpenSSL that pyOpenSSL's public interface does not have: pre-shared keys, and reading and writing records
directly.

It is the only module that uses private names of pyOpenSSL. When it is imported, it finds out whether they exist:
L{HAVE_PSK} and L{HAVE_DIRECT} tell the result. Without the first there are no pre-shared keys; without the second
everything works, but slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL

# Not the public interface, so anything may be missing one day.
_lib: Any
_ffi: Any
try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib
except ImportError:  # pragma: no cover - not with any pyOpenSSL that exists today
    _lib = _ffi = None


def _hasAll(owner: object, names: str) -> bool:
    return owner is not None and all(hasattr(owner, name) for name in names.split())


_context = SSL.Context(SSL.TLS_METHOD)
_connection = SSL.Connection(_context, None)

HAVE_PSK: Final[bool] = (
    _hasAll(_lib, "SSL_CTX_set_psk_server_callback SSL_CTX_set_psk_client_callback")
    and bool(getattr(_lib, "Cryptography_HAS_PSK", False))
    and _hasAll(_context, "_context")
    and _hasAll(_connection, "_ssl")
)
"""
Whether L{PreSharedKeyCallback} and L{PreSharedKeyOffer} work.
"""

HAVE_DIRECT: Final[bool] = (
    _hasAll(_lib, "SSL_read SSL_write SSL_get_error BIO_read BIO_write ERR_clear_error")
    and _hasAll(_lib, "SSL_ERROR_WANT_READ SSL_ERROR_ZERO_RETURN")
    and _hasAll(_connection, "_ssl _into_ssl _from_ssl _raise_ssl_error")
)
"""
Whether L{DirectRecords} works.
"""

del _context, _connection

RECORD: Final = 16384
"""
The most that one TLS record carries. Larger pieces only make OpenSSL's buffers grow, and they never shrink.
"""

# Taken in and given out again within one call, in the reactor's thread: one is enough for all connections.
_SPACE: Final = 2 * RECORD
_buffer: Any = _ffi.new("char[]", _SPACE) if HAVE_DIRECT else None
_view: Any = _ffi.buffer(_buffer) if HAVE_DIRECT else None


class Unavailable(Exception):
    """
    The installed pyOpenSSL can't do it.
    """


class PreSharedKeyCallback:
    """
    Answers the question for the key of an identity in the handshakes of a context.

    It has to be kept for as long as the context: OpenSSL does not know that it is Python's.
    """

    def __init__(self, context: SSL.Context, find: Callable[[bytes], bytes | None]) -> None:
        """
        @param find: returns the key of an identity, or L{None}.
        @raise Unavailable: where there are no pre-shared keys.
        """
        if not HAVE_PSK:
            raise Unavailable("the installed pyOpenSSL offers no pre-shared keys; another version is needed")
        self._find = find
        # By the address of the connection: a handshake asks, and its end takes the answer away.
        self._identities: dict[int, bytes] = {}
        # An exception would be printed and count as 0, no key.
        self._callback: Any = _ffi.callback(
            "unsigned int(SSL *, const char *, unsigned char *, unsigned int)", self._called, error=0
        )
        context_: Any = context
        _lib.SSL_CTX_set_psk_server_callback(context_._context, self._callback)

    def take(self, connection: SSL.Connection) -> bytes | None:
        """
        The identity that a connection has used, forgotten herewith; L{None} if it used none.
        """
        return self._identities.pop(self._addressOf(connection), None)

    def _called(self, ssl: Any, identity: Any, key: Any, room: int) -> int:
        name: bytes = b"" if identity == _ffi.NULL else _ffi.string(identity)
        found = self._find(name)
        if found is None or not 0 < len(found) <= room:
            return 0
        _ffi.memmove(key, found, len(found))
        self._identities[int(_ffi.cast("uintptr_t", ssl))] = name
        return len(found)

    def _addressOf(self, connection: SSL.Connection) -> int:
        connection_: Any = connection
        return int(_ffi.cast("uintptr_t", connection_._ssl))


class PreSharedKeyOffer:
    """
    Shows a client's pre-shared key in the handshakes of a context.

    It has to be kept for as long as the context: OpenSSL does not know that it is Python's.
    """

    def __init__(self, context: SSL.Context, identity: bytes, key: bytes) -> None:
        """
        @raise Unavailable: where there are no pre-shared keys.
        """
        if not HAVE_PSK:
            raise Unavailable("the installed pyOpenSSL offers no pre-shared keys; another version is needed")
        self._identity = identity + b"\0"
        self._key = key
        self._callback: Any = _ffi.callback(
            "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)",
            self._called,
            error=0,
        )
        context_: Any = context
        _lib.SSL_CTX_set_psk_client_callback(context_._context, self._callback)

    def _called(self, ssl: Any, hint: Any, identity: Any, space: int, key: Any, room: int) -> int:
        if len(self._identity) > space or len(self._key) > room:
            return 0
        _ffi.memmove(identity, self._identity, len(self._identity))
        _ffi.memmove(key, self._key, len(self._key))
        return len(self._key)


class PlainRecords:
    """
    Bytes into records and back, by pyOpenSSL's public interface.

    @ivar connection: has memory BIOs; where the handshake is made.
    @ivar ended: whether the peer has said that nothing more comes.
    """

    __slots__ = ("connection", "ended")

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self.ended = False

    def feed(self, data: bytes) -> None:
        """
        Take what has come from the peer.
        """
        if data:
            self.connection.bio_write(data)

    def read(self) -> bytes:
        """
        Read the plain bytes of the records that were fed.

        @raise OpenSSL.SSL.Error: where the peer has sent what is no TLS.
        """
        pieces = []
        try:
            while True:
                pieces.append(self.connection.recv(RECORD))
        except SSL.WantReadError:
            pass
        except (SSL.ZeroReturnError, SSL.SysCallError):
            self.ended = True
        return b"".join(pieces)

    def decrypt(self, data: bytes) -> bytes:
        """
        As L{feed} and L{read}, for any number of bytes.
        """
        if len(data) <= RECORD:
            self.feed(data)
            return self.read()
        pieces = []
        for start in range(0, len(data), RECORD):
            self.feed(data[start : start + RECORD])
            pieces.append(self.read())
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """
        @return: what to send for that data.
        @raise OpenSSL.SSL.Error: where nothing can be sent any more.
        """
        if len(data) <= RECORD:
            self.connection.send(data)
            return self.output()
        pieces = []
        start = 0
        while start < len(data):
            start += self.connection.send(data[start : start + RECORD])
            pieces.append(self.output())
        return b"".join(pieces)

    def output(self) -> bytes:
        """
        Take the bytes that OpenSSL itself wants to send.
        """
        pieces = []
        try:
            while True:
                pieces.append(self.connection.bio_read(_SPACE))
        except SSL.WantReadError:
            return b"".join(pieces)


class DirectRecords(PlainRecords):
    """
    The same without what pyOpenSSL does around each call: a new buffer, checks, an exception where nothing is there.
    """

    __slots__ = ("_input", "_output", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        PlainRecords.__init__(self, connection)
        connection_: Any = connection
        self._ssl = connection_._ssl
        self._input = connection_._into_ssl
        self._output = connection_._from_ssl

    def feed(self, data: bytes) -> None:
        """
        See L{PlainRecords.feed}.
        """
        # A memory BIO takes everything.
        _lib.BIO_write(self._input, data, len(data))

    def read(self) -> bytes:
        """
        See L{PlainRecords.read}.
        """
        ssl = self._ssl
        # An error that other code has left there would be taken for ours.
        _lib.ERR_clear_error()
        size = _lib.SSL_read(ssl, _buffer, _SPACE)
        if size <= 0:
            self._stopped(size)
            return b""
        first: bytes = _view[:size]
        size = _lib.SSL_read(ssl, _buffer, _SPACE)
        if size <= 0:
            self._stopped(size)
            return first
        pieces = [first]
        while size > 0:
            pieces.append(_view[:size])
            size = _lib.SSL_read(ssl, _buffer, _SPACE)
        self._stopped(size)
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """
        See L{PlainRecords.encrypt}.
        """
        size = len(data)
        if size > RECORD:
            return b"".join([self.encrypt(data[start : start + RECORD]) for start in range(0, size, RECORD)])
        written = _lib.SSL_write(self._ssl, data, size)
        if written != size:
            # A record is written whole or not at all.
            connection: Any = self.connection
            connection._raise_ssl_error(self._ssl, written)
        return self.output()

    def output(self) -> bytes:
        """
        See L{PlainRecords.output}.
        """
        size = _lib.BIO_read(self._output, _buffer, _SPACE)
        if size <= 0:
            return b""
        data: bytes = _view[:size]
        return data if size < _SPACE else data + self.output()

    def _stopped(self, result: int) -> None:
        error = _lib.SSL_get_error(self._ssl, result)
        if error == _lib.SSL_ERROR_WANT_READ:
            return
        if error == _lib.SSL_ERROR_ZERO_RETURN:
            self.ended = True
            return
        connection: Any = self.connection
        try:
            connection._raise_ssl_error(self._ssl, result)
        except SSL.SysCallError:
            self.ended = True


Records: Final[type[PlainRecords]] = DirectRecords if HAVE_DIRECT else PlainRecords
"""
The faster of those that work here.
"""


def verificationError(number: int) -> str:
    """
    Why a certificate was refused, in OpenSSL's words.
    """
    if not _hasAll(_lib, "X509_verify_cert_error_string"):
        return f"certificate error {number}"
    text: bytes = _ffi.string(_lib.X509_verify_cert_error_string(number))
    return text.decode("ascii", "replace")
