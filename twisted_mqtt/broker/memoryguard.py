"""
Watches the memory of the process: above a watermark, messages of QoS 0 do not wait and no new sessions begin, before
the system ends the process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from twisted_mqtt.core.shedding import shedQoS0

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.broker.alarms import Alarms
    from twisted_mqtt.config.schema_node import Node
    from twisted_mqtt.core.queuebudget import QueueBudget
    from twisted_mqtt.core.session import Session

_log = Logger()

#: The name of the alarm.
ALARM: Final = "memory_high_watermark"

# For so many seconds at a time messages of QoS 0 are dropped that wait already.
_AT_ONCE: Final = 0.005
# Each time that it is so many seconds above the watermark, the C library gives back what it has free.
_GIVE_BACK: Final = 10


class MemoryGuard:
    """
    Compares the memory of the process with what it may have.

    @ivar used: says how many bytes it has; 0 where that is not known.
    @ivar allowed: says how many it may have; likewise.
    @ivar giveBack: has the C library give back what it has free, elsewhere than in this thread.
    """

    def __init__(self, budget: QueueBudget, alarms: Alarms) -> None:
        self.used: Callable[[], int] = lambda: 0
        self.allowed: Callable[[], int] = lambda: 0
        self.giveBack: Callable[[], object] = lambda: None
        self._budget = budget
        self._alarms = alarms
        self._limit = 0
        self._high = self._low = 0.0
        # How often it was looked since it has been above the watermark.
        self._since = 0
        # The sessions whose messages of QoS 0 are still to be dropped.
        self._shedding: list[Session] = []

    @property
    def limit(self) -> int:
        """
        How many bytes the process may have; 0 where that is not known.
        """
        return self._limit or self.allowed()

    def configure(self, settings: Node) -> None:
        """
        Use these watermarks.
        """
        self._limit = settings.memory_limit or 0
        self._high = settings.memory_high_watermark
        self._low = min(settings.memory_low_watermark, self._high)

    def check(self) -> None:
        """
        See how much memory there is: to be called once a second.
        """
        budget = self._budget
        limit = self.limit if self._high else 0
        used = self.used() if limit else 0
        if budget.scarce and (not used or used < limit * self._low):
            budget.scarce = False
            self._shedding = []
            self._alarms.deactivate(ALARM)
            _log.info(
                "memory: the process has {used} of {limit} bytes: no restrictions any more", used=used, limit=limit
            )
        elif not budget.scarce and used and used >= limit * self._high:
            budget.scarce = True
            self._since = 0
            self._shedding = budget.inMemory.sessions()
            text = f"the process has {used} of {limit} bytes"
            _log.error("memory: {text}: messages of QoS 0 do not wait, new sessions are refused", text=text)
            self._alarms.activate(ALARM, "critical", "Memory is running out", text, {"used": used, "limit": limit})
        if budget.scarce:
            if self._since % _GIVE_BACK == 0:
                self.giveBack()
            self._since += 1
            self._shed()

    def _shed(self) -> None:
        until = time.perf_counter() + _AT_ONCE
        while self._shedding and time.perf_counter() < until:
            shedQoS0(self._shedding.pop())
