"""
The parts of the poller and its connections that use Twisted's own types.
"""

from __future__ import annotations

import socket
from time import monotonic

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.net.roles import ABORTED, DONE, TIMED_OUT

_log = Logger()

# One for all, as in Twisted's reactors: making a Failure costs more than the rest of closing.
_DONE = Failure(ConnectionDone())


def addressOf(name: object) -> IAddress:
    """
    @param name: what C{accept}, C{getpeername} or C{getsockname} gave.
    @return: the same as Twisted's transports would show it.
    """
    if isinstance(name, tuple):
        if len(name) == 2:
            return IPv4Address("TCP", *name)
        host, port, flow, scope = name
        if scope:
            # The name of the interface, without which a link-local address is of no use.
            host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
        return IPv6Address("TCP", host, port, flow, scope)
    if isinstance(name, str | bytes):
        return UNIXAddress(name or None)
    raise TypeError(f"Not the name of a socket: {name!r}")


class TwistedShell:
    """
    A L{twisted_mqtt.net.roles.Shell}.
    """

    def __init__(self) -> None:
        self._givenUp = RateLimitedLog(monotonic)

    def reason(self, kind: int, error: OSError | None) -> Failure:
        """
        See L{twisted_mqtt.net.roles.Shell.reason}.
        """
        if kind == DONE:
            return _DONE
        if kind == ABORTED:
            return Failure(ConnectionAborted())
        if kind == TIMED_OUT:
            return Failure(TimeoutError())
        if error is None:
            return Failure(ConnectionLost())
        return Failure(ConnectionLost(error.strerror))

    def raised(self, culprit: str) -> Failure:
        """
        See L{twisted_mqtt.net.roles.Shell.raised}.
        """
        failure = Failure()
        _log.failure("Unhandled error in {culprit}", failure, culprit=culprit)
        return failure

    def gaveUp(self, name: object, seconds: float, pending: int) -> None:
        """
        See L{twisted_mqtt.net.roles.Shell.gaveUp}.
        """
        self._givenUp.info(
            "the connection from {peer} is cut: it takes nothing for {seconds:g} s, and {pending} bytes wait for it",
            peer=peerName(addressOf(name)),
            pending=pending,
            seconds=seconds,
        )

    def address(self, name: object) -> IAddress:
        """
        See L{twisted_mqtt.net.roles.Shell.address}.
        """
        return addressOf(name)
