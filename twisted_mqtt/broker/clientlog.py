"""
One line of the log for each client that comes in, is refused, or goes: who, from where, why, and what it has done.

However many come, this costs little: beyond the rate of C{log.client_lines}, a line is a count. It is compiled like the
core, because every connection goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from twisted_mqtt.base.printable import printable
from twisted_mqtt.core.reasons import nameOf

if TYPE_CHECKING:
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.config.values import RateLimit
    from twisted_mqtt.core.session import Session

# Compiled, it could not find out by itself what it is called.
_log = Logger("twisted_mqtt.broker.clientlog")

MOST_ADDRESSES: Final = 10_000
"""
Addresses that are told apart in one period; clients from others are counted together.
"""

MOST_LINES: Final = 10
"""
So many times the lines of one address are written of all together in one period; and so many addresses are named at its
end.
"""

_OTHERS: Final = "other addresses"

_VERSIONS: Final = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5.0"}

# Why a client went, where hooks are told a word.
_WORDS: Final = {
    "closed": "it closed the connection without DISCONNECT",
    "connection_lost": "the connection is lost",
    "connect_timeout": "no CONNECT in time",
    "send_timeout": "it took nothing for too long",
    "disconnect_with_will_message": "by its DISCONNECT, with its will",
}


class _Budget:
    """
    The lines that each address may still cause in a period.
    """

    __slots__ = ("counts", "written")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.written = 0

    def take(self, host: str, most: int) -> bool:
        counts = self.counts
        count = counts.get(host, 0) + 1
        if count == 1 and len(counts) >= MOST_ADDRESSES:
            host = _OTHERS
            count = counts.get(host, 0) + 1
        counts[host] = count
        if count > most or self.written >= MOST_LINES * most:
            return False
        self.written += 1
        return True


class ClientLog:
    """
    Writes those lines.

    @ivar enabled: whether anybody reads messages of that level.
    """

    __slots__ = ("_begun", "_coming", "_most", "_period", "_refused", "enabled")

    def __init__(self) -> None:
        self.enabled = True
        self._most = 100
        self._period = 10.0
        self._begun = 0.0
        # A flood of those who are refused must not hide those who come and go.
        self._coming = _Budget()
        self._refused = _Budget()

    def configure(self, rate: RateLimit | None) -> None:
        """
        @param rate: how many lines one address may cause; L{None} for none at all.
        """
        self._most = 0 if rate is None else rate.amount
        self._period = 10.0 if rate is None else rate.seconds

    def connected(self, client: ClientInfo) -> None:
        """
        A client is in.
        """
        if self._take(self._coming, client, client.connectedAt):
            version = _VERSIONS.get(client.protoVersion, "") if client.protocol == "mqtt" else client.protocol
            anonymous = ", anonymous" if client.anonymous else ""
            _log.info("connected: {who}, {version}{anonymous}", who=who(client), version=version, anonymous=anonymous)

    def refused(self, client: ClientInfo, reason: int | str, text: str, now: float) -> None:
        """
        A client has not been let in.

        @param reason: a reason code, or a word.
        @param text: what else is to be said; C{""} for nothing.
        """
        if self._take(self._refused, client, now):
            _log.info("refused: {who}: {why}", who=who(client), why=why(reason, text))

    def gone(self, client: ClientInfo, session: Session, reason: int | str) -> None:
        """
        A client that was in has gone, or was sent away.
        """
        if not self._take(self._coming, client, client.disconnectedAt):
            return
        connection = client.connection
        figures = ""
        if connection is not None:
            figures = (
                f", received {connection.receivedMessages} messages ({connection.receivedBytes} bytes), sent"
                f" {connection.sentMessages} ({connection.sentBytes} bytes)"
            )
        waiting = len(session.inflight.entries) + session.queueLength
        kept = f"; {waiting} messages wait" if waiting and client.expiryInterval else ""
        _log.info(
            "disconnected: {who}: {why}; here for {seconds:.1f} s{figures}{kept}",
            who=who(client),
            why=why(reason, client.farewell),
            seconds=max(0.0, client.disconnectedAt - client.connectedAt),
            figures=figures,
            kept=kept,
        )

    def sweep(self, now: float) -> None:
        """
        Begin a new period where the last one has ended, and say what was left out in that.
        """
        if 0.0 <= now - self._begun < self._period:
            return
        self._begun = now
        for what, budget in (("comings and goings", self._coming), ("refusals", self._refused)):
            if not budget.counts:
                continue
            left = sorted(
                ((count - self._most, host) for host, count in budget.counts.items() if count > self._most),
                reverse=True,
            )
            if self._most:
                for count, host in left[:MOST_LINES]:
                    _log.info(
                        "{count} more {what} of clients from {host}; there are no lines for more than log.client_lines",
                        count=count,
                        what=what,
                        host=host,
                    )
            budget.counts = {}
            budget.written = 0

    def _take(self, budget: _Budget, client: ClientInfo, now: float) -> bool:
        if not self.enabled or not self._most:
            return False
        if not 0.0 <= now - self._begun < self._period:
            self.sweep(now)
        return budget.take(client.peerHost or "", self._most)


def who(client: ClientInfo) -> str:
    """
    A client as the log names it.
    """
    username = client.username
    user = "" if username is None else f' (user "{printable(username)}")'
    host = client.peerHost
    if host is None:
        where = "a local socket"
    else:
        where = f"[{host}]:{client.peerPort}" if ":" in host else f"{host}:{client.peerPort}"
    tree = f", topic tree {printable(client.topicTree)}" if client.topicTree else ""
    name = f'"{printable(client.clientID)}"' if client.clientID else "a client without a name"
    return f"{name}{user} from {where} on {client.listener}{tree}"


def why(reason: int | str, text: str) -> str:
    """
    A reason as the log says it.

    @param text: what else is to be said; C{""} for nothing.
    """
    if isinstance(reason, str):
        named = _WORDS.get(reason, reason.replace("_", " "))
    elif reason == 0:
        named = "by its DISCONNECT"
    else:
        named = f"{nameOf(reason).replace('_', ' ')} (0x{reason:02x})"
    return f"{named}: {printable(text, 200)}" if text else named
