"""
Alarms: active ones, history, and who is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.stores import START, Bed
from twisted_mqtt.base.dates import Dates
from twisted_mqtt.broker import alarms as module
from twisted_mqtt.broker.alarms import Alarm, AlarmEvent, Alarms
from twisted_mqtt.core.message import Message
from twisted_mqtt.stores.memory import MemoryStore


class AlarmsTests(SynchronousTestCase):
    """
    Tests for L{Alarms}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.published: list[Message] = []
        self.events: list[tuple[AlarmEvent, str]] = []
        self.alarms = Alarms("n", self.publish, self.clock.seconds, MemoryStore(), Dates(self.clock.seconds))
        self.observation = self.alarms.observe(lambda event, alarm: self.events.append((event, alarm.name)))

    def publish(self, message: Message) -> int:
        """
        Note a message.
        """
        self.published.append(message)
        return 0

    def pause(self, seconds: float) -> None:
        """
        Let time pass, with the looks at the clock that the broker takes.
        """
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.alarms.check(self.clock.seconds())

    def test_life(self) -> None:
        """
        An alarm is active, then history; both are told to observers and by topics.
        """
        self.alarms.activate("cpu", "warning", "Busy", "The load is 93 %", {"load": 0.93})
        [alarm] = self.alarms.active.values()
        expected = Alarm("cpu", "warning", "Busy", "The load is 93 %", 1000, {"load": 0.93})
        self.assertEqual((alarm, self.alarms.history()), (expected, []))
        self.pause(5)
        self.assertTrue(self.alarms.deactivate("cpu"))
        self.assertFalse(self.alarms.deactivate("cpu"))
        self.assertEqual(self.alarms.active, {})
        [over] = self.alarms.history()
        self.assertEqual(
            (over.name, over.at, over.until, over.end, over.details), ("cpu", 1000, 1005, "", {"load": 0.93})
        )
        self.assertEqual(self.events, [("activated", "cpu"), ("deactivated", "cpu")])
        told = [(each.topic, json.loads(each.payload), each.qos, each.system) for each in self.published]
        content = {"id": "cpu", "severity": "warning", "title": "Busy", "summary": "The load is 93 %"}
        self.assertEqual(
            told,
            [
                ("$SYS/brokers/n/alarms/alert", {**content, "ts": 1000, "details": {"load": 0.93}}, 0, True),
                ("$SYS/brokers/n/alarms/clear", {**content, "ts": 1005, "details": {"load": 0.93}}, 0, True),
            ],
        )

    def test_once(self) -> None:
        """
        An alarm that is active already stays as it is, and is told once; to end one that is not there is harmless.
        """
        first = self.alarms.activate("a", "warning", "A", "first")
        self.alarms.activate("a", "critical", "B", "second")
        self.assertEqual([alarm.summary for alarm in self.alarms.active.values()], ["first"])
        self.assertEqual(self.events, [("activated", "a")])
        first.close()
        first.close()
        self.assertEqual(self.events, [("activated", "a"), ("deactivated", "a")])

    def test_handles(self) -> None:
        """
        The handle of an alarm ends that alarm alone, not a later one of the same name.
        """
        first = self.alarms.activate("a", "warning", "A", "")
        self.alarms.deactivate("a")
        self.assertFalse(first.isActive)
        second = self.alarms.activate("a", "warning", "A", "")
        first.close()
        self.assertTrue(second.isActive)
        second.close()
        self.assertEqual(self.alarms.active, {})

    def test_flapping(self) -> None:
        """
        A cause that comes and goes is told a few times, then its alarm stays until it has been away for a while.
        """
        for _ in range(50):
            self.alarms.activate("a", "warning", "A", "")
            self.pause(1)
            self.alarms.deactivate("a")
            self.pause(1)
        self.assertEqual(self.events, [("activated", "a"), ("deactivated", "a")] * module.FLAPS + [("activated", "a")])
        self.assertEqual(len(self.published), len(self.events))
        self.assertEqual(self.alarms.active["a"].times, 50 - module.FLAPS)
        self.pause(module.CALM - 3)
        self.assertIn("a", self.alarms.active)
        self.pause(3)
        self.assertEqual((self.alarms.active, self.events[-1]), ({}, ("deactivated", "a")))
        # It has been calm: what comes now is told at once, and so is its end.
        self.alarms.activate("a", "warning", "A", "")
        self.alarms.deactivate("a")
        self.assertEqual(self.alarms.active, {})

    def test_slowOnesDoNotFlap(self) -> None:
        """
        An alarm that comes again after a while has not flapped, however often.
        """
        for _ in range(10):
            self.alarms.activate("a", "warning", "A", "")
            self.pause(5)
            self.alarms.deactivate("a")
            self.assertEqual(self.alarms.active, {})
            self.pause(module.CALM)
        self.assertEqual(len(self.events), 20)
        self.assertEqual((self.alarms._flaps, self.alarms._ended), ({}, {}))

    def test_history(self) -> None:
        """
        The history holds so many, the last ones first, and can be cleared.
        """
        self.patch(module, "MOST_HISTORY", 3)
        for number in range(5):
            self.alarms.activate(f"a{number}", "warning", "A", "").close()
        self.assertEqual([alarm.name for alarm in self.alarms.history()], ["a4", "a3", "a2"])
        self.assertEqual(self.alarms.clearHistory(), 3)
        self.assertEqual((self.alarms.history(), self.alarms.clearHistory()), ([], 0))

    def test_limits(self) -> None:
        """
        More than so many are not active, which is logged once; texts that are too long are cut.
        """
        self.patch(module, "MOST_ACTIVE", 2)
        handles = [self.alarms.activate(name, "warning", "A", "x" * 10_000, {"d": "y" * 10_000}) for name in "ab"]
        with capturedLogs() as events:
            for name in "cd":
                refused = self.alarms.activate(name, "warning", "A", "")
                self.assertFalse(refused.isActive)
                refused.close()
        self.assertEqual((sorted(self.alarms.active), len(events)), (["a", "b"], 1))
        alarm = self.alarms.active["a"]
        self.assertEqual((len(alarm.summary), len(str(alarm.details["d"]))), (4000, 4000))
        handles[0].close()
        self.assertTrue(self.alarms.activate("c", "warning", "A", "").isActive)

    def test_observers(self) -> None:
        """
        An observer that raises harms neither the alarm nor the others; one that has closed is told no more.
        """

        def fail(event: AlarmEvent, alarm: Alarm) -> None:
            self.observation.close()
            raise ValueError(alarm.name)

        self.observation.close()
        self.alarms.observe(fail)
        self.observation = self.alarms.observe(lambda event, alarm: self.events.append((event, alarm.name)))
        self.alarms.activate("a", "warning", "A", "")
        self.alarms.deactivate("a")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual(self.events, [("activated", "a")])
        self.observation.close()

    def test_publishingWaits(self) -> None:
        """
        That a hook lets the message wait is no fault.
        """
        alarms = Alarms("n", lambda message: succeed(0), self.clock.seconds, MemoryStore(), Dates(self.clock.seconds))
        self.assertTrue(alarms.activate("a", "warning", "A", "").isActive)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with an empty store.
    """
    made = Bed(tmp_path)
    yield made
    made.crash()


@pytest.mark.parametrize("crash", [False, True])
def test_survive(bed: Bed, crash: bool) -> None:
    """
    History survives; what was active when the process ended is history after the start.
    """
    alarms = bed.broker.alarms
    alarms.activate("over", "warning", "A", "", {"load": 0.5}).close()
    alarms.activate("active", "critical", "B", "")
    bed.clock.advance(1)
    bed.restart(crash, pause=10)
    alarms = bed.broker.alarms
    assert alarms.active == {}
    found = [(alarm.name, alarm.at, alarm.until, alarm.end, alarm.details) for alarm in alarms.history()]
    assert found == [("active", START, START + 11, "restart", {}), ("over", START, START, "", {"load": 0.5})]
    alarms.activate("active", "critical", "B", "").close()
    bed.clock.advance(1)
    bed.restart(crash)
    assert [alarm.name for alarm in bed.broker.alarms.history()] == ["active", "active", "over"]
    assert bed.broker.alarms.clearHistory() == 3
    bed.clock.advance(1)
    bed.restart(crash)
    assert bed.broker.alarms.history() == []
    assert bed.rows("record") == 0


def test_beforeTheStoreIsOpen(bed: Bed, tmp_path: Path) -> None:
    """
    An alarm that is activated before the store is open is kept as soon as it is open.
    """
    alarms = Alarms("n", lambda message: 0, bed.clock.seconds, bed.store, Dates(bed.clock.seconds))
    alarms.activate("early", "warning", "A", "")
    assert bed.rows("record") == 0
    alarms.load()
    bed.clock.advance(1)
    assert bed.rows("record") == 1
