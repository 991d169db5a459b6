"""
One turn of the network: reads every ready socket, then writes all output.

A L{Poller} keeps an C{epoll} of its own and shows the reactor only that, as one reader: an epoll descriptor can itself
be polled, so this works below every reactor that has C{addReader}, and the reactor's cost per ready socket is paid once
per turn instead.

Standard library only, so that this module compiles where Twisted is not installed; a L{Shell} does everything that
needs Twisted's own types.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from select import epoll
from typing import Final

from twisted_mqtt.net.roles import Closing, DelayedCall, Descriptor, Reactor, Shell, Whole

EVENTS_PER_POLL: Final = 512
"""
So many sockets are served before the turn's output leaves: a bound on how long a reply waits for its turn's end.
"""

ROUNDS: Final = 2
"""
So many polls are made before anybody else is looked after: the second saves a look where ten connections are busy (5 %
of the CPU time per message). More were not measurably better, and everything else in the reactor waits.
"""

STAY: Final = 64
"""
So many polls are made before the reactor has its say again, as long as nobody else wants it: the loop of the reactor
costs about as much as a message, which shows where they come one at a time.
"""

LINGER: Final = 0.002
"""
For so many seconds the next event is awaited here and not in the reactor, where the last ones were as close together. A
reactor that is stopped by an event learns of it that much later at most.
"""


class _Forks:
    """
    Counts how often this process was copied.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """
        One more.
        """
        self.count += 1


_forks: Final = _Forks()
os.register_at_fork(before=_forks.add)


