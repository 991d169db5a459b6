"""
The names of this machine that ports are opened on, and what a person can do where a port can't be opened.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import Final

from twisted.internet.error import CannotListenError

from twisted_mqtt.config.values import Bind

# Host names in configurations are few; a system that has no entry for this one has it nevertheless (RFC 6761).
_LOCALHOST: Final = "localhost"


class PortProblem(CannotListenError):
    """
    A port can't be opened. The text names its table, says why, and what would help.

    @ivar path: the table of the configuration.
    @ivar bind: the address that the table wants.
    """

    def __init__(self, path: str, bind: Bind, error: OSError) -> None:
        CannotListenError.__init__(self, bind.host or None, bind.path or bind.port, error)
        self.path = path
        self.bind = bind

    def __str__(self) -> str:
        return f"{self.path}: can't listen on {self.bind}: {whyNot(self.bind, self.socketError)}"


def isNumeric(host: str) -> bool:
    """
    Whether a host is an address, or the empty one for all addresses, so that nobody has to be asked about it.
    """
    if not host:
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def numeric(bind: Bind) -> Bind:
    """
    Look the name of a host up. This waits for the system's resolver.

    @return: the same with the host's first IPv4 address, or else its first IPv6 address. The name C{localhost} has
        loopback addresses alone, whatever the system says: who may come in without a password depends on it.

    @raise OSError: nothing is known of the name; it is a L{socket.gaierror}.
    """
    if bind.path or isNumeric(bind.host):
        return bind
    local = bind.host.lower() == _LOCALHOST
    try:
        found = socket.getaddrinfo(bind.host, bind.port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except socket.gaierror:
        if not local:
            raise
        found = []
    hosts = [str(address[0]) for _, _, _, _, address in sorted(found, key=lambda one: one[0] != socket.AF_INET)]
    if local:
        hosts = [host for host in hosts if Bind(host, bind.port).isLoopback] or ["127.0.0.1"]
    return Bind(hosts[0], bind.port)


def whyNot(bind: Bind, error: object) -> str:
    """
    Say why a port can't be opened and what would help.

    @param error: what the system has said.
    """
    if isinstance(error, socket.gaierror):
        return f'the system knows no address of "{bind.host}"; write an address, or give the name one'
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return "another program listens there; stop that, or choose another address"
    if number == errno.EADDRNOTAVAIL:
        return "this machine has no such address; choose one of its own, or 0.0.0.0 for all"
    if number in (errno.EACCES, errno.EPERM):
        if bind.path:
            return "the process may not write to that folder"
        return (
            "the process may not open ports below 1024; choose a higher one, let the service manager open it"
            " (see docs/operations.md), or give the process CAP_NET_BIND_SERVICE"
        )
    if number == errno.ENOENT and bind.path:
        return "there is no such folder"
    text = getattr(error, "strerror", None)
    return str(text or error)
