"""
Makes the OpenSSL context of a TLS server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL, crypto

from twisted_mqtt.net.tls.credentials import TLSCredentials
from twisted_mqtt.net.tls.opensslprivate import PreSharedKeyCallback, Unavailable, verificationError

if TYPE_CHECKING:
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_SESSION_LIFETIME: Final = 7200
"""
For how many seconds a session may be resumed.
"""

# SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which OpenSSL has since version 3 and pyOpenSSL does not name: before, they might
# unless they were forbidden to.
_CLIENTS_MAY_RENEGOTIATE: Final = 1 << 8


class ServerContext:
    """
    The TLS context of a server, made from its options and the files as they were then.

    @ivar context: for new connections.
    @ivar psk: finds the keys of clients, or L{None} where the options name no cipher suite with such.
    @ivar asksForCertificate: whether clients may have shown one.
    @ivar lastError: what was wrong with the certificate that was refused last.
    """

    def __init__(self, options: TLSOptions, keys: PreSharedKeys) -> None:
        """
        @raise TLSProblem: where it can't be made.
        """
        self._options = options
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.psk: PreSharedKeyCallback | None = None
        self.asksForCertificate = options.verify is True
        self.lastError = ""
        # A connection that is idle keeps no buffers: 34 KB less for each.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        credentials = TLSCredentials(context, options)
        credentials.setVersions()
        credentials.setCiphers()
        self._setOptions()
        if options.pskCiphers:
            # No certificate then: who doesn't know a key would otherwise come in by TLS 1.3, which has no list of such.
            try:
                self.psk = PreSharedKeyCallback(context, keys.find)
            except Unavailable as error:
                names = ",".join(options.pskCiphers)
                raise credentials.problem("psk_ciphers", names, f"can't be used: {error}") from error
        else:
            credentials.loadCertificate()
        credentials.loadParameters()
        if self.asksForCertificate:
            mode = SSL.VERIFY_PEER
            if options.requireCertificate:
                mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            context.set_verify(mode, self._verified)
            credentials.loadAuthorities(True)
            credentials.loadRevoked()
        if options.protocols:
            context.set_alpn_select_callback(self._selectProtocol)

    def _setOptions(self) -> None:
        options, context = self._options, self.context
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_IGNORE_UNEXPECTED_EOF)
        if options.serverOrder:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_options(_CLIENTS_MAY_RENEGOTIATE if options.renegotiation else SSL.OP_NO_RENEGOTIATION)
        # An identity is found out in a full handshake only; one with a key costs little anyway.
        if options.resumption and not options.pskCiphers:
            # Without a context of its own, a session with a client certificate can't be resumed.
            context.set_session_id(options.path.encode()[:32])
            # By tickets; and by identifiers for clients that know no tickets, of which OpenSSL remembers 20,480.
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
            context.set_timeout(_SESSION_LIFETIME)
        else:
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_options(SSL.OP_NO_TICKET)

    # Callbacks of OpenSSL during a handshake

    def _verified(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        if not good:
            self.lastError = verificationError(error)
        return bool(good)

    def _selectProtocol(self, connection: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in self._options.protocols:
            if protocol in offered:
                return protocol
        # Some clients name their own; what is spoken here is clear from the port.
        return SSL.NO_OVERLAPPING_PROTOCOLS
