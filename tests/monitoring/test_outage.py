"""
Tests for L{twisted_mqtt.monitoring.outage}.
"""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from twisted_mqtt.interfaces import IExtensionContext
from twisted_mqtt.monitoring.outage import Outage
from twisted_mqtt.testing.memory import MemoryBroker


class Nothing:
    """
    An extension that does nothing.
    """

    def start(self, context: IExtensionContext) -> None:
        """
        Begin.
        """


def test_outage() -> None:
    """
    There is an alarm from the first failure on until something works; a reason that changes is told once a minute at
    most, one that stays the same not again.
    """
    memory = MemoryBroker()
    outage = Outage(memory.run(Nothing()).context, "carbon_down", "carbon")
    with capturedLogs() as events:
        outage.works()
        assert not outage.lasts
        for _ in range(5):
            outage.failed("refused")
            memory.wait(1)
        assert outage.lasts
        outage.failed("no route")
        memory.wait(61)
        for _ in range(5):
            outage.failed("no route")
            outage.failed("refused")
        outage.works()
        outage.works()
    alarm = memory.broker.alarms.history()[0]
    assert (alarm.name, alarm.severity, alarm.summary) == ("carbon_down", "warning", "refused")
    assert "carbon_down" not in memory.broker.alarms.active and not outage.lasts
    said = [text for event in events if (text := formatEvent(event)).startswith("carbon")]
    assert said == ["carbon does not take metrics: no route", "carbon takes metrics again, after 66 s"]
