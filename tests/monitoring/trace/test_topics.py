"""
Traces by topic.
"""

from __future__ import annotations

from pathlib import Path

from tests.kits.tracing import Tracing
from twisted_mqtt.hooks.verdicts import DROP
from twisted_mqtt.testing.memory import MemoryBroker


def test_messages(tmp_path: Path) -> None:
    """
    What is published to the filter is shown with who has published it, and with hooks called for it; else nothing.
    """
    memory = MemoryBroker()
    tracing = Tracing(memory.broker, tmp_path)

    def check(message: object) -> object:
        return DROP if getattr(message, "topic", "") == "a/dropped" else None

    memory.broker.hooks.messagePublish.add(check)
    tracing.start("topic", "a/#")
    client = memory.client("c1")
    for topic in ("a/1", "b/1", "a/dropped"):
        client.publish(topic, topic.encode(), qos=1)
    memory.wait(1)
    lines = [line.rpartition(" (")[0] if "HOOK" in line else line for line in tracing.lines()]
    name = f"{__name__}.test_messages.<locals>.check"
    assert sorted(lines[1:]) == sorted(
        [
            "[info] Starting trace for messages that match a/#",
            f'[debug] <local> HOOK: CID: "c1" message.publish {name} "a/1": ok',
            '[debug] <127.0.0.1> MQTT MESSAGE: CID: "c1" PUBLISH(d0, q1, r0, m0, "a/1") with payload:',
            "    a/1",
            f'[warning] <local> HOOK: CID: "c1" message.publish {name} "a/dropped": drop',
        ]
    )


def test_no_client_is_touched(tmp_path: Path) -> None:
    """
    A trace by topic asks nothing of those who connect, and ends its watch with itself.
    """
    memory = MemoryBroker()
    tracing = Tracing(memory.broker, tmp_path)
    trace = tracing.start("topic", "a/#")
    assert memory.broker.tracer is None
    assert len(memory.broker.watching.watches) == 1
    tracing.tracer.end(trace)
    assert len(memory.broker.watching.watches) == 0
