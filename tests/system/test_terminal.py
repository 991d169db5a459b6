"""
C{mqttbroker-ctl} at a terminal: completion in real shells, colours, width, what is asked for, how it is interrupted.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pexpect
import pytest

from tests.system.commandline import ROOT, Ctl, run
from tests.system.process import Broker
from tests.system.rawclient import accepted

# How a shell is started without the files of whoever runs the tests, and what its user has in those files.
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], "source ~/.local/share/bash-completion/completions/mqttbroker-ctl"),
    "zsh": (["-f", "-i"], "fpath=(~/.local/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u"),
    "fish": (
        ["--no-config", "-i"],
        "function fish_prompt; echo 'at> '; end; source ~/.config/fish/completions/mqttbroker-ctl.fish",
    ),
}


def terminal(program: str, *words: str, width: int = 80, **more: str) -> pexpect.spawn[str]:
    """
    Run a program in a terminal.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}
    # They would go before the size of this terminal.
    environment.pop("COLUMNS", None)
    return pexpect.spawn(
        program, list(words), env=environment, cwd=str(ROOT), dimensions=(24, width), timeout=40, encoding="utf-8"
    )


def ctlAt(socket: Path, *words: str, width: int = 80, **more: str) -> pexpect.spawn[str]:
    """
    Call a broker from a terminal.
    """
    return terminal(sys.executable, "-m", "twisted_mqtt.ctl", "--socket", str(socket), *words, width=width, **more)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """
    An environment whose program only says what it was called with; it completes as it does.
    """
    program = tmp_path / "bin" / "mqttbroker-ctl"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
[ -n "$_MQTTBROKER_CTL_COMPLETE" ] || {{ echo "called: <$*>"; exit; }}
exec {sys.executable} -m twisted_mqtt.ctl "$@"
"""
    )
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_DATA_HOME": "",
        "XDG_CONFIG_HOME": "",
        "MQTTBROKER__NODE__DATA_DIR": str(tmp_path / "nothing"),
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(shell: str, home: dict[str, str]) -> None:
    """
    What C{completion --install} writes makes the shell complete groups, commands, options and their values.
    """
    installed = run("completion", shell, "--install", **home)
    assert installed.returncode == 0, installed.stderr
    assert Path(installed.stdout.splitlines()[0].removeprefix("written: ")).is_file()
    words, begin = SHELLS[shell]
    at = terminal(shell, *words, width=200, PS1="at> ", **home)
    try:
        at.sendline(f"{begin}; echo be''gun")
        at.expect("begun\r")
        for typed, made in (
            ("subscr\t", "subscriptions"),
            ("subscriptions sh\t", "subscriptions show"),
            ("session show --client-i\t", "session show --client-id"),
            ("session show --format ta\t", "session show --format table"),
            ("clients list --conn-state idl\t", "clients list --conn-state idle"),
        ):
            at.expect("at> ")
            at.send(f"mqttbroker-ctl {typed}\r")
            at.expect(r"called: <([^>]*)>")
            assert at.match is not None
            assert str(at.match[1]).split() == made.split()
    finally:
        at.close(force=True)


def test_shellOfTheUser(home: dict[str, str]) -> None:
    """
    Without a name it is the shell of the user; one that is not known is asked for.
    """
    assert "#compdef" in run("completion", SHELL="/bin/zsh", **home).stdout
    unknown = run("completion", SHELL="/bin/sh", **home)
    assert (unknown.returncode, "bash, zsh, fish" in unknown.stderr) == (2, True)
    blocked = run("completion", "fish", "--install", **{**home, "XDG_CONFIG_HOME": "/dev/null"})
    assert (blocked.returncode, blocked.stderr.count("/dev/null/fish")) == (1, 1)


def test_looks(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    At a terminal the head of a table is bold and the table fits; elsewhere neither is done, nor where NO_COLOR is set.
    """
    broker, ctl = managed
    (path,) = tmp_path.rglob("ctl.sock")
    link = accepted(broker, "a-client-with-a-rather-long-name-" + "x" * 60)
    try:
        at = ctlAt(path, "session", "show", width=75)
        shown = str(at.read())
        assert "\x1b[1m| client_id" in shown
        lines = re.sub(r"\x1b\[\d*m", "", shown).splitlines()
        assert len(lines) == 5
        assert {len(line) for line in lines} == {75}
        assert "\u2026" in lines[3]
        plain = str(ctlAt(path, "session", "show", width=75, NO_COLOR="1").read())
        assert "\x1b" not in plain and "| client_id" in plain
        piped = ctl("session", "show").stdout
        assert "\x1b" not in piped and "x" * 60 in piped
    finally:
        link.close()


def test_interrupted(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    C{--watch} shows it again and again; Ctrl-C ends it without a word.
    """
    (path,) = tmp_path.rglob("ctl.sock")
    at = ctlAt(path, "--watch", "0.2s", "status")
    for _ in range(3):
        at.expect("is running")
    at.sendintr()
    rest = str(at.read())
    at.close()
    assert "Traceback" not in rest and "Error" not in rest
    assert at.exitstatus == 130


def test_secret(managed: tuple[Broker, Ctl]) -> None:
    """
    The secret of an application is asked for, and not shown.
    """
    broker, _ = managed
    url = f"http://127.0.0.1:{broker.ports['management.listener.http']}"
    at = terminal(sys.executable, "-m", "twisted_mqtt.ctl", "--url", url, "status")
    at.expect("Secret of admin: ")
    at.sendline("public")
    rest = str(at.read())
    assert "is running" in rest
    assert "public" not in rest


def test_progress(tmp_path: Path) -> None:
    """
    What takes long says so at a terminal; the line is gone when the answer comes.
    """
    path = tmp_path / "ctl.sock"
    answered = threading.Event()
    described = {
        "name": "slow",
        "summary": "Take long",
        "words": "slow",
        "aliases": [],
        "role": "read",
        "positional": [],
        "parameters": [],
        "isList": False,
        "hasText": True,
    }

    def serve(listening: socket.socket) -> None:
        for body, kind in (
            (json.dumps({"code": 0, "data": [described]}), "application/json"),
            ("done\n", "text/plain"),
        ):
            with listening.accept()[0] as link:
                link.recv(65536)
                if kind == "text/plain":
                    answered.wait(30)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                link.sendall((head + body).encode())

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        at = ctlAt(path, "slow")
        at.expect("mqttbroker-ctl: waiting for the broker, 1 s")
        answered.set()
        rest = str(at.read())
        thread.join()
    assert rest.endswith("\r\x1b[Kdone\r\n")
