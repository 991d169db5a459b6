"""
An alarm that begins above one value and ends below another, so that a value between them does not make it come and go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_mqtt.broker.alarms import ActiveAlarm, Alarms, Detail

_log = Logger()

#: Seconds that such an alarm lasts at least.
LEAST: Final = 60.0
#: Where nothing says below which value it ends, it is this part of the value at which it begins.
_LOW: Final = 0.9


class Watermark:
    """
    An alarm about one value.

    @ivar high: from which value on it is active; 0 for never.
    """

    def __init__(
        self, alarms: Alarms, name: str, title: str, now: Callable[[], float], severity: str = "warning"
    ) -> None:
        """
        @param now: the time, in seconds.
        """
        self.high = 0.0
        self._low = 0.0
        self._alarms = alarms
        self._name = name
        self._title = title
        self._severity = severity
        self._now = now
        self._alarm: ActiveAlarm | None = None
        self._since = 0.0

    def configure(self, high: float, low: float | None = None) -> None:
        """
        Use these values from the next look on.

        @param low: below which the alarm ends; nine tenths of C{high} by default.
        """
        self.high = high
        self._low = high * _LOW if low is None else min(low, high)

    def look(self, value: float | None, summary: str, details: Mapping[str, Detail] | None = None) -> None:
        """
        The value has been measured: the alarm begins, or ends, or stays as it is.

        @param value: L{None} where the system does not say: then there is no alarm.
        @param summary: what is the matter, for a person.
        """
        now = self._now()
        if value is not None and self.high and value >= self.high:
            # Somebody may have ended it, but its cause is still there.
            if self._alarm is None or not self._alarm.isActive:
                self._since = now
                _log.warn("{title}: {summary}", title=self._title, summary=summary)
                self._alarm = self._alarms.activate(self._name, self._severity, self._title, summary, details)
        elif self._alarm is not None and (
            value is None or not self.high or (value < self._low and now - self._since >= LEAST)
        ):
            self.end(summary)

    def describe(self, summary: str) -> None:
        """
        It is something else that is the matter now, or more.
        """
        if self._alarm is not None and self._alarm.isActive:
            _log.warn("{title}: {summary}", title=self._title, summary=summary)
            self._alarm.describe(summary)

    def end(self, summary: str = "") -> None:
        """
        The cause has gone, or nobody looks for it any more.
        """
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.isActive:
            alarm.close()
            _log.info("{title}: over. {summary}", title=self._title, summary=summary)
