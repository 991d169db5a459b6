"""
Tests for L{twisted_mqtt.monitoring.stats}.
"""

import pytest

from twisted_mqtt.monitoring.stats import GAUGES, Stats


def test_names() -> None:
    """
    There are the thirteen pairs of the specification, in alphabetical order.
    """
    read = Stats().read()
    assert list(read) == sorted(f"{name}.{aspect}" for name in GAUGES for aspect in ("count", "max"))
    assert len(read) == 26
    assert set(read.values()) == {0}


def test_maximum() -> None:
    """
    The maximum stays when the number falls.
    """
    stats = Stats()
    for value in (3, 7, 2):
        stats.set("sessions", value)
    assert (stats.read()["sessions.count"], stats.read()["sessions.max"]) == (2, 7)


def test_sample() -> None:
    """
    A sample sets what it names and leaves the rest.
    """
    stats = Stats()
    stats.sample({"topics": 4, "subscriptions.shared": 1})
    stats.sample({"topics": 1})
    read = stats.read()
    assert (read["topics.count"], read["topics.max"]) == (1, 4)
    assert (read["subscriptions.shared.count"], read["routes.max"]) == (1, 0)


def test_unknown() -> None:
    """
    A name that does not exist is an error, and notes nothing.
    """
    stats = Stats()
    with pytest.raises(KeyError):
        stats.set("session", 1)
    assert len(stats.read()) == 26
