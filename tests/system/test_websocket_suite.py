"""
The Autobahn test suite of WebSocket, as C{kosoku} brings it, against an echo on the layer of WebSocket: as MQTT uses
it, and as STOMP does.

Compression takes minutes where every size of message has its turn. The longer cases of groups 12 and 13, and for STOMP
all but one group of each, run only if C{WEBSOCKET_SUITE=all} says so: C{make websocket-suite}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.system.process import ROOT, Program, fromTree

pytestmark = pytest.mark.skipif(find_spec("kosoku") is None, reason="needs kosoku")

ALL = os.environ.get("WEBSOCKET_SUITE") == "all"
TIMEOUT = 900 if ALL else 100

# Messages of 16, 256 and 1,024 bytes, and of 8,192 in fragments of 256.
_SHORT = ("1", "3", "4", "11")

# Binary messages, and an offer with parameters.
_FOR_ALL = ("12.4", "13.4")

# The groups, by the number of their cases.
PLAIN = {"1.*": 16, "2.*": 11, "3.*": 7, "4.*": 10, "5.*": 20, "6.*": 145, "7.*": 37, "9.*": 54, "10.*": 1}
COMPRESSED = {f"12.{data}": 18 for data in range(1, 6)} | {f"13.{offer}": 18 for offer in range(1, 8)}


USERS = ("mqtt", "stomp")

TO_COMPRESS = [(user, group) for user in USERS for group in COMPRESSED if ALL or user == "mqtt" or group in _FOR_ALL]


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    Where the echo listens, with the options of either user of the layer.
    """
    folder: Path = tmp_path_factory.mktemp("echo")
    command = [sys.executable, "-m", "tests.kits.websocketecho", request.param]
    program = Program(command, ROOT, {**fromTree(), "TMPDIR": str(folder)})
    try:
        (match,) = program.waitFor(r"listening on port (\d+)")
        yield f"ws://127.0.0.1:{match[1]}/echo"
    finally:
        program.end()
    assert "Traceback" not in program.text, program.text


def check(url: str, cases: list[str], count: int) -> None:
    """
    Run cases, and see that every one of them has passed as the suite defines it.
    """

    command = [sys.executable, "-m", "tests.kits.websocketsuite", url, *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT - 10)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [f"{result['case']}: {result['why']}" for result in results if not result["passed"]]
    assert not failed, "\n".join(failed)
    assert len(results) == count


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("url, group", [(user, group) for user in USERS for group in PLAIN], indirect=["url"])
def test_group(url: str, group: str) -> None:
    """
    Every case of the group passes.
    """
    check(url, [group], PLAIN[group])


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("url, group", TO_COMPRESS, indirect=["url"])
def test_compression(url: str, group: str) -> None:
    """
    So does every case of the groups with compression, or those of them with short messages.
    """
    if ALL:
        check(url, [f"{group}.*"], COMPRESSED[group])
    else:
        check(url, [f"{group}.{case}" for case in _SHORT], len(_SHORT))
