"""
Streams that the caller of a program has closed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from twisted_mqtt.base.standardstreams import openClosedStreams
openClosedStreams()
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
print("said"); print("said", file=sys.stderr); sys.stdout.flush(); sys.stderr.flush()
for number in (1, 2):
    os.write(number, b"said")
os.write(file, f"{file > 2} {sys.stdin.read()!r}".encode())
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed(tmp_path: Path, closed: str) -> None:
    """
    What is said goes nowhere, above all not into a file that the process opens; nothing comes from the input.
    """
    file = tmp_path / "file"
    subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" "$2" {closed}', sys.executable, PROGRAM, str(file)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert file.read_text() == "True ''"
