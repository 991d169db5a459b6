"""
A new beginning: when the process ends, the same command is begun in its place, with the same number, environment and
folder, and with the sockets of the service manager.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted_mqtt.process.systemd import InheritedSocket

# Where a service manager's descriptors begin (sd_listen_fds(3)), and where copies of them are out of the way.
_FIRST: Final = 3
_ASIDE: Final = 100


class Restart:
    """
    Begins the process again when it ends, if that was asked for.
    """

    def __init__(self, inherited: Iterable[InheritedSocket] = (), obstacle: str = "") -> None:
        """
        Make this before C{twistd} changes folders and rights.

        @param inherited: sockets that the service manager has opened; those that are in use are handed on.
        @param obstacle: why the process can't begin again; C{""} if it can.
        """
        self._obstacle = obstacle
        self._command = [sys.executable, *sys.orig_argv[1:]]
        self._folder = os.getcwd()
        self._inherited = tuple(inherited)
        self._sockets: list[tuple[str, int]] = []
        self._prepared = False

    def prepare(self) -> str:
        """
        Have the process begin again when it ends.

        @return: why that can't be; C{""} if it can.
        """
        if not self._obstacle and not self._prepared:
            self._prepared = True
            # The broker closes its own when it ends.
            self._sockets = [
                (one.name, fcntl.fcntl(one.socket.fileno(), fcntl.F_DUPFD_CLOEXEC, _ASIDE))
                for one in self._inherited
                if one.socket.fileno() >= 0
            ]
            # After all of twistd's own clean-up, which removes the file with the number of the process.
            atexit.register(self._begin)
        return self._obstacle

    def _begin(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        environment = dict(os.environ)
        for number, (_, descriptor) in enumerate(self._sockets, _FIRST):
            os.dup2(descriptor, number)
        if self._sockets:
            environment["LISTEN_PID"] = str(os.getpid())
            environment["LISTEN_FDS"] = str(len(self._sockets))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in self._sockets)
        try:
            os.chdir(self._folder)
            os.execve(self._command[0], self._command, environment)
        except OSError as error:
            os.write(2, f"the broker can't begin again: {error}\n".encode())
            os._exit(1)
