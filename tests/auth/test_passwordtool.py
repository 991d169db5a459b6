"""
C{mqttbroker-passwd}, called within the tests' process: what it does to the file, says, and ends with.
"""

import fcntl
import io
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from twisted_mqtt.auth import passwordtool
from twisted_mqtt.auth.passwordfile import PasswordFile

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """
    Run the program, few iterations being enough for tests.

    @return: what gives its exit status, and what it printed.
    """

    def run(*words: object, text: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        status = 0
        try:
            passwordtool.main(["-I", "5", *map(str, words)])
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def content(file: Path) -> PasswordFile:
    """
    What the file holds.
    """
    return PasswordFile(file.read_bytes())


def test_lifeOfAFile(run: Run, tmp_path: Path) -> None:
    """
    A file is made for its owner alone, gets a user, another password, and loses the user.
    """
    file = tmp_path / "pw"
    assert run("-c", file, "ann", text=b"one\n") == (0, "'ann' is added\n", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(file, "bob", text=b"two\r\n") == (0, "'bob' is added\n", "")
    assert run("-b", "-H", "sha512", file, "bob", "three") == (0, "'bob' has another password\n", "")
    found = content(file)
    assert found.verify("ann", b"one")
    assert found.verify("bob", b"three")
    assert found.users["ann"].startswith("$7$5$")
    assert found.users["bob"].startswith("$6$")
    assert run("--check", file, "ann", text=b"one") == (0, "the password of 'ann' is right\n", "")
    assert run("--check", file, "ann", text=b"One") == (
        1,
        "",
        "mqttbroker-passwd: the password of 'ann' is not right\n",
    )
    assert run("--check", file, "eve", text=b"x")[::2] == (1, "mqttbroker-passwd: there is no such user\n")
    assert run("-D", file, "ann") == (0, "'ann' is taken out\n", "")
    before = file.read_bytes()
    status, _, said = run("-D", file, "ann")
    assert (status, said) == (1, "mqttbroker-passwd: there is no user 'ann'; the file is as it was\n")
    assert file.read_bytes() == before
    assert list(content(file).users) == ["bob"]
    assert run("-c", file, "new", text=b"x")[0] == 0
    assert list(content(file).users) == ["new"]
    assert os.listdir(tmp_path) == ["pw"]


def test_modeAndLinkAreKept(run: Run, tmp_path: Path) -> None:
    """
    A file keeps its permissions, and a link to it stays a link.
    """
    file, link = tmp_path / "pw", tmp_path / "link"
    file.write_bytes(b"a:b\n")
    file.chmod(0o640)
    link.symlink_to("pw")
    assert run("-b", link, "c", "d")[0] == 0
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(content(file).users) == ["a", "c"]


def test_upgrade(run: Run, tmp_path: Path) -> None:
    """
    Passwords in clear are hashed; a second run changes nothing; a file with a line that says nothing is left alone.
    """
    file = tmp_path / "pw"
    file.write_bytes(b"# ours\nann:one\nbob:$6$clQ4\n")
    assert run("-U", file) == (0, "2 of 2 passwords were in clear, and are hashed now\n", "")
    assert content(file).verify("ann", b"one")
    before = file.read_bytes()
    assert run("-U", file) == (0, "all are hashed\n", "")
    assert file.read_bytes() == before
    file.write_bytes(b"ann:one\nno password file\n")
    assert run("-U", file)[::2] == (1, "mqttbroker-passwd: line 2: it has no colon; the file is as it was\n")
    assert file.read_bytes() == b"ann:one\nno password file\n"


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["ann"], b"", "the password is empty"),
        (["ann"], b"\n", "the password is empty"),
        (["ann"], b"x" * 65536, "the password has more than 65535 bytes"),
        (["a:b"], b"x", "the name has a colon, which ends the name in the file"),
        (["a\nb"], b"x", "the name has a control character"),
        (["-b", "", "x"], b"", "the name is empty"),
        (["-b", "ann", ""], b"", "the password is empty"),
        (["-b", "a\udcff", "x"], b"", "the name is not UTF-8, as MQTT wants it"),
    ],
)
def test_refused(run: Run, tmp_path: Path, words: list[str], text: bytes, said: str) -> None:
    """
    What can't stand in a file is refused, and no file is made or changed.
    """
    file = tmp_path / "pw"
    for option in ([], ["-c"]):
        status, out, err = (
            run(*words[:-1], *option, file, words[-1], text=text)
            if len(words) == 1
            else run(words[0], *option, file, *words[1:], text=text)
        )
        assert (status, out) == (1, "")
        assert err == (
            f"mqttbroker-passwd: {said}\n" if option else f"mqttbroker-passwd: {file} is not there; -c makes it\n"
        )
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: FILE"),
        (["f"], "name a user"),
        (["-U", "f", "u"], "-U takes no user"),
        (["f", "u", "p"], "needs -b"),
        (["-b", "f", "u"], "-b needs a password"),
        (["-b", "-D", "f", "u", "p"], "-b goes with a password"),
        (["-c", "-D", "f", "u"], "not allowed with"),
        (["-I", "0", "f", "u"], "-I is from 1 to"),
        (["-I", "x", "f", "u"], "invalid int value"),
        (["-H", "md5", "f", "u"], "invalid choice"),
        (["--chec", "f", "u"], "unrecognized arguments"),
        (["a\x00b", "u"], "NUL"),
    ],
)
def test_usage(run: Run, words: list[str], said: str) -> None:
    """
    Wrong usage is status 2, with a word on what is wrong.
    """
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert said in err


