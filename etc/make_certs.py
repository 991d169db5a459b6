"""
Sample certificates, for trying TLS out: an authority, a server for this machine, and a client.

    python etc/make_certs.py [FOLDER]

writes into FOLDER (etc/certs) what the listeners look for there. Nobody should trust them beyond this machine: whoever
can read the folder can read the authority's key.
"""

import argparse
import socket
from base64 import encodebytes
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=825)

# RFC 3526, group 14: parameters that everybody knows and that have been looked at are better than new ones.
PRIME = bytes.fromhex(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d"
    "670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718"
    "3995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff"
)

# The uses of an authority's key: strict clients ask for them.
SIGNING = x509.KeyUsage(
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

Key = ec.EllipticCurvePrivateKey


def name(commonName: str) -> x509.Name:
    """
    A subject.
    """
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, commonName)])


def builder(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    """
    A certificate that holds from now on, without what makes it one of a server, a client or an authority.
    """
    now = datetime.now(UTC)
    begun = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return begun.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + LIFETIME)


def writeKey(path: Path, key: Key) -> None:
    """
    Write a key that its owner alone can read.
    """
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def dhParameters() -> str:
    """
    Diffie-Hellman parameters (PKCS #3): a sequence of the prime, with a byte of zero for its sign, and the generator 2.
    """
    body = b"\x02\x82" + (len(PRIME) + 1).to_bytes(2, "big") + b"\0" + PRIME + b"\x02\x01\x02"
    text = encodebytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body).decode()
    return f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n"


def serverNames() -> list[x509.GeneralName]:
    """
    The names by which clients may call the server.
    """
    names = dict.fromkeys(["localhost", socket.gethostname()])
    return [
        *(x509.DNSName(known) for known in names),
        *(x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")),
    ]


def make(folder: Path) -> None:
    """
    Write everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = name("Sample authority")
    authorityKey = ec.generate_private_key(ec.SECP256R1())
    own = builder(authority, authority, authorityKey)
    own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    own = own.add_extension(SIGNING, critical=True)
    own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(authorityKey.public_key()), critical=False)
    writeKey(folder / "cakey.pem", authorityKey)
    certificate = own.sign(authorityKey, SHA256())
    (folder / "cacert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authorityKey.public_key())
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    for prefix, commonName, usage in (("", "localhost", server), ("client-", "client1", client)):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = builder(name(commonName), authority, key).add_extension(identifier, critical=False)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if usage is server:
            leaf = leaf.add_extension(x509.SubjectAlternativeName(serverNames()), critical=False)
        writeKey(folder / f"{prefix}key.pem", key)
        signed = leaf.sign(authorityKey, SHA256())
        (folder / f"{prefix}cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "dh-params.pem").write_text(dhParameters())


def main() -> None:
    """
    Do what the command line says, and destroy nothing.
    """
    parser = argparse.ArgumentParser(description="Write sample certificates.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("etc/certs"))
    folder = parser.parse_args().folder
    if (folder / "cacert.pem").exists():
        parser.exit(message=f"{folder} has certificates already; remove them to have new ones\n")
    make(folder)
    print(f"wrote {', '.join(sorted(path.name for path in folder.glob('*.pem')))} to {folder}")


if __name__ == "__main__":
    main()
