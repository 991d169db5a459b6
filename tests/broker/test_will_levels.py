"""
Tests of L{twisted_mqtt.broker.admission}: the topic of a will has the limits of other topics.
"""

from __future__ import annotations

import pytest

from twisted_mqtt.core.packets import Will
from twisted_mqtt.testing.memory import MemoryBroker


def test_levels() -> None:
    """
    A will with more levels than a topic may have is refused with the CONNECT.
    """
    memory = MemoryBroker(max_topic_levels=3)
    memory.client("a", will=Will("a/b/c", b"", 0, False, None))
    with pytest.raises(AssertionError, match="refused"):
        memory.client("b", will=Will("a/b/c/d", b"", 0, False, None))
