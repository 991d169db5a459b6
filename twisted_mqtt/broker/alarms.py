"""
Alarms: each is active while something is wrong. The broker publishes them under C{$SYS/brokers/<node>/alarms/}
(spec/hooks-modules-sys.md 4.5), tells observers, and keeps ended alarms as history.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.python.failure import Failure

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.base.records import Records
    from twisted_mqtt.interfaces import IStore

_log = Logger()

Detail: TypeAlias = str | int | float | bool | None
#: A change of an alarm.
AlarmEvent: TypeAlias = Literal["activated", "deactivated"]
Observer: TypeAlias = "Callable[[AlarmEvent, Alarm], None]"

#: So many alarms are active at most, and so many are kept of those that are over, the last ones.
MOST_ACTIVE: Final = 1000
MOST_HISTORY: Final = 1000
#: An alarm that comes again within so many seconds after its end has flapped; from the third time in succession on, it
#: ends only when its cause has been away for so long.
CALM: Final = 60.0
FLAPS: Final = 3

# Longer texts are cut: an alarm must not fail, and must not fill the store.
_TEXT: Final = 4000
_DETAILS: Final = 50

_ACTIVE: Final = "alarms.active"
_HISTORY: Final = "alarms.history"


class Alarm(msgspec.Struct, frozen=True):
    """
    One alarm, as it is kept too; a field that is added later has a default.

    @ivar name: what it is known by; one of a name is active at a time.
    @ivar severity: such as C{warning} or C{critical}.
    @ivar title: in a few words.
    @ivar summary: what has happened.
    @ivar at: since which date, in seconds since the epoch.
    @ivar details: figures and names, for programs.
    @ivar until: the date when it ended, in seconds since the epoch; 0 while it is active.
    @ivar end: why, where that is not that its cause has gone: C{"restart"} if the process ended while it was active.
    @ivar times: how often its cause has come.
    """

    name: str
    severity: str
    title: str
    summary: str
    at: float
    details: dict[str, Detail] = {}
    until: float = 0.0
    end: str = ""
    times: int = 1

    def asDict(self) -> dict[str, object]:
        """
        The alarm by the names of its message.
        """
        content: dict[str, object] = {
            "id": self.name,
            "severity": self.severity,
            "title": self.title,
            "summary": self.summary,
            "ts": int(self.until or self.at),
        }
        if self.details:
            content["details"] = self.details
        return content


class ActiveAlarm:
    """
    The handle of an activated alarm: it ends the alarm.
    """

    def __init__(self, alarms: Alarms, name: str, number: int) -> None:
        self.name = name
        self._alarms = alarms
        self._number = number

    @property
    def isActive(self) -> bool:
        """
        Whether it still is.
        """
        return 0 < self._number == self._alarms.numberOf(self.name)

    def close(self) -> None:
        """
        Its cause has gone. Has no effect where it has ended meanwhile, even if there is another of its name.
        """
        if self.isActive:
            self._alarms.deactivate(self.name)

    def describe(self, summary: str) -> None:
        """
        It is something else that is wrong now, or more.

        @param summary: what is the matter, for a person.
        """
        if self.isActive:
            self._alarms.describe(self.name, summary)


class Observation:
    """
    Somebody is told of alarms.
    """

    def __init__(self, observers: list[Observation], callback: Observer) -> None:
        self.callback = callback
        self._observers = observers

    def close(self) -> None:
        """
        Be told no more.
        """
        if self in self._observers:
            self._observers.remove(self)


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
        store: IStore,
        dates: Dates,
    ) -> None:
        """
        @param now: tells the moment.
        """
        self.active: dict[str, Alarm] = {}
        self._prefix = f"$SYS/brokers/{nodeName}/alarms/"
        self._publish = publish
        self._now = now
        self._dates = dates
        self._keptActive: Records[Alarm] = store.table(_ACTIVE).records(Alarm)
        self._keptHistory: Records[Alarm] = store.table(_HISTORY).records(Alarm)
        # Whether the store is open; one that keeps nothing never is.
        self._isKept = False
        # With the key of each; the oldest first.
        self._history: deque[tuple[str, Alarm]] = deque()
        self._observers: list[Observation] = []
        # Each time that an alarm becomes active has a number.
        self._numbers: dict[str, int] = {}
        self._number = 0
        self._nextKey = 1
        # How often those have flapped in succession that are active, or ended a short time ago; when the latter was.
        self._flaps: dict[str, int] = {}
        self._ended: dict[str, float] = {}
        # Alarms that flap, and whose cause has gone: when they end.
        self._ending: dict[str, float] = {}
        self._isFull = False

    def load(self) -> None:
        """
        Take over the kept alarms. Alarms that were active when the process ended have ended with it.
        """
        self._isKept = True
        now = self._dates.now()
        for key, alarm in sorted(self._keptHistory.items()):
            self._history.append((key, alarm))
            self._nextKey = int(key) + 1
        for name, alarm in sorted(self._keptActive.items(), key=lambda item: item[1].at):
            if name not in self.active:
                self._keptActive.remove(name)
                self._remember(msgspec.structs.replace(alarm, until=now, end="restart"))
        for alarm in self.active.values():
            self._keptActive.put(alarm.name, alarm)

    def activate(
        self, name: str, severity: str, title: str, summary: str, details: Mapping[str, Detail] | None = None
    ) -> ActiveAlarm:
        """
        Something is wrong. Where an alarm of that name is active already, it stays as it is.

        @param details: figures and names, for programs.

        @return: what it is ended by; or L{deactivate} does.
        """
        name = name[:_TEXT]
        if name in self.active:
            if self._ending.pop(name, None) is not None:
                self._replace(name, times=self.active[name].times + 1)
        elif len(self.active) >= MOST_ACTIVE:
            if not self._isFull:
                self._isFull = True
                _log.error("{most} alarms are active: no more are taken, such as {name}", most=MOST_ACTIVE, name=name)
        else:
            now = self._dates.now()
            self._number += 1
            self._numbers[name] = self._number
            if name in self._ended:
                del self._ended[name]
                self._flaps[name] += 1
            alarm = Alarm(name, severity, title[:_TEXT], summary[:_TEXT], now, _cut(details or {}))
            self.active[name] = alarm
            if self._isKept:
                self._keptActive.put(name, alarm)
            self._tell("activated", alarm)
        return ActiveAlarm(self, name, self._numbers.get(name, 0))

    def deactivate(self, name: str) -> bool:
        """
        It is not wrong any more; an alarm that flaps stays active for a while yet.

        @return: whether an alarm of that name was active.
        """
        if name not in self.active:
            return False
        if self._flaps.get(name, 0) >= FLAPS:
            self._ending.setdefault(name, self._now() + CALM)
        else:
            self._end(name)
        return True

    def check(self, now: float) -> None:
        """
        End those that have flapped and are calm: to be called once a second.
        """
        for name, when in list(self._ending.items()):
            if when <= now:
                self._end(name)
                self._forget(name)
        for name, when in list(self._ended.items()):
            if when + CALM <= now:
                self._forget(name)

    def history(self) -> list[Alarm]:
        """
        Those that are over, the last one first.
        """
        return [alarm for _, alarm in reversed(self._history)]

    def clearHistory(self) -> int:
        """
        Forget those that are over; returns how many there were.
        """
        count = len(self._history)
        while self._history:
            self._dropOldest()
        return count

    def observe(self, callback: Observer) -> Observation:
        """
        Be told each time that an alarm becomes active or ends, once that is so; what the callback raises is logged.

        @return: what ends it.
        """
        observation = Observation(self._observers, callback)
        self._observers.append(observation)
        return observation

    def numberOf(self, name: str) -> int:
        """
        Get the number of the activation that is active; 0 for none.
        """
        return self._numbers.get(name, 0)

    def _end(self, name: str) -> None:
        self._ending.pop(name, None)
        self._numbers.pop(name, None)
        alarm = msgspec.structs.replace(self.active.pop(name), until=self._dates.now())
        self._isFull = False
        self._flaps.setdefault(name, 0)
        self._ended[name] = self._now()
        if self._isKept:
            self._keptActive.remove(name)
        self._remember(alarm)
        self._tell("deactivated", alarm)

    def _forget(self, name: str) -> None:
        """
        An alarm has been calm.
        """
        self._ended.pop(name, None)
        self._flaps.pop(name, None)

    def describe(self, name: str, summary: str) -> None:
        """
        Give an active alarm another summary. Observers are not told: it began before.
        """
        self._replace(name, summary=summary[:_TEXT])

    def _replace(self, name: str, **fields: Any) -> None:
        alarm = self.active[name] = msgspec.structs.replace(self.active[name], **fields)
        if self._isKept:
            self._keptActive.put(name, alarm)

    def _remember(self, alarm: Alarm) -> None:
        key = f"{self._nextKey:012}"
        self._nextKey += 1
        self._history.append((key, alarm))
        if self._isKept:
            self._keptHistory.put(key, alarm)
        while len(self._history) > MOST_HISTORY:
            self._dropOldest()

    def _dropOldest(self) -> None:
        key, _ = self._history.popleft()
        if self._isKept:
            self._keptHistory.remove(key)

    def _tell(self, event: AlarmEvent, alarm: Alarm) -> None:
        for observation in list(self._observers):
            try:
                observation.callback(event, alarm)
            except Exception:
                _log.failure("Telling of the alarm {name} failed", name=alarm.name)
        topic = self._prefix + ("alert" if event == "activated" else "clear")
        # QoS 0: an alarm about the store must not need the store.
        message = Message(topic, msgspec.json.encode(alarm.asDict()), timestamp=self._now(), system=True)
        waiting = self._publish(message)
        if isinstance(waiting, Deferred):
            waiting.addErrback(self._ebTell, topic)

    def _ebTell(self, failure: Failure, topic: str) -> None:
        _log.failure("Publishing {topic} failed", failure=failure, topic=topic)


def _cut(details: Mapping[str, Detail]) -> dict[str, Detail]:
    """
    As much of details as is kept.
    """
    some = list(details.items())[:_DETAILS]
    return {key[:_TEXT]: value[:_TEXT] if isinstance(value, str) else value for key, value in some}
