"""
The results as lines of JSON: the first line describes the machine, each other line is one run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Run:
    """
    One broker in one scenario in one round.

    @ivar failed: why there is no figure, or an empty string.
    """

    broker: str
    scenario: str
    round: int
    unit: str
    value: float = 0.0
    cpu: float | None = None
    busy: float | None = None
    generator: float | None = None
    others: float | None = None
    interrupts: float | None = None
    lost: int = 0
    disordered: int = 0
    detail: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    @property
    def sound(self) -> bool:
        """
        There is a figure, and every message arrived once and in order.
        """
        return not (self.failed or self.lost or self.disordered)


@dataclass(frozen=True)
class Setting:
    """
    Where and with what it was measured.

    @ivar machine: processor, cores, memory, kernel.
    @ivar versions: by the name of the broker.
    """

    when: str
    seconds: float
    rounds: int
    machine: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True)
class Summary:
    """
    The medians over the rounds.

    @ivar problem: what keeps the figure from being one, or an empty string.
    """

    value: float
    cpu: float | None
    busy: float | None
    generator: float | None
    detail: dict[str, float]
    problem: str


def summarise(runs: Iterable[Run]) -> Summary | None:
    """
    The medians of the runs of one broker in one scenario.
    """
    runs = list(runs)
    if not runs:
        return None
    measured = [run for run in runs if not run.failed]
    if not measured:
        return Summary(0.0, None, None, None, {}, runs[0].failed)
    lost = sum(run.lost for run in measured)
    disordered = sum(run.disordered for run in measured)
    problems = [f"{lost:,} lost"] if lost else []
    problems += [f"{disordered:,} repeated or out of order"] if disordered else []
    problems += sorted({run.failed for run in runs if run.failed})
    return Summary(
        median(run.value for run in measured),
        _median(run.cpu for run in measured),
        _median(run.busy for run in measured),
        _median(run.generator for run in measured),
        {name: median(run.detail[name] for run in measured) for name in measured[0].detail},
        ", ".join(problems),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


class Results:
    """
    A file of results that grows as they come.
    """

    def __init__(self, path: Path, setting: Setting) -> None:
        self.setting = setting
        self.runs: list[Run] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        path.write_text(json.dumps({"setting": asdict(setting)}) + "\n")

    def add(self, run: Run) -> None:
        """
        Keep one more.
        """
        self.runs.append(run)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")


def read(path: Path) -> tuple[Setting, list[Run]]:
    """
    Read the content of a file.
    """
    first, *others = path.read_text().splitlines()
    return Setting(**json.loads(first)["setting"]), [Run(**json.loads(line)) for line in others]
