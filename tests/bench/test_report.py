"""
The report says what was measured, and never calls a faulty run a success.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalogue import CATALOGUE, Entry, Goal
from bench.report import render, verdict
from bench.results import Results, Run, Setting, Summary, read, summarise
from bench.scenarios.single import Connects, Latency
from bench.scenarios.stored import IdleMemory

ROOT = Path(__file__).parents[2]

RUN = Run("ours", "connects", 1, "connections/s", value=10.0, cpu=1.0, busy=1.0, generator=0.5)
SETTING = Setting(
    "today", 1.0, 3, {"processor": "P", "cores": "2", "memory": "1 GiB", "kernel": "K"}, {"ours": "1", "mosquitto": "2"}
)
HIGHER = Connects("connects", "connecting", 1)
LOWER = Latency("latency0", "latency", 1, 1, 0)
SIZE = IdleMemory("idle", "memory", 1)


def summary(value: float, cpu: float = 1.0, problem: str = "") -> Summary:
    return Summary(value, cpu, 1.0, 0.5, {}, problem)


def test_median() -> None:
    """
    The middle one of three rounds counts.
    """
    found = summarise([replace(RUN, value=value, cpu=value / 10) for value in (30.0, 10.0, 20.0)])
    assert found is not None
    assert (found.value, found.cpu, found.problem) == (20.0, 2.0, "")


def test_nothingMeasured() -> None:
    """
    Without runs there is nothing to summarise; with failed ones, the reason.
    """
    assert summarise([]) is None
    failed = summarise([replace(RUN, failed="it ended")])
    assert failed is not None and failed.problem == "it ended"


def test_faultsOfAnyRoundShow() -> None:
    """
    A message lost in one round of three spoils the figure.
    """
    found = summarise([RUN, replace(RUN, lost=2), replace(RUN, disordered=1)])
    assert found is not None and found.problem == "2 lost, 1 repeated or out of order"


@pytest.mark.parametrize(
    ("scenario", "goal", "ours", "reference", "expected"),
    [
        (HIGHER, Goal(2, 3), summary(19), 10, ("1.90x", "**no**")),
        (HIGHER, Goal(2, 3), summary(20), 10, ("2.00x", "bar")),
        (HIGHER, Goal(2, 3), summary(30), 10, ("3.00x", "stretch")),
        (HIGHER, Goal(2, 3, stretchCPU=0.5), summary(30, cpu=0.6), 10, ("3.00x, 0.60 us", "bar")),
        (HIGHER, Goal(2, 3, stretchCPU=0.5), summary(30, cpu=0.5), 10, ("3.00x, 0.50 us", "stretch")),
        (HIGHER, Goal(2, 3, ahead="nats"), summary(30), 10, ("3.00x", "bar")),
        (LOWER, Goal(2, 1), summary(21), 10, ("2.10x", "**no**")),
        (LOWER, Goal(2, 1), summary(20), 10, ("2.00x", "bar")),
        (LOWER, Goal(2, 1), summary(10), 10, ("1.00x", "stretch")),
        (SIZE, Goal(8, 5, absolute=True), summary(8.1), 1, ("8.1 KiB", "**no**")),
        (SIZE, Goal(8, 5, absolute=True), summary(5), 1, ("5.0 KiB", "stretch")),
        (HIGHER, Goal(2, 3), summary(30, problem="1 lost"), 10, ("-", "no: 1 lost")),
        (HIGHER, Goal(2, 3), None, 10, ("-", "not measured")),
        (HIGHER, Goal(2, 3), summary(30), None, ("-", "no reference")),
    ],
)
def test_verdict(
    scenario: Connects | Latency | IdleMemory,
    goal: Goal,
    ours: Summary | None,
    reference: float | None,
    expected: tuple[str, str],
) -> None:
    """
    A goal is met when its figure is reached, from the right side, by a run without faults.
    """
    by = {"ours": ours, "mosquitto": None if reference is None else summary(reference), "nats": summary(1000)}
    assert verdict(goal, scenario, by) == expected


def test_file(tmp_path: Path) -> None:
    """
    A written file can be read back.
    """
    path = tmp_path / "folder" / "results.jsonl"
    results = Results(path, SETTING)
    results.add(RUN)
    results.add(replace(RUN, broker="mosquitto", detail={"p50": 1.5}, failed="why"))
    assert read(path) == (SETTING, results.runs)


def test_render(tmp_path: Path) -> None:
    """
    Every scenario has its row, also when nothing was measured, and faults are named.
    """
    runs = [RUN, replace(RUN, broker="mosquitto", value=5.0), replace(RUN, scenario="pairs0", lost=3)]
    text = render(SETTING, runs, CATALOGUE, tmp_path)
    for entry in CATALOGUE:
        assert f"| {entry.scenario.title} |" in text
    assert "| connect, connack, disconnect | 0.7x | 1x | 2.00x | stretch |" in text
    assert "no: 3 lost" in text


def test_renderGeneratorBound(tmp_path: Path) -> None:
    """
    A figure that the generator limited is marked.
    """
    bound = replace(RUN, busy=0.5, generator=1.0)
    assert "10 (generator)" in render(SETTING, [bound], [Entry(HIGHER)], tmp_path)


def test_renderMicro(tmp_path: Path) -> None:
    """
    The figures of the core alone stand side by side.
    """
    (tmp_path / "micro-interpreted.jsonl").write_text('{"name": "decode", "value": 600.0, "unit": "ns"}\n')
    (tmp_path / "micro-compiled.jsonl").write_text('{"name": "decode", "value": 100.0, "unit": "ns"}\n')
    assert "| decode | 600.00 ns | 100.00 ns |" in render(SETTING, [], [], tmp_path)


@pytest.mark.parametrize(
    "value, uncertainty, shown",
    [
        (300.0, 20.0, "300.00 ns"),
        (15.0, 20.0, "too small to measure"),
        (-9.82, 2.0, "too small to measure"),
        # Of a file that was written before uncertainties were.
        (-9.82, None, "too small to measure"),
    ],
)
def test_differenceInTheNoise(tmp_path: Path, value: float, uncertainty: float | None, shown: str) -> None:
    """
    The report gives no figure for a callback if it can't be told from the noise; a time is never negative.
    """
    noise = "" if uncertainty is None else f', "uncertainty": {uncertainty}'
    line = f'{{"name": "a callback adds", "value": {value}, "unit": "ns"{noise}}}\n'
    (tmp_path / "micro-compiled.jsonl").write_text(line)
    assert f"| a callback adds | {shown} |" in render(SETTING, [], [], tmp_path)


def test_printedReport(tmp_path: Path) -> None:
    """
    The printed report has no negative times, and explains its words as the generator does.
    """
    printed = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert re.findall(r"-[\d,.]+ ns", printed) == []
    (tmp_path / "micro-compiled.jsonl").write_text('{"name": "decode", "value": 100.0, "unit": "ns"}\n')
    written = render(SETTING, [], CATALOGUE, tmp_path)
    for title in ("Against the goals", "The core alone"):
        explained = written[written.index(f"## {title}") :].partition("\n|")[0]
        assert explained in printed
