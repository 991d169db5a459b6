"""
Says when a limit of the broker is reached: a counter, a line in the log now and then, and an alarm where an operator
has to do something about it. docs/operations.md lists the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.metrics import Counter, Metrics
    from twisted_mqtt.broker.alarms import Alarms
    from twisted_mqtt.core.queuebudget import QueueBudget

_log = Logger()

#: An alarm ends when its limit has not been reached for so many seconds; a line about the same limit, or the same
#: session, is logged once in that time.
CALM: Final = 60.0

# Of so many sessions that lose messages, each has a line of its own; the others are counted in one.
_NAMED: Final = 100


class Limit(NamedTuple):
    """
    A limit that can be reached.

    @ivar help: of its counter.
    @ivar key: what sets it, as it is told to a person.
    @ivar title: of its alarm; empty where it needs none, because it is one client's own affair.
    """

    help: str
    key: str
    title: str = ""


#: The limits by name. Each has the counter C{limits.<name>}, and the alarm C{limit_<name>} if it has a title.
LIMITS: Final[dict[str, Limit]] = {
    "queue": Limit(
        "Messages dropped because a queue, or all queues together, had no room for them",
        "max_mqueue_len, max_mqueue_bytes, broker.max_queued_bytes, persistence.max_size",
        "Queues are full, and messages are dropped",
    ),
    "sessions": Limit("Sessions refused because there were too many", "broker.max_sessions", "Too many sessions"),
    "sessions_user": Limit(
        "Sessions refused because the user had too many", "max_sessions_per_user", "A user has too many sessions"
    ),
    "sessions_address": Limit(
        "Sessions refused because too many had been begun from the address",
        "max_sessions_per_address",
        "Too many sessions from one address",
    ),
    "wills": Limit(
        "Clients refused because all wills together were too many, or too large",
        "broker.max_wills, broker.max_will_bytes",
        "Too many wills",
    ),
    "session_expiry": Limit("Session expiries that were shortened", "max_session_expiry_interval"),
    "will_delay": Limit("Will delays that were shortened", "max_will_delay"),
    "filters": Limit("Topic filters refused because a SUBSCRIBE had too many", "max_subscribe_filters"),
    "subscriptions": Limit(
        "Subscriptions refused because the session had too many",
        "max_subscriptions",
        "A session has too many subscriptions",
    ),
    "retained": Limit(
        "Messages that were not retained because there were too many, or they were too large together",
        "retainer.max_retained_messages, retainer.max_retained_bytes",
        "Too many retained messages",
    ),
    "retained_payload": Limit("Messages too large to be retained", "retainer.max_payload_size"),
    "delayed": Limit(
        "Messages refused because too many waited for their time already",
        "delayed_publish.max_delayed_messages, delayed_publish.max_delayed_bytes",
        "Too many delayed messages",
    ),
    "memory": Limit(
        "New sessions refused because the process had too little memory left", "node.memory_high_watermark"
    ),
    "store": Limit("Messages and sessions refused because the store was full", "persistence.max_size"),
    "lifetime": Limit("Connections closed because they had lasted long enough", "max_connection_lifetime"),
}


class _Reached:
    """
    A limit that has been reached.
    """

    __slots__ = ("counter", "last", "left", "quietUntil")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.last = 0.0
        self.quietUntil = 0.0
        self.left = 0


class LimitReports:
    """
    Reports limits that are reached.
    """

    def __init__(self, metrics: Metrics, alarms: Alarms, budget: QueueBudget, now: Callable[[], float]) -> None:
        """
        @param budget: knows the sessions that lose messages.
        @param now: the time, in seconds.
        """
        self._alarms = alarms
        self._budget = budget
        self._now = now
        self._reached = {
            name: _Reached(metrics.counter(f"limits.{name}", limit.help).own) for name, limit in LIMITS.items()
        }
        # Until when nothing more is logged of a session, by its key.
        self._quiet: dict[str, float] = {}
        # The number of messages that each of those has lost before.
        self._lost: dict[str, int] = {}

    def reached(self, name: str, what: str, count: int = 1) -> None:
        """
        A limit is reached.

        @param name: of L{LIMITS}.
        @param what: has happened, for a person.
        @param count: how often.
        """
        limit, state = LIMITS[name], self._reached[name]
        state.counter.value += count
        state.last = now = self._now()
        if limit.title:
            self._alarms.activate(f"limit_{name}", "warning", limit.title, f"{what} (see {limit.key})")
        if now < state.quietUntil:
            state.left += 1
            return
        state.quietUntil = now + CALM
        left, state.left = state.left, 0
        before = f"; {left} times more in the minute before" if left else ""
        say = _log.warn if limit.title else _log.info
        say("{what} (limit: {key}){before}", what=what, key=limit.key, before=before)

    def check(self) -> None:
        """
        Report the sessions that have lost messages, and end the alarms of limits that are not reached any more: to be
        called once a second.
        """
        now = self._now()
        if self._budget.losing:
            self._losses(now)
        elif self._quiet:
            self._forget(now)
        for name, state in self._reached.items():
            if state.last and state.last + CALM <= now:
                state.last = 0.0
                if LIMITS[name].title:
                    self._alarms.deactivate(f"limit_{name}")

    def _forget(self, now: float) -> None:
        for key, until in list(self._quiet.items()):
            if until <= now:
                del self._quiet[key]
                self._lost.pop(key, None)

    def _losses(self, now: float) -> None:
        losing, self._budget.losing = self._budget.losing, []
        self._forget(now)
        total = named = 0
        for session in losing:
            session.losing = False
            lost, session.lost = session.lost, 0
            total += lost
            key = session.key
            self._lost[key] = self._lost.get(key, 0) + lost
            if key in self._quiet or len(self._quiet) >= _NAMED:
                continue
            named += 1
            self._quiet[key] = now + CALM
            _log.warn(
                "the queue of {client} is full: {lost} messages dropped, {waiting} messages of {size} bytes wait",
                client=repr(session.clientID),
                lost=self._lost.pop(key),
                waiting=session.queueLength,
                size=0 if session.queue is None else session.queue.size,
            )
        first = losing[0]
        more = f" and of {len(losing) - 1} more sessions" if len(losing) > 1 else ""
        state = self._reached["queue"]
        state.counter.value += total
        state.last = now
        limit = LIMITS["queue"]
        self._alarms.activate(
            "limit_queue",
            "warning",
            limit.title,
            f"messages of {first.clientID!r}{more} are dropped for want of room (see {limit.key})",
        )
