"""
TLS for Twisted's clients, to connect to outside systems.

    context = ClientContext(options)
    endpoint = context.wrap(HostnameEndpoint(reactor, host, port), host)
    protocol = await endpoint.connect(factory)

The client checks the server's certificate, which must be for the requested host, unless the options say otherwise.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from twisted_mqtt.net.tls.credentials import TLSCredentials
from twisted_mqtt.net.tls.opensslprivate import PreSharedKeyOffer, Unavailable, verificationError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint
    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from twisted_mqtt.net.tls.options import TLSOptions

_LAST: Final = 0
"""
The depth of the server's own certificate in its chain.
"""


class ClientContext:
    """
    The TLS context of a client, made from its options and the files as they were then. Make another one to use files
    that have changed.

    @ivar context: for new connections.
    @ivar options: what it was made from.
    @ivar connecting: what each connection was made by; the application data of a connection are Twisted's.
    """

    def __init__(self, options: TLSOptions) -> None:
        """
        @raise twisted_mqtt.net.tls.options.TLSProblem: the options or files can't be used.
        """
        self.options = options
        self.connecting: WeakKeyDictionary[SSL.Connection, ClientConnections] = WeakKeyDictionary()
        self.context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        credentials = TLSCredentials(context, options)
        credentials.setVersions()
        credentials.setCiphers()
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        if options.protocols:
            context.set_alpn_protos(list(options.protocols))
        if options.certfile is not None:
            credentials.loadCertificate()
        # Kept: OpenSSL calls it for as long as there is the context.
        self._offer: PreSharedKeyOffer | None = None
        if options.ownKey is not None:
            try:
                self._offer = PreSharedKeyOffer(context, *options.ownKey)
            except Unavailable as error:
                names = ",".join(options.pskCiphers)
                raise credentials.problem("psk_ciphers", names, f"can't be used: {error}") from error
        if options.verify is False:
            context.set_verify(SSL.VERIFY_NONE, _accept)
            return
        context.set_verify(SSL.VERIFY_PEER, self._verified)
        if options.cacertfile is None:
            context.set_default_verify_paths()
        else:
            credentials.loadAuthorities(False)
        credentials.loadRevoked()

    def to(self, host: str) -> ClientConnections:
        """
        Make the creator of TLS connections to a host, for C{Agent}, C{startTLS} and Twisted's endpoints.

        @param host: its name or numeric address, without a port.

        @raise ValueError: it is neither.
        """
        return ClientConnections(self, self.options.serverName or host)

    def wrap(self, endpoint: IStreamClientEndpoint, host: str) -> IStreamClientEndpoint:
        """
            An endpoint with TLS around one without.

            As with all of Twisted's, its protocol is connected before the handshake is done. One that fails loses its
        XX

            @param host: see L{to}.
        """
        return wrapClientTLS(self.to(host), endpoint)

    def _verified(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        connecting = self.connecting[connection]
        if not good:
            connecting.lastError = verificationError(error)
            return False
        return depth != _LAST or not self.options.checkName or connecting.names(certificate)


@implementer(IOpenSSLClientConnectionCreator)
class ClientConnections:
    """
    The TLS of connections to one host.

    @ivar lastError: what was wrong with the certificate that was refused last, or C{""}.
    """

    def __init__(self, context: ClientContext, host: str) -> None:
        self.lastError = ""
        self._context = context
        self._host = host.rstrip(".")
        try:
            self._address = str(ip_address(self._host.partition("%")[0]))
            self._encoded = None
        except ValueError:
            self._address = ""
            self._encoded = self._host.encode("ascii") if self._host.isascii() else self._host.encode("idna")
            if not self._encoded:
                raise ValueError("TLS needs the name of a host") from None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        See C{IOpenSSLClientConnectionCreator}.
        """
        connection = SSL.Connection(self._context.context, None)
        self._context.connecting[connection] = self
        connection.set_connect_state()
        if self._encoded is not None:
            # An address may not stand there (RFC 6066 3).
            connection.set_tlsext_host_name(self._encoded)
        return connection

    def names(self, certificate: crypto.X509) -> bool:
        """
        Whether a certificate is of this host; says otherwise in C{lastError}.
        """
        try:
            if self._encoded is None:
                verify_certificate_ip_address(certificate.to_cryptography(), self._address)
            else:
                verify_certificate_hostname(certificate.to_cryptography(), self._encoded.decode("ascii"))
        except (VerificationError, CertificateError, ValueError):
            self.lastError = f"the certificate is not of {self._host}"
            return False
        return True


def _accept(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int) -> bool:
    return True
