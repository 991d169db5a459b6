"""
One trace: of whom, how much of it, and where it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from twisted_mqtt.monitoring.trace.sinks import Sink

#: What a trace is by.
Kind: TypeAlias = Literal["clientid", "topic", "ip_address"]
#: The levels of EMQ X, the least important first. Packets are at C{debug}; who comes and goes at C{info}; refusals at
#: C{warning}; failures at C{error}.
Level: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

LEVELS: Final[dict[str, int]] = {
    word: number
    for number, word in enumerate(("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"))
}
#: A packet may cause so many calls of hooks, and more: those have a rate of their own, so many times that of packets.
HOOKS_A_PACKET: Final = 10


class _Window:
    """
    Counts events within an interval.
    """

    __slots__ = ("_count", "_interval", "_most", "_until")

    def __init__(self, most: int, interval: float) -> None:
        self._most = most
        self._interval = interval
        self._until = 0.0
        self._count = 0

    def take(self, now: float) -> bool:
        if now >= self._until:
            self._until = now + self._interval
            self._count = 0
        self._count += 1
        return self._count <= self._most


class Trace:
    """
    A trace.

    @ivar name: unlike that of any other.
    @ivar kind: what it is by.
    @ivar value: of whom or what.
    @ivar level: the least important events that it has.
    @ivar payloadLimit: bytes of a payload that are shown.
    @ivar sink: where it goes.
    @ivar destination: where that is, as whoever started it has said; empty where it is live.
    @ivar startedAt: the date of its beginning.
    @ivar written: how many events it has.
    @ivar leftOut: how many there were beyond its rate, or without room.
    @ivar why: why it has ended; empty before.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        value: str,
        level: str,
        destination: str,
        startedAt: float,
        rate: tuple[int, float],
        payloadLimit: int,
    ) -> None:
        """
        @param rate: how many packets within how many seconds.
        """
        self.name = name
        self.kind: Kind = kind
        self.value = value
        self.level = level
        self.destination = destination
        self.startedAt = startedAt
        self.endedAt = 0.0
        self.payloadLimit = payloadLimit
        self.sink: Sink | None = None
        self.written = 0
        self.leftOut = 0
        self.why = ""
        self.rate = rate
        self._least = LEVELS[level]
        self._packets = _Window(*rate)
        self._hooks = _Window(rate[0] * HOOKS_A_PACKET, rate[1])
        self._unsaid = 0

    @property
    def isLive(self) -> bool:
        """
        Whether somebody looks on, and it is no file.
        """
        return not self.destination

    def wants(self, level: str) -> bool:
        """
        Whether events of a level belong to it.
        """
        return not self.why and LEVELS[level] >= self._least

    def hasRoom(self, now: float, isHook: bool) -> bool:
        """
        Count an event; returns whether its rate has room for it.

        @param now: the moment.
        """
        return (self._hooks if isHook else self._packets).take(now)

    def leaveOut(self) -> None:
        """
        Note an event that there was no room for.
        """
        self.leftOut += 1
        self._unsaid += 1

    def write(self, text: str) -> None:
        """
        Write an event.
        """
        sink = self.sink
        if sink is None:
            return
        if sink.write(f"{self._gap()}\n{text}" if self._unsaid else text):
            self.written += 1
            self._unsaid = 0
        else:
            self.leaveOut()

    def tellGap(self) -> None:
        """
        Say how many events are left out here, if there are any, without waiting for one that is not.
        """
        if self._unsaid and self.sink is not None and self.sink.write(self._gap()):
            self._unsaid = 0

    def _gap(self) -> str:
        return f"# {self._unsaid} events are left out here"
