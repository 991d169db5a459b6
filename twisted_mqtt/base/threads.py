"""
A pool of threads for blocking calls: a limited number of threads, and a limited queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Final, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, execute, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

_log = Logger()

_P = ParamSpec("_P")
_T = TypeVar("_T")

MOST_WAITING: Final = 10_000
"""
Calls that may wait for a thread, unless somebody says otherwise.
"""

# More threads than anybody can ask for: how many there are is decided here, not in the pool.
_POOL: Final = 1024


class ThreadsBusy(Exception):
    """
    So many calls wait for a thread that no more are taken.
    """


class ThreadsStopped(Exception):
    """
    No calls are taken any more.
    """


class _Call:
    """
    A call that waits or is under way.
    """

    __slots__ = ("cancelled", "deferred", "function")

    def __init__(self, function: Callable[[], object], deferred: Deferred[object]) -> None:
        self.function = function
        self.deferred = deferred
        self.cancelled = False


class Threads:
    """
    A pool of threads. Its methods are for the reactor's thread.

    Work that needs a thread for long, such as a consumer that blocks, should make its own: a thread of the pool that
    waits for it serves nobody else.

    @ivar most: how many threads there may be; may be changed.
    @ivar mostWaiting: how many calls may wait for one.
    @ivar working: how many calls are under way.
    @ivar refused: how many were not taken because too many waited.
    """

    def __init__(self, reactor: object, most: int, mostWaiting: int = MOST_WAITING) -> None:
        """
        @param reactor: one without C{IReactorFromThreads}, such as that of a test, has no threads: each call is made at
            once.
        """
        self.most = most
        self.mostWaiting = mostWaiting
        self.working = 0
        self.refused = 0
        self._reactor: IReactorFromThreads | None = None
        if IReactorFromThreads.providedBy(reactor):
            self._reactor = IReactorFromThreads(reactor)
        self._pool: ThreadPool | None = None
        self._waiting: deque[_Call] = deque()
        self._full = False
        self._stopped: list[Deferred[None]] | None = None

    @property
    def waiting(self) -> int:
        """
        How many calls wait for a thread.
        """
        return len(self._waiting)

    def defer(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """
        Call a function in a thread.

        @return: fires with its result, in the reactor's thread, and fails with what it raises; fails with
            L{ThreadsBusy} or L{ThreadsStopped} where the call is not taken. Cancelled, it fails at once: a call that
            waits is not made, one that is under way ends unheard.
        """
        if self._stopped is not None:
            return fail(ThreadsStopped("the broker is stopping"))
        if self._reactor is None:
            return execute(function, *args, **kwargs)
        if len(self._waiting) >= self.mostWaiting:
            self.refused += 1
            if not self._full:
                self._full = True
                _log.error(
                    "{waiting} calls wait for one of {most} threads; more are refused (node.async_threads)",
                    waiting=len(self._waiting),
                    most=self.most,
                )
            return fail(ThreadsBusy(f"{len(self._waiting)} calls wait for a thread"))
        deferred: Deferred[_T] = Deferred(lambda cancelled: self._cancel(call))
        call = _Call(partial(function, *args, **kwargs), deferred)  # type: ignore[arg-type]  # its own function's result
        self._waiting.append(call)
        self._begin()
        return deferred

    def stop(self) -> Deferred[None]:
        """
        Take no more calls, and cancel those that wait.

        @return: fires when those that are under way are done. It does not fail. A thread that does not end does not
            keep the process.
        """
        stopped: Deferred[None] = Deferred()
        if self._stopped is None:
            self._stopped = []
            waiting, self._waiting = list(self._waiting), deque()
            for call in waiting:
                call.deferred.errback(Failure(CancelledError("the broker is stopping")))
        self._stopped.append(stopped)
        self._end()
        return stopped

    def _begin(self) -> None:
        """
        Make as many calls as there may be.
        """
        while self._waiting and self.working < self.most:
            if self._pool is None:
                # Not before: twistd makes its services and then becomes a daemon, and a fork loses threads.
                self._pool = ThreadPool(0, _POOL, "broker")
                # They do not keep the process where something hangs.
                self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # a Thread's arguments
                self._pool.start()
            call = self._waiting.popleft()
            self.working += 1
            self._pool.callInThreadWithCallback(partial(self._came, call), call.function)
        if len(self._waiting) < self.mostWaiting // 2:
            self._full = False

    def _came(self, call: _Call, success: bool, result: object) -> None:
        """
        A thread has the result of a call.
        """
        reactor = self._reactor
        assert reactor is not None
        reactor.callFromThread(self._done, call, result)

    def _done(self, call: _Call, result: object) -> None:
        self.working -= 1
        if self._stopped is None:
            self._begin()
        if call.cancelled:
            if isinstance(result, Failure):
                _log.debug("A call that was cancelled has failed: {error}", error=result.getErrorMessage())
        elif isinstance(result, Failure):
            call.deferred.errback(result)
        else:
            call.deferred.callback(result)
        self._end()

    def _cancel(self, call: _Call) -> None:
        call.cancelled = True
        if call in self._waiting:
            self._waiting.remove(call)

    def _end(self) -> None:
        """
        Let the threads go, if it is time.
        """
        if self._stopped is None or self.working:
            return
        pool, self._pool = self._pool, None
        if pool is not None:
            # None of them works, so that this does not wait.
            pool.stop()
        stopped, self._stopped = self._stopped, []
        for deferred in stopped:
            deferred.callback(None)
