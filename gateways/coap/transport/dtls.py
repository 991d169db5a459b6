"""
DTLS 1.2 between a UDP port and a protocol of datagrams. The layers above do not know of it, and no other module of the
gateway uses OpenSSL.

A peer costs no memory until it has proved its address with a cookie (RFC 6347 4.2.1): one spare connection answers all
first messages, and becomes the peer's own connection when the cookie comes back.

OpenSSL asks for a pre-shared key in the middle of a handshake and can't wait. If a source may have to look the key up,
this layer holds back the message with the identity until the source has answered; OpenSSL then finds the answer ready.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.coap.transport.hello import HANDSHAKE, HEADER, HelloFragments, isClientHello, randomOf
from twisted_mqtt.base.filewatch import FileWatch
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.net.peeridentity import PeerIdentity, identityOf
from twisted_mqtt.net.tls.credentials import reasonOf
from twisted_mqtt.net.tls.options import TLSProblem

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address
    from twisted.internet.interfaces import IReactorTime

    from gateways.coap.roles import Address
    from twisted_mqtt.base.timerwheel import TimerWheel

__all__ = ["DTLSContext", "DTLSProtocol"]

_log = Logger()

# The smallest MTU of IPv6, without the headers of IP and UDP.
_MTU: Final = 1232
_HANDSHAKE_RECORD: Final = bytes((HANDSHAKE,))
_CLIENT_KEY_EXCHANGE: Final = 16
_LARGEST_RECORD: Final = 16384 + 256

_HANDSHAKE_TIMEOUT: Final = 30.0
_MOST_HANDSHAKES: Final = 1000
_IDLE: Final = 86400.0
# For how long, and for how many datagrams, a handshake waits for a key that is looked up.
_LOOKUP_TIMEOUT: Final = 10.0
_MOST_HELD: Final = 8
# Of what OpenSSL takes.
_LONGEST_IDENTITY: Final = 256
# An association that was used as lately as this is not given up for a new one.
_SHORT_IDLE: Final = 60.0


class _Association:
    """
    The association with one peer.

    @ivar address: host, port, and a number, since the peer of tomorrow at that port is another one.
    @ivar established: whether the handshake is done.
    @ivar context: that of its connection.
    @ivar answer: an identity and its key that were looked up for its handshake.
    @ivar lookup: a key is being looked up.
    @ivar heldAt: since when.
    @ivar held: what has come meanwhile.
    @ivar bucket: the wheel's.
    """

    __slots__ = (
        "address",
        "established",
        "bucket",
        "connection",
        "context",
        "random",
        "identity",
        "usedAt",
        "answer",
        "lookup",
        "heldAt",
        "held",
        "_layer",
    )

    def __init__(
        self,
        layer: DTLSProtocol,
        address: tuple[str, int, int],
        context: DTLSContext,
        connection: SSL.Connection,
        random: bytes,
        now: float,
    ) -> None:
        self._layer = layer
        self.address = address
        # OpenSSL may call back to it for as long as the connection lives.
        self.context = context
        self.connection = connection
        self.answer: tuple[bytes, bytes | None] | None = None
        self.lookup: Deferred[bytes | None] | None = None
        self.heldAt = 0.0
        self.held: list[bytes] = []
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


class SecuredProtocol(Protocol):
    """
    The protocol above DTLS.
    """

    def makeConnection(self, transport: DTLSProtocol) -> None:
        """
        The port is open.
        """

    def doStop(self) -> None:
        """
        The port is about to be closed.
        """

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Something has come from a peer.
        """

    def lost(self, address: Address) -> None:
        """
        The association with a peer has ended.
        """


