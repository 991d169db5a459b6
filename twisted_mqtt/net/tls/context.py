"""
What a listener's TLS keys mean to OpenSSL; and what is wrong with its files, said in terms of the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from twisted_mqtt.net.tls.opensslprivate import PreSharedKeyCallback, Unavailable, verificationError

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_listeners import SecureListener
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_log = Logger()
_T = TypeVar("_T")

_VERSIONS: Final = {
    "tlsv1": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
    "tlsv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
    "tlsv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
    "tlsv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
}

_SESSION_LIFETIME: Final = 7200
"""
For how many seconds a session may be resumed.
"""

# SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which OpenSSL has since version 3 and pyOpenSSL does not name: before, they might
# unless they were forbidden to.
_CLIENTS_MAY_RENEGOTIATE: Final = 1 << 8

# OpenSSL 3 has these below the level of security that it begins with.
_OLD_VERSIONS: Final = {"tlsv1", "tlsv1.1"}
_ANY_LEVEL: Final = "@SECLEVEL=0"

# Where a client has no certificate, its key is all that is checked: suites in which anybody may be the other side, or
# the server would have to show a certificate, are not for them.
_ALL_PSK: Final = "PSK:!aNULL:!eNULL:!RSAPSK"


class TLSProblem(Exception):
    """
    A listener's TLS can't work; the text says which key is wrong and why.
    """


class ServerContext:
    """
    The TLS context of a listener, made from its table and the files as they were then.

    @ivar context: for new connections.
    @ivar psk: finds the keys of clients, or L{None} without C{psk_ciphers}.
    @ivar asksForCertificate: whether clients may have shown one.
    @ivar lastError: what was wrong with the certificate that was refused last.
    """

    def __init__(self, listener: SecureListener, keys: PreSharedKeys, protocols: tuple[bytes, ...]) -> None:
        """
        @param protocols: what ALPN may agree on.
        @raise TLSProblem: where it can't be made.
        """
        self._listener = listener
        self._protocols = protocols
        self.context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.psk: PreSharedKeyCallback | None = None
        self.asksForCertificate = listener.verify == "verify_peer"
        self.lastError = ""
        # A connection that is idle keeps no buffers: 34 KB less for each.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        self._setVersions(listener.tls_versions)
        self._setCiphers()
        self._setOptions()
        if listener.psk_ciphers:
            # No certificate then: who doesn't know a key would otherwise come in by TLS 1.3, which has no list of such.
            self._setPreSharedKeys(keys)
        else:
            self._loadCertificate()
        if listener.dhfile is not None:
            self._read("dhfile", listener.dhfile, lambda text: context.load_tmp_dh(str(listener.dhfile)))
        if self.asksForCertificate:
            self._setVerification()
        context.set_alpn_select_callback(self._selectProtocol)

    def _setVersions(self, versions: tuple[str, ...]) -> None:
        numbers = [_VERSIONS[version][0] for version in versions]
        self.context.set_min_proto_version(min(numbers))
        self.context.set_max_proto_version(max(numbers))
        for version, (_, without) in _VERSIONS.items():
            if version not in versions:
                self.context.set_options(without)

    def _setCiphers(self) -> None:
        listener = self._listener
        key = "psk_ciphers" if listener.psk_ciphers else "ciphers"
        names = listener.psk_ciphers or listener.ciphers
        # Those of TLS 1.3 have a list of their own.
        recent = [name for name in names if name.startswith("TLS_")]
        words = [name for name in names if name not in recent]
        if not words:
            words = [_ALL_PSK] if listener.psk_ciphers else ["DEFAULT"]
        if not _OLD_VERSIONS.isdisjoint(listener.tls_versions) or any("CCM8" in word for word in words):
            words.append(_ANY_LEVEL)
        try:
            self.context.set_cipher_list(":".join(words).encode())
            if recent:
                self.context.set_tls13_ciphersuites(":".join(recent).encode())
        except SSL.Error as error:
            raise self._problem(key, ",".join(names), f"is not what OpenSSL can use ({reasonOf(error)})") from error

    def _setOptions(self) -> None:
        listener, context = self._listener, self.context
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_IGNORE_UNEXPECTED_EOF)
        if listener.honor_cipher_order:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_options(_CLIENTS_MAY_RENEGOTIATE if listener.secure_renegotiate else SSL.OP_NO_RENEGOTIATION)
        # An identity is found out in a full handshake only; one with a key costs little anyway.
        if listener.reuse_sessions and not listener.psk_ciphers:
            # Without a context of its own, a session with a client certificate can't be resumed.
            context.set_session_id(listener.path.encode()[:32])
            # By tickets; and by identifiers for clients that know no tickets, of which OpenSSL remembers 20,480.
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
            context.set_timeout(_SESSION_LIFETIME)
        else:
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_options(SSL.OP_NO_TICKET)

    def _setPreSharedKeys(self, keys: PreSharedKeys) -> None:
        try:
            self.psk = PreSharedKeyCallback(self.context, keys.find)
        except Unavailable as error:
            names = ",".join(self._listener.psk_ciphers)
            raise self._problem("psk_ciphers", names, f"can't be used: {error}") from error

    # Files

    def _loadCertificate(self) -> None:
        listener, context = self._listener, self.context
        chain = self._read("certfile", listener.certfile, x509.load_pem_x509_certificates)
        key = self._read("keyfile", listener.keyfile, lambda text: load_pem_private_key(text, None))
        self._sayIfOutOfDate(chain[0])
        if chain[0].public_key() != key.public_key():
            what = f"does not belong to the certificate in {listener.certfile}"
            raise self._problem("keyfile", listener.keyfile, what)
        try:
            context.use_certificate_chain_file(listener.certfile)
            context.use_privatekey_file(listener.keyfile)
            context.check_privatekey()
        except SSL.Error as error:
            raise self._problem("certfile", listener.certfile, f"is refused by OpenSSL ({reasonOf(error)})") from error

    def _sayIfOutOfDate(self, certificate: x509.Certificate) -> None:
        begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
        if end < now:
            self._warn("certfile", self._listener.certfile, f"expired on {end:%Y-%m-%d}")
        elif begin > now:
            self._warn("certfile", self._listener.certfile, f"is not valid before {begin:%Y-%m-%d}")

    def _setVerification(self) -> None:
        listener, context = self._listener, self.context
        mode = SSL.VERIFY_PEER
        if listener.fail_if_no_peer_cert:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, self._verified)
        authorities = listener.cacertfile
        if authorities is None:
            raise TLSProblem(f'{listener.path}.verify = "verify_peer" needs cacertfile')
        self._read("cacertfile", authorities, x509.load_pem_x509_certificates)
        try:
            context.load_verify_locations(authorities)
            context.load_client_ca(authorities.encode())
        except SSL.Error as error:
            raise self._problem("cacertfile", authorities, f"is refused by OpenSSL ({reasonOf(error)})") from error
        if listener.crlfile is not None:
            self._loadRevoked(listener.crlfile)

    def _loadRevoked(self, path: str) -> None:
        store = self.context.get_cert_store()
        if store is None:
            raise self._problem("crlfile", path, "can't be used: this OpenSSL has no store for it")
        for revoked in self._read("crlfile", path, _loadRevocationLists):
            until = revoked.next_update_utc
            if until is not None and until < datetime.now(UTC):
                self._warn("crlfile", path, f"was to be replaced by {until:%Y-%m-%d}; clients are refused until it is")
            store.add_crl(revoked)
        # Of the client's own certificate; lists of every authority above would be needed for more.
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)

    def _read(self, key: str, path: str, parse: Callable[[bytes], _T]) -> _T:
        """
        @raise TLSProblem: where the file can't be read or holds something else.
        """
        try:
            return parse(Path(path).read_bytes())
        except OSError as error:
            raise self._problem(key, path, f"can't be read ({error.strerror})") from error
        except TypeError as error:
            # How cryptography says that there should have been a password.
            raise self._problem(key, path, "is protected by a password; give one that is not") from error
        except (ValueError, SSL.Error) as error:
            raise self._problem(key, path, f"does not hold {_CONTENTS[key]} in PEM form") from error

    def _problem(self, key: str, value: str, what: str) -> TLSProblem:
        return TLSProblem(f'{self._listener.path}.{key} = "{value}": {what}')

    def _warn(self, key: str, value: str, what: str) -> None:
        _log.warn('{path}.{key} = "{value}": {what}', path=self._listener.path, key=key, value=value, what=what)

    # What OpenSSL asks during a handshake

    def _verified(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, good: int
    ) -> bool:
        if not good:
            self.lastError = verificationError(error)
        return bool(good)

    def _selectProtocol(self, connection: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in self._protocols:
            if protocol in offered:
                return protocol
        # Some clients name their own; what is spoken here is clear from the port.
        return SSL.NO_OVERLAPPING_PROTOCOLS


_CONTENTS: Final = {
    "certfile": "a certificate",
    "keyfile": "a private key",
    "cacertfile": "a certificate",
    "crlfile": "a revocation list",
    "dhfile": "Diffie-Hellman parameters",
}

_END_OF_LIST: Final = b"-----END X509 CRL-----"


def _loadRevocationLists(text: bytes) -> list[x509.CertificateRevocationList]:
    parts = text.split(_END_OF_LIST)[:-1]
    if not parts:
        raise ValueError("no revocation list")
    return [x509.load_pem_x509_crl(part + _END_OF_LIST) for part in parts]


def reasonOf(error: SSL.Error) -> str:
    """
    What OpenSSL says of an error, such as C{"wrong version number"}.
    """
    entries = error.args[0] if error.args else ()
    reasons = [entry[2] for entry in entries if isinstance(entry, tuple) and entry[2]] if entries else []
    return ", ".join(dict.fromkeys(reasons)) or type(error).__name__
