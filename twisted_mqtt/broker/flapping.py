"""
Bans clients for a while that connect again and again (spec/config.md 6, C{flapping_detect_policy}).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from twisted_mqtt.base.printable import printable
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.core.reasons import CONNECTION_RATE_EXCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.broker.bans import Bans
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IClient

MOST_WATCHED: Final = 50_000
"""
Clients whose connections are remembered at once. Beyond it those are forgotten that have not connected for longest.
"""


class Flapping:
    """
    Watches how often each client connects, where its zone has C{enable_flapping_detect}.

    Only clients that were let in count: else anybody could have a client banned by using its name.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        bans: Bans,
        sendAway: Callable[[ClientInfo, int, str], None],
        seconds: Callable[[], float],
        dates: Dates,
    ) -> None:
        """
        @param sendAway: sends a client away, for a reason code and a text.
        @param seconds: tells the moment.
        """
        self._hooks = hooks
        self._bans = bans
        self._sendAway = sendAway
        self._seconds = seconds
        self._dates = dates
        self._policy = settings.flapping_detect_policy
        # When each has connected, lately; who has done so last stands last.
        self._connected: dict[str, deque[float]] = {}
        self._watching = False
        self._banned = RateLimitedLog(seconds)

    def __len__(self) -> int:
        return len(self._connected)

    def configure(self, settings: Settings) -> None:
        """
        Watch if the settings want it, and not if they don't: a hook point without callbacks costs nothing.
        """
        self._policy = settings.flapping_detect_policy
        wanted = any(zone.enable_flapping_detect for zone in settings.zone.values())
        if wanted and not self._watching:
            self._hooks.clientConnected.add(self._seen)
        elif self._watching and not wanted:
            self.stop()
        self._watching = wanted

    def stop(self) -> None:
        """
        Watch no more.
        """
        if self._watching:
            self._watching = False
            self._hooks.clientConnected.remove(self._seen)
        self._connected.clear()

    def _seen(self, client: IClient, connection: IClient) -> None:
        if not isinstance(client, ClientInfo) or not client.options.enable_flapping_detect:
            return
        policy = self._policy
        now = self._seconds()
        clientID = client.clientID
        times = self._connected.pop(clientID, None)
        if times is None:
            times = deque()
            self._forget(now - policy.window)
        self._connected[clientID] = times
        times.append(now)
        while times[0] <= now - policy.window:
            times.popleft()
        if len(times) > policy.threshold:
            del self._connected[clientID]
            self._ban(client, now)

    def _forget(self, before: float) -> None:
        """
        Make room for one more.
        """
        connected = self._connected
        while connected:
            oldest = next(iter(connected))
            if connected[oldest][-1] > before and len(connected) < MOST_WATCHED:
                return
            del connected[oldest]

    def _ban(self, client: ClientInfo, now: float) -> None:
        policy = self._policy
        reason = f"connected more than {policy.threshold} times within {policy.window:g} s"
        self._bans.add(client.clientID, "clientid", reason, "flapping_detect", self._dates.of(now + policy.banned))
        self._banned.info(
            '"{client}" {reason}: banned for {seconds:g} s',
            client=printable(client.clientID),
            reason=reason,
            seconds=policy.banned,
        )
        self._sendAway(client, CONNECTION_RATE_EXCEEDED, reason)
