"""
Tests for L{twisted_mqtt.management.builtin.vm}.
"""

from __future__ import annotations

import gc
import resource
import tracemalloc
from typing import Any

import pytest

from tests.kits.commands import Commands

# spec/cli.md 11: the keys of each group, in its order.
LOAD = ["cpu/load1", "cpu/load5", "cpu/load15"]
MEMORY = [f"memory/{name}" for name in "total processes processes_used system atom atom_used binary code ets".split()]
PROCESS = ["process/limit", "process/count"]
IO = ["io/max_fds", "io/active_fds"]
PORTS = ["ports/count", "ports/limit"]


def _values(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, separator, value = line[:24].rstrip(), line[24:26], line[26:]
        assert separator == ": ", line
        found[name] = value
    return found


def test_load_sample() -> None:
    """
    The sample of spec/cli.md 11: three loads in two decimals, in a column of 24; then those of this process.
    """
    lines = Commands().lines("vm load")
    assert [line[:24] for line in lines[:3]] == [f"{name:<24}" for name in LOAD]
    for line in lines[:3]:
        assert line[24:26] == ": "
        assert float(line[26:]) >= 0
        assert len(line[26:].partition(".")[2]) == 2
    assert [line[:24].rstrip() for line in lines[3:]] == ["cpu/process_percent", "reactor/lag_ms"]


@pytest.mark.parametrize(
    ("words", "names"),
    [("vm memory", MEMORY), ("vm process", PROCESS), ("vm io", IO), ("vm ports", PORTS)],
)
def test_groups(words: str, names: list[str]) -> None:
    """
    Each group has the keys of EMQ X first, in its order, each in a column of 24.
    """
    assert list(_values(Commands().lines(words)))[: len(names)] == names


def test_all() -> None:
    """
    C{vm} and C{vm all} have all groups in order; no key is dropped where Python has nothing in its place.
    """
    commands = Commands()
    found = _values(commands.lines("vm"))
    wanted = [*LOAD, *MEMORY, *PROCESS, *IO, *PORTS]
    assert [name for name in found if name in wanted] == wanted
    assert found["memory/atom"] == "n/a"
    assert list(_values(commands.lines("vm all"))) == list(found)


def test_values_depend_on_the_broker() -> None:
    """
    Clients are counted where EMQ X counts processes; queues are where it has binaries.
    """
    commands = Commands()
    before = _values(commands.lines("vm all"))
    assert before["process/count"] == "0"
    away = commands.memory.client("away", cleanStart=False, sessionExpiry=100)
    away.subscribe("t", qos=1)
    away.disconnect()
    commands.memory.client("here").publish("t", b"x" * 10_000, qos=1)
    after = _values(commands.lines("vm all"))
    assert (after["process/count"], after["tasks/connections"]) == ("2", "1")
    assert int(after["memory/binary"]) >= 10_000
    assert int(after["memory/ets"]) > int(before["memory/ets"])
    assert int(after["io/max_fds"]) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert int(after["io/active_fds"]) > 2
    total, used = int(after["memory/total"]), int(after["memory/processes_used"])
    assert int(after["memory/system"]) == total - used


def test_traced_memory() -> None:
    """
    Where C{tracemalloc} runs, what it has traced is shown instead of an estimate.
    """
    commands = Commands()
    tracemalloc.start()
    try:
        kept = bytearray(5_000_000)
        found = _values(commands.lines("vm memory"))
    finally:
        tracemalloc.stop()
    assert int(found["memory/processes_used"]) >= len(kept)
    assert int(found["memory/processes"]) >= int(found["memory/processes_used"])


def test_collector() -> None:
    """
    C{vm gc} tells the state of the collector, by generation.
    """
    commands = Commands()
    before = _values(commands.lines("vm gc"))
    gc.collect()
    after = _values(commands.lines("vm gc"))
    assert int(after["gc/gen2_collections"]) == int(before["gc/gen2_collections"]) + 1
    assert after["gc/gen0_threshold"] == str(gc.get_threshold()[0])


def test_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    C{vm reactor} says by how much the reactor was late while it was watched.
    """
    commands = Commands()
    late = {"reactor/lag_ms": ""}

    def step(found: Any) -> None:
        late.update(found)

    commands.begin("vm reactor").addCallback(step)
    commands.memory.clock.advance(0.05)
    commands.memory.wait(1.0, 0.02)
    assert float(late["reactor/lag_ms"]) == pytest.approx(30.0, abs=0.1)


def test_store() -> None:
    """
    C{mnesia} tells how the store is.
    """
    lines = Commands().lines("mnesia")
    found = _values(lines)
    assert (found["running_nodes"], found["storage_type"], found["status"]) == (
        "mqttbroker@127.0.0.1",
        "ram",
        "running",
    )
