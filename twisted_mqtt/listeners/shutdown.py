"""
Ends all connections: tells the clients, sends their waiting bytes, and aborts the connections that are still open after
the time limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.listeners.registry import Listeners
    from twisted_mqtt.mqtt.shell import ConnectionShell

_log = Logger()

AT_ONCE: Final = 200
"""
Clients that are sent away before those that are still here have their turn again.
"""

GRACE: Final = 3.0
"""
Seconds that connections have when no client is left: a little more than they linger for their peer to close.
"""

INTERVAL: Final = 0.02
"""
Seconds between two looks at who is left.
"""


async def sendAllAway(listeners: Listeners, clock: IReactorTime, seconds: float) -> int:
    """
    Send every client away (0x8B), and wait until they have gone.

    @param listeners: their ports are closed.
    @param seconds: how long this may take.

    @return: how many had to be cut off.
    """
    until = clock.seconds() + seconds
    sent = 0
    for protocol in [protocol for listener in listeners.all for protocol in listener.clients.protocols]:
        _sendAway(protocol)
        sent += 1
        if sent % AT_ONCE == 0:
            await deferLater(clock, 0)
            if clock.seconds() >= until:
                break
    waiting = True
    while any(listener.connections for listener in listeners.all):
        if waiting and not any(listener.clients.protocols for listener in listeners.all):
            # The remaining clients have been told and need only close, or are in the middle of a handshake.
            waiting = False
            until = min(until, clock.seconds() + GRACE)
        left = until - clock.seconds()
        if left <= 0:
            return _cutOff(listeners)
        await deferLater(clock, min(INTERVAL, left))
    return 0


def _sendAway(protocol: ConnectionShell) -> None:
    try:
        protocol.disconnectClient(SERVER_SHUTTING_DOWN)
    except Exception:
        _log.failure("Sending {client} away failed", client=protocol.client)


def _cutOff(listeners: Listeners) -> int:
    left = sum(listener.connections for listener in listeners.all)
    for listener in listeners.all:
        for protocol in list(listener.clients.protocols):
            protocol.transport.abortConnection()
    _log.warn("{left} connections have not ended in time and are cut off", left=left)
    return left
