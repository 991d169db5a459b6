"""
Told once when an outside system can't be reached, and once when it can again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext, IHeld

# Seconds between two lines of the log while an outage lasts and its reason changes.
_QUIET: Final = 60.0


class Outage:
    """
    The state of an outside system, as the one who sends to it finds it. While it fails there is an alarm.
    """

    def __init__(self, context: IExtensionContext, alarm: str, what: str) -> None:
        """
        @param alarm: the name of the alarm.
        @param what: what is sent to, for people: C{"Graphite at 127.0.0.1:2003"}.
        """
        self._context = context
        self._name = alarm
        self._what = what
        self._alarm: IHeld | None = None
        self._reason = ""
        self._since = 0.0
        self._quietUntil = 0.0

    @property
    def lasts(self) -> bool:
        """
        Whether it fails at present.
        """
        return self._alarm is not None

    def failed(self, reason: str) -> None:
        """
        It has failed, for the first time or once more.
        """
        now = self._context.clock.seconds()
        if self._alarm is None:
            # The log has a line for each alarm.
            self._since = now
            title = f"{self._what} does not take metrics"
            self._alarm = self._context.alarm(self._name, "warning", title, reason)
        elif reason == self._reason or now < self._quietUntil:
            return
        else:
            self._context.log.warn("{what} does not take metrics: {reason}", what=self._what, reason=reason)
        self._reason = reason
        self._quietUntil = now + _QUIET

    def works(self) -> None:
        """
        It has taken something.
        """
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()
            seconds = self._context.clock.seconds() - self._since
            self._context.log.info(
                "{what} takes metrics again, after {seconds:.0f} s", what=self._what, seconds=seconds
            )
