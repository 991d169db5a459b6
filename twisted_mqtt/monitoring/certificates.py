"""
When certificates expire.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID


class Expiry(NamedTuple):
    """
    The end of a certificate.

    @ivar subject: whose it is: its common name, or else all that it says.
    @ivar until: the date, in seconds since the epoch.
    """

    subject: str
    until: float


def soonestExpiry(file: str) -> Expiry:
    """
    The certificate in a file that expires first: a client checks those of the authorities between too.

    @raise OSError: the file can't be read.
    @raise ValueError: it holds no certificate.
    """
    chain = x509.load_pem_x509_certificates(Path(file).read_bytes())
    return min(
        (Expiry(_nameOf(one), one.not_valid_after_utc.timestamp()) for one in chain), key=lambda expiry: expiry.until
    )


def _nameOf(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
