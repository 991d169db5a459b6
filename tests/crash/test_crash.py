"""
A short form of the crash suite, and that it can fail. C{make crash} runs the long one.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.crash.checker import Checker, Stream
from tests.crash.gateways import GatewaySuite
from tests.crash.suite import Suite
from tests.system.process import Broker

pytestmark = pytest.mark.system


def test_nothingAcknowledgedIsLost(tmp_path: Path) -> None:
    """
    Killed at random moments, the broker keeps what it has acknowledged, QoS 2 once.
    """
    suite = Suite(tmp_path, seed=7)
    try:
        suite.run(8)
    finally:
        suite.stop()
    print(suite.checker.report())
    assert suite.checker.problems == []
    counts = suite.checker.counts
    assert counts["QoS 1 deliveries promised"] > 100 and counts["QoS 2 deliveries promised"] > 100
    assert counts["retained values"] == 16
    assert counts["delayed wills"] and counts["wills of clean sessions"] and counts["sessions that had to end"]
    for delay in (0, 1):
        assert suite.checker.streams[f"crash/delayed/{delay}"].sent > 10


@pytest.mark.slow
def test_gateways(tmp_path: Path) -> None:
    """
    The same with clients of STOMP, whose receipts are the promises, one by one and for whole transactions, of MQTT-SN,
    of CoAP, and devices of LwM2M, which get each command; some stay, some reconnect and some are away.
    """
    suite = GatewaySuite(tmp_path, seed=7)
    try:
        suite.run(4)
    finally:
        suite.stop()
    print(suite.checker.report())
    assert suite.checker.problems == []
    for topic in ("stomp", "transaction", "sn/1", "sn/2", "mqtt/1", "mqtt/2", "coap"):
        assert suite.checker.streams[f"crash/{topic}"].sent > 1
    for place in ("online", "offline"):
        assert suite.checker.streams[f"lwm2m/{place}-device/dn"].sent > 1
    assert suite.checker.retained["retained/coap"].sent > 1
    assert suite.checker.counts["QoS 1 deliveries promised"] > 50 and suite.checker.counts["QoS 2 deliveries promised"]


def test_seesLosses(tmp_path: Path) -> None:
    """
    With a store that may keep back what it has acknowledged, the suite finds what a kill has taken with it.

    The kernel keeps its buffer however the process ends; so the broker's own buffer is lost here, as the kernel's would
    be in a power cut.
    """
    suite = Suite(tmp_path, commit="never", seed=7)
    problems = suite.checker.problems
    try:
        # The first message may be another one, such as a second delivery of a QoS 2 message.
        while suite.rounds < 20 and not any("is lost" in problem for problem in problems):
            suite.run(1)
    finally:
        suite.stop()
    print(suite.checker.report())
    assert any("is lost" in problem for problem in problems)


class ForgetfulSuite(Suite):
    """
    A broker that begins anew after each kill.
    """

    def _start(self) -> Broker:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        return super()._start()


def test_seesLostWills(tmp_path: Path) -> None:
    """
    Of a store that is gone the suite says so for short sessions, and for wills of clients with a session and without.
    """
    suite = ForgetfulSuite(tmp_path, seed=7)
    try:
        suite._load()
        suite._rest(0.6)
        suite.broker.end(signal.SIGKILL)
        suite.rounds += 1
        for client in suite._clients():
            client.close()
        suite.broker = suite._start()
        suite._look()
    finally:
        suite.stop()
    for problem in (
        "short-0: its session is lost",
        "late: its will 1 is not published",
        "retained/present4: says that its client is there, which is gone",
    ):
        assert problem in suite.checker.problems


def test_seesWillsTooMany(tmp_path: Path) -> None:
    """
    A client that comes back too late, whose will is published and whose session has ended, is a problem too; and so is
    one whose session outlives its time.
    """
    suite = Suite(tmp_path, seed=7)
    try:
        for client in suite.short:
            client.close()
        suite.short[0].connect(suite.broker)
        suite._until([suite.watcher], lambda: "wills/short-1" in suite.watcher.wills)
        suite.expiring.lasts = 60
        suite.expiring.connect(suite.broker)
        suite._until([suite.expiring], lambda: suite.expiring.open)
        suite.expiring.lasts = 1
        suite.expiring.leave()
        suite.expiring.since -= 10
        suite._lookAtWills()
    finally:
        suite.stop()
    assert [problem.partition(" after ")[0] for problem in suite.checker.problems] == [
        "short-1: its will is published, though it came back in time",
        "expiring: its session of 1 s is there",
    ]


def checkerWith(qos: int, *numbers: int) -> Checker:
    """
    A checker of a stream of which three were promised and these were received.
    """
    checker = Checker()
    stream = checker.stream("t", qos)
    stream.sent = 3
    stream.promised.update(range(3))
    for number in numbers:
        checker.received("s", "t", number)
    checker.check("s")
    return checker


@pytest.mark.parametrize(
    "qos, numbers, problems",
    [
        (1, (0, 1, 2), []),
        (1, (0, 1, 0, 1, 2), []),
        (1, (0, 2), ["s: t 1 was acknowledged and is lost"]),
        (1, (1, 0, 2), ["s: t 0 came after a later one"]),
        (2, (0, 1, 1, 2), ["s: t 1 came more than once"]),
    ],
)
def test_checker(qos: int, numbers: tuple[int, ...], problems: list[str]) -> None:
    """
    The checker tells what is right from what is wrong.
    """
    assert checkerWith(qos, *numbers).problems == problems


@pytest.mark.parametrize("qos, wrong", [(1, False), (2, True)])
def test_checkerAfterForgetting(qos: int, wrong: bool) -> None:
    """
    A message that comes again later has come twice, whether it was examined meanwhile or not; it is not out of order.
    """
    checker = checkerWith(qos, 0, 1, 2)
    checker.receipts["s"]["t"].forget()
    checker.streams["t"].promised.clear()
    checker.received("s", "t", 1)
    checker.check("s")
    assert checker.problems == (["s: t 1 came more than once"] if wrong else [])


@pytest.mark.parametrize("value, wrong", [(-1, True), (0, True), (1, False), (2, False), (3, True)])
def test_checkerOfRetained(value: int, wrong: bool) -> None:
    """
    The last acknowledged retained message, or a later one that was not acknowledged yet, is right.
    """
    checker = Checker()
    checker.retained["r"] = Stream("r", 1, 3, {0, 1})
    checker.checkRetained({"r": value} if value >= 0 else {})
    assert bool(checker.problems) is wrong
