"""
Tests for L{twisted_mqtt.net.transport}: how a connection ends.
"""

from __future__ import annotations

import socket
import threading

from tests.kits.transport import BIG, Fault, SiteTestCase, readAll, reset
from twisted_mqtt.net.transport import LINGER_BYTES


class PeerClosesTests(SiteTestCase):
    """
    The peer ends the connection.
    """

    def test_fin(self) -> None:
        """
        FIN is an orderly end, and what came before it arrives.
        """
        client, recorder = self.connect()
        client.sendall(b"bye")
        client.close()
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.events, ["made", b"bye", "lost"])
        self.assertEqual(recorder.reason, "ConnectionDone")
        self.assertIsNone(recorder.transport.getHandle())

    def test_reset(self) -> None:
        """
        RST is not.
        """
        client, recorder = self.connect()
        reset(client)
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionLost")

    def test_resetWithOutputPending(self) -> None:
        """
        Output that nobody will read is forgotten.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        reset(client)
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.transport.pendingBytes, 0)
        self.assertIsNone(recorder.transport.getHandle())

    def test_halfClose(self) -> None:
        """
        A peer that only stops sending still gets what has been written to it, then FIN.
        """
        client, recorder = self.connect()
        recorder.onData = lambda data: recorder.transport.write(BIG)
        client.sendall(b"all you have")
        client.shutdown(socket.SHUT_WR)
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.reason, "ConnectionDone")
        self.assertGreater(recorder.transport.pendingBytes, 0)
        self.assertEqual(self.whileReading(client, len(BIG) + 1), BIG)
        self.site.until(lambda: recorder.transport.getHandle() is None)
        self.assertEqual(recorder.lost, 1)
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])

    def test_halfCloseBounded(self) -> None:
        """
        If it does not read that either, it is given up.
        """
        client, recorder = self.connect(receiveBuffer=4096)
        recorder.transport.write(BIG)
        self.site.settle()
        client.shutdown(socket.SHUT_WR)
        self.site.until(lambda: recorder.lost)
        self.site.turn()
        self.site.reactor.pump([1.0] * 16)
        self.assertIsNone(recorder.transport.getHandle())
        self.assertEqual(recorder.lost, 1)


class LoseTests(SiteTestCase):
    """
    The protocol ends the connection.
    """

    def test_lose(self) -> None:
        """
        The peer gets FIN, the protocol is told when its code has returned, once.
        """
        client, recorder = self.connect()
        recorder.transport.write(b"bye")
        recorder.transport.loseConnection()
        recorder.transport.loseConnection()
        self.assertTrue(recorder.transport.disconnecting)
        self.assertEqual(recorder.lost, 0)
        self.site.turn()
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionDone")
        self.assertEqual(readAll(client, 10), b"bye")
        client.close()
        self.site.until(lambda: recorder.transport.getHandle() is None)
        self.assertEqual(recorder.lost, 1)
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])

    def test_loseInDataReceived(self) -> None:
        """
        Closing from inside C{dataReceived} tells nothing before it has returned.
        """
        client, recorder = self.connect()
        recorder.onData = lambda data: recorder.transport.loseConnection()
        client.sendall(b"x")
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.events, ["made", b"x", "lost"])

    def test_writeAfterLose(self) -> None:
        """
        Bytes that are written between the request for the end and the end of the turn are flushed: an outbox may do so.
        """
        client, recorder = self.connect()
        self.site.poller.turnEnded.append(lambda: recorder.transport.write(b"last words"))
        recorder.onData = lambda data: recorder.transport.loseConnection()
        client.sendall(b"x")
        self.site.until(lambda: recorder.lost)
        self.assertEqual(readAll(client, 100), b"last words")

    def test_pending(self) -> None:
        """
        Pending output is flushed first; nothing is read meanwhile.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        recorder.transport.loseConnection()
        client.sendall(b"unheard")
        self.site.turn()
        self.assertEqual(recorder.events, ["made"])
        self.assertEqual(self.whileReading(client, len(BIG) + 1), BIG)
        self.site.until(lambda: recorder.lost)
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionDone")

    def test_pendingBounded(self) -> None:
        """
        A peer that reads nothing cannot keep a closing connection.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        recorder.transport.loseConnection()
        self.site.reactor.pump([1.0] * 14)
        self.assertEqual(recorder.lost, 0)
        self.site.reactor.pump([1.0] * 2)
        self.assertEqual(recorder.reason, "TimeoutError")
        self.assertIsNone(recorder.transport.getHandle())
        self.assertRaises(ConnectionResetError, readAll, client, len(BIG))

    def test_noResetForUnreadInput(self) -> None:
        """
        Input still unread when the connection closes does not cost the peer the last words.
        """
        client, recorder = self.connect()
        recorder.onData = lambda data: recorder.transport.pauseProducing()
        client.sendall(b"x" * 300000)
        self.site.until(lambda: recorder.received)
        recorder.transport.write(b"no more, please")
        recorder.transport.loseConnection()
        self.site.turn()
        client.sendall(b"y" * 100000)
        self.site.turn()
        self.assertEqual(readAll(client, 100), b"no more, please")

    def test_noLingerForTheGone(self) -> None:
        """
        A peer whose FIN is here already is not waited for.
        """
        client, recorder = self.connect()

        def leave(data: bytes) -> None:
            client.close()
            recorder.transport.loseConnection()

        recorder.onData = leave
        client.sendall(b"good-bye")
        self.site.until(lambda: recorder.lost)
        self.assertIsNone(recorder.transport.getHandle())
        self.assertEqual(recorder.events, ["made", b"good-bye", "lost"])
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])

    def test_lingersNotForLong(self) -> None:
        """
        A peer that never answers FIN is forgotten after a while.
        """
        _, recorder = self.connect()
        recorder.transport.loseConnection()
        self.site.turn()
        self.assertIsNotNone(recorder.transport.getHandle())
        self.site.reactor.pump([1.0] * 3)
        self.assertIsNone(recorder.transport.getHandle())
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])

    def test_lingersNotForMuch(self) -> None:
        """
        A peer that goes on sending is not listened to for ever.
        """
        client, recorder = self.connect()
        recorder.transport.loseConnection()
        self.site.turn()

        def send() -> None:
            with self.assertRaises(ConnectionError):
                for _ in range(100):
                    client.sendall(b"x" * LINGER_BYTES)

        sender = threading.Thread(target=send)
        sender.start()
        self.site.until(lambda: recorder.transport.getHandle() is None)
        sender.join()
        self.assertEqual(recorder.received, b"")

    def test_halfCloseOfOurs(self) -> None:
        """
        L{loseWriteConnection} flushes and sends FIN, and reading goes on.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        recorder.transport.loseWriteConnection()
        self.assertEqual(self.whileReading(client, len(BIG) + 1), BIG)
        client.sendall(b"still here")
        self.site.until(lambda: recorder.received)
        self.assertEqual(recorder.events, ["made", b"still here"])


