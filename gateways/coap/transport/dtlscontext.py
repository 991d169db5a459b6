"""
The keys and certificates of DTLS, from a table of the configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL
from twisted.logger import Logger

from twisted_mqtt.net.tls.context import TLSProblem, reasonOf
from twisted_mqtt.net.tls.opensslprivate import HAVE_PSK, PreSharedKeyCallback

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_extensions import DTLS
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_log = Logger()

# Without those whose peers nobody knows, without those that need RSA for a key exchange, which devices don't do.
_CERTIFICATE_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:ECDHE+AESCCM8"
_PSK_SUITES: Final = (
    "kECDHEPSK+CHACHA20:ECDHE-PSK-AES128-CBC-SHA256:"
    "kPSK+AESGCM:kPSK+CHACHA20:kPSK+AESCCM:kPSK+AESCCM8:PSK-AES128-CBC-SHA256"
)
# Suites with a tag of 8 bytes, which is what LwM2M devices have, are below the level that OpenSSL begins with.
_LEVEL: Final = "!aNULL:!eNULL:@SECLEVEL=0"


class DTLSContext:
    """
    What a table of keys means to OpenSSL, with the files as they are when it is made.

    @ivar context: for new connections.
    @ivar path: of the table, for messages.
    @ivar keys: where pre-shared keys are found.
    @ivar psk: finds those of clients, or L{None} where that is not possible.
    @ivar answer: an identity and its key that were looked up before OpenSSL asks for them; L{None} for nobody's.
    """

    def __init__(self, settings: DTLS, path: str, keys: PreSharedKeys) -> None:
        """
        @param path: of the table, for messages.

        @raise TLSProblem: the keys can't work; the text says which and why.
        """
        self._settings = settings
        self.path = path
        self.keys = keys
        self.answer: tuple[bytes, bytes | None] | None = None
        self.context = context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        self.psk = PreSharedKeyCallback(context, self._find) if HAVE_PSK else None
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        # A client that offers a key wants to be known by it.
        suites = [_PSK_SUITES] if self.psk is not None else []
        if self._hasCertificate(keys):
            suites.append(_CERTIFICATE_SUITES)
            self._loadCertificate()
        suites.append(_LEVEL)
        context.set_cipher_list(":".join(suites).encode())
        self._hasKeys = bool(keys)
        if keys:
            # A resumed session does not say whose key began it, and a handshake with a key costs little anyway.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_options(SSL.OP_NO_TICKET)
        else:
            context.set_session_id(path.encode()[:32])
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        if settings.verify == "verify_peer":
            self._setVerification()

    @property
    def holds(self) -> bool:
        """
        Whether it is still what it would be if it were made now, as far as that depends on there being keys.
        """
        return self._hasKeys == bool(self.keys)

    def settle(self) -> None:
        """
        Hold it for that, since it can't be made now.
        """
        self._hasKeys = bool(self.keys)

    @property
    def files(self) -> list[str]:
        """
        The files that it is made from.
        """
        settings = self._settings
        return [file for file in (settings.certfile, settings.keyfile, settings.cacertfile) if file is not None]

    def again(self) -> DTLSContext:
        """
        The same from the files as they are now.

        @raise TLSProblem: they can't be used.
        """
        return DTLSContext(self._settings, self.path, self.keys)

    def _find(self, identity: bytes) -> bytes | None:
        answer = self.answer
        return answer[1] if answer is not None and answer[0] == identity else self.keys.find(identity)

    def _hasCertificate(self, keys: PreSharedKeys) -> bool:
        if Path(self._settings.certfile).exists() or not keys:
            return True
        _log.warn(
            "{path}: there is no {file}, so only clients with a pre-shared key can come",
            path=self.path,
            file=self._settings.certfile,
        )
        return False

    def _loadCertificate(self) -> None:
        settings, context = self._settings, self.context
        for key, file in (("certfile", settings.certfile), ("keyfile", settings.keyfile)):
            self._mustBeThere(key, file)
        try:
            context.use_certificate_chain_file(settings.certfile)
            context.use_privatekey_file(settings.keyfile)
            context.check_privatekey()
        except SSL.Error as error:
            files = f"{settings.certfile} and {settings.keyfile}"
            raise TLSProblem(
                f"{self.path}.certfile, keyfile: {files} are no certificate and its key ({reasonOf(error)})"
            ) from error

    def _setVerification(self) -> None:
        settings, context = self._settings, self.context
        if settings.cacertfile is None:
            raise TLSProblem(f'{self.path}.verify = "verify_peer" needs cacertfile')
        self._mustBeThere("cacertfile", settings.cacertfile)
        try:
            context.load_verify_locations(settings.cacertfile)
            context.load_client_ca(settings.cacertfile.encode())
        except SSL.Error as error:
            raise TLSProblem(f"{self.path}.cacertfile: no authorities ({reasonOf(error)})") from error
        mode = SSL.VERIFY_PEER
        if settings.fail_if_no_peer_cert:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, lambda connection, certificate, error, depth, good: bool(good))

    def _mustBeThere(self, key: str, file: str) -> None:
        try:
            with open(file, "rb"):
                pass
        except OSError as error:
            raise TLSProblem(f'{self.path}.{key} = "{file}": can\'t be read ({error.strerror})') from error
