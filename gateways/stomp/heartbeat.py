"""
Heart-beats: the agreed periods, and when the next one is due.
"""

from __future__ import annotations

from gateways.stomp.frame import StompError

# A client counts as gone after so many of its periods ("it is recommended that an error margin be allowed").
_MARGIN = 2.0


class HeartBeats:
    """
    The heart-beats of one connection, in both directions.

    @ivar sendBy: when one is to be sent if nothing else is; 0 for never.
    @ivar answer: the C{heart-beat} header of CONNECTED.
    """

    __slots__ = ("sendBy", "answer", "_send", "_receive", "_sentBytes")

    def __init__(self, send: float, receive: float) -> None:
        """
        @param send: the broker sends something so often, in seconds; 0 for not at all.
        @param receive: the client does.
        """
        self._send = send
        self._receive = receive
        self._sentBytes = 0
        self.sendBy = 0.0
        # The server's pair is: what it can do, and what it would like.
        self.answer = f"{round(send * 1000)},{round(receive * 1000)}"

    @classmethod
    def of(cls, header: str, least: float) -> HeartBeats:
        """
        Answer a client's C{heart-beat}: the times that it wants, but nothing more often than every C{least} seconds.

        @raise StompError: the header is not two numbers.
        """
        words = header.split(",")
        numbers = [word.strip() for word in words]
        if len(numbers) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 13 for word in numbers):
            raise StompError("invalid header", f"heart-beat is two numbers, not {header[:80]!r}")
        can, wants = (int(word) / 1000 for word in numbers)
        return cls(max(wants, least) if wants else 0.0, max(can, least) if can else 0.0)

    @property
    def isAlive(self) -> bool:
        """
        Whether there are any.
        """
        return bool(self._send or self._receive)

    @property
    def keepAlive(self) -> int:
        """
        How often the client sends something, in whole seconds.
        """
        return min(65535, -int(-self._receive // 1))

    def begin(self, sentBytes: int, now: float) -> None:
        """
        CONNECTED is on its way.
        """
        self._sentBytes = sentBytes
        self.beat(now)

    def beat(self, now: float) -> None:
        """
        Something was sent. Whether anything else was is looked at after a third of the period: if that had something
        at its beginning, and the next third nothing, a heart-beat comes in time still.
        """
        self.sendBy = now + self._send / 3 if self._send else 0.0

    def sent(self, sentBytes: int, now: float) -> None:
        """
        Note how much was sent so far: what was sent since L{sendBy} was looked at last counts as a heart-beat.
        """
        if sentBytes != self._sentBytes and self.sendBy and self.sendBy <= now:
            self.beat(now)
        self._sentBytes = sentBytes

    def isSilent(self, lastReceived: float, now: float) -> bool:
        """
        Whether the client is gone.
        """
        return self._receive > 0 and lastReceived + self._receive * _MARGIN <= now

    def deadline(self, lastReceived: float, now: float) -> float:
        """
        When to look again.
        """
        deadlines = []
        if self.sendBy:
            deadlines.append(self.sendBy)
        if self._receive:
            # Not before now: while it is we who do not read, a silent client is asked about once in a while.
            deadlines.append(max(lastReceived + self._receive * _MARGIN, now + 0.1))
        return min(deadlines)
