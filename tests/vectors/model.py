"""
A vector, and the needs of its run: links to open, and time that passes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from tests.vectors.packets import Malformed, Packet, decode, split

FOLDER: Final = Path(__file__).parent
_KEYS: Final = {"name", "version", "clauses", "settings", "hooks", "transport", "why", "steps"}


class Failed(AssertionError):
    """
    The broker did something else than the vector says.
    """


@dataclass(frozen=True, slots=True)
class Vector:
    """
    One vector, for one version of the protocol.
    """

    name: str
    version: int
    clauses: tuple[str, ...]
    steps: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, Any] = field(default_factory=dict)
    area: str = ""
    webSocket: bool = False

    @property
    def key(self) -> str:
        """
        The name of it in a test run.
        """
        return f"{self.area}-{self.name}-v{self.version}".replace(" ", "_")

    @property
    def waits(self) -> float:
        """
        How many seconds pass in it.
        """
        return sum(float(step.split()[1]) for step in self.steps if step.startswith("advance "))

    @property
    def inMemoryOnly(self) -> bool:
        """
        Whether it needs a clock or hooks that a socket does not reach.
        """
        return bool(self.hooks) or self.waits > 0


def load(folder: Path = FOLDER) -> list[Vector]:
    """
    Every vector of a folder, one for each version it is written for.
    """
    found: list[Vector] = []
    for path in sorted(folder.glob("*.json")):
        if path.name == "clauses.json":
            continue
        for entry in json.loads(path.read_text("utf-8")):
            if unknown := entry.keys() - _KEYS:
                raise ValueError(f"{path.name}: {entry.get('name')}: no such key: {', '.join(sorted(unknown))}")
            versions = entry["version"] if isinstance(entry["version"], list) else [entry["version"]]
            for version in versions:
                clauses = entry["clauses"]
                if isinstance(clauses, dict):
                    clauses = clauses.get(str(version), [])
                steps = tuple(_stepsFor(version, entry["steps"]))
                settings, hooks = entry.get("settings", {}), entry.get("hooks", {})
                over = entry.get("transport", "")
                if over not in ("", "websocket"):
                    raise ValueError(f"{path.name}: {entry['name']}: no such transport: {over}")
                found.append(
                    Vector(entry["name"], version, tuple(clauses), steps, settings, hooks, path.stem, bool(over))
                )
    return found


def _stepsFor(version: int, steps: list[str]) -> Iterator[str]:
    """
    The steps of one version: C{[5] ...} and C{[34] ...} are for those versions only.
    """
    for step in steps:
        only = re.match(r"\[([345]+)\] *", step)
        if only is None:
            yield step
        elif str(version) in only[1]:
            yield step[only.end() :]


class Link(Protocol):
    """
    One network connection, seen from the client.
    """

    def send(self, data: bytes) -> None:
        """
        Bytes to the broker.
        """

    def receive(self, wait: float) -> bytes | None:
        """
        Take the bytes since the last call, waiting so many seconds for the first one; C{None} once the broker has
        closed.
        """

    def abort(self) -> None:
        """
        Break the connection without a word.
        """


class Bench(Protocol):
    """
    A broker and the means to reach it.
    """

    #: How long an answer may take; nothing where the broker shares our thread.
    patience: float
    #: Whether the broker works at the same time as we do, so that order between peers must be made.
    concurrent: bool

    def open(self) -> Link:
        """
        A new network connection.
        """

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """


@dataclass(slots=True)
class Peer:
    """
    One scripted client: its present connection and what it has received and not yet looked at.
    """

    name: str
    version: int
    link: Link | None = None
    buffer: bytes = b""
    inbox: list[Packet] = field(default_factory=list)
    closed: bool = False
    accepted: bool = False
    maximum: int = 0
    talked: bool = False

    def fill(self, wait: float) -> bool:
        """
        Read what there is.

        @return: whether anything came.
        """
        if self.link is None or self.closed:
            return False
        data = self.link.receive(wait)
        if data is None:
            self.closed = True
            return False
        self.buffer += data
        while (cut := split(self.buffer)) is not None:
            whole, self.buffer = cut
            if self.maximum and len(whole) > self.maximum:
                raise Malformed(f"a packet of {len(whole)} bytes, above the client's maximum of {self.maximum}")
            packet = decode(whole, self.version)
            if packet.kind == "CONNACK" and packet.fields["reason"] == 0:
                self.accepted = True
            self.inbox.append(packet)
        return bool(data)

    def next(self, patience: float) -> Packet | None:
        """
        The next packet, or C{None} if none comes in time.
        """
        deadline = time.monotonic() + patience
        while not self.inbox and not self.closed:
            left = max(0.0, deadline - time.monotonic())
            if not self.fill(left) and not left:
                break
        return self.inbox.pop(0) if self.inbox else None
