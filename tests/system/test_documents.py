"""
The blocks of code in the documents, run as they are printed: in the environment that C{make run} makes in a copy of the
clone, with the template of an extension installed beside the broker, and without the tree on any path.

Blocks that connect to a broker find it on the usual ports: it runs, as they do, in a network of its own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.kits.documents import ROOT, Block, blocksOf
from tests.kits.network import Network
from tests.kits.printed import ALONE, CHECKED, CONTINUED, ENVIRONMENT, RULES, TABLE, TEMPLATE, Entry
from tests.system.process import PATIENCE, Broker, Program
from tests.system.test_install import copySources, run

# An environment is made, and dependencies fetched.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Runs blocks and tells which of them fail.
_RUNNER = """
import json, sys, traceback
failed, shared = 0, {}
for name, continued, before, text, after in json.load(sys.stdin):
    names = shared if continued else {"__name__": "block"}
    try:
        for part in (before, text, after):
            exec(compile(part, name, "exec"), names)
    except Exception:
        failed += 1
        print(name, traceback.format_exc(), sep="\\n")
sys.exit(failed > 0)
"""


def printed(*how: str) -> list[tuple[Block, Entry]]:
    """
    The blocks that are tried so, in the order of the documents.
    """
    return [
        (block, entry)
        for document, entries in TABLE.items()
        for block in blocksOf(document)
        for entry in entries
        if entry.how in how and block.text.startswith(entry.begins)
    ]


class Surroundings:
    """
    The clone, its environment, and the network.
    """

    def __init__(self, clone: Path, network: Network) -> None:
        self.clone = clone
        self.python = clone / ".venv" / "bin" / "python"
        self.environment = surroundings(clone)
        self._network = network
        self._programs: list[Program] = []

    def start(self, *words: str | Path, folder: Path | None = None, broker: bool = False) -> Program:
        """
        Start a program in the network; it is ended with the test.
        """
        kind = Broker if broker else Program
        program = kind(self._network.command(words), folder or self.clone, self.environment)
        self._programs.append(program)
        return program

    def shell(self, text: str, folder: Path | None = None) -> str:
        """
        Run lines in a shell, in the network.

        @return: what they printed.
        """
        program = self.start("bash", "-e", "-u", "-c", text, folder=folder)
        assert program.wait() == 0, program.text
        return program.text

    def broker(self, text: str, *ports: str) -> Program:
        """
        Start a broker with a configuration, from the clone's folder.

        @param ports: the keys of ports that are waited for; without any, the usual listener for TCP.
        """
        file = self.clone / "etc" / "printed.toml"
        file.write_text(text)
        twistd = self.python.with_name("twistd")
        program = self.start(twistd, "--nodaemon", "--pidfile=", "mqttbroker", "--config", file)
        for port in ports or ("listener.tcp.external",):
            program.waitFor(rf"listening: .* \({re.escape(port)}\)")
        return program

    def check(self, file: Path | None, **environment: str) -> None:
        """
        C{--check} says that all is well.
        """
        settings = [f"{name}={value}" for name, value in environment.items()]
        configuration = [] if file is None else ["--config", file]
        program = self.start("env", *settings, self.python.with_name("twistd"), "mqttbroker", "--check", *configuration)
        assert program.wait() == 0, program.text
        assert "all is well" in program.text

    def end(self) -> None:
        """
        End everything that was started, the last first.
        """
        while self._programs:
            program = self._programs.pop()
            if program.process.poll() is None:
                # As Ctrl-C does: to all of them, such as make and what it has started.
                os.killpg(program.process.pid, signal.SIGINT)
                program.wait()


def surroundings(clone: Path) -> dict[str, str]:
    """
    Variables with which the clone's environment is the one in use, and tools that a user has are found.
    """
    inherited = [path for path in os.environ["PATH"].split(":") if Path(path) != Path(sys.executable).parent]
    return {
        "PATH": ":".join([str(clone / ".venv" / "bin"), str(clone.with_name("tools")), *inherited, "/usr/sbin"]),
        "PYTHONPATH": "",
        "NODE_PATH": str(ROOT / "tests" / "node_modules"),
        # Compiling takes two minutes, and tests/system/test_install.py does it.
        "BUILD_EXTENSION": "no",
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A clone in which C{make run} and C{make certs} have made what they need, with the template installed.
    """
    folder = tmp_path_factory.mktemp("documents")
    clone, tools = folder / "clone", folder / "tools"
    clone.mkdir()
    tools.mkdir()
    (tools / "stomp").symlink_to(Path(sys.executable).with_name("stomp"))
    copySources(clone)
    environment = surroundings(clone)
    (certs, _), *_ = printed("certificates")
    run("bash", "-e", "-c", certs.text, cwd=clone, **environment)
    (install, _), *_ = printed("template")
    template = folder / "greeter"
    shutil.copytree(clone / "docs" / "template", template)
    run("pip", "install", "--quiet", "pytest", cwd=folder, **environment)
    run("bash", "-e", "-c", install.text, cwd=template, **environment)
    (clone / "etc" / "certs" / "crl.pem").write_bytes(revocations(clone / "etc" / "certs"))
    keys = clone / "etc" / "psk.txt"
    keys.write_text(keys.read_text().replace("# device1:", "device1:"))
    return clone


