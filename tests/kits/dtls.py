"""
The layer of DTLS with a port in memory, and OpenSSL's other end.
"""

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from gateways.coap.settings import DTLSSettings
from gateways.coap.transport.dtls import DTLSProtocol
from gateways.coap.transport.dtlscontext import DTLSContext
from tests.kits.certificates import Authority
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.net.tls.options import optionsOf
from twisted_mqtt.net.tls.psk import PreSharedKeys


class Upper:
    """
    The protocol above: answers in capitals.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.received: list[tuple[bytes, tuple[Any, ...]]] = []
        self.gone: list[tuple[Any, ...]] = []

    def makeConnection(self, transport: Any) -> None:
        """
        See C{DatagramProtocol}.
        """
        self.transport = transport

    def doStop(self) -> None:
        """
        See C{DatagramProtocol}.
        """

    def datagramReceived(self, datagram: bytes, address: tuple[Any, ...]) -> None:
        """
        Answer.
        """
        self.received.append((datagram, address))
        self.transport.write(datagram.upper(), address)

    def lost(self, address: tuple[Any, ...]) -> None:
        """
        Keep it.
        """
        self.gone.append(address)


class Server:
    """
    The layer with a port that keeps what is written.
    """

    def __init__(self, folder: Path, keys: PreSharedKeys | None = None, most: int = 100, **settings: Any) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.advance(1000)
        self.sent: list[tuple[bytes, tuple[Any, ...]]] = []
        issued = Authority(folder).issue("server")
        table = DTLSSettings(certfile=issued.certfile, keyfile=issued.keyfile, **settings)
        self.upper = Upper()
        self.wheel = TimerWheel(self.clock)
        context = DTLSContext(optionsOf(table, "coap.dtls"), PreSharedKeys() if keys is None else keys)
        self.layer = DTLSProtocol(self.upper, context, self.clock, self.wheel, most)
        self.layer.makeConnection(self)

    def write(self, datagram: bytes, address: tuple[Any, ...]) -> None:
        """
        Keep it.
        """
        self.sent.append((datagram, address))

    def getHost(self) -> IPv4Address:
        """
        Some address.
        """
        return IPv4Address("UDP", "127.0.0.1", 5684)


class Client:
    """
    OpenSSL's other end.
    """

    def __init__(
        self,
        server: Server,
        port: int = 1,
        before: "Client | None" = None,
        key: tuple[bytes, bytes] | None = None,
        cipher: bytes = b"PSK-AES128-CCM8",
    ) -> None:
        """
        @param before: whose session it wants to resume.
        @param key: an identity and its key, to come with one of those C{cipher}s.
        """
        self.server = server
        self.address = ("192.0.2.1", port)
        # A session belongs to the context that it was made in.
        self.context = SSL.Context(SSL.DTLS_CLIENT_METHOD) if before is None else before.context
        if before is None:
            self.context.set_options(SSL.OP_NO_QUERY_MTU)
        if key is not None:
            self.context.set_cipher_list(cipher + b":@SECLEVEL=0")
            self._offer(*key)
        self.connection = SSL.Connection(self.context, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(1200)
        if before is not None:
            session = before.connection.get_session()
            assert session is not None
            self.connection.set_session(session)

    def _offer(self, identity: bytes, key: bytes) -> None:
        def called(ssl: Any, hint: Any, name: Any, longest: int, secret: Any, room: int) -> int:
            ffi.memmove(name, identity + b"\0", len(identity) + 1)
            ffi.memmove(secret, key, len(key))
            return len(key)

        form = "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
        self._callback = ffi.callback(form, called, error=0)
        lib.SSL_CTX_set_psk_client_callback(self.context._context, self._callback)  # type: ignore[attr-defined]  # private

    def output(self) -> list[bytes]:
        """
        Take the bytes that it wants to send.
        """
        try:
            data = self.connection.bio_read(65536)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:end])
            data = data[end:]
        return records

    def shake(self, lose: list[int] | None = None, steps: int = 40) -> bool:
        """
        Make a handshake.

        @param lose: the numbers of datagrams, of both sides, that get lost.
        """
        number = 0
        for _ in range(steps):
            done = False
            try:
                self.connection.do_handshake()
                done = True
            except SSL.WantReadError:
                pass
            for record in self.output():
                number += 1
                if number not in (lose or ()):
                    self.server.layer.datagramReceived(record, self.address)
            if done:
                return True
            answers, self.server.sent = self.server.sent, []
            for datagram, address in answers:
                if address != self.address:  # a farewell to another one
                    continue
                number += 1
                if number not in (lose or ()):
                    self.connection.bio_write(datagram)
                    try:
                        self.connection.do_handshake()
                    except SSL.WantReadError:
                        pass
            if not answers:
                self.server.clock.advance(1)
        return False

    def ask(self, data: bytes) -> bytes:
        """
        Send something and take the answer.
        """
        self.connection.send(data)
        for record in self.output():
            self.server.layer.datagramReceived(record, self.address)
        for datagram, _ in self.server.sent:
            self.connection.bio_write(datagram)
        self.server.sent = []
        return self.connection.recv(2000)
