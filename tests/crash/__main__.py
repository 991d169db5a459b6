"""
Run the crash suite: C{python -m tests.crash [ROUNDS [SEED]]}.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.crash.suite import Suite


def main(rounds: int, seed: int) -> int:
    """
    Run it, print what was counted, and return the exit status.
    """
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        suite = Suite(Path(folder), seed=seed)
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
    numbers = [int(word) for word in sys.argv[1:]]
    raise SystemExit(main(*(numbers + [300, 1][len(numbers) :])))
