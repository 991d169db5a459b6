"""
TLS between a port and the protocol above it.

Twisted's own layer does the same and more; this one is for servers with much to write. It has no buffer and no timed
call of its own, because the protocol above has already collected its writes for a turn, and the output goes at once to
a transport that counts its pending bytes. The protocol above is made when the handshake is done, so that an unfinished
one costs no more than OpenSSL's part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer, ITransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mqtt.base.filewatch import FileWatch
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.net.peeridentity import PeerIdentity, identityOf
from twisted_mqtt.net.tls.context import ServerContext
from twisted_mqtt.net.tls.credentials import reasonOf
from twisted_mqtt.net.tls.opensslprivate import PlainRecords, Records
from twisted_mqtt.net.tls.options import TLSProblem

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_log = Logger()


@implementer(IProtocol, ITransport, IPushProducer)
class TLSConnection:
    """
    One connection: a protocol for the transport below, and the transport of the protocol above.

    @ivar peerIdentity: who the peer is by its certificate or pre-shared key; L{None} if it has shown neither.
    @ivar disconnecting: whether the protocol above has asked for the end.
    """

    __slots__ = (
        "_address",
        "_answering",
        "_context",
        "_error",
        "_factory",
        "_lower",
        "_producing",
        "_records",
        "_upper",
        "bucket",
        "disconnecting",
        "peerIdentity",
    )

    def __init__(self, factory: TLSFactory, address: IAddress) -> None:
        self._factory = factory
        self._address = address
        self._lower: Any = None
        self._upper: Any = None
        # Kept with the connection: it may have to ask for a key again, in a renegotiation.
        self._context = factory.context
        self._records: PlainRecords | None = None
        self._answering = False
        self._error: SSL.Error | None = None
        self.bucket = 0
        self._producing = False
        self.disconnecting = False
        self.peerIdentity: PeerIdentity | None = None

    # IProtocol, for the transport below

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there; the peer speaks first.
        """
        self._lower = transport
        factory = self._factory
        connection = SSL.Connection(self._context.context, None)
        connection.set_accept_state()
        self._records = factory.records(connection)
        factory.wheel.add(self, factory.seconds() + factory.handshakeTimeout)

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Records have come, or pieces of them.
        """
        records = self._records
        if records is None:
            return
        upper = self._upper
        if upper is None:
            self._shakeHands(records, data)
            return
        try:
            plain = records.decrypt(data)
        except SSL.Error as error:
            self._fail(records, error)
            return
        if self._answering:
            self._flush(records)
        if plain:
            upper.dataReceived(plain)
        if records.ended and self._records is not None:
            self.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._records is not None and self._upper is None:
            self._handshakeEnds()
        self._records = None
        upper, self._upper = self._upper, None
        if upper is not None:
            upper.connectionLost(reason if self._error is None else Failure(self._error))

    # The handshake

    def _shakeHands(self, records: PlainRecords, data: bytes) -> None:
        context = self._context
        context.lastError = ""
        connection = records.connection
        records.feed(data)
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._flush(records)
            return
        except SSL.Error as error:
            self._fail(records, error)
            return
        # Up to TLS 1.2 the client still waits for our last words, and may ask for another handshake later. From 1.3 on
        # there are but tickets now, and new keys later, which may both leave with what is written next: a system call
        # and a segment less for each connection.
        self._answering = connection.get_protocol_version() < SSL.TLS1_3_VERSION
        if self._answering:
            self._flush(records)
        try:
            self.peerIdentity = self._identify(connection)
        except ValueError as error:
            self._refuse(str(error))
            return
        self._handshakeEnds()
        upper = self._factory.wrapped.buildProtocol(self._address)
        if upper is None:
            self.loseConnection()
            return
        self._upper = upper
        upper.makeConnection(self)
        if self._records is not None:
            # The bytes that came together with the end of the handshake.
            self.dataReceived(b"")

    def _identify(self, connection: SSL.Connection) -> PeerIdentity | None:
        context = self._context
        if context.psk is not None:
            identity = context.psk.take(connection)
            return None if identity is None else PeerIdentity(psk=identity)
        if context.asksForCertificate:
            certificate = connection.get_peer_certificate(as_cryptography=True)
            if certificate is not None:
                return identityOf(certificate, certificate.public_bytes(Encoding.DER))
        # Where a proxy knew the client's certificate.
        identified: PeerIdentity | None = getattr(self._lower, "peerIdentity", None)
        return identified

    def _handshakeEnds(self) -> None:
        """
        It is done, or never will be.
        """
        self._factory.wheel.remove(self)
        if self._context.psk is not None and self._records is not None:
            self._context.psk.take(self._records.connection)

    def _fail(self, records: PlainRecords, error: SSL.Error) -> None:
        """
        The peer has sent what can't be accepted: tell it, and close.
        """
        self._flush(records)
        reason = reasonOf(error)
        if self._upper is None and self._context.lastError:
            reason = f"{reason}: {self._context.lastError}"
        # For the protocol above, which would think otherwise that the peer has just gone.
        self._error = error
        self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        if self._upper is None:
            self._handshakeEnds()
            self._factory.handshakeFailed(self._address, reason)
        self._records = None
        self.disconnecting = True
        self._lower.loseConnection()

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}: the handshake has not ended in time.
        """
        self._factory.handshakeFailed(self._address, "it took too long")
        self._lower.abortConnection()
        return 0.0

    # ITransport, for the protocol above

    def write(self, data: bytes) -> None:
        """
        Send, in as many records as it takes.
        """
        records = self._records
        if records is None or not data:
            return
        if self.disconnecting and not self._producing:
            return
        try:
            encrypted = records.encrypt(data)
        except SSL.Error as error:
            self._fail(records, error)
            return
        self._lower.write(encrypted)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        As L{write}: encrypting copies anyway.
        """
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        Say good-bye, and close when everything is sent; but not before a producer has finished.
        """
        if self.disconnecting:
            return
        self.disconnecting = True
        if not self._producing:
            self._shut()

    def abortConnection(self) -> None:
        """
        Forget what is pending, and close.
        """
        self.disconnecting = True
        self._lower.abortConnection()

    def getPeer(self) -> Any:
        """
        The address of the other side.
        """
        return self._lower.getPeer()

    def getHost(self) -> Any:
        """
        The address of this side.
        """
        return self._lower.getHost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Nothing waits here, so that it is for the transport below to pause and resume.
        """
        self._lower.registerProducer(producer, streaming)
        self._producing = True

    def unregisterProducer(self) -> None:
        """
        The producer has produced all.
        """
        self._producing = False
        self._lower.unregisterProducer()
        if self.disconnecting:
            self._shut()

    # IPushProducer, for a protocol above that takes no more

    def pauseProducing(self) -> None:
        """
        Read no more, until L{resumeProducing}.
        """
        self._lower.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read again.
        """
        self._lower.resumeProducing()

    def stopProducing(self) -> None:
        """
        Close.
        """
        self.loseConnection()

    def __getattr__(self, name: str) -> Any:
        # The options of the socket: what is not about bytes is for the transport below.
        return getattr(self._lower, name)

    def _flush(self, records: PlainRecords) -> None:
        output = records.output()
        if output:
            self._lower.write(output)

    def _shut(self) -> None:
        records, self._records = self._records, None
        if records is not None:
            try:
                records.connection.shutdown()
            except SSL.Error:
                # In the middle of a handshake there is nobody yet to say it to.
                pass
            self._flush(records)
        self._lower.loseConnection()


