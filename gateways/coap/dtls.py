"""
DTLS 1.2 between a UDP port and a protocol of datagrams; nothing above knows of it, and nothing else knows of OpenSSL.

Who has not shown by a cookie that it is where it says costs no memory (RFC 6347 4.2.1): one spare connection answers
all first messages, and becomes the peer's own when the cookie comes back.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from twisted_mqtt.opensslprivate import HAVE_PSK, PreSharedKeyCallback
from twisted_mqtt.peeridentity import PeerIdentity, identityOf
from twisted_mqtt.tlscontext import TLSProblem, reasonOf

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_extensions import DTLS
    from twisted_mqtt.psk import PreSharedKeys

_log = Logger()

# Without those whose peers nobody knows, without those that need RSA for a key exchange, which devices don't do.
_CERTIFICATE_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:ECDHE+AESCCM8"
_PSK_SUITES: Final = "ECDHEPSK:kPSK+AESGCM:kPSK+CHACHA20:kPSK+AESCCM:kPSK+AESCCM8:PSK-AES128-CBC-SHA256"
# Suites with a tag of 8 bytes, which is what LwM2M devices have, are below the level that OpenSSL begins with.
_LEVEL: Final = "!aNULL:!eNULL:@SECLEVEL=0"

# What IPv6 lets through everywhere, without the headers of IP and UDP.
_MTU: Final = 1232
_HEADER: Final = 13
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_LARGEST_RECORD: Final = 16384 + 256

_HANDSHAKE_TIMEOUT: Final = 30.0
_MOST_HANDSHAKES: Final = 1000
_IDLE: Final = 86400.0
# An association that was used as lately as this is not given up for a new one.
_SHORT_IDLE: Final = 60.0


class DTLSContext:
    """
    What a table of keys means to OpenSSL.

    @ivar context: for new connections.
    @ivar psk: finds the keys of clients, or L{None} where that is not possible.
    """

    def __init__(self, settings: DTLS, path: str, keys: PreSharedKeys) -> None:
        """
        @param path: of the table, for messages.

        @raise TLSProblem: the keys can't work; the text says which and why.
        """
        self._settings = settings
        self._path = path
        self.context = context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        self.psk = PreSharedKeyCallback(context, keys.find) if HAVE_PSK else None
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        # A client that offers a key wants to be known by it.
        suites = [_PSK_SUITES] if self.psk is not None else []
        if self._hasCertificate(keys):
            suites.append(_CERTIFICATE_SUITES)
            self._loadCertificate()
        suites.append(_LEVEL)
        context.set_cipher_list(":".join(suites).encode())
        if keys:
            # A resumed session does not say whose key began it, and a handshake with a key costs little anyway.
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.set_options(SSL.OP_NO_TICKET)
        else:
            context.set_session_id(path.encode()[:32])
            context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        if settings.verify == "verify_peer":
            self._setVerification()

    def _hasCertificate(self, keys: PreSharedKeys) -> bool:
        if Path(self._settings.certfile).exists() or not keys:
            return True
        _log.warn(
            "{path}: there is no {file}, so only clients with a pre-shared key can come",
            path=self._path,
            file=self._settings.certfile,
        )
        return False

    def _loadCertificate(self) -> None:
        settings, context = self._settings, self.context
        for key, file in (("certfile", settings.certfile), ("keyfile", settings.keyfile)):
            self._mustBeThere(key, file)
        try:
            context.use_certificate_chain_file(settings.certfile)
            context.use_privatekey_file(settings.keyfile)
            context.check_privatekey()
        except SSL.Error as error:
            files = f"{settings.certfile} and {settings.keyfile}"
            raise TLSProblem(
                f"{self._path}.certfile, keyfile: {files} are no certificate and its key ({reasonOf(error)})"
            ) from error

    def _setVerification(self) -> None:
        settings, context = self._settings, self.context
        if settings.cacertfile is None:
            raise TLSProblem(f'{self._path}.verify = "verify_peer" needs cacertfile')
        self._mustBeThere("cacertfile", settings.cacertfile)
        try:
            context.load_verify_locations(settings.cacertfile)
            context.load_client_ca(settings.cacertfile.encode())
        except SSL.Error as error:
            raise TLSProblem(f"{self._path}.cacertfile: no authorities ({reasonOf(error)})") from error
        mode = SSL.VERIFY_PEER
        if settings.fail_if_no_peer_cert:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(mode, lambda connection, certificate, error, depth, good: bool(good))

    def _mustBeThere(self, key: str, file: str) -> None:
        try:
            with open(file, "rb"):
                pass
        except OSError as error:
            raise TLSProblem(f'{self._path}.{key} = "{file}": can\'t be read ({error.strerror})') from error


class _Association:
    """
    What there is with one peer.

    @ivar address: host, port, and a number, since the peer of tomorrow at that port is another one.
    @ivar established: whether the handshake is done.
    @ivar bucket: the wheel's.
    """

    __slots__ = ("address", "established", "bucket", "connection", "random", "identity", "usedAt", "_layer")

    def __init__(
        self, layer: DTLSProtocol, address: tuple[str, int, int], connection: SSL.Connection, random: bytes, now: float
    ) -> None:
        self._layer = layer
        self.address = address
        self.connection = connection
        self.random = random
        self.established = False
        self.identity: PeerIdentity | None = None
        self.usedAt = now
        self.bucket = 0

    def due(self, now: float) -> float:
        """
        The wheel asks.
        """
        return self._layer.checked(self, now)


class DTLSProtocol(DatagramProtocol):
    """
    The layer: a protocol to the port below, a transport to the protocol above. Its addresses have a third part.

    @ivar upper: the protocol above: it has C{makeConnection} and C{doStop} as a C{DatagramProtocol} has, and its
        C{lost(address)} is called when an association ends.
    """

    def __init__(self, upper: Any, context: DTLSContext, reactor: Any, wheel: Any, most: int) -> None:
        """
        @param wheel: a L{DeadlineWheel<twisted_mqtt.wheel.DeadlineWheel>}.
        @param most: how many associations there may be.
        """
        self.upper = upper
        self._context = context
        self._reactor = reactor
        self._wheel = wheel
        self._most = most
        self._secret = secrets.token_bytes(32)
        self._asking: tuple[Any, ...] = ()
        # The one that was used longest ago comes first.
        self._associations: OrderedDict[tuple[str, int], _Association] = OrderedDict()
        self._handshakes = 0
        self._count = 0
        context.context.set_cookie_generate_callback(self._cookie)
        context.context.set_cookie_verify_callback(self._isCookie)
        self._spare = self._makeConnection()

    def __len__(self) -> int:
        return len(self._associations)

    # The port below

    def startProtocol(self) -> None:
        """
        The port is open.
        """
        self.upper.makeConnection(self)

    def doStop(self) -> None:
        """
        The port is about to be closed.
        """
        for association in list(self._associations.values()):
            self._end(association)
        stop: Any = super().doStop  # Twisted says nothing of its type
        stop()
        self.upper.doStop()

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        """
        Take a datagram.
        """
        peer = (addr[0], addr[1])
        association = self._associations.get(peer)
        if _isClientHello(datagram):
            random = datagram[_HEADER + 14 : _HEADER + 46]
            # That of a handshake which is under way comes again where our answer was lost.
            if association is None or association.random != random:
                self._listen(datagram, peer, random)
                return
        if association is not None:
            self._feed(association, datagram)

    # The protocol above

    def getHost(self) -> Any:
        """
        See L{IUDPTransport<twisted.internet.interfaces.IUDPTransport>}.
        """
        assert self.transport is not None
        return self.transport.getHost()

    def write(self, datagram: bytes, address: tuple[Any, ...]) -> None:
        """
        Send a datagram to a peer, if there still is an association with it.
        """
        association = self._associations.get((address[0], address[1]))
        if association is None or association.address != address or not association.established:
            return
        try:
            association.connection.send(datagram)
        except SSL.Error as error:
            _log.debug("nothing could be sent to {host}: {error}", host=address[0], error=reasonOf(error))
            return
        self._flush(association.connection, address)

    def identityOf(self, address: tuple[Any, ...]) -> PeerIdentity | None:
        """
        Who a peer is by its certificate or its key, L{None} where it has shown neither.
        """
        association = self._associations.get((address[0], address[1]))
        return association.identity if association is not None and association.address == address else None

    # Cookies

    def _cookie(self, connection: SSL.Connection) -> bytes:
        return hmac.digest(self._secret, repr(self._asking).encode(), "sha256")

    def _isCookie(self, connection: SSL.Connection, cookie: bytes) -> bool:
        return hmac.compare_digest(cookie, self._cookie(connection))

    def _makeConnection(self) -> SSL.Connection:
        connection = SSL.Connection(self._context.context, None)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(_MTU)
        return connection

    def _listen(self, datagram: bytes, peer: tuple[str, int], random: bytes) -> None:
        """
        Answer a first message with a cookie, or begin the handshake of the one that brings it back.
        """
        spare = self._spare
        self._asking = peer
        try:
            spare.bio_write(datagram)
            spare.DTLSv1_listen()
        except SSL.WantReadError:
            self._flush(spare, peer)
            return
        except SSL.Error as error:
            _log.debug("no handshake with {host}: {error}", host=peer[0], error=reasonOf(error))
            # There may be something left in it.
            self._spare = self._makeConnection()
            return
        self._spare = self._makeConnection()
        before = self._associations.get(peer)
        if before is not None:  # it has begun anew, as after a restart
            self._end(before)
        if self._handshakes >= _MOST_HANDSHAKES or not self._makeRoom():
            return
        now = self._reactor.seconds()
        self._count += 1
        association = _Association(self, (*peer, self._count), spare, random, now)
        self._associations[peer] = association
        self._handshakes += 1
        self._wheel.add(association, now + 1)
        self._shake(association)

    def _makeRoom(self) -> bool:
        if len(self._associations) < self._most:
            return True
        oldest = next(iter(self._associations.values()))
        if self._reactor.seconds() - oldest.usedAt < _SHORT_IDLE:
            return False
        self._end(oldest)
        return True

    # Associations

    def _feed(self, association: _Association, datagram: bytes) -> None:
        connection, address = association.connection, association.address
        association.usedAt = self._reactor.seconds()
        self._associations.move_to_end((address[0], address[1]))
        try:
            connection.bio_write(datagram)
            if not association.established and not self._shake(association):
                return
            while True:
                data = connection.recv(_LARGEST_RECORD)
                self.upper.datagramReceived(data, address)
                if self._associations.get((address[0], address[1])) is not association:
                    return
        except SSL.WantReadError:
            # A handshake message that came again has been answered again.
            self._flush(connection, address)
        except SSL.ZeroReturnError:
            self._end(association)
        except SSL.Error as error:
            _log.debug("the association with {host} fails: {error}", host=address[0], error=reasonOf(error))
            self._end(association)

    def _shake(self, association: _Association) -> bool:
        """
        Go on with a handshake; returns whether it is done.
        """
        connection, address = association.connection, association.address
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._flush(connection, address)
            return False
        except SSL.Error as error:
            _log.debug("no handshake with {host}: {error}", host=address[0], error=reasonOf(error))
            self._end(association)
            return False
        self._flush(connection, address)
        association.established = True
        self._handshakes -= 1
        try:
            association.identity = self._identify(connection)
        except ValueError as error:
            _log.info("{host} is refused: {error}", host=address[0], error=error)
            self._end(association)
            return False
        return True

    def _identify(self, connection: SSL.Connection) -> PeerIdentity | None:
        psk = self._context.psk.take(connection) if self._context.psk is not None else None
        if psk is not None:
            return PeerIdentity(psk=psk)
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return None
        return identityOf(certificate, certificate.public_bytes(Encoding.DER))

    def checked(self, association: _Association, now: float) -> float:
        """
        See what a handshake waits for, or whether an association is still used.

        @return: when to look again; 0 for never.
        """
        address = association.address
        if association.established:
            if now - association.usedAt >= _IDLE:
                self._end(association)
                return 0.0
            return association.usedAt + _IDLE
        if now - association.usedAt >= _HANDSHAKE_TIMEOUT:
            self._end(association)
            return 0.0
        connection = association.connection
        try:
            connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._end(association)
            return 0.0
        self._flush(connection, address)
        left = connection.DTLSv1_get_timeout()
        return now + (1.0 if left is None else left)

    def _end(self, association: _Association) -> None:
        """
        Say farewell, as far as that is possible, and forget it.
        """
        try:
            association.connection.shutdown()
        except SSL.Error:
            pass  # a handshake that has not come far enough
        self._flush(association.connection, association.address)
        self._forget(association)

    def _forget(self, association: _Association) -> None:
        address = association.address
        del self._associations[address[0], address[1]]
        self._wheel.remove(association)
        if association.established:
            self.upper.lost(address)
        else:
            self._handshakes -= 1
            if self._context.psk is not None:
                self._context.psk.take(association.connection)

    def _flush(self, connection: SSL.Connection, address: tuple[Any, ...]) -> None:
        """
        Send what OpenSSL has written: whole records, as many as a datagram holds.
        """
        assert self.transport is not None
        pieces = []
        try:
            while True:
                pieces.append(connection.bio_read(65536))
        except SSL.WantReadError:
            pass
        for datagram in _datagrams(b"".join(pieces)):
            try:
                self.transport.write(datagram, (address[0], address[1]))
            except OSError as error:
                _log.debug("nothing could be sent to {host}: {error}", host=address[0], error=error)


def _isClientHello(datagram: bytes) -> bool:
    """
    Whether a datagram is the whole first message of a handshake: one record of epoch 0, and nothing after it.
    """
    return (
        len(datagram) > _HEADER + 46
        and datagram[0] == _HANDSHAKE
        and datagram[3:5] == b"\0\0"
        and int.from_bytes(datagram[11:13], "big") == len(datagram) - _HEADER
        and datagram[_HEADER] == _CLIENT_HELLO
    )


def _datagrams(records: bytes) -> list[bytes]:
    datagrams: list[bytes] = []
    start = at = 0
    while at < len(records):
        end = at + _HEADER + int.from_bytes(records[at + 11 : at + 13], "big")
        if end - start > _MTU and at > start:
            datagrams.append(records[start:at])
            start = at
        at = end
    if start < at:
        datagrams.append(records[start:])
    return datagrams