class DTLSProtocol(DatagramProtocol):
    """
    The layer: a protocol to the port below, a transport to the protocol above. Its addresses have a third part.

    @ivar upper: the protocol above.
    """

    def __init__(
        self, upper: SecuredProtocol, context: DTLSContext, reactor: IReactorTime, wheel: TimerWheel, most: int
    ) -> None:
        """
        @param most: how many associations there may be.
        """
        self.upper = upper
        self._reactor = reactor
        self._wheel = wheel
        self._most = most
        self._secret = secrets.token_bytes(32)
        self._asking: Address = ()
        # The one that was used longest ago comes first.
        self._associations: OrderedDict[tuple[str, int], _Association] = OrderedDict()
        # Those whose handshake is under way; the one that began first comes first.
        self._shaking: OrderedDict[_Association, None] = OrderedDict()
        self._count = 0
        self._refused = RateLimitedLog(reactor.seconds)
        self._fragments = HelloFragments()
        self._use(context)
        self._watch = FileWatch(wheel, reactor.seconds, context.options.files, self._filesChanged)

    def _use(self, context: DTLSContext) -> None:
        context.context.set_cookie_generate_callback(self._cookie)
        context.context.set_cookie_verify_callback(self._isCookie)
        self._context = context
        self._spare = self._makeConnection()

    def reload(self) -> None:
        """
        Read the files again: handshakes that begin from now on go by them, and associations go on.

        @raise TLSProblem: they can't be used; what was read before is used on.
        """
        self._use(self._context.again())

    @property
    def certificate(self) -> str | None:
        """
        The file with the certificate; C{None} where there is none.
        """
        options = self._context.options
        return None if options.pskCiphers else options.certfile

    def reloadCertificates(self) -> bool:
        """
        The same; what is wrong with the files is logged.

        @return: whether they can be used.
        """
        try:
            self.reload()
        except TLSProblem as problem:
            _log.error("{problem}; the files read before stay in use", problem=problem)
            return False
        return True

    def _filesChanged(self) -> None:
        try:
            self.reload()
        except TLSProblem as problem:
            # Asked again at each first message, it would say so each time.
            self._context.settle()
            _log.error("{problem}; the files read before stay in use", problem=problem)
        else:
            _log.info("{path}: certificates read again", path=self._context.options.path)

    def __len__(self) -> int:
        return len(self._associations)

    # The port below

    def startProtocol(self) -> None:
        """
        The port is open.
        """
        self._watch.start()
        self.upper.makeConnection(self)

    def doStop(self) -> None:
        """
        The port is about to be closed.
        """
        self._watch.stop()
        for association in list(self._associations.values()):
            self._end(association)
        stop: Any = super().doStop  # Twisted says nothing of its type
        stop()
        self.upper.doStop()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Take a datagram.
        """
        peer = (addr[0], addr[1])
        association = self._associations.get(peer)
        if not isClientHello(datagram):
            whole = None
            if datagram[:1] == _HANDSHAKE_RECORD:
                whole = self._fragments.take(datagram, peer, self._reactor.seconds())
            if whole is not None:
                if not whole:
                    return
                datagram = whole
        if isClientHello(datagram):
            random = randomOf(datagram)
            # That of a handshake which is under way comes again where our answer was lost.
            if association is None or association.random != random:
                self._listen(datagram, peer, random)
                return
        if association is not None:
            self._feed(association, datagram)

    # The protocol above

    def getHost(self) -> IPv4Address | IPv6Address:
        """
        See L{IUDPTransport<twisted.internet.interfaces.IUDPTransport>}.
        """
        assert self.transport is not None
        return self.transport.getHost()

    def write(self, datagram: bytes, address: Address) -> None:
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

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        The identity of a peer by its certificate or its key; L{None} if it has shown neither.
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
        if not self._context.holds:
            self._filesChanged()
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
        if len(self._shaking) >= _MOST_HANDSHAKES:
            # In a flood, who is quick gets through; refused, nobody would until these have timed out.
            self._end(next(iter(self._shaking)))
        if not self._makeRoom():
            return
        now = self._reactor.seconds()
        self._count += 1
        association = _Association(self, (*peer, self._count), self._context, spare, random, now)
        self._associations[peer] = association
        self._shaking[association] = None
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
        if not association.established and self._isHeld(association, datagram):
            return
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
        context = association.context
        context.answer = association.answer
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._flush(connection, address)
            return False
        except SSL.Error as error:
            _log.debug("no handshake with {host}: {error}", host=address[0], error=reasonOf(error))
            self._end(association)
            return False
        finally:
            context.answer = None
        self._flush(connection, address)
        association.established = True
        association.answer = None
        del self._shaking[association]
        try:
            association.identity = self._identify(context, connection)
        except ValueError as error:
            self._refused.info("{host} is refused: {error}", host=address[0], error=error)
            self._end(association)
            return False
        return True

    def _isHeld(self, association: _Association, datagram: bytes) -> bool:
        """
        Whether a datagram of a handshake has to wait for a key; it comes again by L{_found}.
        """
        if association.lookup is not None:
            # Datagrams beyond the limit are lost, as datagrams may be; the peer will repeat them.
            if len(association.held) < _MOST_HELD:
                association.held.append(datagram)
            return True
        keys = association.context.keys
        if association.answer is not None or not keys.mayWait:
            return False
        identity = _identityIn(datagram)
        if identity is None:
            return False
        found = keys.lookUp(identity)
        if not isinstance(found, Deferred):
            association.answer = identity, found
            return False
        association.lookup = found
        association.heldAt = self._reactor.seconds()
        association.held.append(datagram)
        found.addCallback(self._found, association, identity)
        return True

    def _found(self, key: bytes | None, association: _Association, identity: bytes) -> None:
        """
        A key was looked up: go on with the handshake that has waited for it.
        """
        address = association.address
        association.lookup = None
        association.answer = identity, key
        held, association.held = association.held, []
        for datagram in held:
            if self._associations.get((address[0], address[1])) is association:
                self._feed(association, datagram)

    def _identify(self, context: DTLSContext, connection: SSL.Connection) -> PeerIdentity | None:
        psk = context.psk.take(connection) if context.psk is not None else None
        if psk is not None:
            identity = PeerIdentity(psk=psk)
            if identity.pskName is None:
                raise ValueError("the identity of its key is not a name in UTF-8")  # RFC 4279 5.1
            return identity
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
        late = association.lookup is not None and now - association.heldAt >= _LOOKUP_TIMEOUT
        if late or now - association.usedAt >= _HANDSHAKE_TIMEOUT:
            self._end(association)
            return 0.0
        connection = association.connection
        try:
            connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._end(association)
            return 0.0
        self._flush(connection, address)
        # OpenSSL counts by the wall clock. If that is set back, it repeats nothing before the client has done so, and
        # would have us wait as long: the handshake has to end in time all the same.
        left = connection.DTLSv1_get_timeout()
        return now + (1.0 if left is None else min(left, 1.0))

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
            del self._shaking[association]
            if association.context.psk is not None:
                association.context.psk.take(association.connection)
            if association.lookup is not None:
                association.lookup.cancel()

    def _flush(self, connection: SSL.Connection, address: Address) -> None:
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


def _identityIn(datagram: bytes) -> bytes | None:
    """
    The identity that a datagram of a handshake with a key tells (RFC 6347 4.2.2, RFC 4279 2), L{None} where it tells
    none. One that comes in fragments is not looked for: the message is shorter than any datagram.
    """
    at = 0
    while at + HEADER <= len(datagram):
        start = at + HEADER
        end = start + int.from_bytes(datagram[at + 11 : start], "big")
        if datagram[at] == HANDSHAKE and datagram[at + 3 : at + 5] == b"\0\0":
            while start + 12 < end <= len(datagram):
                body = start + 12
                size = int.from_bytes(datagram[start + 1 : start + 4], "big")
                if (
                    datagram[start] == _CLIENT_KEY_EXCHANGE
                    and datagram[start + 6 : body] == b"\0\0\0" + (datagram[start + 1 : start + 4])
                ):
                    length = int.from_bytes(datagram[body : body + 2], "big")
                    identity = datagram[body + 2 : body + 2 + length]
                    # With a certificate a point of a curve stands there, whose first byte is 32 or more: as an identity
                    # it would be longer than the message. Of an identity OpenSSL takes what is before a null byte.
                    known = len(identity) == length <= min(size - 2, _LONGEST_IDENTITY) and b"\0" not in identity
                    return identity if known else None
                start = body + int.from_bytes(datagram[start + 9 : body], "big")
        at = end
    return None


def _datagrams(records: bytes) -> list[bytes]:
    datagrams: list[bytes] = []
    start = at = 0
    while at < len(records):
        end = at + HEADER + int.from_bytes(records[at + 11 : at + 13], "big")
        if end - start > _MTU and at > start:
            datagrams.append(records[start:at])
            start = at
        at = end
    if start < at:
        datagrams.append(records[start:])
    return datagrams
