"""
Tests for L{twisted_mqtt.base.rates}.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_mqtt.base.rates import Rates


class World:
    """
    Counters, and a clock.
    """

    def __init__(self, step: float = 5.0) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.counters: dict[str, float] = {}
        self.rates = Rates(lambda: self.counters, self.clock.seconds, step)

    def run(self, seconds: int, **speeds: float) -> None:
        """
        Let time pass while counters grow.
        """
        for _ in range(seconds):
            self.rates.look()
            self.clock.advance(1)
            for name, speed in speeds.items():
                self.counters[name] = self.counters.get(name, 0) + speed


def test_steady() -> None:
    """
    What grows evenly has the same rate over all periods, before they are full and after.
    """
    world = World()
    world.counters["a"] = 1_000_000
    for seconds in (30, 60, 600, 2000):
        world.run(seconds, a=7)
        assert world.rates.read()["a"] == (7.0, 7.0, 7.0)


def test_periods() -> None:
    """
    A burst has left the shorter periods first.
    """
    world = World()
    world.run(1000, a=1)
    world.run(30, a=101)
    world.run(60, a=1)
    one, five, fifteen = world.rates.read()["a"]
    assert one == 1
    assert abs(five - (1 + 3000 / 300)) < 0.3
    assert abs(fifteen - (1 + 3000 / 900)) < 0.1
    world.run(300, a=1)
    assert world.rates.read()["a"][1] == 1
    world.run(1000, a=1)
    assert world.rates.read()["a"] == (1, 1, 1)


def test_later() -> None:
    """
    A counter that comes later is measured from when it was first seen; one that was never seen has no rate yet.
    """
    world = World()
    world.run(100, a=1)
    world.counters["b"] = 500
    assert world.rates.read()["b"] == (0, 0, 0)
    world.run(20, a=1, b=3)
    assert world.rates.read()["b"] == (3, 3, 3)


def test_reset() -> None:
    """
    A counter that was set back counts from there, and no rate is negative.
    """
    world = World()
    world.run(1000, a=10)
    world.counters["a"] = 0
    world.run(30, a=1)
    assert all(0 <= rate <= 10 for rate in world.rates.read()["a"])
    assert world.rates.read()["a"][0] == 0.5


def test_gone() -> None:
    """
    A counter that is gone leaves its place to another, which inherits nothing of it; and the others keep their rates.
    """
    world = World()
    world.run(100, a=10, b=2)
    del world.counters["a"]
    world.rates.forget(["a", "never there"])
    world.run(20, b=2, c=4)
    assert world.rates.read() == {"b": (2, 2, 2), "c": (4, 4, 4)}
    assert len(world.rates._snapshots[-1][1]) == 2


def test_stalled() -> None:
    """
    Where nothing was looked at for a while, the time that has really passed counts; no more is kept for it.
    """
    world = World()
    world.counters["a"] = 0
    world.run(60, a=6)
    world.clock.advance(540)
    assert world.rates.read()["a"][2] == 0.6
    assert world.rates.read()["a"][0] < 0.1
    world.run(5000, a=6)
    assert len(world.rates._snapshots) <= 182
