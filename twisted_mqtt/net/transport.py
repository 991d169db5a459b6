"""
A stream connection that sends at once what the socket takes, and keeps the rest.

Its protocol is called from the poller's turn only, never from inside something the protocol itself called: a write that
fails, an abort, a close are told when the turn ends.

A connection passes through three states. Open: C{connected}. Closing, after L{FastConnection.loseConnection}: it reads
no more and flushes. Gone: its protocol has been told, but the socket may linger: what is pending is flushed, the peer
is sent FIN and given a moment to send its own, since closing a socket that holds unread input would make the kernel
answer with RST, and the last packet sent might be lost with it.

Standard library only, as in L{twisted_mqtt.net.poller}, so that this module compiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any, Final

from twisted_mqtt.net.pending import JOINED_UP_TO, PendingOutput, sendSome
from twisted_mqtt.net.poller import Poller
from twisted_mqtt.net.portoptions import TransportOptions
from twisted_mqtt.net.rawsocket import RawSocket
from twisted_mqtt.net.roles import ABORTED, DONE, LOST, TIMED_OUT, Producer, Receiver
from twisted_mqtt.net.streamsocket import RECEIVE_AT_ONCE, StreamSocket

# With what comes, the poller tells whether it is the last: who says good-bye and closes needs no further look.
_INPUT: Final = EPOLLIN | EPOLLRDHUP

LINGER_BYTES: Final = 1 << 20
"""
So much is read and thrown away while waiting for the peer's FIN.
"""


class FastConnection(StreamSocket):
    """
    One accepted connection: C{ITCPTransport}, C{IConsumer}, C{IPushProducer}, C{ISystemHandle}.

    There is no C{IHalfCloseableProtocol}: a peer that sends FIN is gone for the protocol, while output still pending is
    flushed to it.

    @ivar protocol: who receives; may be exchanged. C{None} once it has been told that the connection is lost.
    @ivar connected: whether what is written may still arrive.
    @ivar disconnecting: whether the protocol has asked for the end.
    @ivar disconnected: whether the protocol has been told of it.
    """

    __slots__ = (
        "_aborting",
        "_error",
        "_finished",
        "_halfClosing",
        "_interest",
        "_lingered",
        "_options",
        "_pending",
        "_producerPaused",
        "_reading",
        "_settling",
        "_streaming",
        "connected",
        "disconnected",
        "disconnecting",
        "producer",
        "protocol",
    )

    def __init__(self, poller: Poller, accepted: RawSocket, peerName: object, options: TransportOptions) -> None:
        """
        @param accepted: connected.
        @param peerName: as C{accept} gave it.
        """
        StreamSocket.__init__(self, poller, accepted, peerName)
        self._options = options
        self._pending: PendingOutput | None = None
        self._interest = 0
        self._reading = True
        self._settling = False
        self._aborting = False
        # Whether the peer has sent FIN, and all that came before it has been read.
        self._finished = False
        self._error: OSError | None = None
        self._halfClosing = False
        self._lingered = 0
        self._streaming = False
        self._producerPaused = False
        self.producer: Producer | None = None
        self.protocol: Receiver | None = None
        self.connected = False
        self.disconnecting = False
        self.disconnected = False

    def __repr__(self) -> str:
        return f"<FastConnection from {self._peerName!r} to {self.protocol!r}>"

    def open(self, protocol: Receiver) -> None:
        """
        Begin to read for a protocol.
        """
        self.protocol = protocol
        self._interest = _INPUT
        self._poller.add(self._open().fileno(), self, _INPUT)
        self._options.connections += 1
        self.connected = True
        try:
            protocol.makeConnection(self)
        except BaseException:
            # As everywhere: what one protocol does wrong ends its own connection.
            self._poller.shell.raised("a protocol's connectionMade")
            self.abortConnection()

    # ITransport

    def write(self, data: bytes) -> None:
        """
        Send now what the socket takes; the rest follows as it can.
        """
        if data.__class__ is not bytes:
            raise TypeError("Data must be bytes")
        if not self.connected or not data:
            return
        if self._pending is not None:
            self._pending.append(data)
            self._pauseProducer()
            return
        try:
            sent = sendSome(self._open(), data)
        except OSError as error:
            self._broken(error)
            return
        if sent != len(data):
            self._keep(PendingOutput((data,), sent))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send several chunks, large ones without copying them together.
        """
        chunks = []
        size = 0
        for chunk in data:
            if chunk.__class__ is not bytes:
                raise TypeError("Data must be bytes")
            if chunk:
                chunks.append(chunk)
                size += len(chunk)
        if not self.connected or not chunks:
            return
        if len(chunks) == 1 or size <= JOINED_UP_TO:
            self.write(b"".join(chunks))
            return
        if self._pending is not None:
            for chunk in chunks:
                self._pending.append(chunk)
            self._pauseProducer()
            return
        pending = PendingOutput(chunks)
        try:
            pending.sendTo(self._open())
        except OSError as error:
            self._broken(error)
            return
        if pending.size:
            self._keep(pending)

    def loseConnection(self) -> None:
        """
        Read no more, flush, and close. What is written until the turn ends is flushed too, as is what a registered
        producer writes until it is unregistered.
        """
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self._reading = False
        if self._pending is None:
            self._settleLater()
        else:
            self._setDeadline()

    def loseWriteConnection(self) -> None:
        """
        Flush, then send FIN, while still reading.
        """
        if self.connected and not self._halfClosing:
            self._halfClosing = True
            self._settleLater()

    def abortConnection(self) -> None:
        """
        Forget what is pending, and send RST.
        """
        if self.disconnected or self._aborting:
            return
        self._aborting = True
        self.connected = False
        self._reading = False
        self._pending = None
        self._settleLater()

    # IConsumer

    @property
    def pendingBytes(self) -> int:
        """
        How many bytes have been written, but not taken by the kernel yet.
        """
        return 0 if self._pending is None else self._pending.size

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Pause and resume a producer as the pending output grows and shrinks, or pull from one that does not stream.
        """
        if self.producer is not None:
            raise RuntimeError(f"Cannot register {producer!r}: {self.producer!r} was never unregistered")
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self._streaming = streaming
        self._producerPaused = False
        if streaming:
            self._pauseProducer()
        else:
            self._watch()
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """
        The producer has produced all.
        """
        self.producer = None
        self._producerPaused = False
        if self.disconnecting or self._halfClosing:
            self._settleLater()

    # IPushProducer

    def pauseProducing(self) -> None:
        """
        Read no more until L{resumeProducing}; what has been read has been delivered.
        """
        # The poller is told when it reports something: often this is resumed before.
        if not self.disconnected:
            self._reading = False

    def resumeProducing(self) -> None:
        """
        Read again.
        """
        if self.connected and not self.disconnecting:
            self._reading = True
            if not self._interest & EPOLLIN:
                self._watch()

    def stopProducing(self) -> None:
        """
        As L{loseConnection}.
        """
        self.loseConnection()

    # From the poller: the protocol's code is not running

    def ready(self, events: int) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        if self._error is not None:
            # A write has failed already in this turn; it is told when the turn ends.
            return
        if events & ~EPOLLOUT:
            if self._reading:
                self._receive(events)
            elif events & (EPOLLHUP | EPOLLERR):
                self._lose(LOST, self._pendingError())
            else:
                self._watch()
        if events & EPOLLOUT and self._socket is not None:
            self._flush()

    def settle(self) -> None:
        """
        See L{twisted_mqtt.net.roles.Closing}.
        """
        self._settling = False
        if self.disconnected:
            return
        if self._aborting:
            self._lose(ABORTED, None)
        elif self._error is not None:
            self._receiveRest()
            self._lose(LOST, self._error)
        elif self._pending is None and self.producer is None:
            if self.disconnecting:
                self._finish()
            elif self._halfClosing:
                self._sendFIN()

    def timedOut(self) -> None:
        """
        See L{twisted_mqtt.net.roles.Closing}.
        """
        pending = self._pending
        if pending is not None:
            if self._taken(pending) > pending.taken:
                # The kernel says that there is room when a third of its buffer is free, which may be a megabyte: who
                # reads slowly has taken something all the same.
                self._setDeadline()
                return
            self._poller.shell.gaveUp(self._peerName, self._timeout(), pending.size)
            # The pending output would stay in the kernel: reset the connection instead of waiting longer.
            self._aborting = True
        self._lose(TIMED_OUT, None)

    def reactorStopped(self) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        self._lose(LOST, None)

    def _receive(self, events: int) -> None:
        try:
            data = self._open().recv(RECEIVE_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(LOST, error)
            return
        if events & EPOLLRDHUP and len(data) < RECEIVE_AT_ONCE:
            self._finished = True
        if not data:
            self._peerFinishes()
        elif self.protocol is not None:
            self._deliver(self.protocol, data)
        else:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self._close()

    def _deliver(self, protocol: Receiver, data: bytes) -> None:
        try:
            protocol.dataReceived(data)
        except BaseException:
            self._pending = None
            self._tell(self._poller.shell.raised("a protocol's dataReceived"))
            self._close()

    def _receiveRest(self) -> None:
        """
        Deliver what the peer sent before a write to it failed: it may have said good-bye, and its will must not be
        published then.
        """
        if self._reading:
            for data in self._unread(LINGER_BYTES):
                if self._reading and self.protocol is not None:
                    self._deliver(self.protocol, data)

    def _peerFinishes(self) -> None:
        """
        The peer has sent FIN. It may still read what is on its way to it.
        """
        self._reading = False
        self._tell(self._poller.shell.reason(DONE, None))
        if self._pending is None:
            self._close()
        else:
            self._watch()
            self._setDeadline()

    def _flush(self) -> None:
        """
        Send of the pending output what the socket takes.
        """
        if self._pending is not None:
            try:
                sent = self._pending.sendTo(self._open())
            except OSError as error:
                self._broken(error)
                return
            if not self._pending.size:
                self._pending = None
                self._poller.clearDeadline(self)
            elif sent:
                self._setDeadline()
        if self.disconnected:
            if self._pending is None:
                self._close()
            return
        self._resumeProducer()
        self._watch()
        if self.disconnecting or self._halfClosing:
            self._settleLater()

    # Parts

    def _watch(self) -> None:
        """
        Tell the poller what is waited for.
        """
        if self._socket is None:
            return
        interest = _INPUT if self._reading else 0
        if self._pending is not None or (self.producer is not None and not self._streaming):
            interest |= EPOLLOUT
        if interest != self._interest:
            self._interest = interest
            self._poller.modify(self._socket.fileno(), interest)

    def _keep(self, pending: PendingOutput) -> None:
        """
        The socket took only a part of what was written.
        """
        self._pending = pending
        self._watch()
        self._setDeadline()
        self._pauseProducer()

    def _setDeadline(self) -> None:
        """
        There is output pending: some of it has to leave in time.
        """
        pending = self._pending
        seconds = self._timeout()
        if seconds and pending is not None:
            pending.taken = self._taken(pending)
            self._poller.setDeadline(self, seconds)

    def _timeout(self) -> float:
        options = self._options
        return options.closeTimeout if self.disconnecting or self.disconnected else options.sendTimeout

    def _taken(self, pending: PendingOutput) -> int:
        """
        How many of the bytes that were sent since this output is pending the peer has taken; less than nothing while it
        has not even taken what was sent before.
        """
        return pending.sent - self._unacknowledged()

    def _pauseProducer(self) -> None:
        # At each write, as Twisted's transports do: Twisted's TLS resumes its producer for reasons of its own.
        if (
            self.producer is not None
            and self._streaming
            and self._pending is not None
            and self._pending.size > self._options.highWater
        ):
            self._producerPaused = True
            self.producer.pauseProducing()

    def _resumeProducer(self) -> None:
        if self.producer is None or not self.connected:
            return
        if not self._streaming:
            if self._pending is not None:
                return
        elif not self._producerPaused or self.pendingBytes > self._options.lowWater:
            return
        self._producerPaused = False
        try:
            self.producer.resumeProducing()
        except BaseException:
            self._poller.shell.raised("a producer's resumeProducing")
            self.abortConnection()

    def _broken(self, error: OSError) -> None:
        """
        A write failed. Its writer goes on, and learns of it when the turn ends.
        """
        self._error = error
        self.connected = False
        self._pending = None
        self._settleLater()

    def _settleLater(self) -> None:
        if not self._settling:
            self._settling = True
            self._poller.settleLater(self)

    def _finish(self) -> None:
        """
        All is flushed: send FIN, and wait a moment for the peer's.
        """
        # A peer that sends DISCONNECT mostly closes at once: then closing needs no FIN of ours, no deadline, no further
        # turn.
        waiting = not self._finished and not self._peerHasFinished() and self._sendFIN()
        self._tell(self._poller.shell.reason(DONE, None))
        if not waiting:
            self._close()
            return
        self._reading = True
        self._watch()
        self._poller.setDeadline(self, self._options.lingerTimeout)

    def _lose(self, kind: int, error: OSError | None) -> None:
        """
        It is over, whatever was pending.
        """
        self._pending = None
        if not self.disconnected:
            self._tell(self._poller.shell.reason(kind, error))
        self._close()

    def _tell(self, reason: object) -> None:
        """
        Tell the protocol, once, that the connection is lost.
        """
        if self.disconnected:
            return
        self.connected = False
        self.disconnected = True
        producer = self.producer
        protocol = self.protocol
        self.producer = None
        self.protocol = None
        shell = self._poller.shell
        if producer is not None:
            try:
                producer.stopProducing()
            except BaseException:
                shell.raised("a producer's stopProducing")
        if protocol is not None:
            try:
                protocol.connectionLost(reason)
            except BaseException:
                shell.raised("a protocol's connectionLost")

    def _close(self) -> None:
        if self._socket is None:
            return
        self._options.connections -= 1
        self._poller.clearDeadline(self)
        self._closeSocket(reset=self._aborting)