class Poller:
    """
    The ready sockets of one reactor.

    @ivar turnEnded: called in order at the end of each turn; what they write leaves in this turn. Outside a turn they
        are not called: who has something to write then arranges for its own C{callLater}.
    @ivar inTurn: whether L{turnEnded} is going to be called.
    @ivar hurried: whether somebody beside the network has something to do: while this is so, a turn ends with the
        socket at hand. It may be set by any thread.
    """

    __slots__ = (
        "_added",
        "_attached",
        "_closing",
        "_deadlines",
        "_descriptors",
        "_entered",
        "_epoll",
        "_forks",
        "_settling",
        "_sweeping",
        "_turn",
        "_watched",
        "_whole",
        "hurried",
        "inTurn",
        "reactor",
        "shell",
        "turnEnded",
    )

    def __init__(self, reactor: Reactor, shell: Shell, whole: Whole | None = None) -> None:
        """
        @param whole: what else the reactor has to do, where that can be known.
        """
        self.reactor = reactor
        self.shell = shell
        self.turnEnded: list[Callable[[], object]] = []
        self.inTurn = False
        self.hurried = False
        self._whole = whole
        # When the reactor last came here.
        self._entered = -1.0
        self._epoll = epoll()
        self._forks = _forks.count
        self._attached = False
        self._watched = 0
        # By descriptor number: numbers are dense, and a list costs 8 bytes for each.
        self._descriptors: list[Descriptor | None] = []
        # The turn in which each was added. A descriptor closed in a turn gives its number to the next one opened, and
        # the events still to be served of that turn belong to the old one.
        self._added: list[int] = []
        self._turn = 0
        self._closing: list[Closing] = []
        self._settling: DelayedCall | None = None
        self._deadlines: dict[Closing, float] = {}
        self._sweeping: DelayedCall | None = None

    def __repr__(self) -> str:
        return f"<Poller of {self._watched} descriptors>"

    # Watching file descriptors

    def attach(self) -> None:
        """
        Have the reactor poll this poller. May be repeated: somebody may have emptied the reactor meanwhile.
        """
        self._attached = True
        self.reactor.addReader(self)

    def add(self, fileno: int, descriptor: Descriptor, events: int) -> None:
        """
        Begin to watch a descriptor.
        """
        self._epoll.register(fileno, events)
        while fileno >= len(self._descriptors):
            self._descriptors.append(None)
            self._added.append(0)
        self._descriptors[fileno] = descriptor
        self._added[fileno] = self._turn
        self._watched += 1
        if not self._attached:
            self.attach()

    def modify(self, fileno: int, events: int) -> None:
        """
        Watch a descriptor for other events.
        """
        self._epoll.modify(fileno, events)

    def remove(self, fileno: int, closing: bool = False) -> None:
        """
        Watch a descriptor no longer. To be called while it is still open.

        @param closing: it is closed next, and nobody had it before this process.
        """
        # Closing does it, and saves a system call, but for a forked process that holds a copy. One that executes
        # another program at once does not: accepted sockets are closed there.
        if not closing or self._forks != _forks.count:
            self._epoll.unregister(fileno)
        self._descriptors[fileno] = None
        self._watched -= 1
        if not self._watched and self._attached:
            self._attached = False
            self.reactor.removeReader(self)

    # The turn

    def doRead(self) -> None:
        """
        Serve what is ready, a bounded number of times.
        """
        whole = self._whole
        busy = False
        if whole is not None:
            now = self.reactor.seconds()
            busy = now - self._entered < LINGER
            self._entered = now
        unasked = 0
        for _ in range(STAY):
            ready = self._epoll.poll(0, EVENTS_PER_POLL)
            if not ready:
                return
            self._serve(ready)
            if self.hurried:
                return
            unasked += 1
            # One peer at a time: there is hardly another already, and asking costs a system call.
            if len(ready) == 1 or unasked == ROUNDS:
                if whole is None or not busy or not whole.isNext(self._epoll.fileno(), LINGER):
                    return
                unasked = 0

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        """
        One turn.
        """
        self._turn += 1
        turn = self._turn
        descriptors = self._descriptors
        added = self._added
        self.inTurn = True
        for fileno, events in ready:
            descriptor = descriptors[fileno]
            if descriptor is None or added[fileno] == turn:
                continue
            try:
                descriptor.ready(events)
            except BaseException:
                # An exception that reaches the reactor makes it drop this reader, and every connection with it.
                self.shell.raised("a descriptor")
            if self.hurried:
                # The others are still ready, and come first next time.
                break
        self._endTurn()

    def _endTurn(self) -> None:
        """
        Let the turn's output leave, then let go the connections that are to go; which may cause output.
        """
        self.inTurn = True
        while True:
            for callback in self.turnEnded:
                try:
                    callback()
                except BaseException:
                    self.shell.raised("a callback at the end of a turn")
            if not self._closing:
                break
            closing = self._closing
            self._closing = []
            for connection in closing:
                try:
                    connection.settle()
                except BaseException:
                    self.shell.raised("a connection that closes")
        self.inTurn = False

    def settleLater(self, connection: Closing) -> None:
        """
        Have C{connection.settle} called when the turn ends: no protocol's code is running then.
        """
        self._closing.append(connection)
        if not self.inTurn and self._settling is None:
            self._settling = self.reactor.callLater(0, self._settle)

    def _settle(self) -> None:
        self._settling = None
        if self._closing:
            self._endTurn()

    # Deadlines

    def setDeadline(self, connection: Closing, seconds: float) -> None:
        """
        Have C{connection.timedOut} called after so many seconds, or up to a second later.
        """
        # One timed call for all: a connection closing under load costs an entry in a dictionary, not a DelayedCall.
        self._deadlines[connection] = self.reactor.seconds() + seconds
        if self._sweeping is None:
            self._sweeping = self.reactor.callLater(min(seconds, 1.0), self._sweep)

    def clearDeadline(self, connection: Closing) -> None:
        """
        End the deadline of a connection, because the awaited event has come.
        """
        self._deadlines.pop(connection, None)
        if not self._deadlines and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        self._sweeping = None
        now = self.reactor.seconds()
        late = [connection for connection, deadline in self._deadlines.items() if deadline <= now]
        for connection in late:
            self._deadlines.pop(connection, None)
            try:
                connection.timedOut()
            except BaseException:
                self.shell.raised("a connection that timed out")
        self._sweepAgain()

    def _sweepAgain(self) -> None:
        # By itself: a compiled function takes what it has set to None for None until it returns, whatever others that
        # it calls do, and a connection that timed out may set a deadline.
        if self._deadlines and self._sweeping is None:
            self._sweeping = self.reactor.callLater(1.0, self._sweep)

    # IReadDescriptor

    def fileno(self) -> int:
        """
        @return: the descriptor the reactor polls.
        """
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """
        @return: what stands before a line logged from here.
        """
        return "poller"

    def connectionLost(self, reason: object) -> None:
        """
        The reactor has stopped: close everything.
        """
        self._attached = False
        for descriptor in list(self._descriptors):
            if descriptor is not None:
                try:
                    descriptor.reactorStopped()
                except BaseException:
                    self.shell.raised("a descriptor")
