"""
The package in a clean virtual environment, as C{pip install .} leaves it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import configuration
from tests.system.process import ROOT, Broker, toml, twistdCommand
from tests.system.test_process import passOneMessage

# An environment is made, dependencies fetched, and the core compiled.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_PACKAGES = ["twisted_mqtt", "gateways", "twisted"]
_FILES = ["setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]


def copySources(target: Path) -> Path:
    """
    Copy what the package is built from, so that nothing of an earlier build is taken for it.

    @return: C{target}.
    """
    for name in _PACKAGES:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    for name in _FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """
    Run C{command} to its end, without the tree on the path.

    @return: what it printed.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    The Python of an environment that holds the package and what it requires; what it was built from lies beside it.
    """
    folder = tmp_path_factory.mktemp("installed")
    (folder / "source").mkdir()
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", copySources(folder / "source"), cwd=folder)
    yield python


def sourceOf(installed: Path) -> Path:
    """
    What the package was built from; the tree itself may have changed since.
    """
    return installed.parents[2] / "source"


def test_runs(installed: Path, tmp_path: Path, name: str) -> None:
    """
    C{twistd} finds the plugin, and the broker works.
    """
    command = twistdCommand(str(installed))
    assert "mqttbroker" in run(*command, "--help", cwd=tmp_path)
    assert "--config" in run(*command, "mqttbroker", "--help", cwd=tmp_path)
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(configuration(tmp_path)))
    broker = Broker([*command, "mqttbroker", "--config", file], tmp_path, {"PYTHONPATH": ""}).started(1)
    passOneMessage(broker, name)
    broker.stop()


def test_holdsEverything(installed: Path, tmp_path: Path) -> None:
    """
    Every module and data file of the packages is installed, and nothing else of the tree.
    """
    packages = Path(run(installed, "-c", "import twisted_mqtt as t; print(t.__path__[0])", cwd=tmp_path).strip()).parent
    for name in ("twisted_mqtt", "gateways"):
        assert files(packages, name) == files(sourceOf(installed), name)
    assert not (packages / "tests").exists() and not (packages / "bench").exists()


def files(root: Path, name: str) -> set[Path]:
    """
    The files of the package C{name} in C{root}, without those that compiling makes.
    """
    found = {path.relative_to(root) for path in (root / name).rglob("*") if path.is_file()}
    return {path for path in found if path.suffix not in (".pyc", ".so")}


def test_compiledWherePossible(installed: Path, tmp_path: Path) -> None:
    """
    With a compiler at hand the core is compiled, and works without the mypy that built it.
    """
    reason = run(sys.executable, "-c", "import setup; print(setup.obstacle())", cwd=sourceOf(installed)).strip()
    if reason != "None":
        pytest.skip(reason)
    file = run(installed, "-c", "import twisted_mqtt.core.codec as codec; print(codec.__file__)", cwd=tmp_path)
    assert file.strip().endswith(".so")
    assert "mypy " not in run(installed, "-m", "pip", "list", cwd=tmp_path)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"], ids=["missing", "failing"])
def test_withoutCompiler(tmp_path: Path, compiler: str) -> None:
    """
    Without a compiler that works the same package is built, with a word about it; only C{BUILD_EXTENSION=yes} fails.
    """
    source = copySources(tmp_path)
    command = [sys.executable, "setup.py", "build", "--build-lib", "built"]
    said = run(*command, cwd=source, CC=compiler)
    assert "The core will run interpreted" in said
    assert (source / "built" / "twisted_mqtt" / "core" / "codec.py").exists()
    assert (source / "built" / "twisted" / "plugins" / "mqttbroker_plugin.py").exists()
    assert list((source / "built").rglob("*.so")) == []
    with pytest.raises(AssertionError):
        run(*command, cwd=source, CC=compiler, BUILD_EXTENSION="yes")
