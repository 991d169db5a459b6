"""
The end of retained messages that are too old: little by little, where very many end at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.portions import Portions
    from twisted_mqtt.broker.retained import RetainedMessages
    from twisted_mqtt.interfaces import IStore

# So many are looked at in one go.
_AT_ONCE: Final = 32


class RetainedExpiry:
    """
    Forgets retained messages whose time is over, in memory and in the store.
    """

    def __init__(
        self, retained: RetainedMessages, store: IStore, portions: Portions, seconds: Callable[[], float]
    ) -> None:
        """
        @param seconds: the time of the broker's clock.
        """
        self._retained = retained
        self._store = store
        self._portions = portions
        self._seconds = seconds
        self._goesOn = False

    def look(self) -> None:
        """
        Forget what is too old by now, perhaps in later turns.
        """
        if not self._goesOn and self.goOn():
            self._portions.add(self)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}.
        """
        now = self._seconds()
        for key in self._retained.expire(now, _AT_ONCE):
            self._store.removeRetained(key)
        self._goesOn = 0 < self._retained.nextExpiry <= now
        return self._goesOn
