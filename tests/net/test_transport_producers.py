"""
Tests for L{twisted_mqtt.net.transport}: who writes to a connection is paused and resumed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.kits.transport import BIG, Fault, Site, SiteTestCase, readAll, reset


class Source:
    """
    A producer that writes down what it is told.
    """

    def __init__(self, produce: Callable[[], object] = lambda: None) -> None:
        self.told: list[str] = []
        self.produce = produce

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.produce()

    def stopProducing(self) -> None:
        self.told.append("stop")


class ProducerTests(SiteTestCase):
    """
    A producer is paused and resumed.
    """

    def test_streaming(self) -> None:
        """
        A streaming producer is paused by each write while too much is pending, and resumed once when it has left.
        """
        client, recorder = self.connect()
        source = Source()
        recorder.transport.registerProducer(source, True)
        recorder.transport.write(b"x")
        self.assertEqual(source.told, [])
        recorder.transport.write(BIG)
        recorder.transport.write(BIG)
        self.assertEqual(source.told, ["pause", "pause"])
        self.whileReading(client, 2 * len(BIG) + 1)
        self.site.until(lambda: len(source.told) > 2)
        self.assertEqual(source.told, ["pause", "pause", "resume"])
        recorder.transport.write(BIG)
        self.assertEqual(source.told, ["pause", "pause", "resume", "pause"])

    def test_lowWater(self) -> None:
        """
        It is resumed as soon as no more than the low mark is pending.
        """
        site = Site(highWater=100000, lowWater=len(BIG) // 2)
        self.addCleanup(site.close)
        client, recorder = site.connect(receiveBuffer=8192)
        source = Source(lambda: pending.append(recorder.transport.pendingBytes))
        pending: list[int] = []
        recorder.transport.registerProducer(source, True)
        recorder.transport.write(BIG)
        while source.told == ["pause"]:
            client.recv(65536)
            site.turn()
        self.assertEqual(source.told, ["pause", "resume"])
        self.assertGreater(pending[0], len(BIG) // 4)
        self.assertLessEqual(pending[0], len(BIG) // 2)

    def test_pulling(self) -> None:
        """
        A producer that does not stream is asked for more whenever nothing is pending, until it has no more.
        """
        client, recorder = self.connect()
        left = [BIG, b"the", b"end"]

        def produce() -> None:
            self.assertEqual(recorder.transport.pendingBytes, 0)
            recorder.transport.write(left.pop(0))
            if not left:
                recorder.transport.unregisterProducer()
                recorder.transport.loseConnection()

        source = Source(produce)
        recorder.transport.registerProducer(source, False)
        self.assertEqual(self.whileReading(client, len(BIG) + 100), BIG + b"theend")
        self.assertEqual(source.told, ["resume"] * 3)

    def test_loseWaits(self) -> None:
        """
        A connection with a producer closes when the producer is unregistered.
        """
        client, recorder = self.connect()
        recorder.transport.registerProducer(Source(), True)
        recorder.transport.loseConnection()
        self.site.turn()
        self.assertEqual(recorder.lost, 0)
        recorder.transport.write(b"all")
        recorder.transport.unregisterProducer()
        self.site.turn()
        self.assertEqual(recorder.lost, 1)
        self.assertEqual(readAll(client, 100), b"all")

    def test_stopped(self) -> None:
        """
        When the connection is lost its producer is stopped; one that comes later is stopped at once.
        """
        client, recorder = self.connect()
        source, late = Source(), Source()
        recorder.transport.registerProducer(source, True)
        self.assertRaises(RuntimeError, recorder.transport.registerProducer, late, True)
        reset(client)
        self.site.until(lambda: recorder.lost)
        recorder.transport.registerProducer(late, True)
        self.assertEqual((source.told, late.told), (["stop"], ["stop"]))

    def test_raising(self) -> None:
        """
        A producer that raises loses its connection, and nobody else's.
        """

        def fail() -> None:
            raise Fault("on purpose")

        client, recorder = self.connect()
        recorder.transport.registerProducer(Source(fail), True)
        recorder.transport.write(BIG)
        reader = threading.Thread(target=lambda: self.assertRaises(ConnectionError, readAll, client, 2 * len(BIG)))
        reader.start()
        self.site.until(lambda: recorder.lost)
        reader.join()
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
        self.assertEqual(recorder.reason, "ConnectionAborted")
