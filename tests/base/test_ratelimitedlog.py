"""
Tests for L{twisted_mqtt.base.ratelimitedlog}.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName


class SparingLogTests(SynchronousTestCase):
    """
    Tests for L{RateLimitedLog}.
    """

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        """
        Write down what is logged.
        """
        self.lines.append(formatEvent(event))

    def test_oncePerSecond(self) -> None:
        """
        Of each second the first line is written, and the next says how many were left out.
        """
        clock = Clock()
        clock.advance(100)
        log = RateLimitedLog(clock.seconds)
        for number in range(5):
            log.info("stranger {number}", number=number)
        clock.advance(1)
        log.info("stranger {number}", number=5)
        clock.advance(1)
        log.info("stranger {number}", number=6)
        self.assertEqual(self.lines, ["stranger 0", "stranger 5 (4 more like it before)", "stranger 6"])

    def test_failures(self) -> None:
        """
        The same holds for faults of ours, with the traceback of the first; a clock that was set back silences nothing.
        """
        clock = Clock()
        clock.advance(100)
        log = RateLimitedLog(clock.seconds)
        for _ in range(5):
            try:
                raise RuntimeError("a fault")
            except RuntimeError:
                log.failure("{what} failed", what="It")
        log.warn("something else")
        clock.rightNow = 5.0
        log.warn("later")
        self.assertEqual(self.lines, ["It failed", "later (5 more like it before)"])
        [failure] = self.flushLoggedErrors(RuntimeError)
        self.assertIn("a fault", str(failure.value))

    def test_peerName(self) -> None:
        """
        Addresses are written as people write them.
        """
        self.assertEqual(peerName(IPv4Address("TCP", "192.0.2.1", 50000)), "192.0.2.1:50000")
        self.assertIn("sock", peerName(UNIXAddress(b"sock")))
