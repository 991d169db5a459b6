"""
Loads certificates, keys, versions and cipher suites into an OpenSSL context, and reports errors in terms of the
configuration's keys.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from twisted_mqtt.net.tls.options import TLSProblem

if TYPE_CHECKING:
    from twisted_mqtt.net.tls.options import TLSOptions

_log = Logger()
_T = TypeVar("_T")

_VERSIONS: Final = {
    "tlsv1": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
    "tlsv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
    "tlsv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
    "tlsv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
}

# OpenSSL 3 has these below the level of security that it begins with.
_OLD_VERSIONS: Final = {"tlsv1", "tlsv1.1"}
_ANY_LEVEL: Final = "@SECLEVEL=0"

# Where a client has no certificate, its key is all that is checked: suites in which anybody may be the other side, or
# the server would have to show a certificate, are not for them.
_ALL_PSK: Final = "PSK:!aNULL:!eNULL:!RSAPSK"

_CONTENTS: Final = {
    "certfile": "a certificate",
    "keyfile": "a private key",
    "cacertfile": "a certificate",
    "crlfile": "a revocation list",
    "dhfile": "Diffie-Hellman parameters",
}

_END_OF_LIST: Final = b"-----END X509 CRL-----"


class TLSCredentials:
    """
    Gives what options name to one context.
    """

    def __init__(self, context: SSL.Context, options: TLSOptions) -> None:
        self._context = context
        self._options = options

    def setVersions(self) -> None:
        """
        Speak these versions of TLS and no other.
        """
        versions = self._options.versions
        numbers = [_VERSIONS[version][0] for version in versions]
        self._context.set_min_proto_version(min(numbers))
        self._context.set_max_proto_version(max(numbers))
        for version, (_, without) in _VERSIONS.items():
            if version not in versions:
                self._context.set_options(without)

    def setCiphers(self) -> None:
        """
        Use these cipher suites, of TLS.

        @raise TLSProblem: OpenSSL does not know them.
        """
        options = self._options
        key = "psk_ciphers" if options.pskCiphers else "ciphers"
        names = options.pskCiphers or options.ciphers
        # Those of TLS 1.3 have a list of their own.
        recent = [name for name in names if name.startswith("TLS_")]
        words = [name for name in names if name not in recent]
        if not words:
            words = [_ALL_PSK] if options.pskCiphers else ["DEFAULT"]
        if not _OLD_VERSIONS.isdisjoint(options.versions) or any("CCM8" in word for word in words):
            words.append(_ANY_LEVEL)
        try:
            self._context.set_cipher_list(":".join(words).encode())
            if recent:
                self._context.set_tls13_ciphersuites(":".join(recent).encode())
        except SSL.Error as error:
            raise self.problem(key, ",".join(names), f"is not what OpenSSL can use ({reasonOf(error)})") from error

    def loadCertificate(self) -> None:
        """
        Take our own certificate and its key. One whose time is over is taken, with a warning.

        @raise TLSProblem: they can't be used.
        """
        options, context = self._options, self._context
        certfile, keyfile = options.certfile, options.keyfile
        if certfile is None or keyfile is None:
            raise TLSProblem(f"{options.path}: needs certfile and keyfile")
        chain = self._read("certfile", certfile, x509.load_pem_x509_certificates)
        key = self._read("keyfile", keyfile, lambda text: load_pem_private_key(text, None))
        self._sayIfOutOfDate(certfile, chain[0])
        if chain[0].public_key() != key.public_key():
            raise self.problem("keyfile", keyfile, f"does not belong to the certificate in {certfile}")
        try:
            context.use_certificate_chain_file(certfile)
            context.use_privatekey_file(keyfile)
            context.check_privatekey()
        except SSL.Error as error:
            raise self.problem("certfile", certfile, f"is refused by OpenSSL ({reasonOf(error)})") from error

    def loadAuthorities(self, forClients: bool) -> None:
        """
        Accept the certificates of these authorities, but for those that are revoked.

        @param forClients: whether clients are told which they are.

        @raise TLSProblem: the files can't be used.
        """
        options, context = self._options, self._context
        authorities = options.cacertfile
        if authorities is None:
            raise TLSProblem(f'{options.path}.verify = "verify_peer" needs cacertfile')
        self._read("cacertfile", authorities, x509.load_pem_x509_certificates)
        try:
            context.load_verify_locations(authorities)
            if forClients:
                context.load_client_ca(authorities.encode())
        except SSL.Error as error:
            raise self.problem("cacertfile", authorities, f"is refused by OpenSSL ({reasonOf(error)})") from error

    def loadRevoked(self) -> None:
        """
        Refuse the certificates that are revoked, if there is a file of such.

        @raise TLSProblem: it can't be used.
        """
        path = self._options.crlfile
        if path is None:
            return
        store = self._context.get_cert_store()
        if store is None:
            raise self.problem("crlfile", path, "can't be used: this OpenSSL has no store for it")
        for revoked in self._read("crlfile", path, _loadRevocationLists):
            until = revoked.next_update_utc
            if until is not None and until < datetime.now(UTC):
                self._warn("crlfile", path, f"was to be replaced by {until:%Y-%m-%d}; peers are refused until it is")
            store.add_crl(revoked)
        # Of the peer's own certificate; lists of every authority above would be needed for more.
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK)

    def loadParameters(self) -> None:
        """
        Take Diffie-Hellman parameters, if there is a file of such.

        @raise TLSProblem: it can't be used.
        """
        path = self._options.dhfile
        if path is not None:
            self._read("dhfile", path, lambda text: self._context.load_tmp_dh(path))

    def problem(self, key: str, value: str, what: str) -> TLSProblem:
        """
        The error in the value of a key.
        """
        return TLSProblem(f'{self._options.path}.{key} = "{value}": {what}')

    def _sayIfOutOfDate(self, file: str, certificate: x509.Certificate) -> None:
        begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
        if end < now:
            self._warn("certfile", file, f"expired on {end:%Y-%m-%d}")
        elif begin > now:
            self._warn("certfile", file, f"is not valid before {begin:%Y-%m-%d}")

    def _read(self, key: str, path: str, parse: Callable[[bytes], _T]) -> _T:
        """
        @raise TLSProblem: the file can't be read or holds something else.
        """
        try:
            return parse(Path(path).read_bytes())
        except OSError as error:
            raise self.problem(key, path, f"can't be read ({error.strerror})") from error
        except TypeError as error:
            # How cryptography says that there should have been a password.
            raise self.problem(key, path, "is protected by a password; give one that is not") from error
        except (ValueError, SSL.Error) as error:
            raise self.problem(key, path, f"does not hold {_CONTENTS[key]} in PEM form") from error

    def _warn(self, key: str, value: str, what: str) -> None:
        _log.warn('{path}.{key} = "{value}": {what}', path=self._options.path, key=key, value=value, what=what)


def _loadRevocationLists(text: bytes) -> list[x509.CertificateRevocationList]:
    parts = text.split(_END_OF_LIST)[:-1]
    if not parts:
        raise ValueError("no revocation list")
    return [x509.load_pem_x509_crl(part + _END_OF_LIST) for part in parts]


def reasonOf(error: SSL.Error) -> str:
    """
    Get the text of an OpenSSL error, such as C{"wrong version number"}.
    """
    entries = error.args[0] if error.args else ()
    reasons = [entry[2] for entry in entries if isinstance(entry, tuple) and entry[2]] if entries else []
    return ", ".join(dict.fromkeys(reasons)) or type(error).__name__
