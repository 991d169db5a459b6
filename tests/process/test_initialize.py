"""
Tests for L{twisted_mqtt.process.initialize}: C{twistd mqttbroker --init DIR}. C{tests/system/test_install.py} starts
what it writes.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from twisted_mqtt.config import readSettings
from twisted_mqtt.process.initialize import InitializeError, initialize, shipped
from twisted_mqtt.tap import Options

ROOT = Path(__file__).parents[2]


def test_meansTheShippedOne(tmp_path: Path) -> None:
    """
    The configuration is the shipped one, but for its paths: they are absolute, and lead into the folder.
    """
    folder = tmp_path / 'a "b" %s'
    initialize(folder)
    path = folder / "mqttbroker.toml"
    settings = readSettings(path, {})
    assert settings.acl_file == str(folder / "acl.conf")
    assert (settings.node.data_dir, settings.log.dir) == (str(folder / "data"), str(folder / "log"))
    assert settings.warnings == []
    written, origin = tomllib.loads(path.read_text()), tomllib.loads((shipped("etc") / "mqttbroker.toml").read_text())
    del written["acl_file"], written["node"]["data_dir"], written["log"]["dir"]
    assert written == origin
    assert re.findall('"etc/.*"', path.read_text()) == []


def test_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative name is taken from where the command was given, and written in full.
    """
    monkeypatch.chdir(tmp_path)
    said = initialize(Path("broker"))
    assert f" --config {tmp_path}/broker/mqttbroker.toml" in said
    assert f"WorkingDirectory={tmp_path}/broker\n" in (tmp_path / "broker" / "mqttbroker.service").read_text()


@pytest.mark.parametrize("name", ["mqttbroker.toml", "psk.txt", "make_certs.py"])
def test_overwritesNothing(tmp_path: Path, name: str) -> None:
    """
    One file that is there, were it a link to nowhere, and nothing is written at all.
    """
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(InitializeError, match=f"has {name} already; nothing was written"):
        initialize(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_cannotWrite(tmp_path: Path) -> None:
    """
    A folder that can't be made is told of.
    """
    (tmp_path / "file").touch()
    with pytest.raises(InitializeError, match="file.*nothing was written"):
        initialize(tmp_path / "file" / "folder")


def test_diskFull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A folder that could be filled in part only is as it was before.
    """

    def full(descriptor: int, mode: int) -> None:
        if (tmp_path / "new" / "acl.conf").exists():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fchmod", full)
    with pytest.raises(InitializeError, match="No space left.*nothing was written"):
        initialize(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_hiddenFolder(tmp_path: Path) -> None:
    """
    A folder that may not be looked into is told of, without a traceback.
    """
    (tmp_path / "closed").mkdir(mode=0)
    code = "import sys; from pathlib import Path; from twisted_mqtt.process.initialize import *\n"
    code += "try: initialize(Path(sys.argv[1]))\nexcept InitializeError as error: print(error)"
    command = [sys.executable, "-c", code, str(tmp_path / "closed" / "new")]
    if os.geteuid() == 0:
        # Without the capability to look everywhere.
        command[:0] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Permission denied" in done.stdout and "nothing was written" in done.stdout, done.stderr


def test_strangeName(tmp_path: Path) -> None:
    """
    A name that would be two lines of a unit is refused.
    """
    with pytest.raises(InitializeError, match="can't hold"):
        initialize(tmp_path / "a\nExecStart=b")
    assert list(tmp_path.iterdir()) == []


def test_commandLine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The command ends with 0 when it has written; with 1 and one line when it has not.
    """
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--init", str(tmp_path / "new")])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("wrote mqttbroker.toml, ")
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--init", str(tmp_path / "new")])
    assert ended.value.code == 1
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1


def test_unit(tmp_path: Path) -> None:
    """
    The unit names programs, folders and documents that are there, and sees them; systemd itself has no objection.
    """
    folder = tmp_path / "my %h broker"
    initialize(folder)
    text = (folder / "mqttbroker.service").read_text().replace("%%", "%")
    (start,) = re.findall("^ExecStart=(.*)", text, re.MULTILINE)
    twistd, *_, configuration = shlex.split(start)
    assert Path(twistd).exists() and Path(configuration) == folder / "mqttbroker.toml"
    (document,) = re.findall("^Documentation=file:(.*)", text, re.MULTILINE)
    assert Path(document).exists()
    assert f'ReadWritePaths="{folder}"' in text
    # The test's folder lies in the one for temporary files.
    assert ("PrivateTmp=false" in text) == folder.is_relative_to("/tmp")
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        units = [folder / "mqttbroker.service", folder / "mqttbroker.socket"]
        done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
        assert [line for line in done.stderr.splitlines() if "mqttbroker" in line] == []
