"""
The interfaces that the poller and the connections need of their neighbours.

Standard library only, so that the modules that import this compile where Twisted is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

# The ways in which a connection is lost, for Shell.reason.
DONE: Final = 0
LOST: Final = 1
ABORTED: Final = 2
TIMED_OUT: Final = 3


class Shell(Protocol):
    """
    The parts of the transport that use Twisted's own types.
    """

    def reason(self, kind: int, error: OSError | None) -> Any:
        """
        @return: the C{Failure} that tells a protocol why its connection is gone.
        """

    def raised(self, culprit: str) -> Any:
        """
        Log the exception being handled.

        @return: it, as a C{Failure}.
        """

    def gaveUp(self, name: object, seconds: float, pending: int) -> object:
        """
        A peer has taken nothing for so many seconds of what waits for it, and its connection is aborted.

        @param name: of the peer, as C{accept} gave it.
        @param pending: so many bytes were left.
        """

    def address(self, name: object) -> Any:
        """
        @return: the C{IAddress} of what C{getpeername} or C{getsockname} gave.
        """


class DelayedCall(Protocol):
    """
    The part of C{IDelayedCall} needed here.
    """

    def cancel(self) -> None: ...


class Reactor(Protocol):
    """
    The parts of C{IReactorFDSet} and C{IReactorTime} needed here.
    """

    def addReader(self, reader: object, /) -> object: ...

    def removeReader(self, reader: object, /) -> object: ...

    def callLater(self, delay: float, callable: Callable[[], object], /) -> DelayedCall: ...

    def seconds(self) -> float: ...


class Whole(Protocol):
    """
    All that a reactor waits for.
    """

    def isNext(self, fileno: int, seconds: float) -> bool:
        """
        Wait until the reactor has something to do, but no longer than so many seconds. Nothing is taken from it.

        @return: whether that is with this descriptor, and nothing else.
        """


class Descriptor(Protocol):
    """
    An object that a poller can watch.
    """

    def ready(self, events: int) -> None:
        """
        The descriptor is in one of these states, or was when the turn began: the system call decides.
        """

    def reactorStopped(self) -> None:
        """
        Nothing will be polled any more: close.
        """


class Closing(Protocol):
    """
    A connection that waits for something before it can go.
    """

    def settle(self) -> None:
        """
        Do what could not be done while the protocol's own code was running.
        """

    def timedOut(self) -> None:
        """
        The awaited event has not come in time.
        """


class Receiver(Protocol):
    """
    The part of C{IProtocol} needed here.
    """

    def makeConnection(self, transport: Any) -> object: ...

    def dataReceived(self, data: bytes) -> object: ...

    def connectionLost(self, reason: Any) -> object: ...


class Producer(Protocol):
    """
    C{IPushProducer}; of one that does not stream, only C{resumeProducing} and C{stopProducing} are called.
    """

    def pauseProducing(self) -> object: ...

    def resumeProducing(self) -> object: ...

    def stopProducing(self) -> object: ...
