"""
A listening socket below the poller: it accepts many connections in a turn, and stops accepting for a while when
descriptors run out.

It is compiled, because every connection goes through it; L{twisted_mqtt.net.endpoints} declares its interfaces.
"""

from __future__ import annotations

import socket
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, errorcode
from select import EPOLLIN
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from twisted_mqtt.net.poller import Poller
from twisted_mqtt.net.portoptions import PortOptions
from twisted_mqtt.net.rawsocket import RawSocket
from twisted_mqtt.net.roles import DelayedCall
from twisted_mqtt.net.sockets import SocketSource
from twisted_mqtt.net.transport import FastConnection

_log = Logger()

SECONDS_OF_REST: Final = 1.0
"""
How long accepting rests when there was no descriptor or no memory left for one more connection.
"""

_EXHAUSTED = {EMFILE, ENFILE, ENOBUFS, ENOMEM}

# The peer has gone before it was accepted, or the packet filter does not want it: there may be others behind it.
_PASSING = {ECONNABORTED, EPERM}


class FastPort:
    """
    An C{IListeningPort} whose connections are L{FastConnection}s.

    @ivar accepted: how many connections it has accepted.
    """

    __slots__ = (
        "_accepting",
        "_attempts",
        "_exhausted",
        "_factory",
        "_options",
        "_poller",
        "_resting",
        "_socket",
        "_source",
        "_wanted",
        "accepted",
    )

    def __init__(
        self,
        poller: Poller,
        source: SocketSource,
        factory: Any,
        options: PortOptions | None = None,
    ) -> None:
        """
        @param factory: provides C{IProtocolFactory}.
        """
        self._poller = poller
        self._source = source
        self._factory = factory
        self._options = PortOptions() if options is None else options
        self._socket: socket.socket | None = None
        self._accepting = False
        self._wanted = True
        # How many connections to ask for in a turn. One at a time, asking for a second is a system call for nothing.
        self._attempts = 1
        self._exhausted = False
        self._resting: DelayedCall | None = None
        self.accepted = 0

    def __repr__(self) -> str:
        where = "not listening" if self._socket is None else f"on {self.getHost()}"
        return f"<FastPort of {self._factory!r} {where}>"

    # IListeningPort

    def startListening(self) -> None:
        """
        Open the socket, and accept.

        @raise CannotListenError: if the address is taken, forbidden, or not ours.
        """
        if self._socket is not None:
            raise RuntimeError(f"{self!r} listens already")
        listening = self._source.open(self._options)
        listening.setblocking(False)
        self._factory.doStart()
        self._socket = listening
        self._poller.add(listening.fileno(), self, EPOLLIN)
        self._poller.attach()
        self._accepting = True
        self._watch()

    def stopListening(self) -> Deferred[None]:
        """
        Accept no more, and close the socket. Connections stay.

        @return: a L{Deferred} that has fired.
        """
        self._close()
        return succeed(None)

    def loseConnection(self) -> Deferred[None]:
        """
        As L{stopListening}.
        """
        return self.stopListening()

    def getHost(self) -> Any:
        """
        @return: the address listened on.
        """
        if self._socket is None:
            raise RuntimeError("This port does not listen")
        return self._poller.shell.address(self._socket.getsockname())

    # Limits

    def pauseAccepting(self) -> None:
        """
        Leave new connections to the kernel's backlog until L{resumeAccepting}.
        """
        self._wanted = False
        self._watch()

    def resumeAccepting(self) -> None:
        """
        Accept again.
        """
        self._wanted = True
        self._watch()

    # From the poller

    def ready(self, events: int) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        for attempt in range(self._attempts):
            # Either may have changed in the factory's or a protocol's code.
            if self._socket is None or not self._accepting:
                return
            try:
                fileno, name = self._socket._accept()  # type: ignore[attr-defined]  # what accept() calls; not in typeshed
            except BlockingIOError:
                self._attempts = max(1, attempt)
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                if error.errno in _EXHAUSTED:
                    self._rest(error)
                    return
                raise
            self.accepted += 1
            self._exhausted = False
            # This skips the wrapping of socket.accept(), which costs as much as the system call.
            self._accept(fileno, name)
        # There may be more behind them, which the next poll will say.
        self._attempts = min(2 * self._attempts, self._options.acceptsPerTurn)

    def reactorStopped(self) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        self._close()

    def _accept(self, fileno: int, name: object) -> None:
        accepted = RawSocket(fileno)
        try:
            protocol = self._factory.buildProtocol(self._poller.shell.address(name))
            if protocol is not None:
                FastConnection(self._poller, accepted, name, self._options.transport).open(protocol)
                return
        except BaseException:
            # A factory's fault is the end of this connection, not of those waiting behind it.
            self._poller.shell.raised("a factory's buildProtocol")
        accepted.close()

    def _rest(self, error: OSError) -> None:
        """
        Wait for descriptors to become free: the socket stays ready, and would make the poller spin.
        """
        if not self._exhausted:
            # Once, not every second until somebody has raised the limit.
            self._exhausted = True
            _log.error(
                "Cannot accept connections on {port!r} ({error}); trying again every {seconds} s",
                port=self,
                error=errorcode.get(error.errno or 0, str(error)),
                seconds=SECONDS_OF_REST,
            )
        self._resting = self._poller.reactor.callLater(SECONDS_OF_REST, self._rested)
        self._watch()

    def _rested(self) -> None:
        self._resting = None
        self._watch()

    def _watch(self) -> None:
        """
        Have the poller report connections exactly when they can be accepted.
        """
        if self._socket is None:
            return
        accepting = self._wanted and self._resting is None
        if accepting != self._accepting:
            self._accepting = accepting
            self._poller.modify(self._socket.fileno(), EPOLLIN if accepting else 0)

    def _close(self) -> None:
        listening = self._socket
        if listening is None:
            return
        self._socket = None
        self._accepting = False
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._poller.remove(listening.fileno())
        listening.close()
        self._source.closed()
        self._factory.doStop()
