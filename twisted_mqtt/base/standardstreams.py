"""
Standard input, output and error of a process whose caller has closed them, as a service, cron or C{>&-} may.
"""

from __future__ import annotations

import os
import sys


def openClosedStreams() -> None:
    """
    Put C{/dev/null} in the place of each that is closed: Python has None there, and the next file or socket that the
    process opens would have its number, so that a message for a person could go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