def test_whatIsNoPasswordFile(run: Run, tmp_path: Path) -> None:
    """
    A folder, a pipe, a missing folder are refused by name; the exit status is 1.
    """
    os.mkfifo(tmp_path / "pipe")
    assert run("-c", "-b", tmp_path / "pipe", "a", "b")[::2] == (
        1,
        f"mqttbroker-passwd: {tmp_path / 'pipe'} is no ordinary file\n",
    )
    assert run("-b", tmp_path, "a", "b")[::2] == (1, f"mqttbroker-passwd: {tmp_path}: Is a directory\n")
    missing = tmp_path / "none" / "pw"
    assert run("-c", "-b", missing, "a", "b")[::2] == (1, f"mqttbroker-passwd: {missing}: No such file or directory\n")
    assert run("-D", missing, "a")[0] == 1
    assert sorted(os.listdir(tmp_path)) == ["pipe"]


def test_fullDisk(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If the new content can't be written, the old stays, and nothing else is left in the folder.
    """
    file = tmp_path / "pw"
    file.write_bytes(b"a:b\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert run("-b", file, "c", "d")[::2] == (1, f"mqttbroker-passwd: {file}: No space left on device\n")
    assert file.read_bytes() == b"a:b\n"
    assert os.listdir(tmp_path) == ["pw"]


def test_manyAtOnce(tmp_path: Path) -> None:
    """
    Of programs that change one file at the same time, every change stays.
    """
    file = tmp_path / "pw"
    file.write_bytes(b"")

    def add(name: str) -> None:
        passwordtool.main(["-b", "-H", "sha512", str(file), name, "x"])

    threads = [threading.Thread(target=add, args=(f"user{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(content(file).users) == sorted(f"user{number}" for number in range(20))


def test_heldFolder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If another program holds the folder for too long, this one gives up and says so.
    """
    file = tmp_path / "pw"
    file.write_bytes(b"a:b\n")
    monkeypatch.setattr(passwordtool, "_LOCK_SECONDS", 0.0)
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        status, _, said = run("-D", file, "a")
    finally:
        os.close(holder)
    assert (status, said) == (1, f"mqttbroker-passwd: another program holds the folder of {file}\n")
    assert file.read_bytes() == b"a:b\n"


def test_emqx(run: Run, tmp_path: Path) -> None:
    """
    A file of EMQ X is edited in its own form.
    """
    file = tmp_path / "emqx_auth_username.conf"
    file.write_bytes(b"auth.user.1.username = admin\nauth.user.1.password = public\n")
    assert run("-b", file, "a:b", "secret")[0] == 0
    assert run("--check", file, "a:b", text=b"secret\n")[0] == 0
    assert run("-D", file, "admin")[0] == 0
    assert run("-U", file)[0] == 1
    assert file.read_bytes() == b"auth.user.2.username = a:b\nauth.user.2.password = secret\n"
