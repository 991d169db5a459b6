"""
The servers that metrics go to, as Debian has them.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.system.process import PATIENCE, Program

T = TypeVar("T")


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
    except URLError:
        return None
    return text


class Prometheus(Program):
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
        self.waitFor("Server is ready to receive web requests")

    def query(self, expression: str) -> dict[str, float] | None:
        """
        The value of an expression by job; L{None} while it has none.
        """
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': expression})}"
        text = page(url)
        assert text is not None
        rows = json.loads(text)["data"]["result"]
        return {row["metric"].get("job", ""): float(row["value"][1]) for row in rows} or None

    def metadata(self) -> dict[str, dict[str, str]]:
        """
        Type and help by the name of the metric.
        """
        text = page(f"http://127.0.0.1:{self.port}/api/v1/metadata")
        assert text is not None
        return {name: rows[0] for name, rows in json.loads(text)["data"].items()}
