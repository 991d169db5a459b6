"""
Runs cases of the WebSocket test suite: C{python -m tests.kits.websocketsuite URL CASE...}, and prints what became of
each.

In a process of its own, because C{kosoku} brings modules that are named like autobahn's.
"""

import asyncio
import json
import os
import sys
from typing import Any

import kosoku


async def run(url: str, cases: list[str]) -> list[Any]:
    """
    Run the cases, two at a time.
    """
    try:
        return await kosoku.run_fuzzingclient(url, cases=cases, concurrency=2)
    except kosoku.FailureError as error:
        results: list[Any] = error.results
        return results


def main() -> None:
    """
    Print one line of JSON a case.
    """
    for result in asyncio.run(run(sys.argv[1], sys.argv[2:])):
        behavior, close = result.behavior.value, result.behavior_close.value
        why = f"{behavior} ({result.result}), closing: {close} ({result.result_close})"
        # A case that the other side took no part in counts as passed.
        passed = result.passed and behavior != "UNIMPLEMENTED"
        print(json.dumps({"case": result.case_id, "passed": passed, "why": why}))
    sys.stdout.flush()
    # Its threads may still run when the interpreter ends, which then aborts.
    os._exit(0)


if __name__ == "__main__":
    main()
