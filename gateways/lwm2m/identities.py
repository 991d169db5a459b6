"""
The identity of a device by its key or certificate, as DTLS reports it. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from twisted_mqtt.net.peeridentity import PeerIdentity


def provenKey(identity: PeerIdentity | None) -> Hashable | None:
    """
    Get the key that all associations of one device share, and no others; L{None} if the device has proved nothing.
    """
    if identity is None:
        return None
    if identity.psk is not None:
        return "psk", identity.psk
    # A certificate is renewed; its subject stays.
    return "certificate", identity.dn or identity.certificate


def provenName(identity: PeerIdentity | None) -> str | None:
    """
    The name that is in its key or certificate; L{None} where there is none that people could read.
    """
    if identity is None:
        return None
    if identity.psk is None:
        return identity.cn
    try:
        name = identity.psk.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return name if name.isprintable() else None
