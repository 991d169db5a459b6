"""
The identity of a peer, from its certificate or its pre-shared key.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: Characters that a user name may not contain (1.5.4 of MQTT 5). A name with one of them is refused.
_FORBIDDEN: Final = "\0"


class PeerIdentity:
    """
    The identity of a peer, as a layer below MQTT has found it. Transports have it as their C{peerIdentity}, or L{None}.

    @ivar cn: the common name of its certificate, or L{None}.
    @ivar dn: the subject of its certificate, such as C{"C=CH,O=Example,CN=device1"}, or L{None}.
    @ivar certificate: the certificate itself (DER), or L{None}.
    @ivar psk: the identity of its pre-shared key, or L{None}.
    """

    __slots__ = ("certificate", "cn", "dn", "psk")

    def __init__(
        self,
        cn: str | None = None,
        dn: str | None = None,
        certificate: bytes | None = None,
        psk: bytes | None = None,
    ) -> None:
        self.cn = cn
        self.dn = dn
        self.certificate = certificate
        self.psk = psk

    @property
    def pskName(self) -> str | None:
        """
        The identity of its key as text, which it should be (RFC 4279 5.1); L{None} where it is none that is a name.
        """
        if not self.psk:
            return None
        try:
            name = self.psk.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return None if _FORBIDDEN in name else name

    def username(self, part: str | None) -> str | None:
        """
        The user name that the peer has by its certificate.

        @param part: C{"cn"}, C{"dn"}, C{"crt"} (the certificate in base 64), or L{None} for no part of it.
        """
        if part == "cn":
            return self.cn or None
        if part == "dn":
            # A proxy tells the common name alone.
            return self.dn or self.cn or None
        if part == "crt" and self.certificate is not None:
            return b64encode(self.certificate).decode("ascii")
        return None


def identityOf(certificate: Certificate, encoded: bytes) -> PeerIdentity:
    """
    The identity that a certificate states.

    @param encoded: the same certificate in DER.
    @raise ValueError: where it holds what no name may hold.
    """
    subject = certificate.subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    cn = None
    if names:
        value = names[0].value
        cn = value.decode("utf-8") if isinstance(value, bytes) else value
    dn = ",".join(part.rfc4514_string() for part in subject.rdns)
    if _FORBIDDEN in dn or _FORBIDDEN in (cn or ""):
        raise ValueError("the subject of the certificate holds a null character")
    return PeerIdentity(cn, dn, encoded)
