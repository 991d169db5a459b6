"""
C{mqttbroker-passwd} beside the programs whose files it shares, and at a terminal.
"""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.process import PATIENCE, ROOT, Program

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_passwd") is None or shutil.which("mosquitto_pub") is None, reason="needs Debian's mosquitto"
)

OURS = [sys.executable, "-m", "twisted_mqtt.auth.passwordtool"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def ours(*words: object, text: str = "") -> subprocess.CompletedProcess[str]:
    """
    Run our program to its end.
    """
    return subprocess.run(
        [*OURS, *map(str, words)], input=text, capture_output=True, text=True, timeout=PATIENCE, env=ENVIRONMENT
    )


def theirs(*words: object) -> None:
    """
    Run Mosquitto's program to its end.
    """
    subprocess.run(["mosquitto_passwd", *map(str, words)], check=True, capture_output=True, timeout=PATIENCE)


def test_filesOfMosquitto(tmp_path: Path) -> None:
    """
    We check and edit what C{mosquitto_passwd} makes, of both kinds, and it edits what we make.
    """
    file = tmp_path / "pw"
    theirs("-c", "-b", file, "new", "pässword one")
    theirs("-H", "sha512", "-b", file, "old", "two")
    assert ours("--check", file, "new", text="pässword one\n").returncode == 0
    assert ours("--check", file, "old", text="two").returncode == 0
    assert ours("--check", file, "old", text="one").returncode == 1
    assert ours("-b", file, "ours", "three").stdout == "'ours' is added\n"
    theirs("-b", file, "late", "four")
    theirs("-D", file, "new")
    for name, password in (("old", "two"), ("ours", "three"), ("late", "four")):
        assert ours("--check", file, name, text=password).returncode == 0
    assert ours("--check", file, "new", text="pässword one").stderr == "mqttbroker-passwd: there is no such user\n"
    # Passwords in clear are hashed alike.
    file.write_text("ann:one\nbob:two\n")
    theirs("-U", file)
    assert ours("--check", file, "bob", text="two").returncode == 0


def test_mosquittoReadsOurs(tmp_path: Path) -> None:
    """
    A real Mosquitto lets in whom our file names, hashed in either way, and nobody else.
    """
    file = tmp_path / "pw"
    assert ours("-c", "-b", file, "ann", "pässword").returncode == 0
    assert ours("-b", "-H", "sha512", file, "bob", "two words").returncode == 0
    assert ours("-b", "-I", "1", file, "é", "x" * 200).returncode == 0
    # It gives up root, and reads the file as the user that it becomes.
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program is not None
    socket = tmp_path / "mqtt"
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"user root\nlistener 0 {socket}\npassword_file {file}\n")
    broker = Program([program, "-c", configuration], tmp_path)
    try:
        broker.waitFor("mosquitto version .* running")

        def published(*options: str) -> bool:
            command = ["mosquitto_pub", "--unix", str(socket), "-t", "t", "-m", "x", *options]
            return subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0

        assert published("-u", "ann", "-P", "pässword")
        assert published("-u", "bob", "-P", "two words")
        assert published("-u", "é", "-P", "x" * 200)
        assert not published("-u", "ann", "-P", "wrong")
        assert not published("-u", "eve", "-P", "pässword")
        assert not published()
    finally:
        broker.end()


def test_terminal(tmp_path: Path) -> None:
    """
    At a terminal the password is asked for twice, without echo; two different ones are refused.
    """

    def typed(*lines: str) -> tuple[int, str]:
        terminal, its = pty.openpty()
        child = subprocess.Popen(
            [*OURS, "-c", str(tmp_path / "pw"), "ann"],
            stdin=its,
            stdout=its,
            stderr=its,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        os.close(its)
        shown = b""
        waiting = list(lines)
        while True:
            try:
                piece = os.read(terminal, 1024)
            except OSError:
                # The other end is closed.
                break
            shown += piece
            if waiting and shown.count(b": ") > len(lines) - len(waiting):
                os.write(terminal, waiting.pop(0).encode() + b"\n")
        os.close(terminal)
        return child.wait(PATIENCE), shown.decode()

    status, shown = typed("secret1", "secret2")
    assert status == 1
    assert "these were two different passwords" in shown
    assert "secret" not in shown
    assert not (tmp_path / "pw").exists()
    status, shown = typed("secret1", "secret1")
    assert status == 0
    assert "secret" not in shown
    assert ours("--check", tmp_path / "pw", "ann", text="secret1").returncode == 0


def test_outputs(tmp_path: Path) -> None:
    """
    A reader who goes away, a full disk for the output and a closed output change nothing of what is done.
    """
    command = " ".join([*OURS, "-b", "-c", str(tmp_path / "pw"), "ann", "x"])
    for end, status in (("| true", 0), (">/dev/full", 0), (">&-", 0)):
        done = subprocess.run(
            command + end, shell=True, capture_output=True, text=True, timeout=PATIENCE, env=ENVIRONMENT
        )
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert (tmp_path / "pw").exists()
        (tmp_path / "pw").unlink()
