"""
Alarms: something is wrong until it is not, told under C{$SYS/brokers/<node>/alarms/} (spec/hooks-modules-sys.md 4.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

_log = Logger()


class Alarm:
    """
    One alarm; it is not changed once it stands.

    @ivar name: what it is known by; there is one of a name at a time.
    @ivar severity: such as C{warning} or C{critical}.
    @ivar title: in a few words.
    @ivar summary: what has happened.
    @ivar at: since when, in seconds since the epoch.
    """

    __slots__ = ("at", "name", "severity", "summary", "title")

    def __init__(self, name: str, severity: str, title: str, summary: str, at: float) -> None:
        self.name = name
        self.severity = severity
        self.title = title
        self.summary = summary
        self.at = at

    def asDict(self) -> dict[str, object]:
        """
        The alarm by the names of its message.
        """
        return {
            "id": self.name,
            "severity": self.severity,
            "title": self.title,
            "summary": self.summary,
            "ts": int(self.at),
        }


class Alarms:
    """
    The alarms of a broker.

    @ivar active: those that stand, by name.
    """

    def __init__(
        self,
        nodeName: str,
        publish: Callable[[Message], int | Deferred[int]],
        now: Callable[[], float],
    ) -> None:
        self.active: dict[str, Alarm] = {}
        self._prefix = f"$SYS/brokers/{nodeName}/alarms/"
        self._publish = publish
        self._now = now

    def activate(self, name: str, severity: str, title: str, summary: str) -> bool:
        """
        Raise an alarm; returns whether it did not stand already.
        """
        if name in self.active:
            return False
        alarm = self.active[name] = Alarm(name, severity, title, summary, self._now())
        self._tell("alert", alarm.asDict())
        return True

    def deactivate(self, name: str) -> bool:
        """
        Clear an alarm; returns whether it stood.
        """
        alarm = self.active.pop(name, None)
        if alarm is None:
            return False
        self._tell("clear", {**alarm.asDict(), "ts": int(self._now())})
        return True

    def _tell(self, what: str, content: dict[str, object]) -> None:
        topic = self._prefix + what
        # QoS 0: an alarm about the store must not need the store.
        message = Message(topic, msgspec.json.encode(content), timestamp=self._now(), system=True)
        waiting = self._publish(message)
        if isinstance(waiting, Deferred):
            waiting.addErrback(self._ebTell, topic)

    def _ebTell(self, failure: Failure, topic: str) -> None:
        _log.failure("Publishing {topic} failed", failure=failure, topic=topic)
