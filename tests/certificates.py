"""
Certificates for tests: an authority that issues what a test asks for, right in every respect but those it names.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
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

# RFC 3526, group 14.
_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
_SIGNING = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
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

    @ivar certfile: The path of the certificate.
    @ivar keyfile: The path of its key.
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

    @ivar cafile: The path of its own certificate.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = subject(f"Test {name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, self._name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - 2 * _DAY).not_valid_after(now + 30 * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # What Python 3.13 and other strict clients want to see.
        builder = builder.add_extension(_SIGNING, critical=True)
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
    ) -> Issued:
        """
        Issue a certificate for this machine's own address, or for a client.

        @param name: What its files are called; its common name, without a subject.
        @param begin: From when it holds, from now.
        @param end: Until when.
        @param long: With a key of RSA, which takes its time.
        """
        key = rsa.generate_private_key(65537, 2048) if long else ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self._name, subject_ or subject(name), key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now + begin).not_valid_after(now + end)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier), critical=False
        )
        certificate = builder.add_extension(names, critical=False).sign(self._key, SHA256())
        return Issued(self._folder, name, certificate, key)

    def revoke(self, *revoked: Issued, end: timedelta = _DAY) -> str:
        """
        Write a revocation list.

        @param end: Until when it holds, from now.
        @return: Its path.
        """
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(self._name, now - 2 * _DAY, now + end)
        for issued in revoked:
            entry = x509.RevokedCertificateBuilder(issued.certificate.serial_number, now - _DAY).build()
            builder = builder.add_revoked_certificate(entry)
        path = self._folder / "crl.pem"
        path.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        return str(path)


def writeDHParameters(folder: Path) -> str:
    """
    Write Diffie-Hellman parameters.

    @return: Their path.
    """
    path = folder / "dh.pem"
    # PKCS #3: a sequence of the prime, with a byte of zero for its sign, and the generator 2.
    prime = b"\0" + _PRIME.to_bytes(256, "big")
    body = b"\x02\x82" + len(prime).to_bytes(2, "big") + prime + b"\x02\x01\x02"
    text = base64.encodebytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body).decode()
    path.write_text(f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n")
    return str(path)
