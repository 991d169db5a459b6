"""
Tests of L{twisted_mqtt.core.exactlyonce}.
"""

from __future__ import annotations

from twisted_mqtt.core.exactlyonce import Unreleased


def test_overdueIdentifiers() -> None:
    """
    Identifiers whose PUBREL is overdue are forgotten, the others stay.
    """
    unreleased = Unreleased()
    unreleased.since = {7: 1.0, 8: 2.0, 9: 3.0}
    assert unreleased.forgetOverdue(2.0) == [7, 8]
    assert unreleased.since == {9: 3.0}
