"""
The end of a connection that may last only so long: its client has to connect again, and so to show again who it is
(spec/vernemq.md NEW-02).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.broker.client import ClientInfo


class Lifetime:
    """
    Sends a client away when its connection has lasted long enough (0x98).

    @ivar bucket: the wheel's own.
    """

    __slots__ = ("_client", "_report", "_sendAway", "_until", "_wheel", "bucket")

    def __init__(
        self,
        client: ClientInfo,
        until: float,
        wheel: TimerWheel,
        sendAway: Callable[[ClientInfo, int, str], None],
        report: Callable[[str, str], None],
    ) -> None:
        """
        @param until: when it ends, by the clock of the wheel.
        @param report: is told that the limit is reached.
        """
        self.bucket = 0
        self._client = client
        self._until = until
        self._wheel = wheel
        self._sendAway = sendAway
        self._report = report
        wheel.add(self, until)

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        if now < self._until:
            return self._until
        self._report("lifetime", f"{self._client} has been connected for long enough")
        self._sendAway(self._client, ADMINISTRATIVE_ACTION, "the connection has lasted as long as it may")
        return 0.0

    def stop(self) -> None:
        """
        The connection has ended.
        """
        self._wheel.remove(self)
