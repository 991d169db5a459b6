"""
TLS for the generator: sockets that behave like plain ones, and the certificate that every broker is given.
"""

from __future__ import annotations

import datetime
import select
import socket
import ssl
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.sockets import TCPAddress

if TYPE_CHECKING:
    from bench.sockets import Address

# For the rest of a record whose beginning has come.
_PATIENCE: Final = 5.0


@cache
def _certificate() -> tuple[bytes, bytes]:
    """
    A certificate of the kind that most servers have, RSA with 2,048 bits, and its key (PEM).
    """
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate = builder.add_extension(names, critical=False).sign(key, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def writeCertificate(folder: Path) -> tuple[Path, Path]:
    """
    Put the certificate and its key where a broker can read them.
    """
    certificate, key = folder / "cert.pem", folder / "key.pem"
    for path, content in zip((certificate, key), _certificate(), strict=True):
        path.write_bytes(content)
        # Some brokers give up being root.
        path.chmod(0o644)
    return certificate, key


def clientContext() -> ssl.SSLContext:
    """
    The TLS settings of a client of such a broker; it trusts that certificate alone, as a device would.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=_certificate()[0].decode())
    return context


class SecureSocket:
    """
    A TLS connection as the generator wants it: what has come is read whole, since epoll does not see what TLS holds
    back, and no room to write is told as a plain socket tells it.
    """

    def __init__(self, opened: ssl.SSLSocket) -> None:
        self._opened = opened
        self._arrival = select.poll()
        self._arrival.register(opened.fileno(), select.POLLIN)

    def recv_into(self, view: memoryview) -> int:
        """
        Read all that has come and fits; 0 at the end.
        """
        opened, size, got = self._opened, len(view), 0
        while got < size:
            try:
                more = opened.recv_into(view[got:])
            except ssl.SSLWantReadError:
                if got:
                    break
                if not self._arrival.poll(_PATIENCE * 1000):
                    raise TimeoutError("the rest of a record does not come") from None
                continue
            if not more:
                break
            got += more
        return got

    def send(self, data: bytes) -> int:
        """
        Send what there is room for.
        """
        try:
            return self._opened.send(data)
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None

    def __enter__(self) -> SecureSocket:
        return self

    def __exit__(self, *raised: object) -> None:
        self._opened.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


class TLSAddress:
    """
    A listener with TLS on the loopback interface.

    @ivar plain: the same without TLS, for who does the handshake in steps.
    """

    def __init__(self, port: int) -> None:
        self.plain: Address = TCPAddress(port)
        self._context = clientContext()

    def open(self) -> socket.socket:
        """
        A connection that has shaken hands.
        """
        opened = self.plain.open()
        try:
            secured = self._context.wrap_socket(opened, server_hostname="localhost")
        except BaseException:
            opened.close()
            raise
        return cast("socket.socket", SecureSocket(secured))
