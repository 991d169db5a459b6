"""
Tests for L{bench.watched}.
"""

from __future__ import annotations

import pytest

from bench.results import Run
from bench.watched import cost


def run(broker: str, round_: int, cpu: float | None, failed: str = "") -> Run:
    """
    A run.
    """
    return Run(broker, "pairs0", round_, "deliveries/s", cpu=cpu, failed=failed)


def test_cost() -> None:
    """
    The two of each round are compared with each other; rounds in which one has failed do not count.
    """
    runs = [
        run("alone", 1, 1.0),
        run("watched", 1, 1.02),
        run("alone", 2, 2.0),
        run("watched", 2, 2.02),
        run("alone", 3, 1.0),
        run("watched", 3, 1.5),
        run("alone", 4, 1.0),
        run("watched", 4, None, "it has ended"),
    ]
    assert round(cost(runs), 6) == 2


def test_nothing() -> None:
    """
    Without a whole round there is no figure.
    """
    with pytest.raises(ValueError, match="nothing"):
        cost([run("alone", 1, 1.0), run("watched", 2, 1.0)])
