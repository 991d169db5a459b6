"""
Watches: messages shown to parts of the process, in turns of their own, so that no publisher waits for a watcher.

The router puts a message into the queue of each watch that it matches, which costs less than a QoS 0 delivery. This
module empties the queues: one millisecond in each turn for all watches together, a few messages of each watch in
rotation. A message that does not fit into a queue is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.base.waiting import isDeferred
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.reasons import ProtocolError
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.topics import LOCAL, matches, splitShare
from twisted_mqtt.core.watchqueue import WatchQueue
from twisted_mqtt.interfaces import IWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_mqtt.base.slowcalls import SlowCalls
    from twisted_mqtt.broker.retained import RetainedMessages
    from twisted_mqtt.core.router import Router

_log = Logger()

#: Seconds of one turn of the reactor that all watches may take together.
BUDGET: Final = 0.001
#: Messages that one watch is given before the next has its turn.
IN_A_ROW: Final = 16
#: One failure of a watch in so many seconds is logged with its traceback; all are counted.
LOG_INTERVAL: Final = 10.0


@implementer(IWatch)
class Watch:
    """
    See L{IWatch}.
    """

    def __init__(
        self,
        watching: Watching,
        name: str,
        topicFilters: tuple[str, ...],
        callback: Callable[[Message], object],
        queue: WatchQueue,
        concurrency: int,
        retained: Iterator[Message | None] | None,
    ) -> None:
        """
        @param concurrency: how many calls of C{callback} may be unfinished at a time.
        @param retained: the retained messages to begin with; L{None} for a step without one.
        """
        self.name = name
        self.topicFilters = topicFilters
        self.queue = queue
        # Whether it stands in line for its turn, or has it.
        self.inLine = False
        self.running = 0
        self.handed = 0
        self.failed = 0
        self._watching = watching
        self._callback = callback
        self._concurrency = concurrency
        self._retained = retained
        self._quietUntil = 0.0
        # Its name in the record of slow calls.
        self._where = f"the watch {name or ', '.join(topicFilters)}"
        self._idle: list[Deferred[None]] = []

    @property
    def closed(self) -> bool:
        """
        See L{IWatch}.
        """
        return self.queue.closed

    @property
    def matched(self) -> int:
        """
        See L{IWatch}.
        """
        return self.queue.matched

    @property
    def dropped(self) -> int:
        """
        See L{IWatch}.
        """
        return self.queue.dropped

    @property
    def waiting(self) -> int:
        """
        See L{IWatch}.
        """
        return self.queue.length

    @property
    def mostWaiting(self) -> int:
        """
        See L{IWatch}.
        """
        return self.queue.longest

    def close(self) -> None:
        """
        See L{IWatch}.
        """
        self._watching.remove(self)
        self.queue.close()
        self._retained = None
        self.settle()

    def whenIdle(self) -> Deferred[None] | None:
        """
        See L{IWatch}.
        """
        if self._isIdle:
            return None
        idle: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(idle)
        return idle

    def settle(self) -> None:
        """
        Tell those who wait for it where nothing is left to do.
        """
        if self._idle and self._isIdle:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)

    @property
    def _isIdle(self) -> bool:
        return not self.queue.length and not self.running and self._retained is None

    @property
    def isReady(self) -> bool:
        """
        Whether a message waits, and the callback may be called with it.
        """
        return (self.queue.length > 0 or self._retained is not None) and self.running < self._concurrency

    def hand(self) -> None:
        """
        Call the callback with the next message, if there is one after all.
        """
        retained = self._retained
        if retained is None:
            self._call(self.queue.take())
            return
        try:
            found = next(retained)
        except StopIteration:
            self._retained = None
            return
        if found is None:
            return
        if found.payload:
            self._showRetained(found)
            return
        fetched = self._watching.retained.fetch(found.topic)
        if isDeferred(fetched):
            self.running += 1
            fetched.addCallback(self._showRetained).addErrback(self._fail).addBoth(self._finished)
        elif isinstance(fetched, Message):
            self._showRetained(fetched)

    def _showRetained(self, message: Message | None) -> None:
        # Where it was on disk alone, it may have been removed meanwhile.
        if message is not None and not self.queue.closed:
            self._call(message.replace(headers={**(message.headers or {}), "retained": True}))

    def _call(self, message: Message) -> None:
        self.handed += 1
        slow = self._watching.slow
        try:
            outcome = slow.call(self._callback, self._where, message)
        except Exception:
            self._fail(None)
            return
        if isinstance(outcome, CoroutineType):
            outcome = Deferred.fromCoroutine(slow.measured(outcome, self._callback, self._where))
        if isDeferred(outcome):
            self.running += 1
            outcome.addErrback(self._fail).addBoth(self._finished)

    def _finished(self, _: object) -> None:
        self.running -= 1
        if self.isReady:
            self._watching.wake(self)
        self.settle()

    def _fail(self, failure: Failure | None) -> None:
        self.failed += 1
        now = perf_counter()
        if now >= self._quietUntil:
            self._quietUntil = now + LOG_INTERVAL
            _log.failure(
                "The watch {name} of {filters} failed, {failed} times so far",
                failure,
                name=self.name,
                filters=", ".join(self.topicFilters),
                failed=self.failed,
            )


class Watching:
    """
    The watches of a broker.

    @ivar watches: those that are open, in the order of their opening.
    """

    def __init__(self, router: Router, retained: RetainedMessages, clock: IReactorTime, slow: SlowCalls) -> None:
        """
        @param slow: told of callbacks that hold the reactor.
        """
        self.retained = retained
        self.slow = slow
        self.watches: dict[Watch, None] = {}
        self._router = router
        self._clock = clock
        self._ready: deque[Watch] = deque()
        self._call: IDelayedCall | None = None

    def add(
        self,
        topicFilters: Sequence[str],
        callback: Callable[[Message], object],
        limit: int,
        limitBytes: int,
        dropNewest: bool,
        concurrency: int,
        name: str,
        retained: bool,
    ) -> Watch:
        """
        See C{watch} of L{twisted_mqtt.interfaces.IBroker}.

        @raise ValueError: a filter is malformed or shared, there is none, or a limit is less than one.
        """
        if limit < 1 or limitBytes < 1 or concurrency < 1:
            raise ValueError("a watch needs room for a message, and a call of its callback")
        filters = tuple(dict.fromkeys(topicFilters))
        if not filters:
            raise ValueError("a watch has no filter")
        for topicFilter in filters:
            _check(topicFilter)
        queue = WatchQueue(lambda: self.wake(watch), limit, limitBytes, dropNewest)
        begin = self._retainedFor(filters) if retained else None
        watch = Watch(self, name, filters, callback, queue, concurrency, begin)
        for topicFilter in filters:
            self._router.watches.add(Subscription(queue, topicFilter))
        self.watches[watch] = None
        self._router.setWatched(True)
        self.wake(watch)
        return watch

    def _retainedFor(self, filters: tuple[str, ...]) -> Iterator[Message | None]:
        """
        The retained messages that match any of some filters, each once.
        """
        for index, topicFilter in enumerate(filters):
            for message in self.retained.steps(topicFilter):
                seen = message is not None and any(matches(before, message.topic) for before in filters[:index])
                yield None if seen else message

    def remove(self, watch: Watch) -> None:
        """
        Show nothing more to a watch; one that was removed already is no error.
        """
        if watch not in self.watches:
            return
        del self.watches[watch]
        for topicFilter in watch.topicFilters:
            self._router.watches.remove(topicFilter, watch.queue)
        self._router.setWatched(bool(self.watches))

    def wake(self, watch: Watch) -> None:
        """
        A watch has messages again: let it have its turn.
        """
        # Where all its calls are unfinished, it goes on when one of them has finished.
        if watch.inLine or not watch.isReady:
            return
        watch.inLine = True
        self._ready.append(watch)
        if self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def stop(self) -> None:
        """
        Close all watches; what waits is not shown any more.
        """
        for watch in list(self.watches):
            watch.close()
        self._ready.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _turn(self) -> None:
        """
        Give watches what waits for them, until the budget is spent.
        """
        self._call = None
        ready = self._ready
        end = perf_counter() + BUDGET
        while ready:
            watch = ready.popleft()
            for _ in range(IN_A_ROW):
                if not watch.isReady:
                    break
                watch.hand()
                if perf_counter() >= end:
                    break
            if watch.isReady:
                ready.append(watch)
            else:
                watch.inLine = False
                watch.settle()
            if perf_counter() >= end:
                break
        if ready and self._call is None:
            self._call = self._clock.callLater(0, self._turn)


def _check(topicFilter: str) -> None:
    """
    Refuse what can't be watched.
    """
    try:
        group, _ = splitShare(topicFilter)
    except ProtocolError as error:
        raise ValueError(f"{topicFilter!r}: {error.text}") from None
    if group is not None or topicFilter.startswith(LOCAL):
        raise ValueError(f"{topicFilter!r}: a watch sees every message of its filter, and shares none")
