"""
A tracer beside any broker in memory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from twisted_mqtt.monitoring.trace.extension import TraceExtension
from twisted_mqtt.monitoring.trace.settings import TraceSettings
from twisted_mqtt.testing.extension import ExtensionHarness, resultOf

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.monitoring.trace.traces import Kind, Trace


class Tracing:
    """
    The extension, at work.

    @ivar harness: what holds it.
    @ivar tracer: its tracer.
    """

    def __init__(self, broker: Broker, folder: Path, **keys: Any) -> None:
        """
        @param folder: where files are.
        @param keys: of the table; the rate is high unless they say so.
        """
        self.broker = broker
        self.folder = folder
        self.extension = TraceExtension(TraceSettings(dir=str(folder), **{"rate_max": 1000, **keys}))
        self.harness = ExtensionHarness(self.extension, broker, "trace").start()
        self.tracer = self.extension.tracer

    def start(self, kind: Kind, value: str, file: str = "t.log", level: str = "debug") -> Trace:
        """
        Begin a trace to a file; raises what keeps it from that.
        """
        return resultOf(Deferred.fromCoroutine(self.tracer.startFile(kind, value, file, level)))

    def look(self, kind: Kind, value: str, level: str = "debug", **more: Any) -> list[str]:
        """
        Look on; returns a list to which the events are added.
        """
        sink = self.tracer.startLive(kind, value, level, **more)
        seen: list[str] = []

        async def read() -> None:
            async for piece in sink.pieces():
                seen.extend(
                    re.sub(r"^data: ", "", event, flags=re.M) for event in piece.decode().split("\n\n") if event
                )

        Deferred.fromCoroutine(read())
        return seen

    def lines(self, file: str = "t.log") -> list[str]:
        """
        The lines of a file, without dates.
        """
        return [
            re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", "", line)
            for line in (self.folder / file).read_text(encoding="utf-8").splitlines()
        ]