class AbortTests(SiteTestCase):
    """
    The protocol ends the connection at once.
    """

    def test_abort(self) -> None:
        """
        The peer gets RST, pending output is forgotten, the protocol is told when its code has returned, once.
        """
        client, recorder = self.connect()
        recorder.transport.write(BIG)
        recorder.transport.abortConnection()
        recorder.transport.abortConnection()
        recorder.transport.loseConnection()
        recorder.transport.write(b"x")
        self.assertEqual(recorder.events, ["made"])
        self.assertEqual(recorder.transport.pendingBytes, 0)
        self.site.turn()
        self.assertEqual(recorder.events, ["made", "lost"])
        self.assertEqual(recorder.reason, "ConnectionAborted")
        self.assertRaises(ConnectionResetError, readAll, client, len(BIG))

    def test_abortInDataReceived(self) -> None:
        """
        Also from inside C{dataReceived}, even when it raises then.
        """
        client, recorder = self.connect()

        def fail(data: bytes) -> None:
            recorder.transport.abortConnection()
            raise Fault("on purpose")

        recorder.onData = fail
        client.sendall(b"x")
        self.site.until(lambda: recorder.lost)
        self.site.turn()
        self.assertEqual(recorder.events, ["made", b"x", "lost"])
        self.flushLoggedErrors(Fault)

    def test_abortWhileLosing(self) -> None:
        """
        A close that takes too long for the protocol can be cut short.
        """
        _, recorder = self.connect()
        recorder.transport.write(BIG)
        recorder.transport.loseConnection()
        self.site.turn()
        recorder.transport.abortConnection()
        self.site.turn()
        self.assertEqual(recorder.reason, "ConnectionAborted")
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])
