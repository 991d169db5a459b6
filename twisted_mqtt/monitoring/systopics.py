"""
The C{$SYS} topics: the broker's own state, published to clients that may subscribe to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twisted_mqtt.base.about import DESCRIPTION, uptimeText, versionText
from twisted_mqtt.core.counters import NAMES
from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from twisted_mqtt.interfaces import IBroker

_log = Logger()

#: The metrics that are topics too. The others are for the command line and the REST API.
METRICS: Final[tuple[str, ...]] = tuple(
    name
    for name in NAMES
    if name.startswith(("bytes.", "messages.", "packets."))
    and name
    not in (
        "messages.dropped.invalid",
        "packets.connack.auth_error",
        "packets.connack.error",
        "packets.pubcomp.inuse",
        "packets.too_large",
    )
)

#: The gauges that are topics too.
STATS: Final[tuple[str, ...]] = (
    "connections",
    "sessions",
    "suboptions",
    "subscribers",
    "subscriptions",
    "subscriptions.shared",
    "topics",
    "routes",
)


class SysTopics(Service):
    """
    Publishes the broker's state: what changes with time at every heartbeat, the rest at every interval.

    Both happen once when the service starts, so that nobody waits a minute for a retained version.
    """

    name = "systopics"

    def __init__(
        self,
        broker: IBroker,
        interval: float = 60.0,
        heartbeat: float = 30.0,
        nodes: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """
        @param interval: seconds between publications of version, nodes, statistics and metrics; 0 is never.
        @param heartbeat: seconds between publications of uptime and date; 0 is never.
        @param nodes: names the nodes of the cluster; without it there is this one.
        """
        self._broker = broker
        self._nodes: Callable[[], Sequence[str]] = (lambda: (broker.nodeName,)) if nodes is None else nodes
        self._prefix = f"$SYS/brokers/{broker.nodeName}/"
        self._periods = (
            (self._publishState, interval),
            (self._publishTime, heartbeat),
        )
        self._calls: list[LoopingCall] = []
        self._started = 0.0

    def startService(self) -> None:
        """
        Publish everything once, then each at its period.
        """
        Service.startService(self)
        self._started = self._broker.clock.seconds()
        for publish, period in self._periods:
            if period <= 0:
                continue
            call = LoopingCall(self._guarded, publish)
            call.clock = self._broker.clock
            # It cannot fail: _guarded keeps what is raised.
            call.start(period)
            self._calls.append(call)

    def stopService(self) -> None:
        """
        Publish no more.
        """
        while self._calls:
            self._calls.pop().stop()
        Service.stopService(self)

    def uptime(self) -> float:
        """
        For how many seconds the service has been running.
        """
        uptime: float = self._broker.clock.seconds() - self._started
        return uptime

    def _guarded(self, publish: Callable[[], None]) -> None:
        """
        Keep one failure from ending all later publications.
        """
        try:
            publish()
        except Exception:
            _log.failure("Publishing $SYS topics failed")

    def _publishState(self) -> None:
        self._publish("$SYS/brokers", ",".join(self._nodes()), retain=True)
        self._publish(self._prefix + "version", versionText(), retain=True)
        self._publish(self._prefix + "sysdescr", DESCRIPTION, retain=True)
        values = self._broker.metrics.read()
        for name in STATS:
            for aspect in ("count", "max"):
                self._publishNumber("stats/", f"{name}.{aspect}", values[f"{name}.{aspect}"])
        for name in METRICS:
            self._publishNumber("metrics/", name, values[name])

    def _publishTime(self) -> None:
        self._publish(self._prefix + "uptime", uptimeText(self.uptime()))
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._broker.dates.now()))
        self._publish(self._prefix + "datetime", date)

    def _publishNumber(self, group: str, name: str, value: float) -> None:
        self._publish(f"{self._prefix}{group}{name.replace('.', '/')}", str(value))

    def _publish(self, topic: str, payload: str, retain: bool = False) -> None:
        message = Message(topic, payload.encode(), retain=retain, timestamp=self._broker.clock.seconds(), system=True)
        waiting = self._broker.publish(message)
        if isinstance(waiting, Deferred):
            waiting.addErrback(self._ebPublish, topic)

    def _ebPublish(self, failure: Failure, topic: str) -> None:
        _log.failure("Publishing {topic} failed", failure=failure, topic=topic)
