"""
Tests for L{twisted_mqtt.net.transport}.
"""

from __future__ import annotations

import threading

from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

import twisted_mqtt.net.endpoints  # noqa: F401 - declares the interfaces
from tests.kits.transport import BIG, Fault, Site, SiteTestCase, readAll, reset


class InterfaceTests(SiteTestCase):
    """
    The interfaces of a connection.
    """

    def test_interfaces(self) -> None:
        """
        It provides what it says.
        """
        _, recorder = self.connect()
        for interface in (ITCPTransport, IConsumer, IPushProducer, ISystemHandle):
            self.assertTrue(verifyObject(interface, recorder.transport))

    def test_addresses(self) -> None:
        """
        Both addresses are the client's, exchanged; the peer's stays known.
        """
        client, recorder = self.connect()
        host, peer = recorder.transport.getHost(), recorder.transport.getPeer()
        self.assertEqual((peer.type, peer.host, peer.port), ("TCP", *client.getsockname()))
        self.assertEqual((host.type, host.host, host.port), ("TCP", *client.getpeername()))
        client.close()
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.transport.getPeer(), peer)
        self.assertRaises(OSError, recorder.transport.getHost)
        self.assertIsNone(recorder.transport.getHandle())

    def test_options(self) -> None:
        """
        The options of TCP can be asked for and set; small writes leave at once from the start.
        """
        _, recorder = self.connect()
        transport = recorder.transport
        self.assertTrue(transport.getTcpNoDelay())
        transport.setTcpNoDelay(False)
        self.assertFalse(transport.getTcpNoDelay())
        self.assertFalse(transport.getTcpKeepAlive())
        transport.setTcpKeepAlive(True)
        self.assertTrue(transport.getTcpKeepAlive())

    def test_onlyBytes(self) -> None:
        """
        A buffer that could change after it was written is refused, as by Twisted's transports.
        """
        _, recorder = self.connect()
        for wrong in ("text", bytearray(b"x"), memoryview(b"x"), None):
            self.assertRaises(TypeError, recorder.transport.write, wrong)
            self.assertRaises(TypeError, recorder.transport.writeSequence, [b"", wrong])


