"""
Endpoints of the fast transport, or of Twisted's own transport on systems without C{epoll}.

Its classes are compiled where possible, and a compiled class cannot be decorated: the end of this module declares the
interfaces that they provide.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.interfaces import (
    IConsumer,
    IListeningPort,
    IProtocolFactory,
    IPushProducer,
    IReactorFDSet,
    IReadDescriptor,
    IStreamServerEndpoint,
    ISystemHandle,
    ITCPTransport,
)
from zope.interface import classImplements, implementer

from twisted_mqtt.net.portoptions import PortOptions
from twisted_mqtt.net.sockets import AdoptedSocket, SocketSource, TCPSocket, UNIXSocket

try:
    from select import epoll as _epoll  # noqa: F401 - asked for, not used
except ImportError:
    HAVE_EPOLL = False
else:
    HAVE_EPOLL = True

if HAVE_EPOLL or TYPE_CHECKING:
    from twisted_mqtt.net.poller import Poller
    from twisted_mqtt.net.port import FastPort
    from twisted_mqtt.net.reactorprivate import wholeOf
    from twisted_mqtt.net.roles import Reactor
    from twisted_mqtt.net.transport import FastConnection
    from twisted_mqtt.net.twistedtypes import TwistedShell

# A poller knows its reactor, so that an entry lives as long as the process: so do reactors.
_pollers: WeakKeyDictionary[object, Poller] = WeakKeyDictionary()


def pollerOf(reactor: object) -> Poller:
    """
    @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.
    @return: the one poller of a reactor.
    """
    poller = _pollers.get(reactor)
    if poller is None:
        poller = _pollers[reactor] = Poller(cast("Reactor", reactor), TwistedShell(), wholeOf(reactor))
    return poller


def canBeFast(reactor: object) -> bool:
    """
    @return: whether a L{Poller} can work below a reactor.
    """
    return HAVE_EPOLL and IReactorFDSet.providedBy(reactor)


@implementer(IStreamServerEndpoint)
class FastServerEndpoint:
    """
    Listens on any L{SocketSource}.
    """

    def __init__(self, poller: Poller, source: SocketSource, options: PortOptions | None = None) -> None:
        self._poller = poller
        self._source = source
        self._options = options

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: a L{Deferred} that has fired with a L{FastPort}, or failed with L{CannotListenError}.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, protocolFactory: IProtocolFactory) -> IListeningPort:
        port = FastPort(self._poller, self._source, protocolFactory, self._options)
        port.startListening()
        return IListeningPort(port)


def tcpEndpoint(
    reactor: object, port: int, interface: str = "", options: PortOptions | None = None
) -> IStreamServerEndpoint:
    """
    @param interface: an IPv4 or IPv6 address.
    @return: an endpoint of the fast transport where there can be one; else Twisted's, which knows the backlog alone of
        the options.
    """
    if canBeFast(reactor):
        return FastServerEndpoint(pollerOf(reactor), TCPSocket(port, interface), options)
    backlog = (options or PortOptions()).backlog
    endpoint = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return endpoint(reactor, port, backlog, interface)


def unixEndpoint(
    reactor: object, path: str, mode: int = 0o666, options: PortOptions | None = None
) -> IStreamServerEndpoint:
    """
    @return: as L{tcpEndpoint}, for a UNIX socket.
    """
    if canBeFast(reactor):
        return FastServerEndpoint(pollerOf(reactor), UNIXSocket(path, mode), options)
    return UNIXServerEndpoint(reactor, path, (options or PortOptions()).backlog, mode)


def adoptedEndpoint(
    reactor: object, listening: socket.socket, options: PortOptions | None = None
) -> IStreamServerEndpoint:
    """
    @param listening: a socket that somebody else has opened; it is the endpoint's from now on.
    @return: as L{tcpEndpoint}, for that socket.
    """
    if canBeFast(reactor):
        return FastServerEndpoint(pollerOf(reactor), AdoptedSocket(listening), options)
    listening.setblocking(False)
    return AdoptedStreamServerEndpoint(reactor, listening.detach(), listening.family)


if HAVE_EPOLL:
    classImplements(Poller, IReadDescriptor)
    classImplements(FastPort, IListeningPort)
    classImplements(FastConnection, ITCPTransport, IConsumer, IPushProducer, ISystemHandle)
