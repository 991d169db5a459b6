"""
C{mqttbroker-ctl convert} as a process: a file of each of the other brokers, and C{twistd mqttbroker --check} on what it
makes.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.process import PATIENCE, fromTree
from tests.system.test_process import mqttbroker

SAMPLES = Path(__file__).parents[1] / "convert" / "samples"


def convert(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """
    Run the command to its end, where no broker is.
    """
    command = [sys.executable, "-m", "twisted_mqtt.ctl", "convert", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **fromTree()}, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize(
    ("sample", "taken"),
    [
        (
            "emqx/etc/emqx.conf",
            "zone.external.force_gc_policy = 1000|1MB: not taken over: Python frees memory by itself",
        ),
        ("nanomq/nanomq.conf", "bridges.mqtt.emqx1.password = ***: not taken over: there are no bridges yet"),
        ("vernemq/vernemq.conf", "leveldb.maximum_memory.percent = 20: not taken over: the store is SQLite"),
        ("mosquitto/mosquitto.conf", "mosquitto.conf:14: password_file /etc/mosquitto/pwfile: not taken over: "),
    ],
)
def test_check(tmp_path: Path, sample: str, taken: str) -> None:
    """
    The broker finds nothing wrong with the result, in whose folder the access rules are; what was not taken over is
    said on the standard error and in the result.
    """
    done = convert(tmp_path, SAMPLES / sample, "--output", "ours.toml")
    assert (done.returncode, done.stdout) == (0, "")
    assert taken in done.stderr
    assert taken in (tmp_path / "ours.toml").read_text()
    assert done.stderr.splitlines()[-1].startswith("lines taken over: ")
    assert (tmp_path / "ours.acl.conf").exists() is not sample.startswith("emqx")
    checked = mqttbroker(tmp_path, "--check", "--running", "--config", "ours.toml")
    assert checked.returncode == 0, checked.stderr


def test_files(tmp_path: Path) -> None:
    """
    A file that is there is not replaced unasked; one with a secret is for its owner alone; without C{--output} the
    result is printed, unless access rules have to stand beside it.
    """
    sample = SAMPLES / "mosquitto" / "minimal.conf"
    (tmp_path / "out.toml").write_text("mine")
    refused = convert(tmp_path, sample, "-o", "out.toml")
    assert refused.stderr == "mqttbroker-ctl: out.toml is there already; --force replaces it\n"
    assert refused.returncode == 1
    assert (tmp_path / "out.toml").read_text() == "mine"
    assert convert(tmp_path, sample, "-o", "out.toml", "--force").returncode == 0
    printed = convert(tmp_path, sample)
    assert printed.stdout == (tmp_path / "out.toml").read_text()
    secret = convert(tmp_path, SAMPLES / "nanomq" / "nanomq.conf", "-o", "secret.toml")
    assert secret.returncode == 0
    assert stat.S_IMODE((tmp_path / "secret.toml").stat().st_mode) == 0o600
    refused = convert(tmp_path, SAMPLES / "mosquitto" / "mosquitto.conf")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--output has to name that" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["out.toml", "secret.acl.conf", "secret.toml"]


def test_nothing(tmp_path: Path) -> None:
    """
    A file of which nothing can be taken over, and one that is not there: status 1, no result, no traceback.
    """
    wrong = convert(tmp_path, SAMPLES / "mosquitto" / "minimal.conf", "--from", "vernemq")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.splitlines()[-1].endswith("nothing of it can be taken over; --from says whose file it is")
    missing = convert(tmp_path, "none.conf")
    assert (missing.returncode, missing.stderr) == (1, "mqttbroker-ctl: none.conf: No such file or directory\n")
    assert convert(tmp_path, "--from", "rabbitmq", "x").returncode == 2
