"""
Tests for L{twisted_mqtt.process.figures}.
"""

from __future__ import annotations

import gc
from pathlib import Path

from twisted_mqtt.base.metrics import Metrics
from twisted_mqtt.process.figures import registerProcess
from twisted_mqtt.process.machine import Machine


class World:
    """
    A process whose times a test sets, on a system whose files a test writes.
    """

    def __init__(self, root: Path, io: str = "rchar: 123\nwchar: 45\n") -> None:
        self.root = root
        self.now = self.spent = 100.0
        (root / "proc/self").mkdir(parents=True)
        if io:
            (root / "proc/self/io").write_text(io)
        self.busy(0, 0)
        self.metrics = Metrics()
        registerProcess(
            self.metrics, Machine(root, lambda: self.now), lambda: 7, lambda: self.now, lambda: self.spent, root
        )

    def busy(self, used: int, idle: int) -> None:
        """
        Set what the processors have done.
        """
        (self.root / "proc/stat").write_text(f"cpu {used} 0 0 {idle} 0 0 0 0\n")


def test_figures(tmp_path: Path) -> None:
    """
    What the system tells, under the names of VerneMQ and EMQ X.
    """
    world = World(tmp_path)
    world.now += 2
    world.spent += 0.5
    world.busy(30, 70)
    values = world.metrics.read()
    assert values["system.utilization"] == 25
    assert (values["vm.cpu.use"], values["vm.cpu.idle"]) == (30, 70)
    assert values["vm.run.queue"] == 7
    assert values["system.wallclock"] == 2000
    assert values["system.runtime"] == 100_500
    assert (values["system.io.in"], values["system.io.out"]) == (123, 45)
    assert values["vm.memory.total"] > 1_000_000
    before = values["system.gc.count"]
    gc.collect()
    assert world.metrics.read()["system.gc.count"] > before


def test_twice(tmp_path: Path) -> None:
    """
    Who looks again at once sees the same share, and does not disturb the next measurement.
    """
    world = World(tmp_path)
    world.now += 1
    world.spent += 0.5
    for _ in range(3):
        assert world.metrics.read()["system.utilization"] == 50
    world.now += 1
    world.spent += 0.25
    assert world.metrics.read()["system.utilization"] == 25


def test_untold(tmp_path: Path) -> None:
    """
    A system without these files has the other figures.
    """
    world = World(tmp_path, io="")
    (tmp_path / "proc/stat").unlink()
    world.now += 1
    values = world.metrics.read()
    assert "system.io.in" not in values
    assert values["vm.cpu.use"] == 0
    assert values["system.wallclock"] == 1000
