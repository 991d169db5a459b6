"""
A server in a child process, with a folder of its own, for benchmarks that start more than MQTT brokers.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.sockets import HandshakeError

_START_TIMEOUT = 40.0


def freePort(kind: int = socket.SOCK_STREAM) -> int:
    """
    A port of this machine that nobody has at present.
    """
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Child:
    """
    The process.

    @ivar folder: its own, removed with it.
    @ivar pid: of the process.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def start(self, arguments: list[str], environment: dict[str, str], isThere: Callable[[], object]) -> None:
        """
        Start it, and wait until it answers.

        @param isThere: asks it; raises C{OSError} or L{HandshakeError} while it does not answer.

        @raise HandshakeError: it does not start; the text holds what it has said.
        """
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                isThere()
                return
            except (OSError, HandshakeError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / "output").read_text(errors="replace")
                    self.stop()
                    raise HandshakeError(f"{self._name} did not start: {error}\n{said[-2000:]}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """
        End it, and remove its files.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
