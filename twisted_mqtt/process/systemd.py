"""
The interface to a service manager: takes the sockets that it has opened, and tells it the state of the broker
(sd_listen_fds(3), sd_notify(3)). It needs no library.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet import endpoints
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.systemd import ListenFDs

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

_log = Logger()


@dataclass(frozen=True)
class InheritedSocket:
    """
    A listening socket that somebody else has opened for us.

    @ivar name: what its unit calls it: C{FileDescriptorName=}, or else the name of the unit.
    """

    name: str
    socket: socket.socket


def handedOver() -> ListenFDs:
    """
    Find the descriptors that were handed to this process.
    """
    # Twisted looks for them when its endpoints are imported, removes what the environment says, and keeps it here.
    found: ListenFDs | None = getattr(getattr(endpoints, "_SystemdParser", None), "_sddaemon", None)
    return ListenFDs.fromEnvironment() if found is None else found


def inheritedSockets(handed: ListenFDs) -> list[InheritedSocket]:
    """
    Take over the sockets that were handed to this process; they are not handed on to its children.
    """
    names = {descriptor: name for name, descriptor in handed.inheritedNamedDescriptors().items()}
    found = []
    for descriptor in handed.inheritedDescriptors():
        try:
            os.set_inheritable(descriptor, False)
            inherited = socket.socket(fileno=descriptor)
        except OSError as error:
            _log.error("descriptor {number} is not a socket: {error}", number=descriptor, error=error)
            continue
        found.append(InheritedSocket(names.get(descriptor, ""), inherited))
    return found


class Notifier:
    """
    Tells the service manager how the broker is, as far as it wants to hear it.
    """

    def __init__(
        self, environ: Mapping[str, str], clock: IReactorTime, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """
        @param environ: says where to send to.
        """
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._monotonic = monotonic
        self._watchdog = LoopingCall(self._tell, "WATCHDOG=1")
        self._watchdog.clock = clock
        self._interval = _watchdogInterval(environ)

    @property
    def wanted(self) -> bool:
        """
        Whether anybody listens.
        """
        return self._address.startswith(("/", "@"))

    def ready(self, status: str = "") -> None:
        """
        The broker serves clients, for the first time or again after L{reloading}. From now on a watchdog is kept calm.
        """
        self._tell("READY=1", *([f"STATUS={status}"] if status else []))
        if self._interval and self.wanted and not self._watchdog.running:
            # Half of what is demanded: a turn may take long.
            self._watchdog.start(self._interval / 2)

    def reloading(self) -> None:
        """
        The configuration is read again; L{ready} ends it.
        """
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1e6)}")

    def stopping(self) -> None:
        """
        The broker is about to end.
        """
        self._tell("STOPPING=1")

    def stop(self) -> None:
        """
        Tell no more.
        """
        if self._watchdog.running:
            self._watchdog.stop()

    def _tell(self, *lines: str) -> None:
        if not self.wanted:
            return
        # An abstract socket has a null byte where an at sign is written.
        address: Any = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.setblocking(False)
            try:
                sending.sendto("\n".join(lines).encode("utf-8"), address)
            except OSError as error:
                # The service manager has gone or is too busy: the broker must serve its clients all the same.
                _log.warn("the service manager can't be told {line}: {error}", line=lines[0], error=error)


def _watchdogInterval(environ: Mapping[str, str]) -> float:
    """
    Seconds in which the service manager wants to hear of this process; 0 for never.
    """
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(environ.get("WATCHDOG_USEC", "0"))) / 1e6
    except ValueError:
        return 0.0
