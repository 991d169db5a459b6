"""
Events of the process, as C{sysmon} of EMQ X has them (spec/hooks-modules-sys.md 4.5): the reactor was held up, a
clean-up of memory took long, a client takes its messages too slowly. Each is published under
C{$SYS/brokers/<node>/sysmon/} and logged, both at most once a second.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.core.message import Message
from twisted_mqtt.monitoring.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from twisted_mqtt.interfaces import IBroker

_log = Logger()

#: Seconds between two looks at the reactor: by so much less a time that it was held may be measured.
TICK: Final = 0.1
#: Seconds that going through all clients takes at least.
ROUND: Final = 10.0
#: If the reactor was held so often within so many seconds, there is an alarm.
OFTEN: Final = 3
WITHIN: Final = 60.0

# For so many seconds at a time clients are looked at, and so many of them in one go.
_AT_ONCE: Final = 0.001
_SLICE: Final = 100
# So many slow clients are told apart.
_MOST: Final = 1000
# Characters of a client identifier in an event.
_SHOWN: Final = 200


class Collections:
    """
    Measures Python's clean-ups of memory. It is called amid anything, and in any thread: it only notes what it sees.

    @ivar limit: seconds that one may take; 0 for any.
    @ivar long: how many seconds those took that were longer, and their generations.
    """

    def __init__(self) -> None:
        self.limit = 0.0
        self.long: deque[tuple[float, int]] = deque(maxlen=100)
        self._began = 0.0

    def configure(self, limit: float) -> None:
        """
        Measure, or stop it: without a limit nothing is called.
        """
        self.limit = limit
        if limit and self._called not in gc.callbacks:
            gc.callbacks.append(self._called)
        elif not limit and self._called in gc.callbacks:
            gc.callbacks.remove(self._called)

    def _called(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
        elif self._began and (took := perf_counter() - self._began) > self.limit:
            self.long.append((took, info["generation"]))


class ProcessMonitor(Service):
    """
    See the module. It goes by the settings as they are at each look.
    """

    name = "processmonitor"

    def __init__(self, broker: IBroker) -> None:
        self._broker = broker
        self._seconds = broker.clock.seconds
        self._prefix = f"$SYS/brokers/{broker.nodeName}/sysmon/"
        self._lag = broker.metrics.histogram("reactor.lag", "How late the reactor calls what is due, in seconds").own
        self._collections = Collections()
        self._call: IDelayedCall | None = None
        self._due = 0.0
        # When the reactor was held lately.
        self._held: deque[float] = deque(maxlen=OFTEN)
        self._alarm = Watermark(
            broker.alarms, "reactor_held", "The reactor is held up again and again: clients wait", self._seconds
        )
        self._round: Iterator[None] | None = None
        self._nextRound = 0.0
        # Clients for which bytes have waited at the last look; with those of which it was said already.
        self._slow: dict[str, bool] = {}
        self._logs: dict[str, RateLimitedLog] = {}
        self._quiet: dict[str, float] = {}

    def startService(self) -> None:
        """
        Begin to look.
        """
        Service.startService(self)
        self._nextRound = self._seconds() + ROUND
        self._wait(self._seconds())

    def stopService(self) -> None:
        """
        Look no more.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._collections.configure(0.0)
        Service.stopService(self)

    def _wait(self, now: float) -> None:
        self._due = now + TICK
        self._call = self._broker.clock.callLater(TICK, self._turn)

    def _turn(self) -> None:
        now = self._seconds()
        lag = max(0.0, now - self._due)
        self._wait(now)
        try:
            self._lookAtReactor(now, lag)
            self._lookAtCollections()
            self._lookAtClients(now)
        except Exception:
            # The next look may succeed.
            self._logOf("look").failure("Looking at the process failed")

    def _lookAtReactor(self, now: float, lag: float) -> None:
        self._lag.observe(lag)
        limit = self._broker.settings.sysmon.long_schedule / 1000
        held = self._held
        if limit and lag > limit:
            held.append(now)
            self._tell("long_schedule", f"the reactor was held for {lag * 1000:.0f} ms: all clients waited")
        while held and now - held[0] > WITHIN:
            held.popleft()
        self._alarm.configure(float(OFTEN), 1.0)
        self._alarm.look(float(len(held)), f"{OFTEN} times within {WITHIN:.0f} s for longer than {limit * 1000:.0f} ms")

    def _lookAtCollections(self) -> None:
        limit = self._broker.settings.sysmon.long_gc / 1000
        if limit != self._collections.limit:
            self._collections.configure(limit)
        long = self._collections.long
        while long:
            took, generation = long.popleft()
            self._tell("long_gc", f"a clean-up of memory took {took * 1000:.0f} ms (generation {generation})")

    def _lookAtClients(self, now: float) -> None:
        """
        Go on with the look at clients, for a moment; they are many.
        """
        if self._round is None:
            settings = self._broker.settings.sysmon
            if now < self._nextRound or not (settings.large_heap or settings.busy_port):
                return
            self._nextRound = now + ROUND
            self._round = self._go()
        until = perf_counter() + _AT_ONCE
        for _ in self._round:
            if perf_counter() >= until:
                return
        self._round = None

    def _go(self) -> Iterator[None]:
        """
        Look at each client, some at a time.
        """
        clients = self._broker.clients
        slow: dict[str, bool] = {}
        for count, key in enumerate(list(clients)):
            if count % _SLICE == 0:
                yield
            client = clients.get(key)
            pending = 0 if client is None else client.pendingBytes
            if not pending or client is None:
                continue
            settings = self._broker.settings.sysmon
            told = self._slow.get(key)
            name = repr(client.clientID[:_SHOWN])
            if not told and settings.large_heap and pending >= settings.large_heap:
                self._tell("large_heap", f"{pending} bytes wait for the client {name}")
                told = True
            elif told is False and settings.busy_port:
                self._tell("busy_port", f"the client {name} takes its messages too slowly: {pending} bytes wait")
                told = True
            if len(slow) < _MOST:
                slow[key] = bool(told)
        self._slow = slow

    def _tell(self, event: str, detail: str) -> None:
        """
        Publish and log an event.
        """
        self._logOf(event).warn("sysmon: {detail}", detail=detail)
        now = self._seconds()
        if now < self._quiet.get(event, now):
            return
        self._quiet[event] = now + 1.0
        payload = msgspec.json.encode({"event": event, "detail": detail, "ts": int(self._broker.dates.now())})
        waiting = self._broker.publish(Message(self._prefix + event, payload, timestamp=now, system=True))
        if isinstance(waiting, Deferred):
            waiting.addErrback(self._ebTell, event)

    def _logOf(self, event: str) -> RateLimitedLog:
        found = self._logs.get(event)
        if found is None:
            seconds: Callable[[], float] = self._seconds
            found = self._logs[event] = RateLimitedLog(seconds)
        return found

    def _ebTell(self, failure: Failure, event: str) -> None:
        _log.failure("Publishing the event {event} failed", failure=failure, event=event)
