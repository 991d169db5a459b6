"""
The C{$SYS} topics: the broker's own state, published to clients that may subscribe to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twisted_mqtt.base.about import DESCRIPTION, uptimeText, versionText
from twisted_mqtt.base.exposition import completed, nameIn
from twisted_mqtt.base.metrics import HistogramValue
from twisted_mqtt.config.schema_node import BrokerSettings
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


#: What release 3 of EMQ X called otherwise, by the names of now.
LEGACY: Final = {
    "packets/connect": "packets.connect.received",
    "packets/connack": "packets.connack.sent",
    "packets/subscribe": "packets.subscribe.received",
    "packets/suback": "packets.suback.sent",
    "packets/unsubscribe": "packets.unsubscribe.received",
    "packets/unsuback": "packets.unsuback.sent",
    "packets/pingreq": "packets.pingreq.received",
    "packets/pingresp": "packets.pingresp.sent",
    "packets/auth": "packets.auth.received",
    "messages/expired": "messages.expired",
}
#: What it had and that is always 0.
_LEGACY_ZERO: Final = ("messages/qos2/expired", "messages/qos2/dropped")


class SysTopics(Service):
    """
    Publishes the broker's state: what changes with time at every heartbeat, the rest at every interval.

    Both happen once when the service starts, so that nobody waits a minute for a retained version. The topics are those
    of EMQ X (spec/hooks-modules-sys.md 4), those of VerneMQ (spec/vernemq.md 18, MON-05), or both.
    """

    name = "systopics"

    def __init__(
        self,
        broker: IBroker,
        settings: BrokerSettings,
        nodes: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """
        @param settings: those of the table C{[broker]}.
        @param nodes: names the nodes of the cluster; without it there is this one.
        """
        self._broker = broker
        self._settings = settings
        self._nodes: Callable[[], Sequence[str]] = (lambda: (broker.nodeName,)) if nodes is None else nodes
        self._prefix = f"$SYS/brokers/{broker.nodeName}/"
        self._calls: list[LoopingCall] = []
        self._started = 0.0
        self._persistent = 0
        self._mostPersistent = 0

    def startService(self) -> None:
        """
        Publish everything once, then each at its period.
        """
        Service.startService(self)
        self._started = self._broker.clock.seconds()
        self._begin()

    def stopService(self) -> None:
        """
        Publish no more.
        """
        self._end()
        Service.stopService(self)

    def configure(self, settings: BrokerSettings) -> None:
        """
        Go by other settings. If they concern C{$SYS}, everything is published at once.
        """
        before = self._settings
        self._settings = settings
        if self.running and any(getattr(before, key) != getattr(settings, key) for key in _KEYS):
            self._end()
            self._begin()

    def _begin(self) -> None:
        settings = self._settings
        if settings.sys_interval <= 0:
            # Nothing at all, as in EMQ X.
            return
        for publish, period in (
            (self._publishState, settings.sys_interval),
            (self._publishTime, settings.sys_heartbeat),
        ):
            if period <= 0:
                continue
            call = LoopingCall(self._guarded, publish)
            call.clock = self._broker.clock
            # It cannot fail: _guarded keeps what is raised.
            call.start(period)
            self._calls.append(call)

    def _end(self) -> None:
        while self._calls:
            self._calls.pop().stop()

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
        settings = self._settings
        if settings.sys_tree != "vernemq":
            self._publishOurs()
            if settings.sys_legacy_topics:
                self._publishLegacy()
        if settings.sys_tree != "emqx":
            self._publishVerne()

    def _publishOurs(self) -> None:
        self._publish("$SYS/brokers", ",".join(self._nodes()), retain=True)
        self._publish(self._prefix + "version", versionText(), retain=True)
        self._publish(self._prefix + "sysdescr", DESCRIPTION, retain=True)
        values = self._broker.metrics.read()
        for name in STATS:
            for aspect in ("count", "max"):
                self._publishNumber("stats/", f"{name}.{aspect}", values[f"{name}.{aspect}"])
        for name in METRICS:
            self._publishNumber("metrics/", name, values[name])

    def _publishLegacy(self) -> None:
        values = self._broker.metrics.read()
        for topic, name in LEGACY.items():
            self._publishNumber("metrics/", topic, values[name])
        for topic in _LEGACY_ZERO:
            self._publishNumber("metrics/", topic, 0)
        # Those that the last look has found: it goes through all sessions in slices.
        self._publishNumber("stats/", "sessions/persistent/count", self._persistent)
        self._publishNumber("stats/", "sessions/persistent/max", self._mostPersistent)
        ensureDeferred(self._countPersistent()).addErrback(
            lambda failure: _log.failure("Counting persistent sessions failed", failure=failure)
        )

    async def _countPersistent(self) -> None:
        count = 0
        async for _ in self._broker.directory.sessions(lambda session: session.expiryInterval != 0):
            count += 1
        self._persistent = count
        self._mostPersistent = max(self._mostPersistent, count)

    def _publishVerne(self) -> None:
        """
        All metrics, with VerneMQ's names: the series of one are added up, and C{_} are C{/}.
        """
        prefix = f"$SYS/{self._broker.nodeName}/"
        for metric in completed(self._broker.metrics.collect(), "vernemq"):
            name = nameIn("vernemq", metric.name)
            if name is None:
                continue
            topic = prefix + name.replace("_", "/")
            if metric.kind == "histogram":
                histograms = [value for _, value in metric.series if isinstance(value, HistogramValue)]
                self._publish(topic + "/count", _number(sum(value.count for value in histograms)))
                self._publish(topic + "/sum", _number(sum(value.sum for value in histograms)))
            else:
                numbers = (value for _, value in metric.series if not isinstance(value, HistogramValue))
                self._publish(topic, _number(sum(numbers)))

    def _publishTime(self) -> None:
        if self._settings.sys_tree == "vernemq":
            return
        self._publish(self._prefix + "uptime", uptimeText(self.uptime()))
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._broker.dates.now()))
        self._publish(self._prefix + "datetime", date)

    def _publishNumber(self, group: str, name: str, value: float) -> None:
        self._publish(f"{self._prefix}{group}{name.replace('.', '/')}", _number(value))

    def _publish(self, topic: str, payload: str, retain: bool = False) -> None:
        settings = self._settings
        message = Message(
            topic,
            payload.encode(),
            settings.sys_qos,
            retain or settings.sys_retain,
            timestamp=self._broker.clock.seconds(),
            system=True,
        )
        message.topicTree = settings.sys_topic_tree
        waiting = self._broker.publish(message)
        if isinstance(waiting, Deferred):
            waiting.addErrback(self._ebPublish, topic)

    def _ebPublish(self, failure: Failure, topic: str) -> None:
        _log.failure("Publishing {topic} failed", failure=failure, topic=topic)


#: The settings that it goes by.
_KEYS: Final = tuple(key for key in BrokerSettings.__struct_fields__ if key.startswith("sys_"))


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
