"""
The package in a clean virtual environment, as C{pip install .} leaves it.
"""

import os
import re
import shlex
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

# The files of a clone, without its history and without files that tests and tools leave.
_FOLDERS = ["twisted_mqtt", "gateways", "twisted", "etc", "docs", "tac", "tests", "bench", ".ci"]
_FILES = ["setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "Makefile"]

# Ports that the kernel picks instead of those in the shipped configuration.
FREE_PORTS = {
    "MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND": "127.0.0.1:0",
    "MQTTBROKER__LISTENER__WS__EXTERNAL__BIND": "127.0.0.1:0",
    "MQTTBROKER__STOMP__LISTENER__BIND": "127.0.0.1:0",
    "MQTTBROKER__MQTT__SN__PORT": "127.0.0.1:0",
    "MQTTBROKER__COAP__PORT": "127.0.0.1:0",
    "MQTTBROKER__LWM2M__PORT": "127.0.0.1:0",
    "MQTTBROKER__MANAGEMENT__LISTENER__HTTP__BIND": "127.0.0.1:0",
}


def copySources(target: Path) -> Path:
    """
    Copy what the package is built from, so that nothing of an earlier build is taken for it.

    @return: C{target}.
    """
    ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "node_modules", "*.so", "certs")
    for name in _FOLDERS:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in _FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def makeWheel(folder: Path, **environment: str) -> Path:
    """
    Build a source distribution and, from nothing but that, a wheel.

    @return: the wheel; C{folder} holds the source distribution unpacked, too.
    """
    (folder / "clone").mkdir()
    clone = copySources(folder / "clone")
    # A file that must not be given away.
    (clone / "etc" / "certs").mkdir()
    (clone / "etc" / "certs" / "key.pem").write_text("secret")
    run(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", folder, cwd=clone)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    (folder / archive.name.removesuffix(".tar.gz")).rename(folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    run(*pip, folder / "source", cwd=folder, **environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


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


@pytest.fixture(scope="module", params=["compiled", "interpreted"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    The Python of an environment that holds the wheel and what it requires; what it was built from lies beside it.
    """
    folder = tmp_path_factory.mktemp(f"installed-{request.param}")
    wheel = makeWheel(folder, BUILD_EXTENSION="" if request.param == "compiled" else "no")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    yield python


def sourceOf(installed: Path) -> Path:
    """
    Get the folder that the package was built from; the tree itself may have changed since.
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
    source = sourceOf(installed)
    added = {Path("twisted_mqtt") / file for name in ("etc", "docs") for file in files(source, name)}
    assert {Path("twisted_mqtt", "etc", "acl.conf"), Path("twisted_mqtt", "docs", "hooks.md")} <= added
    assert files(packages, "twisted_mqtt") == files(source, "twisted_mqtt") | added
    assert files(packages, "gateways") == files(source, "gateways")
    assert not (packages / "tests").exists() and not (packages / "bench").exists()


def files(root: Path, name: str) -> set[Path]:
    """
    The files of the package C{name} in C{root}, without those that compiling makes.
    """
    found = {path.relative_to(root) for path in (root / name).rglob("*") if path.is_file()}
    return {path for path in found if path.suffix not in (".pyc", ".so")}


def test_sourceDistribution(installed: Path) -> None:
    """
    The source distribution has everything that a clone has, and no key that lay there.
    """
    source, clone = sourceOf(installed), installed.parents[2] / "clone"
    for name in _FOLDERS:
        if (clone / name).exists():
            ours = {path for path in files(clone, name) if "certs" not in path.parts}
            assert files(source, name) == ours
    assert [name for name in _FILES if not (source / name).exists()] == []


def test_init(installed: Path, tmp_path: Path, name: str) -> None:
    """
    C{--init} writes a folder; the command that it names starts a broker from anywhere, which takes a message. Nothing
    is overwritten.
    """
    folder = tmp_path / "my broker"
    init = [*twistdCommand(str(installed)), "mqttbroker", "--init", folder]
    said = run(*init, cwd=tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes["mqttbroker.toml"] == modes["psk.txt"] == 0o600
    assert modes["acl.conf"] == modes["mqttbroker.service"] == modes["mqttbroker.socket"] == 0o644
    documents = Path(said.rpartition("The documents are in ")[2].strip())
    assert (documents / "operations.md").exists() and installed.parents[1] in documents.parents

    command = shlex.split(said.splitlines()[2])
    unit = (folder / "mqttbroker.service").read_text()
    (start,) = re.findall("^ExecStart=(.*)", unit, re.MULTILINE)
    assert shlex.split(start) == command
    assert command[0] == str(installed.with_name("twistd"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    broker = Broker(command, elsewhere, {"PYTHONPATH": "", **FREE_PORTS}).started(7)
    passOneMessage(broker, name)
    broker.stop()
    assert (folder / "data").is_dir() and list(elsewhere.iterdir()) == []

    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "psk.txt").unlink()
    with pytest.raises(AssertionError, match="has mqttbroker.toml, acl.conf, .* already; nothing was written"):
        run(*init, cwd=tmp_path)
    assert not (folder / "psk.txt").exists()
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())


def test_staleBuild(tmp_path: Path) -> None:
    """
    A module that has been deleted is not installed because it was built once.
    """
    source = copySources(tmp_path)
    command = [sys.executable, "setup.py", "-q", "build"]
    for deleted in (source / "twisted_mqtt" / "deleted.py", source / "gateways" / "gone" / "__init__.py"):
        deleted.parent.mkdir(exist_ok=True)
        deleted.touch()
    run(*command, cwd=source, BUILD_EXTENSION="no")
    built = source / "build" / "lib"
    assert (built / "twisted_mqtt" / "deleted.py").exists() and (built / "gateways" / "gone").exists()
    (source / "twisted_mqtt" / "deleted.py").unlink()
    shutil.rmtree(source / "gateways" / "gone")
    # A module that was compiled once, and is interpreted now, would hide its source.
    (built / "twisted_mqtt" / "tap.cpython-311-x86_64-linux-gnu.so").touch()
    run(*command, cwd=source, BUILD_EXTENSION="no")
    added = {Path("twisted_mqtt") / file for name in ("etc", "docs") for file in files(source, name)}
    assert files(built, "twisted_mqtt") == files(source, "twisted_mqtt") | added
    assert files(built, "gateways") == files(source, "gateways")
    assert list(built.rglob("*.so")) == []


def test_compiledWherePossible(installed: Path, tmp_path: Path) -> None:
    """
    With a compiler at hand the core is compiled, and works without the mypy that built it.
    """
    if "interpreted" in installed.parents[2].name:
        pytest.skip("built without")
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