@implementer(IProtocolFactory)
class TLSFactory:
    """
    Puts TLS below the protocols of another factory, with certificates that may change while it does.

    @ivar wrapped: makes the protocols above.
    @ivar context: for new connections.
    @ivar certificate: the file with the certificate; L{None} where there is none.
    @ivar failures: how many handshakes have failed.
    @ivar records: makes the records of a connection.
    """

    noisy = False
    records: type[PlainRecords] = Records

    def __init__(
        self,
        wrapped: IProtocolFactory,
        options: TLSOptions,
        keys: PreSharedKeys,
        wheel: TimerWheel,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param seconds: the time of the wheel.
        @raise TLSProblem: where the options or files can't be used.
        """
        self.wrapped = wrapped
        self.wheel = wheel
        self.seconds = seconds
        self.handshakeTimeout = options.handshakeTimeout
        self.failures = 0
        self._options = options
        self._keys = keys
        self._failed = RateLimitedLog(seconds)
        self.context = self._load()
        # With pre-shared keys a server has no certificate, whatever file its table names.
        self.certificate = None if options.pskCiphers else options.certfile
        unused = (options.certfile, options.keyfile) if options.pskCiphers else ()
        self._watch = FileWatch(wheel, seconds, [file for file in options.files if file not in unused], self.reload)

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self._watch.start()
        self.wrapped.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self._watch.stop()
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress) -> TLSConnection:
        """
        The TLS of a connection.
        """
        return TLSConnection(self, addr)

    def reload(self) -> bool:
        """
        Read the files again; new connections go by them. If they can't be used, the old ones stay.

        @return: whether they could be used.
        """
        try:
            self.context = self._load()
        except TLSProblem as problem:
            _log.error("{problem}; the files read before stay in use", problem=problem)
            return False
        _log.info("{path}: certificates read again", path=self._options.path)
        return True

    def handshakeFailed(self, peer: object, reason: str) -> None:
        """
        Count a handshake that has failed, and say why.
        """
        self.failures += 1
        self._failed.info(
            "{path}: TLS handshake with {peer} failed: {reason}",
            path=self._options.path,
            peer=peerName(peer),
            reason=reason,
        )

    def _load(self) -> ServerContext:
        return ServerContext(self._options, self._keys)
