"""
C{python -m bench}: measure, and write the report.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench import results
from bench.brokers import COMPILED, KINDS, ROOT, Kind
from bench.catalogue import CATALOGUE, Entry
from bench.report import render
from bench.runner import runAll
from bench.sockets import raiseFileLimit

_BUILD: Final = ROOT / "build" / "bench"
_REPORT: Final = ROOT / "docs" / "performance.md"
# Seconds that the figures of one core alone may take.
_MICRO_TIMEOUT: Final = 600.0
_DEFAULT: Final = "ours,mosquitto,nats,iotcore,amqtt"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scenario", default="", help="names, by commas (default: all); --list shows them")
    parser.add_argument("--brokers", default=_DEFAULT, help="names, by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.5, help="measured in each run (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="after which no run is begun any more (default: %(default)g)"
    )
    parser.add_argument("--results", type=Path, help="where the figures go, as lines of JSON")
    parser.add_argument("--report", type=Path, help="where the report goes; without it, a selection is only printed")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the report from the figures")
    parser.add_argument("--list", action="store_true", help="list scenarios and brokers")
    return parser.parse_args()


def _chosen(names: str) -> tuple[list[Entry], bool]:
    if not names:
        return list(CATALOGUE), True
    byName = {entry.scenario.name: entry for entry in CATALOGUE}
    unknown = set(names.split(",")) - set(byName)
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(byName)}")
    return [byName[name] for name in names.split(",")], False


def _installed(names: str) -> list[Kind]:
    byName = {kind.name: kind for kind in KINDS}
    unknown = set(names.split(",")) - set(byName)
    if unknown:
        sys.exit(f"no such broker: {', '.join(sorted(unknown))}; there are {', '.join(byName)}")
    found = []
    for name in names.split(","):
        if byName[name].version() is None:
            print(f"{byName[name].title} is not installed and will be left out", file=sys.stderr)
        else:
            found.append(byName[name])
    return found


def _measureCore() -> None:
    """
    The micro benchmarks, once for each core: in a process of its own, as either core can be imported only once.
    """
    for core, tree in (("interpreted", ROOT), ("compiled", COMPILED)):
        if not (tree / "twisted_mqtt" / "tap.py").exists():
            continue
        print(f"The core alone, {core}: some minutes", file=sys.stderr, flush=True)
        # This very suite, but the broker of that tree.
        start = (
            f"import sys, bench; sys.path.remove({str(ROOT)!r}); sys.path.insert(0, {str(tree)!r}); "
            "from bench.micro import main; main()"
        )
        path = _BUILD / f"micro-{core}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        arguments = [sys.executable, "-P", "-c", start, "--output", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        began = time.monotonic()
        try:
            subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=_MICRO_TIMEOUT)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"The report will lack the figures of the {core} core: {error}", file=sys.stderr, flush=True)
        print(f"... {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """
    Do what the command line says.
    """
    given = _arguments()
    if given.list:
        for entry in CATALOGUE:
            print(f"{entry.scenario.name:<12}{entry.scenario.title}")
        print("brokers: " + ", ".join(kind.name for kind in KINDS))
        return
    entries, all_ = _chosen(given.scenario)
    path = given.results or _BUILD / ("results.jsonl" if all_ else "selection.jsonl")
    if given.render:
        setting, runs = results.read(path)
    else:
        # As if interrupted, so that the broker of the moment is stopped too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        raiseFileLimit()
        measured = runAll(entries, _installed(given.brokers), given.rounds, given.seconds, path, given.minutes)
        setting, runs = measured.setting, measured.runs
        if all_:
            _measureCore()
    text = render(setting, runs, CATALOGUE if all_ else entries, _BUILD)
    target = given.report or (_REPORT if all_ else None)
    if target is None:
        print(text)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        print(f"wrote {target}", file=sys.stderr)


if __name__ == "__main__":
    main()
