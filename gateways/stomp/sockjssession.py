"""
A session of SockJS over plain HTTP: it keeps messages for its client between two requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from gateways.stomp.messagetransport import MessageTransport
from gateways.stomp.sockjsframes import GO_AWAY, HEARTBEAT, OPEN, closeFrame, messageFrame

if TYPE_CHECKING:
    from gateways.stomp.websocket import StompSocketFactory
    from twisted_mqtt.net.roles import Producer

_STILL_OPEN: Final = (2010, "Another connection still open")


class Answer(Protocol):
    """
    An answer over HTTP that carries frames to the client.
    """

    def frame(self, frame: bytes) -> bool:
        """
        Send a frame; returns whether there may be more.
        """

    def finish(self) -> None:
        """
        End the answer.
        """


class SockJSSession:
    """
    One session. It is the L{Messenger<gateways.stomp.messagetransport.Messenger>} of the protocol above.

    @ivar refused: whether there is no room for this client.
    """

    def __init__(
        self,
        factory: StompSocketFactory,
        peer: Any,
        host: Any,
        identity: Any,
        cookie: str | None,
        forget: Callable[[], None],
    ) -> None:
        """
        @param forget: called when there is nothing to remember any more.
        """
        self._reactor = factory.reactor
        self._table = factory.table
        self._forget = forget
        self._limit = factory.stomp.profile.limits.maxPendingBytes
        self._answer: Answer | None = None
        self._waiting: deque[bytes] = deque()
        self._waitingBytes = 0
        self._opened = False
        self._over = False
        self._lost = False
        self._producer: Any = None
        self._congested = False
        self._paused = False
        self._unread: deque[bytes] = deque()
        self._whenRead: Callable[[], None] | None = None
        self._timer: Any = None
        self._upper: Any = factory.stomp.buildProtocol(peer)
        self._lower = MessageTransport(self, peer, host, identity, cookie)
        self.refused = self._upper is None
        if self._upper is not None:
            self._upper.makeConnection(self._lower)

    @property
    def isReading(self) -> bool:
        """
        Whether messages of the client are taken at present.
        """
        return not self._unread

    # From the client

    def attach(self, answer: Answer) -> None:
        """
        The client waits for frames.
        """
        if self._answer is not None or self._lost:
            answer.frame(closeFrame(*(GO_AWAY if self._lost else _STILL_OPEN)))
            answer.finish()
            return
        self._setTimer(None)
        if not self._opened:
            self._opened = True
            if not answer.frame(OPEN):
                answer.finish()
                self._expectRequest()
                return
        self._answer = answer
        self._flush()
        if self._answer is not None:
            self._setTimer(self._table.heartbeat, self._heartbeat)

    def detach(self, answer: Answer) -> None:
        """
        The client's connection has gone in the middle of an answer.
        """
        if self._answer is answer:
            self._answer = None
            self._lose(ConnectionLost())

    def received(self, messages: list[bytes], whenRead: Callable[[], None]) -> bool:
        """
        The client has sent messages.

        @param whenRead: called when they are taken, or nothing more will be, if that is not at once.

        @return: whether it was at once.
        """
        self._unread.extend(messages)
        self._read()
        if not self._unread:
            return True
        self._whenRead = whenRead
        return False

    def _read(self) -> None:
        while self._unread and not self._paused and not self._over:
            self._upper.dataReceived(self._unread.popleft())
        if self._over:
            self._unread.clear()
        self._tellRead()

    def _tellRead(self) -> None:
        action = self._whenRead
        if action is not None and not self._unread:
            self._whenRead = None
            action()

    # For the protocol above: Messenger

    def send(self, wire: bytes) -> None:
        """
        Send one message as soon as the client asks.
        """
        self._waiting.append(wire)
        self._waitingBytes += len(wire)
        if self._answer is not None:
            self._flush()
        elif self._waitingBytes > self._limit and self._producer is not None and not self._congested:
            self._congested = True
            self._producer.pauseProducing()

    def end(self, isTooBig: bool) -> None:
        """
        Send what is left, and that it is over.
        """
        self._over = True
        self._read()
        if self._answer is not None:
            self._flush()
        elif self._timer is None:
            self._expectRequest()

    def abort(self) -> None:
        """
        Over, whatever is left.
        """
        self._over = True
        self._waiting.clear()
        if self._answer is not None:
            self._flush()
        self._reactor.callLater(0, self._lose, ConnectionLost())

    def setPaused(self, paused: bool) -> None:
        """
        Take no further messages, or do so again.
        """
        self._paused = paused
        if not paused and self._unread:
            self._reactor.callLater(0, self._read)

    def setProducer(self, producer: Producer | None) -> None:
        """
        Whom to tell when the client does not read.
        """
        self._producer = producer

    # Inside

    def _flush(self) -> None:
        answer = self._answer
        if answer is None:
            return
        more = True
        if self._waiting:
            messages = list(self._waiting)
            self._waiting.clear()
            self._waitingBytes = 0
            more = answer.frame(messageFrame(messages))
        if self._over and more:
            answer.frame(closeFrame(*GO_AWAY))
            self._end(answer)
            # The protocol above is in the middle of something.
            self._reactor.callLater(0, self._lose, ConnectionDone())
        elif not more:
            self._end(answer)
            self._expectRequest()
        if self._congested and self._producer is not None:
            self._congested = False
            self._producer.resumeProducing()

    def _end(self, answer: Answer) -> None:
        self._answer = None
        answer.finish()

    def _heartbeat(self) -> None:
        answer = self._answer
        if answer is None:
            return
        if answer.frame(HEARTBEAT):
            self._setTimer(self._table.heartbeat, self._heartbeat)
        else:
            self._end(answer)
            self._expectRequest()

    def _expectRequest(self) -> None:
        """
        The client is gone if it does not come back soon.
        """
        self._setTimer(self._table.disconnect_delay, lambda: self._lose(ConnectionLost()))

    def _setTimer(self, delay: float | None, action: Callable[[], None] | None = None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if delay is None or action is None else self._reactor.callLater(delay, action)

    def _lose(self, reason: Exception) -> None:
        if self._lost:
            return
        self._lost = self._over = True
        # Until then whoever asks is told that it is over.
        self._setTimer(self._table.disconnect_delay, self._forget)
        self._lower.disconnecting = True
        self._waiting.clear()
        self._unread.clear()
        self._tellRead()
        self._producer = None
        # The rest is kept small: a client that opens one session after the other has very many of them.
        upper, self._upper = self._upper, None
        if upper is not None:
            upper.connectionLost(Failure(reason))

    def stop(self) -> None:
        """
        The gateway ends: forget it all.
        """
        self._lose(ConnectionDone())
        self._setTimer(None)
