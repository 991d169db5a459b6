"""
Run the crash suite: C{python -m tests.crash [ROUNDS [SEED]] [gateways]}; with the last word, its clients are those of
the gateways too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.crash.gateways import GatewaySuite
from tests.crash.suite import Suite


def main(rounds: int, seed: int, kind: type[Suite] = Suite) -> int:
    """
    Run it, print what was counted, and return the exit status.
    """
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        suite = kind(Path(folder), seed=seed)
        try:
            for done in range(rounds):
                suite.run(1)
                if done % 10 == 9 or suite.checker.problems:
                    print(f"{suite.rounds} crashes: {suite.checker.report()}", flush=True)
                if suite.checker.problems:
                    break
        finally:
            suite.stop()
        for problem in suite.checker.problems[:20]:
            print(problem)
        print(f"{suite.rounds} crashes with seed {seed}: {suite.checker.report()}")
        return 1 if suite.checker.problems else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    kind = GatewaySuite if words[-1:] == ["gateways"] else Suite
    numbers = [int(word) for word in words if word != "gateways"]
    raise SystemExit(main(*(numbers + [300, 1][len(numbers) :]), kind))
