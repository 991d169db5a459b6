"""
The brokers that are compared, and how each is started: in its own process, on a free loopback port, without disk.

Their settings lift limits that would end a run (queues, connections) and leave everything else as shipped.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from bench.child import freePort, twistd
from bench.secure import TLSAddress, writeCertificate
from bench.sockets import HandshakeError, TCPAddress, openSession
from bench.websocket import WebSocketAddress

ROOT: Final = Path(__file__).resolve().parent.parent
# Another copy may be named, one that nobody builds again while it is measured.
COMPILED: Final = Path(os.environ.get("BENCH_COMPILED", ROOT / "build" / "compiled")).resolve()
_START_TIMEOUT: Final = 10.0
_ATTEMPTS: Final = 4


class NotStarted(Exception):
    """
    A broker that was to be measured did not come up.
    """


@dataclass(frozen=True)
class Command:
    """
    How to start a broker.

    @ivar securePort: where it is going to listen with TLS, if it is.
    @ivar webSocketPort: the same with WebSocket.
    """

    arguments: Sequence[str]
    environment: dict[str, str]
    securePort: int | None = None
    webSocketPort: int | None = None


@dataclass(frozen=True)
class Kind:
    """
    One of the brokers.

    @ivar name: what selects it on the command line.
    @ivar title: its heading in the report.
    @ivar version: what is installed, or C{None} if it is not.
    @ivar command: makes the command, given a folder for its files and the port.
    @ivar oneThread: it can use one core only.
    """

    name: str
    title: str
    version: Callable[[], str | None]
    command: Callable[[Path, int], Command]
    oneThread: bool = True


class RunningBroker:
    """
    A broker in a child process, which accepts connections.

    @ivar pid: its process.
    @ivar address: where it listens.
    @ivar secure: where it listens with TLS, if it does.
    @ivar webSocket: the same with WebSocket.
    """

    def __init__(self, kind: Kind) -> None:
        """
        @raise NotStarted: it ended, or did not answer in time, several times over.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._start(kind)
            except NotStarted:
                # A port that was free is somebody's by now: connections from this machine use the same range.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _start(self, kind: Kind) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-")
        folder = Path(self._folder.name)
        port = freePort()
        command = kind.command(folder, port)
        self._output: IO[bytes] = (folder / "output").open("wb+")
        self._process = subprocess.Popen(
            command.arguments,
            cwd=folder,
            env={**os.environ, **command.environment},
            # iotcore's helper ends when this closes; the others do not look.
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        self.address = TCPAddress(port)
        self.secure = None if command.securePort is None else TLSAddress(command.securePort)
        self.webSocket = None if command.webSocketPort is None else WebSocketAddress(command.webSocketPort)
        try:
            self._awaitReady(kind)
        except BaseException:
            self.stop()
            raise

    def _awaitReady(self, kind: Kind) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise NotStarted(f"{kind.title} ended with {self._process.returncode}: {self.output()}")
            try:
                openSession(self.address, "probe").close()
            except (OSError, HandshakeError):
                # There is no event to wait for that all brokers share: only the port opening.
                time.sleep(0.05)
                continue
            return
        raise NotStarted(f"{kind.title} did not answer within {_START_TIMEOUT:.0f} s: {self.output()}")

    def output(self) -> str:
        """
        The end of what it has printed.
        """
        self._output.seek(0)
        return self._output.read().decode(errors="replace")[-2000:].strip()

    def alive(self) -> bool:
        """
        Whether it still runs.
        """
        return self._process.poll() is None

    def stop(self) -> None:
        """
        End it, and remove its files.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()
        self._folder.cleanup()


def _firstLine(arguments: Sequence[str]) -> str | None:
    if shutil.which(arguments[0]) is None:
        return None
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return ((ran.stdout or ran.stderr).splitlines() or ["unknown"])[0]


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# The settings of this broker. Everything is kept in memory, as with the others.
_OURS: Final = """\
[listener.tcp.external]
bind = "127.0.0.1:{port}"
max_connections = 1024000
max_conn_rate = 1000000

[listener.ssl.external]
bind = "127.0.0.1:{securePort}"
certfile = "{certificate}"
keyfile = "{key}"
max_connections = 1024000
max_conn_rate = 1000000

[listener.ws.external]
bind = "127.0.0.1:{webSocketPort}"
max_connections = 1024000
max_conn_rate = 1000000

[zone.external]
max_inflight = 100
max_mqueue_len = 0
max_awaiting_rel = 0
max_subscriptions = 0

[persistence]
store = "memory"
"""


def _twistd(tree: Path) -> Callable[[Path, int], Command]:
    def command(folder: Path, port: int) -> Command:
        configuration = folder / "mqttbroker.toml"
        certificate, key = writeCertificate(folder)
        securePort, webSocketPort = freePort(), freePort()
        ports = {"port": port, "securePort": securePort, "webSocketPort": webSocketPort}
        configuration.write_text(_OURS.format(certificate=certificate, key=key, **ports))
        given = os.environ.get("BENCH_BROKER_CMD")
        if given:
            arguments = [part.format(config=configuration, port=port) for part in shlex.split(given)]
        else:
            arguments = twistd(configuration)
        return Command(arguments, {"PYTHONPATH": str(tree)}, securePort, webSocketPort)

    return command


def _ourVersion(tree: Path) -> Callable[[], str | None]:
    def version() -> str | None:
        if not (tree / "twisted_mqtt" / "tap.py").exists():
            return None
        core = "compiled" if list((tree / "twisted_mqtt" / "core").glob("*.so")) else "interpreted"
        metadata_ = ConfigParser()
        metadata_.read(tree / "setup.cfg", encoding="utf-8")
        number = metadata_.get("metadata", "version", fallback="unnumbered")
        python = ".".join(str(part) for part in sys.version_info[:3])
        return f"{number}, {core} core, Twisted {_package('twisted')}, Python {python}"

    return version


def _mosquitto(folder: Path, port: int) -> Command:
    certificate, key = writeCertificate(folder)
    securePort, webSocketPort = freePort(), freePort()
    # Its folder is for its owner alone, and it gives up being root before it reads the key.
    folder.chmod(0o755)
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\n"
        f"listener {securePort} 127.0.0.1\n"
        f"certfile {certificate}\n"
        f"keyfile {key}\n"
        f"listener {webSocketPort} 127.0.0.1\n"
        "protocol websockets\n"
        "allow_anonymous true\n"
        "persistence false\n"
        "log_type none\n"
        "max_queued_messages 0\n"
        "max_queued_bytes 0\n"
        "max_inflight_messages 100\n"
        "set_tcp_nodelay true\n"
    )
    return Command(["mosquitto", "-c", str(folder / "mosquitto.conf")], {}, securePort, webSocketPort)


def _nats(folder: Path, port: int) -> Command:
    (folder / "nats.conf").write_text(
        "server_name: bench\n"
        f'listen: "127.0.0.1:{freePort()}"\n'
        f'jetstream {{ store_dir: "{folder}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}", max_ack_pending: 1024 }}\n'
        "log_file: /dev/null\n"
    )
    return Command(["nats-server", "-c", str(folder / "nats.conf")], {})


def _iotcore(folder: Path, port: int) -> Command:
    options = (
        f'{{"listen": "127.0.0.1", "port": {port}, "max_connections": 20000, "max_payload_size": 262144, '
        '"max_inflight_count": 100}'
    )
    return Command([sys.executable, "-c", "from iotcore._serve import main; main()", options], {})


def _amqtt(folder: Path, port: int) -> Command:
    (folder / "amqtt.yaml").write_text(
        "listeners:\n"
        "  default:\n"
        "    type: tcp\n"
        f"    bind: 127.0.0.1:{port}\n"
        "plugins:\n"
        "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
        "    allow_anonymous: true\n"
    )
    start = "from amqtt.scripts.broker_script import main; main()"
    return Command([sys.executable, "-c", start, "-c", str(folder / "amqtt.yaml")], {})


def _installed(module: str) -> Callable[[], str | None]:
    return lambda: _package(module) if find_spec(module) else None


KINDS: Final[tuple[Kind, ...]] = (
    Kind("ours", "this broker", _ourVersion(COMPILED), _twistd(COMPILED)),
    Kind("interpreted", "this broker, interpreted", _ourVersion(ROOT), _twistd(ROOT)),
    Kind("mosquitto", "Mosquitto", lambda: _firstLine(["mosquitto", "-h"]), _mosquitto),
    Kind("nats", "nats-server", lambda: _firstLine(["nats-server", "--version"]), _nats, oneThread=False),
    Kind("iotcore", "rumqttd (iotcore)", _installed("iotcore"), _iotcore, oneThread=False),
    Kind("amqtt", "amqtt", _installed("amqtt"), _amqtt),
)
