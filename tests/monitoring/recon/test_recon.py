"""
The commands of the extension C{recon} (spec/cli.md 16, 17).
"""

from __future__ import annotations

import gc
import re
import threading
import time
import tracemalloc

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.monitoring.recon import objects
from twisted_mqtt.monitoring.recon.extension import Recon
from twisted_mqtt.monitoring.recon.settings import ReconSettings
from twisted_mqtt.monitoring.recon.stacks import sampled
from twisted_mqtt.operations.operation import Refused


@pytest.fixture
def commands() -> Commands:
    """
    A broker with the extension.
    """
    return Commands(recon=Recon(ReconSettings()))


def _values(lines: list[str]) -> dict[str, float]:
    assert all(line[20:22] == ": " for line in lines), lines
    return {line[:20].rstrip(): float(line[22:]) for line in lines}


@pytest.mark.shows("recon_memory")
def test_memory_sample(commands: Commands) -> None:
    """
    The sample of spec/cli.md 16: its keys in its order, in a column of 20; what is used and unused is what there is.
    """
    found = _values(commands.lines("recon memory"))
    names = ("usage", "used", "allocated", "unused")
    assert list(found) == [f"{name}/{when}" for name in names for when in ("current", "max")]
    assert 0 < found["usage/current"] <= 1
    assert found["used/current"] + found["unused/current"] == found["allocated/current"]
    assert all(found[f"{name}/max"] >= found[f"{name}/current"] for name in ("used", "allocated", "unused"))


def test_traced_memory(commands: Commands) -> None:
    """
    Where C{tracemalloc} runs, what is used is what it has traced.
    """
    tracemalloc.start()
    try:
        kept = bytearray(3_000_000)
        found = _values(commands.lines("recon memory"))
    finally:
        tracemalloc.stop()
    assert len(kept) <= found["used/current"] < 50_000_000


