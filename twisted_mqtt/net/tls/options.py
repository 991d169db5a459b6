"""
The options of TLS and DTLS, for servers and for clients, independent of any table of the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from msgspec import Struct


class TLSProblem(Exception):
    """
    TLS can't work as it is configured; the text says which key is wrong and why.
    """


@dataclass(frozen=True)
class TLSOptions:
    """
    The TLS options of one server or client.

    @ivar path: the table of the configuration, such as C{"listener.ssl.external"}; messages begin with it.
    @ivar certfile: our certificate and those between it and the root (PEM).
    @ivar keyfile: the private key of our certificate (PEM).
    @ivar cacertfile: the authorities whose certificates are accepted (PEM). A client without it trusts those of the
        system.
    @ivar crlfile: certificates that are revoked (PEM).
    @ivar dhfile: Diffie-Hellman parameters (PEM), for peers without elliptic curves. Servers only.
    @ivar verify: whether the peer's certificate is checked. L{None} is the usual: a client checks, a server does not.
    @ivar requireCertificate: with C{verify}, whether a client without a certificate is refused. Servers only.
    @ivar serverName: the name of the server: sent as SNI, and looked for in its certificate. L{None} for the host that
        is connected to. Clients only.
    @ivar checkName: whether that name must stand in the certificate, if that is checked. Clients only.
    @ivar versions: of TLS: C{"tlsv1"}, C{"tlsv1.1"}, C{"tlsv1.2"}, C{"tlsv1.3"}.
    @ivar ciphers: cipher suites, best first; empty for OpenSSL's secure choice.
    @ivar pskCiphers: cipher suites with pre-shared keys. A TLS server with such has no certificate.
    @ivar ownKey: the identity and the pre-shared key by which a client is known. Clients only.
    @ivar serverOrder: whether the server's order of cipher suites decides. Servers only.
    @ivar renegotiation: whether clients may renegotiate. Servers only.
    @ivar resumption: whether a peer that returns may resume its session.
    @ivar handshakeTimeout: seconds.
    @ivar protocols: what ALPN may agree on, best first; empty for no ALPN.
    """

    path: str
    certfile: str | None = None
    keyfile: str | None = None
    cacertfile: str | None = None
    crlfile: str | None = None
    dhfile: str | None = None
    verify: bool | None = None
    requireCertificate: bool = False
    serverName: str | None = None
    checkName: bool = True
    versions: tuple[str, ...] = ("tlsv1.2", "tlsv1.3")
    ciphers: tuple[str, ...] = ()
    pskCiphers: tuple[str, ...] = ()
    ownKey: tuple[bytes, bytes] | None = None
    serverOrder: bool = True
    renegotiation: bool = False
    resumption: bool = True
    handshakeTimeout: float = 15.0
    protocols: tuple[bytes, ...] = ()

    @property
    def files(self) -> list[str]:
        """
        The files that are read.
        """
        own = (self.certfile, self.keyfile, self.cacertfile, self.crlfile, self.dhfile)
        return [file for file in own if file is not None]


# The keys that tables of the configuration have, and what they are here.
_KEYS: Final = {
    "certfile": "certfile",
    "keyfile": "keyfile",
    "cacertfile": "cacertfile",
    "crlfile": "crlfile",
    "dhfile": "dhfile",
    "fail_if_no_peer_cert": "requireCertificate",
    "server_name_indication": "serverName",
    "tls_versions": "versions",
    "ciphers": "ciphers",
    "psk_ciphers": "pskCiphers",
    "honor_cipher_order": "serverOrder",
    "secure_renegotiate": "renegotiation",
    "reuse_sessions": "resumption",
    "handshake_timeout": "handshakeTimeout",
}


def optionsOf(table: Struct, path: str, protocols: tuple[bytes, ...] = ()) -> TLSOptions:
    """
    The options that a table of the configuration states. It may have any of the usual keys of TLS; those that it does
    not have keep their defaults.

    @param path: the name of the table, for messages.
    @param protocols: what ALPN may agree on.
    """
    known = {_KEYS[name]: getattr(table, name) for name in table.__struct_fields__ if name in _KEYS}
    verify = getattr(table, "verify", None)
    return TLSOptions(path, protocols=protocols, verify=None if verify is None else verify == "verify_peer", **known)
