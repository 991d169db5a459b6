"""
Tests for L{twisted_mqtt.net.poller}.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from select import EPOLLIN

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import twisted_mqtt.net.endpoints  # noqa: F401 - declares the interfaces
from tests.kits.transport import Fault, SiteTestCase, TurnedReactor
from twisted_mqtt.net.poller import LINGER, STAY, Poller
from twisted_mqtt.net.transport import FastConnection
from twisted_mqtt.net.twistedtypes import TwistedShell


class Watched:
    """
    A descriptor at one end of a pair of sockets, of which the test has the other.
    """

    def __init__(self, poller: Poller, onReady: Callable[[], object] = lambda: None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.onReady = onReady
        self.events: list[int] = []
        self.stopped = False
        self.settled = 0
        self.late = 0
        poller.add(self.ours.fileno(), self, EPOLLIN)

    def ready(self, events: int) -> None:
        self.events.append(events)
        self.ours.recv(100)
        self.onReady()

    def reactorStopped(self) -> None:
        self.stopped = True

    def settle(self) -> None:
        self.settled += 1

    def timedOut(self) -> None:
        self.late += 1

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class Unready:
    """
    A descriptor that nothing arrives at.
    """

    def __init__(self) -> None:
        self.events: list[int] = []

    def ready(self, events: int) -> None:
        self.events.append(events)

    def reactorStopped(self) -> None:
        self.events.clear()


class Alone:
    """
    A reactor that has nothing else to do, or always something.
    """

    def __init__(self) -> None:
        self.answer = True
        self.asked: list[tuple[int, float]] = []
        self.onAsked: Callable[[], object] = lambda: None

    def isNext(self, fileno: int, seconds: float) -> bool:
        self.asked.append((fileno, seconds))
        self.onAsked()
        return self.answer


class PollerTests(SynchronousTestCase):
    """
    Tests for L{Poller} with descriptors that do nothing.
    """

    def setUp(self) -> None:
        self.reactor = TurnedReactor()
        self.poller = Poller(self.reactor, TwistedShell())

    def watch(self, onReady: Callable[[], object] = lambda: None) -> Watched:
        """
        @return: a new descriptor below the poller.
        """
        watched = Watched(self.poller, onReady)
        self.addCleanup(watched.close)
        return watched

    def test_interface(self) -> None:
        """
        The reactor can read it.
        """
        self.assertTrue(verifyObject(IReadDescriptor, self.poller))

    def test_reader(self) -> None:
        """
        The reactor has one reader while anything is watched, and none else.
        """
        self.assertEqual(self.reactor.readers, [])
        first, second = self.watch(), self.watch()
        self.poller.attach()
        self.assertEqual(self.reactor.readers, [self.poller])
        self.poller.remove(first.ours.fileno())
        self.assertEqual(self.reactor.readers, [self.poller])
        self.poller.remove(second.ours.fileno())
        self.assertEqual(self.reactor.readers, [])
        self.watch()
        self.assertEqual(self.reactor.readers, [self.poller])

    def test_hurried(self) -> None:
        """
        While somebody has something else to do, a turn ends with one descriptor, and its output leaves; the others have
        their turn later, each once.
        """

        def hurry() -> None:
            self.poller.hurried = True

        watched = [self.watch(hurry) for _ in range(4)]
        served: list[int] = []
        self.poller.turnEnded.append(lambda: served.append(sum(len(each.events) for each in watched)))
        for each in watched:
            each.theirs.send(b"x")
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual(served, [1, 2])
        for each in watched:
            each.onReady = lambda: None
        self.poller.hurried = False
        self.poller.doRead()
        self.assertEqual(served, [1, 2, 4])
        self.assertEqual([len(each.events) for each in watched], [1, 1, 1, 1])

    def test_stays(self) -> None:
        """
        While events come fast and are for nobody else, the next is awaited without the reactor; not for ever, not where
        the last was long ago, and not where somebody else has something to do.
        """
        whole = Alone()
        self.poller = Poller(self.reactor, TwistedShell(), whole)
        watched = self.watch()
        whole.onAsked = lambda: watched.theirs.send(b"x")
        watched.theirs.send(b"x")
        self.poller.doRead()
        self.assertEqual((len(watched.events), whole.asked), (1, []))
        watched.theirs.send(b"x")
        self.poller.doRead()
        self.assertEqual(len(watched.events), 1 + STAY)
        self.assertEqual(set(whole.asked), {(self.poller.fileno(), LINGER)})
        whole.answer = False
        whole.asked.clear()
        self.poller.doRead()
        self.assertEqual((len(watched.events), len(whole.asked)), (2 + STAY, 1))
        self.reactor.advance(LINGER)
        whole.answer = True
        whole.asked.clear()
        self.poller.doRead()
        self.assertEqual((len(watched.events), len(whole.asked)), (3 + STAY, 0))

    def test_staysNotWhenHurried(self) -> None:
        """
        Somebody who has something else to do is not kept waiting.
        """
        whole = Alone()
        self.poller = Poller(self.reactor, TwistedShell(), whole)
        watched = self.watch()
        watched.theirs.send(b"x")
        self.poller.doRead()
        self.poller.hurried = True
        watched.theirs.send(b"x")
        self.poller.doRead()
        self.assertEqual((len(watched.events), whole.asked), (2, []))

    def test_looksAfterOthers(self) -> None:
        """
        Where many are busy, the others in the reactor are looked after each second time.
        """
        whole = Alone()
        whole.answer = False
        self.poller = Poller(self.reactor, TwistedShell(), whole)
        watched = [self.watch() for _ in range(2)]
        for count in (2, 4):
            for each in watched:
                each.onReady = lambda each=each: each.theirs.send(b"x")  # type: ignore[misc] # bound by default
                if count == 2:
                    each.theirs.send(b"x")
            self.poller.doRead()
            self.assertEqual([len(each.events) for each in watched], [count, count])
        self.assertEqual(len(whole.asked), 1)

    def test_turn(self) -> None:
        """
        All that is ready is served, then the end of the turn is told, in order.
        """
        happened: list[str] = []
        for name in ("a", "b"):
            self.watch(lambda name=name: happened.append(name)).theirs.send(b"x")  # type: ignore[misc] # bound by default
        inTurn: list[bool] = []
        self.poller.turnEnded.append(lambda: happened.append("first"))
        self.poller.turnEnded.append(lambda: happened.append("second"))
        self.poller.turnEnded.append(lambda: inTurn.append(self.poller.inTurn))
        self.poller.doRead()
        self.assertEqual(sorted(happened[:2]), ["a", "b"])
        self.assertEqual(happened[2:], ["first", "second"])
        self.assertEqual(inTurn, [True])
        self.assertFalse(self.poller.inTurn)
        self.poller.doRead()
        self.assertEqual(len(happened), 4)

    def test_faults(self) -> None:
        """
        An exception is logged; everybody else has their turn, and the reactor never hears of it.
        """

        def fail() -> None:
            raise Fault("on purpose")

        ended: list[int] = []
        self.poller.turnEnded.extend([fail, lambda: ended.append(1)])
        watched = [self.watch(fail), self.watch(fail)]
        for each in watched:
            each.theirs.send(b"x")
        self.poller.doRead()
        self.assertEqual([len(each.events) for each in watched], [1, 1])
        self.assertEqual(ended, [1])
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 3)
        self.assertFalse(self.poller.inTurn)

    def test_numberTakenOver(self) -> None:
        """
        Events of a descriptor that was closed in this turn are not those of the one that has its number now.
        """
        newcomers: list[Unready] = []

        def replace() -> None:
            other = second if first.events else first
            number = other.ours.fileno()
            self.poller.remove(number)
            ours, theirs = socket.socketpair()
            self.addCleanup(theirs.close)
            os.dup2(ours.fileno(), number)
            ours.close()
            newcomers.append(Unready())
            self.poller.add(number, newcomers[0], EPOLLIN)

        first, second = self.watch(replace), self.watch(replace)
        first.theirs.send(b"x")
        second.theirs.send(b"x")
        self.poller.doRead()
        self.assertEqual(len(first.events) + len(second.events), 1)
        self.assertEqual(newcomers[0].events, [])

    def test_settle(self) -> None:
        """
        Work that cannot be done now is done at the end of the turn; outside one, in the reactor's next, all at once.
        """
        watched = self.watch(lambda: self.poller.settleLater(watched))
        others = [self.watch(), self.watch()]
        ended: list[int] = []
        self.poller.turnEnded.append(lambda: ended.append(watched.settled))
        watched.theirs.send(b"x")
        self.poller.doRead()
        # The second call takes along what settling has caused.
        self.assertEqual(ended, [0, 1])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        for other in others:
            self.poller.settleLater(other)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(0)
        self.assertEqual([other.settled for other in others], [1, 1])

    def test_deadlines(self) -> None:
        """
        Many deadlines share one timed call, which goes with the last of them.
        """
        watched = [self.watch() for _ in range(4)]
        for number, each in enumerate(watched):
            self.poller.setDeadline(each, 2.0 + number)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.poller.clearDeadline(watched[0])
        self.poller.setDeadline(watched[3], 2.0)
        self.reactor.pump([1.0] * 3)
        self.assertEqual([each.late for each in watched], [0, 1, 0, 1])
        self.poller.clearDeadline(watched[2])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.advance(10)
        self.assertEqual(watched[2].late, 0)

    def test_stopped(self) -> None:
        """
        When the reactor stops, everything is told.
        """
        watched = [self.watch(), self.watch()]
        self.poller.connectionLost(None)
        self.assertEqual([each.stopped for each in watched], [True, True])


class TurnTests(SiteTestCase):
    """
    Several connections in one turn.
    """

    def closeAnother(self, end: Callable[[FastConnection], None]) -> None:
        """
        Have two connections, ready in the same turn, each end the other.
        """
        first, firstRecorder = self.connect()
        second, secondRecorder = self.connect()
        firstRecorder.onData = lambda data: end(secondRecorder.transport)
        secondRecorder.onData = lambda data: end(firstRecorder.transport)
        first.sendall(b"x")
        second.sendall(b"x")
        self.site.until(lambda: firstRecorder.lost or secondRecorder.lost)
        self.site.turn()
        self.assertCountEqual([firstRecorder.events, secondRecorder.events], [["made", "lost"], ["made", b"x"]])

    def test_losingAnother(self) -> None:
        """
        A connection that another one's protocol has closed hears nothing more but that, though it was ready.
        """
        self.closeAnother(FastConnection.loseConnection)

    def test_abortingAnother(self) -> None:
        """
        The same for one that was aborted.
        """
        self.closeAnother(FastConnection.abortConnection)

    def test_oneSendEach(self) -> None:
        """
        Bytes that are written at the end of the turn leave in that turn.
        """
        client, recorder = self.connect()
        self.site.poller.turnEnded.append(lambda: recorder.transport.write(b"." * len(recorder.events)))
        client.sendall(b"x")
        self.site.until(lambda: recorder.received)
        self.assertEqual(client.recv(10), b"..")

    def test_lossCausesOutput(self) -> None:
        """
        Bytes that a lost protocol makes others write, such as a will, leave in that turn too.
        """
        client, recorder = self.connect()
        other, otherRecorder = self.connect()
        outbox: list[bytes] = []

        def flush() -> None:
            while outbox:
                otherRecorder.transport.write(outbox.pop())

        self.site.poller.turnEnded.append(flush)
        recorder.onData = lambda data: recorder.transport.abortConnection()
        recorder.onLost = lambda: outbox.append(b"will")
        client.sendall(b"x")
        self.site.until(lambda: recorder.lost)
        self.assertEqual(other.recv(10), b"will")

    def test_reactorStops(self) -> None:
        """
        When the reactor stops, connections and ports are closed, and protocols told.
        """
        client, recorder = self.connect()
        self.site.poller.connectionLost(None)
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionLost")
        self.assertRaises(RuntimeError, self.site.port.getHost)

    def test_copied(self) -> None:
        """
        A connection that a forked process has a copy of is not heard of after it was closed here.
        """
        client, recorder = self.connect()
        hold, letGo = os.pipe()
        child = os.fork()
        if not child:
            os.close(letGo)
            os.read(hold, 1)
            os._exit(0)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.close, letGo)
        os.close(hold)
        recorder.onData = lambda data: recorder.transport.loseConnection()
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        self.site.until(lambda: recorder.transport.getHandle() is None)
        # To the copy this is the end of input, for as long as there is one.
        self.site.settle()
        self.assertEqual(recorder.events, ["made", b"bye", "lost"])

    def test_many(self) -> None:
        """
        Several hundred connections, all speaking, closing in every way at once.
        """
        pairs = [self.connect() for _ in range(300)]
        for number, (client, recorder) in enumerate(pairs):
            recorder.onData = lambda data, transport=recorder.transport: transport.write(data)  # type: ignore[misc] # bound by default
            client.sendall(b"%d" % number)
        self.site.until(lambda: all(recorder.received for _, recorder in pairs))
        for number, (client, recorder) in enumerate(pairs):
            self.assertEqual(client.recv(10), b"%d" % number)
            if number % 4 == 0:
                recorder.transport.loseConnection()
            elif number % 4 == 1:
                recorder.transport.abortConnection()
            client.close()
        self.site.until(lambda: all(recorder.transport.getHandle() is None for _, recorder in pairs))
        self.assertEqual({recorder.lost for _, recorder in pairs}, {1})
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])
        self.site.port.stopListening()
        self.assertEqual(self.site.reactor.readers, [])