@pytest.mark.shows("recon_allocated")
def test_allocated(commands: Commands) -> None:
    """
    The memory of sessions by kind, and the most that it was, after all that is present.
    """
    empty = _values(commands.lines("recon allocated"))
    assert empty["sess_alloc/current"] == 0
    for number in range(5):
        commands.memory.client(f"c{number}").subscribe("t/#")
    full = _values(commands.lines("recon allocated"))
    assert full["sess_alloc/current"] > 500
    assert full["subs_alloc/current"] > 100
    for number in range(5):
        commands.memory.broker.endSession(f"c{number}")
    again = _values(commands.lines("recon allocated"))
    assert again["sess_alloc/current"] == 0
    assert again["sess_alloc/max"] == full["sess_alloc/current"]
    assert [name.split("/")[1] for name in full] == ["current"] * (len(full) // 2) + ["max"] * (len(full) // 2)


@pytest.mark.parametrize("words", ["recon objects", "recon gc", "recon bin_leak"])
def test_holds_nobody_up(commands: Commands, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """
    What would hold up all clients says for how long, and does nothing unless it is forced to.
    """
    monkeypatch.setattr(objects.sys, "getallocatedblocks", lambda: 10_000_000)
    before = gc.get_stats()[2]["collections"]
    with pytest.raises(Refused, match=r"^force: .* holds up all clients for about \d\d+ ms; --force true"):
        commands.answer(words)
    assert gc.get_stats()[2]["collections"] == before
    assert commands.answer(words, force="true") is not None


@pytest.mark.shows("recon_gc")
def test_little_is_not_refused(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A small process is looked at without being forced.
    """
    monkeypatch.setattr(objects.sys, "getallocatedblocks", lambda: 1000)
    assert commands.answer("recon gc")["objects"] >= 0


class Lost:
    """
    Objects that point at themselves.
    """

    def __init__(self) -> None:
        self.me = self


@pytest.mark.shows("recon_bin_leak")
def test_leak(commands: Commands) -> None:
    """
    Garbage is shown by its kind, that of which there was most first.
    """
    gc.collect()
    for _ in range(500):
        Lost()
    rows = commands.lines("recon bin_leak", force="true")
    name = f"{__name__}.Lost"
    assert f"{{'{name}',-500}}" in rows[:3]


@pytest.mark.shows("recon_objects")
def test_objects(commands: Commands) -> None:
    """
    All objects are counted by kind, in slices.
    """
    kept = [Lost() for _ in range(300)]
    rows = commands.answer("recon objects", force="true", top=10_000)
    (row,) = [row for row in rows if row.kind == f"{__name__}.Lost"]
    assert row.count >= len(kept)
    assert row.bytes >= 300 * 16
    assert rows == sorted(rows, key=lambda row: -row.bytes)


@pytest.mark.shows("recon_node_stats")
def test_node_stats(commands: Commands) -> None:
    """
    Ten samples, a second apart, each with what is and what was done since.
    """
    began = commands.memory.clock.seconds()
    commands.memory.client("c1").publish("t", b"x" * 100)
    lines = commands.lines("recon node_stats")
    assert len(lines) == 10
    assert 10 <= commands.memory.clock.seconds() - began < 11
    form = r"\{\[\{process_count,1\},.*\{memory_total,\d+\}.*\],\[\{bytes_in,\d+\},.*\]\}"
    assert all(re.fullmatch(form, line) for line in lines)


@pytest.mark.shows("recon_top")
def test_top(commands: Commands) -> None:
    """
    Sessions by the length of their queues; clients by what they send.
    """
    for number in range(4):
        away = commands.memory.client(f"away{number}", cleanStart=False, sessionExpiry=100)
        away.subscribe(f"t/{number}", qos=1)
        away.disconnect()
    busy = commands.memory.client("busy")
    for number in range(4):
        for _ in range(number):
            busy.publish(f"t/{number}", b"")
            busy.publish(f"t/{number}", b"", qos=1)
    assert commands.lines("recon top", limit=2) == ["           6  away3", "           4  away2"]
    assert commands.lines("recon top recv_msg", limit=1) == ["          12  busy"]
    with pytest.raises(Refused, match="^by: "):
        commands.answer("recon top beauty")


@pytest.mark.shows("recon_timers", "recon_threads")
def test_timers_and_threads(commands: Commands) -> None:
    """
    What is to come by function, and where each thread is.
    """

    def ring() -> None:
        """
        Nothing.
        """

    for seconds in (5, 3, 8):
        commands.memory.clock.callLater(seconds, ring)
    (line,) = [line for line in commands.lines("recon timers") if "ring" in line]
    assert line.split()[:2] == ["3", "3.000"]
    assert any(line.startswith("MainThread") for line in commands.lines("recon threads"))


@pytest.mark.shows("recon_stacks")
def test_stacks(commands: Commands) -> None:
    """
    The place at which a thread is most of the time is the stack that is seen most.
    """
    waiting = threading.Event()

    def hang() -> None:
        waiting.wait(20)

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        assert thread.ident is not None
        count, stacks = sampled(thread.ident, 0.2, 0.005)
    finally:
        waiting.set()
        thread.join()
    ((stack, times),) = stacks.most_common(1)
    assert times > count / 2
    assert any("test_stacks.<locals>.hang" in frame for frame in stack)
    began = time.monotonic()
    rows = commands.answer("recon stacks", seconds=1)
    assert time.monotonic() - began < 10
    assert 0 < rows[0].percent <= 100


def test_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Garbage is collected at C{recon.gc_interval}, and not at all without one.
    """
    calls: list[float] = []
    monkeypatch.setattr(gc, "collect", lambda *generation: calls.append(0))
    quiet = Commands(recon=Recon(ReconSettings()))
    quiet.memory.wait(2000, 100)
    assert calls == []
    eager = Commands(recon=Recon(ReconSettings(gc_interval=600.0)))
    eager.memory.wait(1300, 100)
    assert len(calls) == 2
