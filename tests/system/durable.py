"""
A broker with a store on disk, which a test kills and starts again.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.system.process import Broker, startTwistd


class Durable:
    """
    A broker that keeps what it has acknowledged.

    @ivar broker: the one that runs.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Any], listeners: int = 1) -> None:
        """
        @param tables: of its configuration, but for what makes it durable.
        @param listeners: how many it opens.
        """
        self._folder = folder
        self._listeners = listeners
        self._tables = {
            "allow_anonymous": True,
            "node": {"name": "test@127.0.0.1", "data_dir": str(folder / "data")},
            "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
            "persistence": {"store": "sqlite"},
            **tables,
        }
        self.broker = self._start()

    def _start(self) -> Broker:
        return startTwistd(self._folder, self._tables, self._listeners)

    def kill(self) -> None:
        """
        Kill it, and start it again.
        """
        self.broker.end(signal.SIGKILL)
        self.broker = self._start()
