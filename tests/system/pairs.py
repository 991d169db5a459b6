"""
Twenty or so clients that exchange messages meanwhile, in a process of their own: what they see of the broker is what
its other users see.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.system.process import ROOT, Broker


class Pairs:
    """
    Pairs of clients, one of which publishes to the other at a steady pace.

    The result of an exchange: how many C{messages} were sent, how many of them were C{lost} or C{doubled}, and the
    C{median}, the 99th percentile (C{p99}) and the C{longest} of their times, in milliseconds.
    """

    def __init__(self, broker: Broker, count: int, rate: float, qos: int = 0) -> None:
        """
        @param rate: messages a second of each pair.
        """
        script = ROOT / "tests" / "system" / "pacedpairs.py"
        command = [sys.executable, script, broker.host, str(broker.port), str(count), str(rate), str(qos)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "connected"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def exchange(self, seconds: float) -> dict[str, float]:
        """
        Exchange messages for some time; returns how it went.
        """
        self._say(str(seconds))
        found: dict[str, float] = json.loads(self._line())
        return found

    def begin(self, seconds: float = 0.0) -> None:
        """
        Exchange messages until L{end}, and for so many seconds at least.
        """
        self._say(f"begin {seconds}")
        assert self._line() == "begun"

    def end(self) -> dict[str, float]:
        """
        Exchange no more; returns how it went, once the last message has come or half a minute has gone.
        """
        self._say("end")
        found: dict[str, float] = json.loads(self._line())
        return found

    def close(self) -> None:
        """
        End them.
        """
        self._process.communicate()