class WriteTests(SiteTestCase):
    """
    From the protocol to the peer.
    """

    def test_atOnce(self) -> None:
        """
        Written bytes leave before the reactor turns.
        """
        client, recorder = self.connect()
        recorder.transport.write(b"now")
        self.assertEqual(client.recv(10), b"now")
        recorder.transport.writeSequence([b"", b"a", b"", b"b"])
        self.assertEqual(client.recv(10), b"ab")
        self.assertEqual(recorder.transport.pendingBytes, 0)

    def test_partial(self) -> None:
        """
        Bytes that the socket does not take follow in order, and are counted meanwhile.
        """
        client, recorder = self.connect()
        transport = recorder.transport
        transport.write(BIG)
        self.assertGreater(transport.pendingBytes, 0)
        self.assertLess(transport.pendingBytes, len(BIG))
        before = transport.pendingBytes
        transport.write(b"more")
        transport.writeSequence([b"and", b"more"])
        self.assertEqual(transport.pendingBytes, before + 11)
        expected = BIG + b"moreandmore"
        self.assertEqual(self.whileReading(client, len(expected)), expected)
        self.assertEqual(transport.pendingBytes, 0)

    def test_manyChunks(self) -> None:
        """
        More chunks than one system call takes, large and small, arrive in order.
        """
        client, recorder = self.connect()
        chunks = [bytes([number % 256]) * (number % 977 + 1) for number in range(5000)]
        recorder.transport.writeSequence(chunks)
        recorder.transport.writeSequence(chunks)
        expected = b"".join(chunks) * 2
        self.assertEqual(self.whileReading(client, len(expected)), expected)

    def test_notReady(self) -> None:
        """
        Once all has left, the poller does not report that the socket would take more.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        self.whileReading(client, len(BIG))
        self.site.until(lambda: recorder.transport.pendingBytes == 0)
        self.site.turn()
        self.assertEqual(self.site.poller._epoll.poll(0), [])

    def test_toTheGone(self) -> None:
        """
        A write that fails does not raise, and tells only after the writer has returned.
        """
        client, recorder = self.connect()
        reset(client)

        def write() -> None:
            for _ in range(3):
                recorder.transport.write(b"x" * 100)
            self.assertEqual(recorder.lost, 0)

        write()
        self.assertFalse(recorder.transport.connected)
        self.site.turn()
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionLost")
        recorder.transport.write(b"late")
        recorder.transport.writeSequence([b"late"])
        self.site.turn()
        self.assertEqual(recorder.events, ["made", "lost"])

    def test_toTheGoneInATurn(self) -> None:
        """
        The same from inside C{dataReceived}: told when it has returned, in the same turn.
        """
        first, firstRecorder = self.connect()
        second, secondRecorder = self.connect()

        def writeToOther(data: bytes) -> None:
            reset(second)
            for _ in range(3):
                secondRecorder.transport.write(b"x")
            self.assertEqual(secondRecorder.lost, 0)

        firstRecorder.onData = writeToOther
        first.sendall(b"go")
        self.site.until(lambda: firstRecorder.received)
        self.assertEqual(secondRecorder.events, ["made", "lost"])

    def test_restOfTheGone(self) -> None:
        """
        Bytes that the peer sent before it went are delivered, though writing to it has failed meanwhile.
        """
        client, recorder = self.connect()
        client.sendall(b"good-bye")
        reset(client)
        for _ in range(3):
            recorder.transport.write(b"x")
        self.site.turn()
        self.assertEqual(recorder.events, ["made", b"good-bye", "lost"])
        self.assertEqual(recorder.reason, "ConnectionLost")

    def test_sendTimeout(self) -> None:
        """
        A peer that takes nothing for so long is given up; one that reads slowly is not.
        """
        site = Site(sendTimeout=5.0)
        self.addCleanup(site.close)
        client, recorder = site.connect(receiveBuffer=8192)
        recorder.transport.write(BIG)
        for _ in range(10):
            before = recorder.transport.pendingBytes
            while recorder.transport.pendingBytes == before:
                client.recv(65536)
                site.turn()
            site.reactor.advance(4.0)
            self.assertEqual(recorder.lost, 0)
        site.reactor.pump([1.0] * 6)
        self.assertEqual(recorder.reason, "TimeoutError")
        self.assertRaises(ConnectionResetError, readAll, client, len(BIG))
        self.assertEqual(site.reactor.getDelayedCalls(), [])

    def test_readsALittle(self) -> None:
        """
        A peer that takes so little that the kernel does not yet want more of us has taken something; it is logged when
        it takes nothing any more.
        """
        site = Site(sendTimeout=5.0)
        self.addCleanup(site.close)
        client, recorder = site.connect(receiveBuffer=8192)
        recorder.transport.write(BIG)
        unchanged = 0
        for _ in range(10):
            before = recorder.transport.pendingBytes
            client.recv(16384)
            site.turn()
            unchanged += recorder.transport.pendingBytes == before
            site.reactor.pump([1.0] * 4)
            self.assertEqual(recorder.lost, 0)
        self.assertGreater(unchanged, 2)
        with capturedLogs() as events:
            site.reactor.pump([1.0] * 7)
        self.assertEqual(recorder.reason, "TimeoutError")
        (line,) = [formatEvent(event) for event in events]
        self.assertRegex(line, r"^the connection from 127\.0\.0\.1:\d+ is cut: it takes nothing for 5 s, and \d+ bytes")

    def test_lateReaderOfTheEnd(self) -> None:
        """
        It is the same while a connection is being closed.
        """
        site = Site(closeTimeout=5.0)
        self.addCleanup(site.close)
        client, recorder = site.connect(receiveBuffer=8192)
        recorder.transport.write(BIG)
        recorder.transport.loseConnection()
        for _ in range(5):
            client.recv(16384)
            site.turn()
            site.reactor.pump([1.0] * 4)
            self.assertEqual(recorder.lost, 0)
        site.reactor.pump([1.0] * 7)
        self.assertEqual(recorder.lost, 1)


class ReadTests(SiteTestCase):
    """
    From the peer to the protocol.
    """

    def test_received(self) -> None:
        """
        Bytes of the peer arrive, at most 64 KiB in a turn.
        """
        client, recorder = self.connect()
        sender = threading.Thread(target=client.sendall, args=(BIG,))
        sender.start()
        self.site.until(lambda: len(recorder.received) == len(BIG))
        sender.join()
        self.assertEqual(recorder.received, BIG)
        self.assertLessEqual(max(len(event) for event in recorder.events[1:]), 65536)  # type: ignore[arg-type] # all bytes

    def test_fair(self) -> None:
        """
        A peer that sends much does not keep another one waiting beyond the turn.
        """
        first, firstRecorder = self.connect()
        second, secondRecorder = self.connect()
        first.setblocking(False)
        try:
            while True:
                first.send(BIG)
        except BlockingIOError:
            pass
        second.sendall(b"me too")
        self.site.turn()
        self.assertEqual(secondRecorder.received, b"me too")
        self.assertLessEqual(len(firstRecorder.received), 2 * 65536)

    def test_pause(self) -> None:
        """
        A paused connection reads nothing, does not keep the poller busy, and reads again when resumed.
        """
        client, recorder = self.connect()
        recorder.transport.pauseProducing()
        client.sendall(b"wait")
        self.site.turn()
        self.site.turn()
        self.assertEqual(self.site.poller._epoll.poll(0), [])
        self.assertEqual(recorder.received, b"")
        recorder.transport.resumeProducing()
        self.site.until(lambda: recorder.received)
        self.assertEqual(recorder.received, b"wait")

    def test_pauseInDataReceived(self) -> None:
        """
        Pausing takes effect before anything else is delivered.
        """
        client, recorder = self.connect()
        recorder.onData = lambda data: recorder.transport.pauseProducing()
        client.sendall(b"a" * 65536)
        client.sendall(b"b" * 65536)
        self.site.until(lambda: recorder.received)
        chunks = len(recorder.events)
        for _ in range(3):
            self.site.turn()
        self.assertEqual(len(recorder.events), chunks)

    def test_resetWhilePaused(self) -> None:
        """
        A reset reaches a protocol that is not reading.
        """
        client, recorder = self.connect()
        recorder.transport.pauseProducing()
        reset(client)
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionLost")

    def test_raising(self) -> None:
        """
        A protocol that raises is logged, and loses its own connection only, for that reason.
        """
        client, recorder = self.connect()
        other, otherRecorder = self.connect()

        def fail(data: bytes) -> None:
            raise Fault("on purpose")

        recorder.onData = fail
        client.sendall(b"x")
        other.sendall(b"y")
        self.site.until(lambda: recorder.lost and otherRecorder.received)
        self.assertEqual(recorder.events, ["made", b"x", "lost"])
        self.assertEqual(recorder.reason, "Fault")
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
        self.assertEqual(otherRecorder.lost, 0)
        self.assertEqual(readAll(client, 1), b"")

    def test_raisingElsewhere(self) -> None:
        """
        Neither can a protocol harm others by raising when it is made or lost.
        """

        def fail() -> None:
            raise Fault("on purpose")

        self.site.factory.prepare = lambda recorder: setattr(recorder, "onMade", fail)
        _, made = self.connect()
        self.site.until(lambda: made.lost)
        self.site.factory.prepare = lambda recorder: setattr(recorder, "onLost", fail)
        client, lost = self.connect()
        client.close()
        self.site.until(lambda: lost.lost)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)
        self.assertIsNone(lost.transport.getHandle())
