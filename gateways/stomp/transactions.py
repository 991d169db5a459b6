"""
Transactions: the frames between BEGIN and COMMIT, kept until COMMIT.
"""

from __future__ import annotations

from gateways.stomp.frame import Frame, StompError
from gateways.stomp.mapping import Sending


class TransactionLimits:
    """
    The limits of one client's transactions.

    @ivar most: how many at once.
    @ivar frames: how many frames in one.
    @ivar size: how many bytes in one.
    @ivar timeout: for how many seconds one may be open; 0 for ever.
    """

    __slots__ = ("most", "frames", "size", "timeout")

    def __init__(self, most: int = 10, frames: int = 1000, size: int = 1 << 20, timeout: float = 60.0) -> None:
        self.most: int = most
        self.frames: int = frames
        self.size: int = size
        self.timeout: float = timeout


class Step:
    """
    One frame of a transaction.

    @ivar sending: what a SEND is to send; L{None} for ACK and NACK.
    """

    __slots__ = ("frame", "sending")

    def __init__(self, frame: Frame, sending: Sending | None) -> None:
        self.frame: Frame = frame
        self.sending: Sending | None = sending


class _Transaction:
    __slots__ = ("steps", "size", "deadline")

    def __init__(self, deadline: float) -> None:
        self.steps: list[Step] = []
        self.size: int = 0
        self.deadline: float = deadline


class Transactions:
    """
    The open transactions of one client.
    """

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: TransactionLimits) -> None:
        self._limits: TransactionLimits = limits
        # In the order of their deadlines, since they all last as long.
        self._open: dict[str, _Transaction] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, name: str, now: float) -> None:
        """
        BEGIN.

        @raise StompError: it has begun already, or there are too many.
        """
        if name in self._open:
            raise StompError("transaction already started", name)
        if len(self._open) >= self._limits.most:
            raise StompError("too many transactions", f"there may be {self._limits.most} at once")
        timeout = self._limits.timeout
        self._open[name] = _Transaction(now + timeout if timeout else 0.0)

    def add(self, name: str, step: Step) -> None:
        """
        A frame that belongs to a transaction.

        @raise StompError: there is no such transaction, or it becomes too large.
        """
        transaction, frame, limits = self._get(name), step.frame, self._limits
        if len(transaction.steps) >= limits.frames:
            raise StompError("transaction too large", f"it may have {limits.frames} frames")
        # As much as it takes to keep it, roughly.
        transaction.size += len(frame.body) + sum(len(key) + len(value) for key, value in frame.headers.items())
        if transaction.size > limits.size:
            raise StompError("transaction too large", f"it may have {limits.size} bytes")
        transaction.steps.append(step)

    def check(self, name: str) -> None:
        """
        See that a transaction is open.

        @raise StompError: it is not.
        """
        self._get(name)

    def end(self, name: str) -> list[Step]:
        """
        COMMIT or ABORT.

        @return: what was done within it, in that order.

        @raise StompError: there is no such transaction.
        """
        steps = self._get(name).steps
        del self._open[name]
        return steps

    @property
    def deadline(self) -> float:
        """
        When the next of them ends by itself; 0 for never.
        """
        return next(iter(self._open.values())).deadline if self._open else 0.0

    def expire(self, now: float) -> int:
        """
        Abort those that have been open for too long; returns how many.
        """
        late = [name for name, transaction in self._open.items() if 0.0 < transaction.deadline <= now]
        for name in late:
            del self._open[name]
        return len(late)

    def _get(self, name: str) -> _Transaction:
        transaction = self._open.get(name)
        if transaction is None:
            raise StompError("transaction not found", f"{name!r} has not begun, or was open for too long")
        return transaction
