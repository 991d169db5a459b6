"""
The template of C{docs/template}: a package of somebody else, installed beside the broker as C{pip} does it.
"""

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import configuration
from tests.system.paho_peer import Peer
from tests.system.process import ROOT, Broker, toml, twistdCommand
from tests.system.test_install import copySources, run

# An environment is made, and dependencies fetched.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    The Python of an environment that holds the broker, interpreted, and the template.
    """
    folder = tmp_path_factory.mktemp("template")
    (folder / "source").mkdir()
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    source = copySources(folder / "source")
    run(python, "-m", "pip", "install", "--quiet", source, cwd=folder, BUILD_EXTENSION="no")
    shutil.copytree(ROOT / "docs" / "template", folder / "greeter")
    run(python, "-m", "pip", "install", "--quiet", folder / "greeter", "pytest", cwd=folder)
    yield python


def start(installed: Path, folder: Path, **tables: object) -> Broker:
    """
    Start the broker of that environment with further tables.
    """
    file = folder / "mqttbroker.toml"
    file.write_text(toml({**configuration(folder), **tables}))
    command = [*twistdCommand(str(installed)), "mqttbroker", "--config", file]
    return Broker(command, folder, {"PYTHONPATH": ""})


def test_works(installed: Path, tmp_path: Path) -> None:
    """
    It is loaded by name, goes by its own table, and greets clients; at its end the log says what went with it.
    """
    tables = {"plugins": {"load": ["emqx_greeter"]}, "greeter": {"topic": "welcome", "loud": True}}
    broker = start(installed, tmp_path, **tables).started(1)
    with Peer(broker, "reader") as reader:
        reader.subscribe("welcome")
        Peer(broker, "anna").connect().disconnect()
        assert reader.payloads(1) == ["HELLO ANNA"]
    broker.stop()
    broker.waitFor(r"plugin greeter: swept 1 x loop .*; 1 x watch .*; 1 x callback \(client.connected\)")


def test_typo(installed: Path, tmp_path: Path) -> None:
    """
    A typo in one of its keys is refused as one of ours is, whether it is loaded or not.
    """
    broker = start(installed, tmp_path, greeter={"topik": "welcome"})
    assert broker.wait() != 0
    assert 'greeter.topik = "welcome": there is no such key; the nearest is "topic"' in broker.text
    broker = start(installed, tmp_path, plugins={"load": ["greter"]})
    assert broker.wait() != 0
    assert 'no extension "greter" is installed; the nearest is "greeter"' in broker.text


def test_reload(installed: Path, tmp_path: Path) -> None:
    """
    It is loaded and unloaded while the broker runs, as the file says.
    """
    broker = start(installed, tmp_path).started(1)
    file = tmp_path / "mqttbroker.toml"
    for load, line in ((["greeter"], "reload: greeter: started"), ([], "reload: greeter: stopped")):
        file.write_text(toml({**configuration(tmp_path), "plugins": {"load": load}}))
        broker.process.send_signal(signal.SIGHUP)
        broker.waitFor(line)
    broker.stop()


def test_ownTests(installed: Path, tmp_path: Path) -> None:
    """
    Its own tests pass where nothing of the broker's tree is at hand.
    """
    said = run(installed, "-m", "pytest", "-q", installed.parents[2] / "greeter" / "tests", cwd=tmp_path)
    assert "3 passed" in said
