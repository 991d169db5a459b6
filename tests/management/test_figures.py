"""
Tests for L{twisted_mqtt.management.builtin.figures}.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from tests.kits.rest import Rest


@pytest.fixture
def commands() -> Commands:
    """
    A broker with a client of each version, which has published.
    """
    made = Commands()
    for version in (4, 5):
        made.memory.client(f"c{version}", version).publish("a", b"x")
    return made


@pytest.mark.shows("show_metrics")
def test_show(commands: Commands) -> None:
    """
    Lines as VerneMQ has them, with its names; series added up unless it is said otherwise (MON-01 to 03).
    """
    lines = commands.lines("metrics show")
    assert "counter.mqtt_publish_received = 2" in lines
    assert "gauge.queue_processes = 2" in lines
    assert "counter.mqtt_connack_accepted_sent = 0" in lines
    series = commands.lines("metrics show", aggregate="false")
    assert 'counter.mqtt_publish_received{mqtt_version="4"} = 1' in series
    assert 'counter.mqtt_publish_received{mqtt_version="5"} = 1' in series


def test_label(commands: Commands) -> None:
    """
    With a label, only what has it, and only its value.
    """
    lines = commands.lines("metrics show", mqtt_version="5")
    assert "counter.mqtt_publish_received = 1" in lines
    assert not any("queue_processes" in line for line in lines)
    assert commands.lines("metrics show", reason_code="no_such_reason") == []


def test_descriptions(commands: Commands) -> None:
    """
    With descriptions, each has a line before it (MON-02).
    """
    lines = commands.lines("metrics show", with_descriptions="true")
    at = lines.index("gauge.retain_messages = 0")
    assert lines[at - 1] == "# Retained messages"


@pytest.mark.shows("reset_metrics")
def test_reset(commands: Commands) -> None:
    """
    Counters begin at 0 for all who read them, gauges stay, and both go on (MON-04).
    """
    assert commands.lines("metrics reset") == ["Done"]
    lines = commands.lines("metrics show")
    assert "counter.mqtt_publish_received = 0" in lines
    assert "gauge.queue_processes = 2" in lines
    assert "messages.publish              : 0" in commands.lines("broker metrics")
    commands.memory.client("again").publish("a", b"x")
    assert "counter.mqtt_publish_received = 1" in commands.lines("metrics show")
    commands.lines("metrics reset")
    assert "counter.mqtt_publish_received = 0" in commands.lines("metrics show")


def test_aliases(commands: Commands) -> None:
    """
    C{metrics} alone is what EMQ X prints.
    """
    assert "messages.publish              : 2" in commands.lines("metrics")
    assert Rest().call("GET", "/metrics").status == 200
