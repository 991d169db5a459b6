"""
Tests of L{twisted_mqtt.base.timerwheel}.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base.timerwheel import TimerWheel


class Alarm:
    """
    Something due: notes when it was asked and says what it is told to say.
    """

    def __init__(self, say: Callable[[float], float] = lambda now: 0.0) -> None:
        self.bucket = 0
        self.asked: list[float] = []
        self.say = say

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        self.asked.append(now)
        return self.say(now)


class DeadlineWheelTests(SynchronousTestCase):
    """
    Tests for L{TimerWheel}.
    """

    def setUp(self) -> None:
        """
        A wheel at some time of day.
        """
        self.clock = Clock()
        self.clock.advance(1000.5)
        self.wheel = TimerWheel(self.clock)

    def pass_(self, seconds: int) -> None:
        """
        Let time pass in half seconds.
        """
        for _ in range(seconds * 2):
            self.clock.advance(0.5)

    def test_neverEarlyAndAtMostASecondLate(self) -> None:
        """
        A thing is asked within the second after its deadline, once.
        """
        alarm = Alarm()
        self.wheel.add(alarm, 1005.25)
        self.pass_(20)
        self.assertEqual(len(alarm.asked), 1)
        self.assertTrue(1005.25 <= alarm.asked[0] <= 1006.25, alarm.asked)

    def test_putOff(self) -> None:
        """
        An entry that says that it is due later is asked again then.
        """
        alarm = Alarm(lambda now: 1010.0 if now < 1010.0 else 0.0)
        self.wheel.add(alarm, 1002.0)
        self.pass_(20)
        self.assertEqual(len(alarm.asked), 2)
        self.assertTrue(1010.0 <= alarm.asked[1] <= 1011.0)

    def test_notLaterThanBefore(self) -> None:
        """
        Adding again with a later deadline changes nothing; with an earlier one it is asked earlier, and once only.
        """
        alarm = Alarm()
        self.wheel.add(alarm, 1005.0)
        self.wheel.add(alarm, 1050.0)
        self.wheel.add(alarm, 1002.0)
        self.pass_(100)
        self.assertEqual(len(alarm.asked), 1)
        self.assertTrue(1002.0 <= alarm.asked[0] <= 1003.0)

    def test_removed(self) -> None:
        """
        A removed entry is not asked, and an entry that was never added can be removed.
        """
        alarm = Alarm()
        self.wheel.remove(alarm)
        self.wheel.add(alarm, 1002.0)
        self.wheel.remove(alarm)
        self.pass_(10)
        self.assertEqual(alarm.asked, [])

    def test_failureHarmsNobodyElse(self) -> None:
        """
        An entry that raises is logged and not asked again; the others are.
        """

        def fail(now: float) -> float:
            raise RuntimeError("no")

        bad, good = Alarm(fail), Alarm()
        self.wheel.add(bad, 1002.0)
        self.wheel.add(good, 1002.0)
        self.pass_(5)
        self.assertEqual((len(bad.asked), len(good.asked)), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_addedWhileItTurns(self) -> None:
        """
        An entry may add itself and others while it is asked: there is still one delayed call at a time.
        """

        def addMore(now: float) -> float:
            self.wheel.add(Alarm(), now + 3)
            self.wheel.add(first, now + 5)
            return 0.0

        first = Alarm(addMore)
        self.wheel.add(first, 1001.0)
        self.wheel.add(Alarm(), 1500.0)
        for _ in range(100):
            self.clock.advance(0.5)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(len(first.asked), 9)

    def test_addedWhileItCatchesUp(self) -> None:
        """
        After the clock has jumped, all that is due is asked, though some of it adds something meanwhile.
        """
        later = [Alarm() for _ in range(5)]

        def addMore(now: float) -> float:
            self.wheel.add(Alarm(), now + 3)
            return 0.0

        self.wheel.add(Alarm(addMore), 1002.0)
        for number, alarm in enumerate(later):
            self.wheel.add(alarm, 1003.0 + number)
        self.clock.advance(20)
        self.assertEqual([len(alarm.asked) for alarm in later], [1] * 5)

    def test_farJump(self) -> None:
        """
        A machine without a battery learns the time from the network: passing over fifty years of seconds takes no time.
        """
        alarm, other = Alarm(), Alarm()
        self.wheel.add(alarm, 1002.0)
        self.wheel.add(other, 1_700_000_100.0)
        before = self.clock.seconds()
        self.clock.advance(1_700_000_000.0 - before)
        self.assertEqual((len(alarm.asked), len(other.asked)), (1, 0))
        self.pass_(110)
        self.assertEqual(len(other.asked), 1)

    def test_stops(self) -> None:
        """
        After C{stop} nothing is asked and nothing is left with the reactor.
        """
        alarm = Alarm()
        self.wheel.add(alarm, 1002.0)
        self.wheel.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removedByAnother(self) -> None:
        """
        An entry is not asked if another one that is due in the same second removes it.
        """
        alarms: list[Alarm] = []

        def removeOthers(now: float) -> float:
            for alarm in alarms:
                self.wheel.remove(alarm)
            return 0.0

        alarms.extend(Alarm(removeOthers) for _ in range(3))
        for alarm in alarms:
            self.wheel.add(alarm, 1002.0)
        self.pass_(5)
        self.assertEqual(sum(len(alarm.asked) for alarm in alarms), 1)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=20),
    st.lists(st.floats(0.1, 12), min_size=1, max_size=20),
)
def test_everyDeadlineIsAsked(deadlines: list[tuple[int, int]], steps: list[float]) -> None:
    """
    However time passes, everything is asked once its deadline is over, as often as it asks to be.
    """
    clock = Clock()
    clock.advance(1000)
    wheel = TimerWheel(clock)
    alarms = []
    for deadline, again in deadlines:
        alarm = Alarm()

        def say(now: float, alarm: Alarm = alarm, again: int = again) -> float:
            return now + 1.5 if len(alarm.asked) <= again else 0.0

        alarm.say = say
        alarms.append(alarm)
        wheel.add(alarm, 1000.0 + deadline)
    for step in steps:
        clock.advance(step)
        assert len(clock.getDelayedCalls()) <= 1
        for alarm, (deadline, _) in zip(alarms, deadlines, strict=True):
            assert all(when >= 1000 + deadline for when in alarm.asked)
            assert alarm.asked or clock.seconds() <= 1000 + deadline + 1
    for _ in range(100):
        clock.advance(0.5)
    assert [len(alarm.asked) for alarm in alarms] == [again + 1 for _, again in deadlines]
    assert clock.getDelayedCalls() == []
