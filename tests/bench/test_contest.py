"""
A contest of servers: what its table shows of rounds that differ, that fail, and that are not for all.
"""

from __future__ import annotations

import sys

import pytest

from bench.contest import Contender, Contest, Figures, LoadError, Row, Server, Started


class Sleeper(Server):
    """
    A process that does nothing.
    """

    def __init__(self, name: str, gone: list[str]) -> None:
        super().__init__(name)
        self.name = name
        self._gone = gone
        self.run(Started([sys.executable, "-c", "import time; time.sleep(60)"]), lambda: None)

    def stop(self) -> None:
        """
        Note that it was ended.
        """
        super().stop()
        self._gone.append(f"{self.name} {self.folder.exists()}")


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The median of the rounds counts, one that fails in each is told, and each server is ended with its files.
    """
    rates = iter((30.0, 10.0, 20.0))
    gone: list[str] = []

    def measure(server: Sleeper, seconds: float) -> Figures:
        if server.name == "broken":
            raise LoadError("nothing was answered")
        return Figures(100.0, 4.0, again=1) if server.name == "other" else Figures(next(rates), 2.0)

    contest = Contest(
        "title",
        (
            Contender("ours", "this broker", lambda: True, lambda: Sleeper("ours", gone)),
            Contender("other", "the other", lambda: True, lambda: Sleeper("other", gone)),
            Contender("broken", "the broken", lambda: True, lambda: Sleeper("broken", gone)),
            Contender("missing", "the missing", lambda: None, lambda: Sleeper("missing", gone)),
        ),
        (Row("all", "of all", measure), Row("few", "of few", lambda server, _: Figures(1500.0), ("ours",))),
        bars=(("other", 0.5),),
    )
    contest.run([], [], 3, 0.1)
    said = capsys.readouterr()
    assert said.out.split("\n") == [
        "| title | this broker | the other | the broken |",
        "|---|---|---|---|",
        "| of all | 20 (2.00) | 100 (4.00, 1 again) | failed |",
        "| of few | 1,500 | - | - |",
        "",
        "| by rate (by CPU) | bar | all | few |",
        "|---|---|---|---|",
        "| beside other | 0.5 | 0.20 (2.00) | - |",
        "",
        "",
    ]
    assert "broken all: nothing was answered" in said.err
    assert gone == ["ours False", "other False", "broken False", "ours False"] * 3
