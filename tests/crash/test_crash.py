"""
A short form of the crash suite, and that it can fail. C{make crash} runs the long one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.checker import Checker, Stream
from tests.crash.gateways import GatewaySuite
from tests.crash.suite import Suite

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
    for delay in (0, 1):
        assert suite.checker.streams[f"crash/delayed/{delay}"].sent > 10


@pytest.mark.slow
def test_gateways(tmp_path: Path) -> None:
    """
    The same with clients of STOMP, whose receipts are the promises, one by one and for whole transactions, and of
    MQTT-SN, of all of which some stay, some reconnect and some are away.
    """
    suite = GatewaySuite(tmp_path, seed=7)
    try:
        suite.run(4)
    finally:
        suite.stop()
    print(suite.checker.report())
    assert suite.checker.problems == []
    for topic in ("stomp", "transaction", "sn/1", "sn/2", "mqtt/1", "mqtt/2"):
        assert suite.checker.streams[f"crash/{topic}"].sent > 1
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
