"""
The reloader: an extension's changed code in a running broker.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.commandline import run
from tests.system.conftest import configuration
from tests.system.paho_peer import Peer
from tests.system.process import Broker, fromTree, toml, twistdCommand

PLUGIN = """
from twisted_mqtt.extensions.makers import ExtensionMaker

speaker = ExtensionMaker("speaker", "speaking.extension:Speaker", "Speaks", distribution="speaking")
"""
EXTENSION = """
from speaking.words import WORD


class Speaker:
    def start(self, context):
        context.log.info("the word is {word}", word=WORD)
        context.hook("client.connected", self.connected)
        self.log = context.log

    def connected(self, client, connection):
        self.log.info("{word}, {client}", word=WORD, client=client.clientID)
"""


def _start(folder: Path, **reloader: object) -> Broker:
    code = folder / "code"
    (code / "twisted" / "plugins").mkdir(parents=True)
    (code / "speaking").mkdir()
    (code / "twisted" / "plugins" / "speaking_plugin.py").write_text(PLUGIN)
    (code / "speaking" / "__init__.py").write_text("")
    (code / "speaking" / "extension.py").write_text(EXTENSION)
    (code / "speaking" / "words.py").write_text("WORD = 'one'\n")
    tables = {
        **configuration(folder),
        "plugins": {"load": ["management", "reloader", "speaker"]},
        "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}},
        "reloader": {"logfile": str(folder / "log" / "reloader.log"), **reloader},
    }
    (folder / "b.toml").write_text(toml(tables))
    environment = fromTree()
    environment["PYTHONPATH"] = os.pathsep.join((environment["PYTHONPATH"], str(code)))
    command = [*twistdCommand(), "mqttbroker", "--config", folder / "b.toml"]
    broker = Broker(command, folder, environment).started(2)
    broker.waitFor("the word is one")
    return broker


def _change(folder: Path, text: str) -> None:
    file = folder / "code" / "speaking" / "words.py"
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


@pytest.mark.shows("reload_module")
def test_command(tmp_path: Path, name: str) -> None:
    """
    C{ctl reload} takes over changed code with all that uses it; code that does not work is refused, and the old is used
    on. Clients stay connected.
    """
    broker = _start(tmp_path, interval="0")
    broker.waitFor("listening: ctl:http")
    (path,) = tmp_path.rglob("ctl.sock")

    def ctl(*words: str) -> subprocess.CompletedProcess[str]:
        return run("--socket", str(path), *words)

    with Peer(broker, name) as peer:
        broker.waitFor(f"one, {name}")
        _change(tmp_path, "WORD = 'number two'\n")
        done = ctl("reload", "speaking.words")
        assert (done.stdout, done.stderr) == ("ok\n", "")
        broker.waitFor("the word is number two")
        for text, why in (("WORD = = 3", "invalid syntax"), ("WORD = nothing\n", "name 'nothing' is not defined")):
            _change(tmp_path, text)
            refused = ctl("reload", "speaking.words")
            assert refused.returncode == 1
            assert why in refused.stderr and "the old code is used on" in refused.stderr
        for module, why in (
            ("twisted.internet.reactor", "is no module of an installed extension"),
            ("twisted_mqtt.core.session", "is no module of an installed extension"),
            ("json", "is no module of an installed extension"),
            ("no.such", "is not loaded"),
        ):
            assert why in ctl("reload", module).stderr
        assert ctl("reload").returncode == 2
        peer.publish("t", "still here", 1)
    with Peer(broker, f"{name}x"):
        broker.waitFor(f"number two, {name}x")
    lines = (tmp_path / "log" / "reloader.log").read_text().splitlines()
    assert "speaking.words" in lines[0] and "ok, extensions: speaker" in lines[0]
    assert "refused" in lines[1]
    broker.stop()


def test_watching(tmp_path: Path) -> None:
    """
    Changed files are seen by themselves.
    """
    broker = _start(tmp_path, interval="1s")
    _change(tmp_path, "WORD = 'three'\n")
    broker.waitFor("the word is three")
    _change(tmp_path, "WORD = (\n")
    broker.waitFor("speaking.words can't be reloaded: speaking.words: '\\(' was never closed")
    broker.stop()
