"""
Makes the OpenSSL context of a DTLS server.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL
from twisted.logger import Logger

from twisted_mqtt.net.tls.credentials import TLSCredentials, reasonOf
from twisted_mqtt.net.tls.opensslprivate import HAVE_PSK, PreSharedKeyCallback

if TYPE_CHECKING:
    from twisted_mqtt.net.tls.options import TLSOptions
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
    The DTLS context of a server, made from its options and the files as they were then. Of the options, C{versions},
    C{dhfile}, C{renegotiation} and C{protocols} are for TLS alone.

    @ivar context: for new connections.
    @ivar options: what it was made from.
    @ivar keys: where pre-shared keys are found.
    @ivar psk: finds those of clients, or L{None} where that is not possible.
    @ivar answer: an identity and its key that were looked up before OpenSSL asks for them; L{None} for nobody's.
    """

    def __init__(self, options: TLSOptions, keys: PreSharedKeys) -> None:
        """
        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys can't work; the text says which and why.
        """
        self.options = options
        self.keys = keys
        self.answer: tuple[bytes, bytes | None] | None = None
        self.context = context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        self.psk = PreSharedKeyCallback(context, self._find) if HAVE_PSK else None
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        if options.serverOrder:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        credentials = TLSCredentials(context, options)
        # A client that offers a key wants to be known by it.
        suites = [*(options.pskCiphers or (_PSK_SUITES,))] if self.psk is not None else []
        if self._hasCertificate(keys):
            suites.extend(options.ciphers or (_CERTIFICATE_SUITES,))
            credentials.loadCertificate()
        suites.append(_LEVEL)
        try:
            context.set_cipher_list(":".join(suites).encode())
        except SSL.Error as error:
            names = ",".join([*options.ciphers, *options.pskCiphers])
            raise credentials.problem("ciphers", names, f"is not what OpenSSL can use ({reasonOf(error)})") from error
        self._hasKeys = bool(keys)
        if keys or not options.resumption:
            # A resumed session does not say whose key began it, and a handshake with a key costs little anyway.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_options(SSL.OP_NO_TICKET)
        else:
            context.set_session_id(options.path.encode()[:32])
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        if options.verify:
            mode = SSL.VERIFY_PEER
            if options.requireCertificate:
                mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            context.set_verify(mode, lambda connection, certificate, error, depth, good: bool(good))
            credentials.loadAuthorities(True)
            credentials.loadRevoked()

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

    def again(self) -> DTLSContext:
        """
        The same from the files as they are now.

        @raise twisted_mqtt.net.tls.options.TLSProblem: they can't be used.
        """
        return DTLSContext(self.options, self.keys)

    def _find(self, identity: bytes) -> bytes | None:
        answer = self.answer
        return answer[1] if answer is not None and answer[0] == identity else self.keys.find(identity)

    def _hasCertificate(self, keys: PreSharedKeys) -> bool:
        file = self.options.certfile
        if not keys or (file is not None and Path(file).exists()):
            return True
        _log.warn(
            "{path}: there is no {file}, so only clients with a pre-shared key can connect",
            path=self.options.path,
            file=file or "certfile",
        )
        return False
