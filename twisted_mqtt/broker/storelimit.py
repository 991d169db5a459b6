"""
Keeps the store within its size: the largest queues lose their oldest messages, and where that is not enough, nothing is
taken that would have to be kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from twisted_mqtt.core.shedding import makeStoreRoom

if TYPE_CHECKING:
    from twisted_mqtt.broker.alarms import Alarms
    from twisted_mqtt.core.queuebudget import QueueBudget
    from twisted_mqtt.interfaces import IStore

_log = Logger()

#: The name of the alarm.
ALARM: Final = "store_full"

# It is over when so much of the limit is in use.
_LOW: Final = 0.95
# If it has not become smaller after so many checks, more has to go: messages lie together, and their room is free when
# most of them are gone.
_PATIENCE: Final = 5
# Queues are made shorter for so many seconds at a time.
_AT_ONCE: Final = 0.005


class StoreLimit:
    """
    Compares the size of the store with its limit.

    @ivar limit: how many bytes may be in use; 0 for any number.
    """

    def __init__(self, store: IStore, budget: QueueBudget, alarms: Alarms) -> None:
        self.limit = 0
        self._store = store
        self._budget = budget
        self._alarms = alarms
        # The bytes in use at the last look, and the bytes of messages that were dropped since then: the store is
        # smaller only after its next batch.
        self._seen = 0
        self._given = 0
        self._patience = 0
        self._isOver = False

    def check(self) -> None:
        """
        See how large the store is: to be called once a second.
        """
        size, limit = self._store.size, self.limit
        if limit:
            self._store.measure()
        self._patience -= 1
        if size != self._seen or self._patience <= 0:
            self._seen, self._given, self._patience = size, 0, _PATIENCE
        if not limit or size <= limit * _LOW or (not self._isOver and size <= limit):
            self._end(size)
            return
        if not self._isOver:
            self._isOver = True
            text = f"{size} bytes are in use, and {limit} may be"
            _log.error("store: {text}: the longest queues lose their oldest messages", text=text)
            self._alarms.activate(ALARM, "critical", "The store is full", f"{text} (see persistence.max_size)")
        wanted = int(size - limit * _LOW) - self._given
        if wanted <= 0:
            return
        until = time.perf_counter() + _AT_ONCE
        given = makeStoreRoom(self._budget, wanted, lambda: time.perf_counter() >= until)
        self._given += given
        if size > limit:
            # Something else has filled it.
            self._store.progress.setFull(not given)

    def _end(self, size: int) -> None:
        if self._isOver:
            self._isOver = False
            self._alarms.deactivate(ALARM)
            self._store.progress.setFull(False)
            _log.info("store: {size} bytes are in use: that is within the limit", size=size)
