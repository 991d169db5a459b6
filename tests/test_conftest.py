"""
That nothing fails unseen: pytest itself, run on tests that ought to fail.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CASES = {
    "a Deferred's failure that nobody handles": (
        "from twisted.internet.defer import fail\n\ndef test_it():\n    fail(ValueError('unseen'))\n"
    ),
    "an error that is logged": (
        "from twisted.logger import Logger\n\ndef test_it():\n"
        "    try:\n        raise ValueError('unseen')\n"
        "    except ValueError:\n        Logger().failure('of no account')\n"
    ),
    "the same in one of trial's cases": (
        "from twisted.internet.defer import fail\nfrom twisted.trial.unittest import SynchronousTestCase\n\n"
        "class Tests(SynchronousTestCase):\n    def test_it(self):\n        fail(ValueError('unseen'))\n"
    ),
    "a call left waiting in the reactor": (
        "from twisted.internet import reactor\nfrom twisted.trial.unittest import TestCase\n\n"
        "class Tests(TestCase):\n    def test_it(self):\n        reactor.callLater(99, print, 'unseen')\n"
    ),
    "a warning": "import warnings\n\ndef test_it():\n    warnings.warn('unseen')\n",
    "a marker that does not exist": "import pytest\n\n@pytest.mark.unseen\ndef test_it():\n    pass\n",
}


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """
    Run C{text} as a test module under the rules of this project.
    """
    (folder / "conftest.py").write_text("from tests.conftest import noErrorUnseen\n")
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("text", CASES.values(), ids=CASES.keys())
def test_fails(tmp_path: Path, text: str) -> None:
    """
    A test that goes wrong without saying so fails all the same, and the report says why.
    """
    done = run(tmp_path, text)
    assert done.returncode != 0, done.stdout
    assert "unseen" in done.stdout


def test_passes(tmp_path: Path) -> None:
    """
    A failure that is handled is nobody's fault.
    """
    text = (
        "from twisted.internet.defer import fail\n\ndef test_it():\n"
        "    fail(ValueError('seen')).addErrback(lambda failure: None)\n"
    )
    done = run(tmp_path, text)
    assert done.returncode == 0, done.stdout
