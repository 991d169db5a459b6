"""
Certificates for tests: an authority that issues what a test asks for, right in every respect but those it names.
"""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

# The functions that make the sample certificates serve the tests too.
_SAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "etc" / "make_certs.py"))
_DAY = timedelta(days=1)

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def subject(commonName: str | None, organization: str | None = None) -> x509.Name:
    """
    A subject, country first as is usual.
    """
    parts = [x509.NameAttribute(NameOID.COUNTRY_NAME, "CH")]
    if organization is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    if commonName is not None:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, commonName))
    return x509.Name(parts)


class Issued:
    """
    A certificate with its key, as files.

    @ivar certfile: the path of the certificate.
    @ivar keyfile: the path of its key.
    """

    def __init__(self, folder: Path, name: str, certificate: x509.Certificate, key: _Key) -> None:
        self.certificate = certificate
        self.key = key
        self.certfile = str(folder / f"{name}.pem")
        self.keyfile = str(folder / f"{name}-key.pem")
        Path(self.certfile).write_bytes(certificate.public_bytes(Encoding.PEM))
        Path(self.keyfile).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def encoded(self) -> bytes:
        """
        The certificate in DER.
        """
        return self.certificate.public_bytes(Encoding.DER)

    def lockKey(self) -> None:
        """
        Protect the file of the key by a password.
        """
        locked = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        Path(self.keyfile).write_bytes(locked)


class Authority:
    """
    Issues certificates into a folder.

    @ivar cafile: the path of its own certificate.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = subject(f"Test {name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, self._name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - 2 * _DAY).not_valid_after(now + 30 * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # Extensions that Python 3.13 and other strict clients want to see.
        builder = builder.add_extension(_SAMPLES["SIGNING"], critical=True)
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        own = builder.add_extension(self._identifier, critical=False).sign(self._key, SHA256())
        self.cafile = str(folder / f"{name}.pem")
        Path(self.cafile).write_bytes(own.public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str,
        subject_: x509.Name | None = None,
        begin: timedelta = -_DAY,
        end: timedelta = _DAY,
        long: bool = False,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> Issued:
        """
        Issue a certificate for this machine's own address, or for a client.

        @param name: what its files are called; its common name, without a subject.
        @param begin: from when it holds, from now.
        @param end: until when.
        @param long: with a key of RSA, which takes its time.
        @param hosts: the names and addresses that it is for.
        """
        key = rsa.generate_private_key(65537, 2048) if long else ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self._name, subject_ or subject(name), key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now + begin).not_valid_after(now + end)
        names = x509.SubjectAlternativeName([_generalName(host) for host in hosts])
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier), critical=False
        )
        certificate = builder.add_extension(names, critical=False).sign(self._key, SHA256())
        return Issued(self._folder, name, certificate, key)

    def revoke(self, *revoked: Issued, end: timedelta = _DAY) -> str:
        """
        Write a revocation list.

        @param end: until when it holds, from now.
        @return: its path.
        """
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(self._name, now - 2 * _DAY, now + end)
        for issued in revoked:
            entry = x509.RevokedCertificateBuilder(issued.certificate.serial_number, now - _DAY).build()
            builder = builder.add_revoked_certificate(entry)
        path = self._folder / "crl.pem"
        path.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        return str(path)


def _generalName(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def writeDHParameters(folder: Path) -> str:
    """
    Write Diffie-Hellman parameters.

    @return: their path.
    """
    path = folder / "dh.pem"
    path.write_text(_SAMPLES["dhParameters"]())
    return str(path)
