"""
Tests for L{twisted_mqtt.process.crashdump}.
"""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from pathlib import Path

from twisted.logger import capturedLogs

from twisted_mqtt.process.crashdump import CrashDump

_CRASHING = """
import os, resource, signal, sys
from twisted_mqtt.process.crashdump import CrashDump

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
dump = CrashDump()
dump.start(sys.argv[1])

def crashes():
    os.kill(os.getpid(), signal.SIGSEGV)

crashes()
"""


def test_crash(tmp_path: Path) -> None:
    """
    A process that dies of a fault leaves the stacks of its threads, after what is in the file already.
    """
    file = tmp_path / "log" / "crash.dump"
    for count in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", _CRASHING, str(file)], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == -11
        text = file.read_text()
        assert text.count("Fatal Python error: Segmentation fault") == count
        assert text.count("in crashes") == count


def test_cannotBeOpened(tmp_path: Path) -> None:
    """
    A file that can't be opened is told; the process goes on.
    """
    (tmp_path / "file").write_text("")
    dump = CrashDump()
    with capturedLogs() as logs:
        dump.start(str(tmp_path / "file" / "crash.dump"))
    [event] = logs
    assert event["log_format"].startswith("node.crash_dump: ")
    assert dump.file is None


def test_stop(tmp_path: Path) -> None:
    """
    At the end the file is closed, and Python does not write to it any more.
    """
    was = faulthandler.is_enabled()
    dump = CrashDump()
    dump.start(str(tmp_path / "crash.dump"))
    assert faulthandler.is_enabled()
    file = dump.file
    assert file is not None
    dump.stop()
    dump.stop()
    assert file.closed
    assert not faulthandler.is_enabled()
    if was:
        # The test runner's own.
        faulthandler.enable()
