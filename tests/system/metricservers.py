"""
The servers that metrics go to, as Debian and npm have them.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.system.process import PATIENCE, ROOT, Program

T = TypeVar("T")

STATSD = ROOT / "tests" / "node_modules" / "statsd" / "stats.js"

CARBON = """
[cache]
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {lines}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickles}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {queries}
"""


def freePort(kind: int = socket.SOCK_STREAM) -> int:
    """
    A port that nobody listens at. Somebody else may take it before it is used; then what uses it ends, and says why.
    """
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def eventually(ask: Callable[[], T | None], what: str) -> T:
    """
    Ask again and again until there is an answer: these servers tell nobody when they have taken something.

    @raise AssertionError: there is none for long.
    """
    deadline = time.monotonic() + PATIENCE
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"{what}: nothing came"
        time.sleep(0.05)
    return answer


def page(url: str) -> str | None:
    """
    What is to be had there; L{None} while nobody listens.
    """
    try:
        with urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
    except HTTPError:
        raise
    except URLError:
        return None
    return text


class Server(Program):
    """
    A server that does not outlive a start that fails.
    """

    def ready(self, says: str) -> None:
        """
        Wait until it says so.

        @raise AssertionError: it does not; it is ended then.
        """
        try:
            self.waitFor(says)
        except BaseException:
            self.end(signal.SIGKILL)
            raise


class Prometheus(Server):
    """
    Prometheus, which scrapes these pages four times a second.
    """

    def __init__(self, folder: Path, targets: dict[str, tuple[int, str]]) -> None:
        """
        @param targets: port and path by the name of the job.
        """
        folder.mkdir()
        self.port = freePort()
        jobs = [
            {
                "job_name": job,
                "metrics_path": path,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                # The application that a broker makes at its first start.
                "basic_auth": {"username": "admin", "password": "public"},
            }
            for job, (port, path) in targets.items()
        ]
        file = folder / "prometheus.yml"
        # YAML has JSON within it.
        content = {"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"}, "scrape_configs": jobs}
        file.write_text(json.dumps(content))
        super().__init__(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            folder,
        )
        self.ready("Server is ready to receive web requests")

    def query(self, expression: str) -> dict[str, float] | None:
        """
        The value of an expression by job; L{None} while it has none.
        """
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': expression})}"
        text = page(url)
        assert text is not None
        rows = json.loads(text)["data"]["result"]
        return {row["metric"].get("job", ""): float(row["value"][1]) for row in rows} or None

    def evaluate(self, expression: str) -> int | None:
        """
        How many series an expression gives; L{None} while it gives none.

        @raise AssertionError: it is no expression.
        """
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': expression})}"
        try:
            text = page(url)
        except HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        assert text is not None
        return len(json.loads(text)["data"]["result"]) or None

    def names(self) -> set[str]:
        """
        The names of all series.
        """
        text = page(f"http://127.0.0.1:{self.port}/api/v1/label/__name__/values")
        assert text is not None
        return set(json.loads(text)["data"])

    def metadata(self) -> dict[str, dict[str, str]]:
        """
        Type and help by the name of the metric.
        """
        text = page(f"http://127.0.0.1:{self.port}/api/v1/metadata")
        assert text is not None
        return {name: rows[0] for name, rows in json.loads(text)["data"].items()}


class PushGateway(Server):
    """
    A push gateway of Prometheus.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        self.port = port or freePort()
        super().__init__(["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{self.port}"], folder)
        self.ready("Listening on")

    def metrics(self) -> str | None:
        """
        Its page for Prometheus.
        """
        return page(f"http://127.0.0.1:{self.port}/metrics")


class Carbon(Server):
    """
    Carbon, which keeps what Graphite shows, to the second.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port = port or freePort()
        self.whisper = folder / "storage" / "whisper"
        configuration = folder / "conf"
        configuration.mkdir(parents=True, exist_ok=True)
        file = configuration / "carbon.conf"
        file.write_text(CARBON.format(lines=self.port, pickles=freePort(), queries=freePort()))
        (configuration / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
        super().__init__(
            ["carbon-cache", f"--config={file}", "--nodaemon", "start"],
            folder,
            {
                "GRAPHITE_ROOT": str(folder),
                "GRAPHITE_CONF_DIR": str(configuration),
                "GRAPHITE_STORAGE_DIR": str(folder / "storage"),
            },
        )
        self.ready(f"CarbonReceiverFactory starting on {self.port}")

    def last(self, name: str) -> float | None:
        """
        The last value of a metric; L{None} while there is none.
        """
        file = self.whisper.joinpath(*name.split(".")).with_name(name.rpartition(".")[2] + ".wsp")
        if not file.exists():
            return None
        found = subprocess.run(
            ["whisper-fetch", "--drop=nulls", "--from=0", file], capture_output=True, text=True, check=False
        )
        lines = found.stdout.splitlines()
        return float(lines[-1].split()[1]) if lines else None


class StatsD(Server):
    """
    StatsD as its makers have it, with an interface that tells what came.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        self.port = port or freePort(socket.SOCK_DGRAM)
        self._management = freePort()
        file = folder / "statsd.js"
        file.write_text(
            f"{{ address: '127.0.0.1', port: {self.port}, mgmt_address: '127.0.0.1', mgmt_port: {self._management},"
            " backends: [], flushInterval: 600000 }\n"
        )
        super().__init__(["node", STATSD, file], folder)
        self.ready("server is up")

    def ask(self, what: str) -> str:
        """
        The answer to C{counters} or C{gauges}.
        """
        with socket.create_connection(("127.0.0.1", self._management), timeout=PATIENCE) as link:
            link.sendall(what.encode() + b"\n")
            found = b""
            while not found.endswith(b"END\n\n"):
                found += link.recv(65536)
        return found.decode()

    def value(self, kind: str, name: str) -> float | None:
        """
        A value; L{None} while there is none.
        """
        for line in self.ask(kind).splitlines():
            key, _, value = line.strip().rstrip(",").rpartition(": ")
            if key.strip("'") == name:
                return float(value)
        return None
