"""
The thread of a store: it does job after job, and returns the results to the reactor's thread.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Worker(Protocol):
    """
    Does jobs in order.
    """

    def submit(self, job: Callable[[], _T], done: Callable[[_T | Failure], None]) -> None:
        """
        Do a job when those before it are done.

        @param done: called in the reactor's thread with the result, or a L{Failure}.
        """

    def stop(self) -> None:
        """
        Take no more jobs; those that there are will be done.
        """


class ThreadWorker:
    """
    A thread of one's own. A reactor's pool would do, but with all its threads taken by something slow, nothing would be
    acknowledged.
    """

    def __init__(self, callFromThread: Callable[..., Any], name: str = "store") -> None:
        self._callFromThread = callFromThread
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = SimpleQueue()
        self._name = name
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], _T], done: Callable[[_T | Failure], None]) -> None:
        """
        See L{Worker}.
        """
        if self._thread is None:
            # Not before: twistd makes its services and then becomes a daemon, and a fork loses threads. This one does
            # not keep the process: where the reactor crashes, nobody is to wait for a disk that hangs.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put((job, done))

    def stop(self) -> None:
        """
        See L{Worker}.
        """
        self._jobs.put(None)

    def _work(self) -> None:
        while (next_ := self._jobs.get()) is not None:
            job, done = next_
            try:
                result = job()
            except Exception:
                result = Failure()
            self._callFromThread(done, result)


class DirectWorker:
    """
    Does each job at once, for tools and tests that have no reactor.
    """

    def submit(self, job: Callable[[], _T], done: Callable[[_T | Failure], None]) -> None:
        """
        See L{Worker}.
        """
        result: _T | Failure
        try:
            result = job()
        except Exception:
            result = Failure()
        done(result)

    def stop(self) -> None:
        """
        See L{Worker}.
        """
