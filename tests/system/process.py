"""
Programs as the tests run them: started, read line by line until they say what is waited for, ended by a signal.

Nothing here sleeps: whoever waits, waits for a line or for the end of the process.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Generous, since other tests share the machine; a broker that works answers in a fraction of it.
PATIENCE = 30.0

# The broker's line for each listener: kind, address, port, and the key that configured it.
LISTENING = re.compile(r"listening: (?P<kind>\S+) on (?P<host>\S+):(?P<port>\d+) \((?P<key>\S+)\)")


def _heedInterrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """
    A running program and the lines that it has printed.

    @ivar lines: everything printed so far, on standard output and standard error alike.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        """
        @param descriptors: open files that it inherits.
        """
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=descriptors,
            # A process group of its own: an interrupt meant for the tests does not reach it, nor ours them.
            start_new_session=True,
            # A shell that runs the tests in the background ignores interrupts, and children would inherit that.
            preexec_fn=_heedInterrupts,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def waitFor(
        self, pattern: str | re.Pattern[str], count: int = 1, patience: float = PATIENCE
    ) -> list[re.Match[str]]:
        """
        Wait until C{count} lines hold C{pattern}.

        @return: the matches, of all lines from the first on.

        @raise AssertionError: if the program ends before, or takes longer than C{patience} seconds.
        """
        sought = re.compile(pattern)
        deadline = time.monotonic() + patience
        with self._changed:
            while True:
                found = [match for line in self.lines if (match := sought.search(line))]
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if self._ended or left <= 0 or not self._changed.wait(left):
                    how = "ended" if self._ended else f"waited {patience} s"
                    raise AssertionError(f"{how}; {len(found)} of {count} lines hold {pattern!r}:\n{self.text}")

    def end(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """
        Send the signal C{number}, unless the program has ended by itself, and wait for the end.

        @return: its exit status; negative if a signal ended it.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(patience)

    def wait(self, patience: float = PATIENCE) -> int:
        """
        Wait for the program to end by itself.

        @return: its exit status.

        @raise AssertionError: if it does not; it is killed then.
        """
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running after {patience} s:\n{self.text}") from None
        self._reader.join(patience)
        return status

    @property
    def text(self) -> str:
        """
        Everything printed so far.
        """
        return "\n".join(self.lines)


class Broker(Program):
    """
    A broker process.

    @ivar host: where it listens.
    @ivar ports: the port of each listener by its key, such as C{"listener.tcp.external"}.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        super().__init__(command, folder, environment, descriptors)
        self.ports: dict[str, int] = {}

    @property
    def port(self) -> int:
        """
        The port of the plain MQTT listener.
        """
        return self.ports["listener.tcp.external"]

    @property
    def residentMiB(self) -> float:
        """
        The memory that its process holds.
        """
        status = Path("/proc", str(self.process.pid), "status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def processorSeconds(self) -> float:
        """
        The processor time that it has used.
        """
        fields = Path("/proc", str(self.process.pid), "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def started(self, listeners: int) -> "Broker":
        """
        Wait until C{listeners} listeners have been reported.

        @raise AssertionError: if they are not; the process is ended then.
        """
        try:
            for match in self.waitFor(LISTENING, listeners):
                self.ports[match["key"]] = int(match["port"])
        except BaseException:
            self.end(signal.SIGKILL)
            raise
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """
        End it as an operator would, and see that it went in order.

        @raise AssertionError: if it reported an error while it ran, or did not end by itself.
        """
        status = self.end(number)
        # twistd, having stopped in order, ends by the signal that asked it to, so that its parent can tell.
        assert status in (0, -number), f"exit status {status}:\n{self.text}"
        assert "Traceback" not in self.text and "Unhandled" not in self.text, self.text


def twistdCommand(python: str = sys.executable) -> list[str | Path]:
    """
    The C{twistd} that belongs to C{python}, staying in the foreground and leaving no file behind.
    """
    return [Path(python).with_name("twistd"), "--nodaemon", "--pidfile="]


def fromTree() -> dict[str, str]:
    """
    The environment in which C{twistd} finds the packages and plugins of this tree, installed or not.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def startTwistd(folder: Path, configuration: Mapping[str, object], listeners: int = 1) -> Broker:
    """
    Start C{twistd mqttbroker} from the tree and wait until it listens.

    @param folder: its working folder; the configuration file is written there.
    @param listeners: how many listeners C{configuration} makes.
    """
    file = folder / "mqttbroker.toml"
    file.write_text(toml(configuration))
    command = [*twistdCommand(), "mqttbroker", "--config", file]
    return Broker(command, folder, fromTree()).started(listeners)


def startMosquitto(folder: Path) -> Broker:
    """
    Start Mosquitto in the same shape, to see whether a failing test is wrong or the broker under test.
    """
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program is not None, "mosquitto is not installed"
    # It cannot be given port 0, so somebody else may take the port first; then it ends, and says why.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 10000\n")
    broker = Broker([program, "-v", "-c", file], folder)
    broker.waitFor("mosquitto version .* running")
    broker.ports["listener.tcp.external"] = port
    return broker


def toml(tables: Mapping[str, object], path: str = "") -> str:
    """
    Write a configuration: plain values first, then one table for each nested mapping.
    """
    values = [f"{_key(key)} = {_value(value)}\n" for key, value in tables.items() if not isinstance(value, Mapping)]
    text = "".join(values)
    if path and values:
        text = f"[{path}]\n{text}"
    for key, value in tables.items():
        if isinstance(value, Mapping):
            text += toml(value, f"{path}.{_key(key)}" if path else _key(key))
    return text


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else f'"{name}"'


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
