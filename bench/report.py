"""
The report: results as F{docs/performance.md}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.brokers import KINDS
from bench.catalogue import Entry, Goal
from bench.results import Run, Setting, Summary, summarise
from bench.scenarios.base import Scenario

_REFERENCE: Final = "mosquitto"
_OURS: Final = "ours"
# The load of an idle system, in cores.
_QUIET: Final = 0.1

_METHOD: Final = """\
## How it is measured

- Every figure is the median over the rounds ({rounds}, of {seconds:g} s each); in each round the brokers take turns,
  each run with a broker started for it, on the loopback interface, with nothing kept on disk (nats-server's QoS 1 needs
  its store, in a temporary folder). Queue and connection limits are lifted, the brokers' in-flight windows are at least
  100; everything else is as shipped.
- One generator process drives all brokers. It sends packets encoded beforehand, in large writes, and checks by
  comparing whole chunks with the sent bytes that every message arrives, once and in order. If a message is missing, the
  table says so and the figure does not count.
- Publishers wait for a window of *delivered* messages: the broker can sustain the measured rate without loss.
- Payloads are 64 bytes; MQTT 3.1.1. Single-threaded brokers have one core and the generator the other; brokers with
  several threads may use both.
- CPU is the broker's processor time in user and kernel mode for one operation of the scenario, with all its processes
  and threads. The kernel's work in interrupts for the loopback interface is in no figure.
- Latency is from before the publisher's write until after the subscriber's read, at a constant rate that does not
  wait for the broker. Memory is the growth of the proportional set size; buffers of the kernel are not in it.
- A figure marked "(generator)" was measured while the generator was busier than the broker: the broker can do more.
"""


_GOALS: Final = """\
## Against the goals