def revocations(folder: Path) -> bytes:
    """
    A list of the sample authority that revokes nothing: C{make certs} makes none.
    """
    authority = x509.load_pem_x509_certificate((folder / "cacert.pem").read_bytes())
    key = load_pem_private_key((folder / "cakey.pem").read_bytes(), None)
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(authority.subject, now, now + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


@pytest.fixture
def scene(clone: Path) -> Iterator[Surroundings]:
    """
    The clone with a network of the test's own.
    """
    try:
        network = Network()
    except OSError as error:
        pytest.skip(str(error))
    scene = Surroundings(clone, network)
    yield scene
    scene.end()
    network.close()


def test_python(clone: Path, tmp_path: Path) -> None:
    """
    Blocks of Python run, by themselves or after those before them.
    """
    blocks = printed(ALONE, CONTINUED)
    work = [(str(block), how.how == CONTINUED, how.before, block.text, how.after) for block, how in blocks]
    done = subprocess.run(
        [clone / ".venv" / "bin" / "python", "-I", "-c", _RUNNER],
        input=json.dumps(work),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 4,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", [block for block, _ in printed(TEMPLATE)], ids=str)
def test_template(clone: Path, block: Block) -> None:
    """
    A quotation of the template stands in the package that is installed.
    """
    place, _, shown = block.text.partition("\n")
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    assert shown in (packages / place.removeprefix("# ")).read_text(encoding="utf-8")


@pytest.mark.parametrize("block", [block for block, _ in printed(CHECKED)], ids=str)
def test_configuration(scene: Surroundings, block: Block) -> None:
    """
    C{--check} has no objection to a configuration.
    """
    file = scene.clone / "etc" / "checked.toml"
    file.write_text(block.text)
    scene.check(file)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus(tmp_path: Path) -> None:
    """
    Prometheus has no objection to what its configuration is to have.
    """
    for block, _ in printed("prometheus"):
        file = tmp_path / "prometheus.yml"
        file.write_text(block.text)
        run("promtool", "check", "config", file, cwd=tmp_path)


def test_environment(scene: Surroundings) -> None:
    """
    Nor to variables, set as a shell reads them.
    """
    for block, _ in printed(ENVIRONMENT):
        lines = f"set -a\n{block.text}\nenv"
        told = scene.shell(f"env -i bash -c {_quoted(lines)}")
        scene.check(None, **dict(line.split("=", 1) for line in told.splitlines() if line.startswith("MQTTBROKER")))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def test_rules(scene: Surroundings) -> None:
    """
    A broker starts with access rules.
    """
    for block, _ in printed(RULES):
        (scene.clone / "etc" / "printed.conf").write_text(block.text)
        scene.broker('acl_file = "etc/printed.conf"\n')
        scene.end()


def test_readme(scene: Surroundings) -> None:
    """
    The README, from top to bottom: each protocol's first message comes to the subscriber.
    """
    (make, install, listen, *messages) = [block for block, _ in printed("readme")]
    for line in make.text.splitlines():
        target = line.partition("#")[0].strip()
        if target == "make run":
            scene.start(*target.split(), broker=True).started(7)  # type: ignore[attr-defined]
        elif target == "make help":
            assert "make run" in scene.shell(target)
        else:
            # This test would run itself.
            assert target == "make test" and "test" in scene.shell("make -n test")
    subscriber = scene.start(*_words(listen.text))
    settled(scene, subscriber, "room/settled")
    expected = {"mosquitto_pub": ["room/light on"], "coap-client-notls -m put": ["room/light on", "room/light on"]}
    expected |= {"const": ["room/light on"], "exec": ["rl on"], "coap-client-notls -m post": ["lwm2m/ep1/up/resp "]}
    for block in messages:
        (lines,) = (lines for begins, lines in expected.items() if block.text.startswith(begins))
        before = {line: subscriber.text.count(line) for line in lines}
        if block.language == "js":
            (scene.clone / "first.js").write_text(block.text)
            scene.start("node", "first.js").waitFor("^room/light on$")
        else:
            scene.shell(block.text)
        for line in set(lines):
            subscriber.waitFor(f"^{line}", before[line] + lines.count(line))
    scene.end()

    *first, last = install.text.splitlines()
    # It fetches what it needs to build.
    run("bash", "-e", "-c", first[0], cwd=scene.clone, **scene.environment)
    scene.shell("\n".join(first[1:]))
    scene.start(*last.split(), broker=True).started(7)  # type: ignore[attr-defined]


def _words(line: str) -> list[str]:
    return ["bash", "-c", f"exec {line}"]


def settled(scene: Surroundings, subscriber: Program, topic: str) -> None:
    """
    Publish until the subscriber hears it: from then on it misses nothing.
    """
    for _ in range(100):
        scene.shell(f"mosquitto_pub -t {topic} -m settled")
        try:
            subscriber.waitFor("settled|SETTLED", patience=0.2)
        except AssertionError:
            continue
        return
    raise AssertionError(subscriber.text)


def test_embedding(scene: Surroundings) -> None:
    """
    docs/embedding.py runs, and the README's hook changes what its broker passes on.
    """
    ((hook, _),) = printed("embedding")
    program = (scene.clone / "docs" / "embedding.py").read_text(encoding="utf-8")
    begin = "services.startService()"
    assert program.count(begin) == 1
    (scene.clone / "own.py").write_text(program.replace(begin, f"{hook.text}\n{begin}"))
    scene.start("python", "own.py").waitFor("listening: .*listener.tcp.external")
    subscriber = scene.start("mosquitto_sub", "-t", "a", "-t", "probe")
    settled(scene, subscriber, "probe")
    scene.shell("mosquitto_pub -t a -m loud")
    subscriber.waitFor("^LOUD$")


def test_coap(scene: Surroundings) -> None:
    """
    CoAP: requests, over TCP, and looking for the server by multicast.
    """
    requests, search, overTCP = [block.text for block, _ in printed("coap")]
    ports = ("coap", "coap.tcp", "listener.tcp.external")
    multicast = 'multicast = true\nmulticast_leisure = "100ms"\n'
    scene.broker(f'[plugins]\nload = ["coap"]\n[coap]\n{multicast}tcp.bind = "127.0.0.1:5683"\n', *ports)
    subscriber = scene.start("mosquitto_sub", "-v", "-t", "#")
    settled(scene, subscriber, "probe")
    first, second, observe, discover = requests.splitlines()
    scene.shell(first)
    subscriber.waitFor("^hello payload$")
    scene.shell(second)
    subscriber.waitFor("^topic1 1234$")
    # They observe for ten seconds, and show what they got when they end.
    observers = [scene.start(*_words(observe)), scene.start(*_words(overTCP))]
    scene.shell("mosquitto_pub -t topic1 -m 5678 --repeat 20 --repeat-delay 0.5")
    assert [observer.wait() for observer in observers] == [0, 0]
    assert ["5678" in observer.text for observer in observers] == [True, True]
    assert "</ps>" in scene.shell(discover)
    assert "</ps>" in scene.shell(search)


def test_lwm2m(scene: Surroundings) -> None:
    """
    A device registers, is read and observed, and what is told of it is what is printed.
    """
    (commands, register, read, answer) = [block.text for block, _ in printed("lwm2m")]
    scene.broker('[plugins]\nload = ["lwm2m"]\n', "lwm2m", "listener.tcp.external")
    listen, *publish = commands.splitlines()
    subscriber = scene.start(*_words(listen))
    settled(scene, subscriber, "lwm2m/ep1/up/probe")
    device = ROOT / "tests" / "system" / "printed_device.py"
    scene.start("env", "PYTHONPATH=", sys.executable, device, "127.0.0.1:5783").waitFor("registered")
    assert told(subscriber, "register") == json.loads(register)
    for line in publish:
        scene.shell(line)
    assert told(subscriber, "observe")["data"]["code"] == "2.05"
    scene.shell(f"mosquitto_pub -t lwm2m/ep1/dn -m {_quoted(read)}")
    subscriber.waitFor('"reqID": ?2, ?"msgType": ?"read"')
    assert json.loads(subscriber.lines[-1].partition(" ")[2]) == json.loads(answer)


def told(subscriber: Program, kind: str) -> dict[str, dict[str, object]]:
    """
    Wait for a message of a device.
    """
    (found, *_) = subscriber.waitFor(rf'^\S+ (\{{.*"msgType": ?"{kind}".*)')
    message: dict[str, dict[str, object]] = json.loads(found[1])
    return message


def test_certificates(scene: Surroundings) -> None:
    """
    The sample certificates, the listener that uses them, and a client that trusts them.
    """
    _, listener, publish = [block.text for block, _ in printed("certificates")]
    shipped = (scene.clone / "etc" / "mqttbroker.toml").read_text(encoding="utf-8")
    scene.broker(f"{shipped}\n{listener}", "listener.ssl.external")
    scene.shell(publish)


def test_keys(scene: Surroundings) -> None:
    """
    A listener with pre-shared keys, and a client that has one.
    """
    listener, publish = [block.text for block, _ in printed("keys")]
    scene.broker(listener, "listener.ssl.external")
    scene.shell(publish)


def test_balancer(scene: Surroundings) -> None:
    """
    The load balancer accepts its section.
    """
    ((section, _),) = printed("balancer")
    certs = scene.clone / "etc" / "certs"
    (scene.clone / "server.pem").write_text((certs / "cert.pem").read_text() + (certs / "key.pem").read_text())
    shutil.copy(certs / "cacert.pem", scene.clone / "clients.pem")
    defaults = "defaults\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
    (scene.clone / "haproxy.cfg").write_text(defaults + section.text)
    scene.shell("haproxy -c -f haproxy.cfg")


def test_delayed(scene: Surroundings) -> None:
    """
    A delayed message comes at its time.
    """
    configuration, publish = [block.text for block, _ in printed("delayed")]
    scene.broker(configuration)
    subscriber = scene.start("mosquitto_sub", "-v", "-t", "garden/#")
    settled(scene, subscriber, "garden/probe")
    scene.shell(publish)
    subscriber.waitFor("^garden/valve open$")