A figure such as 8x is a ratio to Mosquitto in the same run: of rates, where more is better, or of latencies ("at
most"), where less is. Each scenario has two goals. The *bar* is the least that will do: a change that goes below it is
not accepted. The *stretch* is what the fastest brokers known to us reach; where it has several conditions (a ratio, the
broker's CPU time for one operation, a broker to be ahead of), all must be met. "Met" names the better goal that was
reached.
"""

_ADDED: Final = """\
## The core alone

Measured in one process, without a network. What a callback "adds" is the difference of two measurements. Where it is
smaller than the difference of two measurements without the callback, it is too small to measure.
"""


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f}" if unit.endswith("/s") else f"{value:,.2f}"


def _boundByGenerator(summary: Summary) -> bool:
    busy, generator = summary.busy, summary.generator
    return busy is not None and generator is not None and generator > 0.9 and busy < 0.9


def _cell(summary: Summary | None, scenario: Scenario) -> str:
    if summary is None:
        return "-"
    if not summary.value:
        return summary.problem
    text = _number(summary.value, scenario.unit)
    if scenario.unit.endswith("/s") and _boundByGenerator(summary):
        text += " (generator)"
    return f"{text}; {summary.problem}" if summary.problem else text


def _goalText(figure: float, goal: Goal, scenario: Scenario) -> str:
    if goal.absolute:
        return f"{figure:g} {scenario.unit}"
    return f"{figure:g}x" if scenario.higher else f"at most {figure:g}x"


def _stretchText(goal: Goal, scenario: Scenario) -> str:
    text = _goalText(goal.stretch, goal, scenario)
    if goal.stretchCPU is not None:
        text += f", {goal.stretchCPU:g} us"
    if goal.ahead is not None:
        text += f", ahead of {goal.ahead}"
    return text


def verdict(goal: Goal, scenario: Scenario, by: dict[str, Summary | None]) -> tuple[str, str]:
    """
    Compare with the goal.

    @param by: the summaries by broker.

    @return: the figure to compare, as text, and whether it is enough.
    """
    ours, reference = by.get(_OURS), by.get(_REFERENCE)
    if ours is None:
        return "-", "not measured"
    if ours.problem:
        return "-", f"no: {ours.problem}"
    if goal.absolute:
        figure = ours.value
        shown = f"{figure:.1f} {scenario.unit}"
    elif reference is None or not reference.value:
        return "-", "no reference"
    else:
        figure = ours.value / reference.value
        shown = f"{figure:.2f}x"
    if not _reaches(figure, goal.bar, scenario, goal):
        return shown, "**no**"
    enough = _reaches(figure, goal.stretch, scenario, goal)
    if goal.stretchCPU is not None:
        shown += f", {ours.cpu:.2f} us" if ours.cpu is not None else ""
        enough = enough and ours.cpu is not None and ours.cpu <= goal.stretchCPU
    rival = by.get(goal.ahead) if goal.ahead is not None else None
    if rival is not None:
        enough = enough and ours.value > rival.value
    return shown, "stretch" if enough else "bar"


def _reaches(figure: float, wanted: float, scenario: Scenario, goal: Goal) -> bool:
    return figure >= wanted if scenario.higher and not goal.absolute else figure <= wanted


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def circumstances(when: str, machine: dict[str, str], runs: Sequence[Run]) -> list[str]:
    """
    When and where it was measured, and whether anything else ran there.
    """
    parts = [
        f"Measured {when} on {machine['cores']} cores of {machine['processor']}, {machine['memory']}, "
        f"{machine['kernel']}.\n"
    ]
    others = sorted(run.others for run in runs if run.others is not None)
    if others and others[len(others) // 2] > _QUIET:
        parts.append(
            f"**The machine was not quiet**: other processes took {others[len(others) // 2]:.2f} cores in the median, "
            f"{others[-1]:.2f} at worst. Ratios suffer from that, latencies most.\n"
        )
    return parts


def render(setting: Setting, runs: Sequence[Run], entries: Sequence[Entry], folder: Path) -> str:
    """
    The whole report.

    @param folder: where the figures of the micro benchmarks are, if there are any.
    """
    kinds = [kind for kind in KINDS if kind.name in setting.versions]
    tables: dict[str, dict[str, Summary | None]] = {
        entry.scenario.name: {
            kind.name: summarise(run for run in runs if run.broker == kind.name and run.scenario == entry.scenario.name)
            for kind in kinds
        }
        for entry in entries
    }
    titles = [kind.title for kind in kinds]
    parts = ["# Performance\n", "Written by `make bench`. Trust the ratios; the rest is this machine's.\n"]
    parts += circumstances(setting.when, setting.machine, runs)
    parts.append(_table(["broker", "version"], [[kind.title, setting.versions[kind.name]] for kind in kinds]))
    goals = []
    for entry in entries:
        if entry.goal is not None:
            scenario, goal = entry.scenario, entry.goal
            shown, met = verdict(goal, scenario, tables[scenario.name])
            goals.append(
                [scenario.title, _goalText(goal.bar, goal, scenario), _stretchText(goal, scenario), shown, met]
            )
    parts.append(_GOALS)
    parts.append(_table(["scenario", "bar", "stretch", "measured", "met"], goals))
    parts.append("## All figures\n")
    parts.append(
        _table(
            ["scenario", "unit", *titles],
            [
                [e.scenario.title, e.scenario.unit]
                + [_cell(tables[e.scenario.name][kind.name], e.scenario) for kind in kinds]
                for e in entries
            ],
        )
    )
    parts.append("## Broker CPU for one operation, in microseconds\n")
    parts.append(
        _table(
            ["scenario", *titles],
            [
                [e.scenario.title] + [_cpu(tables[e.scenario.name][kind.name]) for kind in kinds]
                for e in entries
                if any(_cpu(summary) != "-" for summary in tables[e.scenario.name].values())
            ],
        )
    )
    details = _details(entries, tables)
    if details:
        parts.append("## Latency in milliseconds\n")
        parts.append(_table(["scenario", "broker", "p50", "p99", "p99.9", "worst"], details))
    parts.append(_METHOD.format(rounds=setting.rounds, seconds=setting.seconds))
    parts.extend(_micro(folder))
    return "\n".join(parts)


def _cpu(summary: Summary | None) -> str:
    return "-" if summary is None or summary.cpu is None else f"{summary.cpu:.2f}"


def _details(entries: Sequence[Entry], tables: dict[str, dict[str, Summary | None]]) -> list[list[str]]:
    names = {kind.name: kind.title for kind in KINDS}
    rows = []
    for entry in entries:
        for broker, summary in tables[entry.scenario.name].items():
            if summary is not None and "p999" in summary.detail:
                figures = (summary.detail["p50"], summary.value, summary.detail["p999"], summary.detail["max"])
                rows.append([entry.scenario.title, names[broker], *(f"{figure:.2f}" for figure in figures)])
    return rows


def _micro(folder: Path) -> list[str]:
    """
    The figures of the core alone, interpreted beside compiled.
    """
    figures: dict[str, dict[str, str]] = {}
    columns = []
    for core in ("interpreted", "compiled"):
        path = folder / f"micro-{core}.jsonl"
        if path.exists():
            columns.append(core)
            for line in path.read_text().splitlines():
                found = json.loads(line)
                figures.setdefault(found["name"], {})[core] = microText(found)
    if not columns:
        return []
    rows = [[name, *(by.get(core, "-") for core in columns)] for name, by in figures.items()]
    return [_ADDED, _table(["what", *columns], rows)]


def microText(found: dict[str, Any]) -> str:
    """
    A figure of the micro benchmarks, as C{bench.micro} wrote it; a difference that the machine's noise exceeds is none.
    """
    value: float = found["value"]
    if value < found.get("uncertainty", 0.0) or value < 0:
        return "too small to measure"
    return f"{value:,.2f} {found['unit']}"
