"""
Tests for L{twisted_mqtt.monitoring.systopics}.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.recording import RecordingBroker
from twisted_mqtt.config.schema_node import BrokerSettings
from twisted_mqtt.monitoring.systopics import METRICS, SysTopics
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer

# As on every reactor, the clock counts from the epoch.
STARTED = 1576737259.0

PREFIX = "$SYS/brokers/node@127.0.0.1/"

# The topics of the specification's tables of metrics, as they stand there.
METRIC_TOPICS = """
bytes/received bytes/sent packets/received packets/sent packets/connect/received packets/connack/sent
packets/publish/received packets/publish/sent packets/publish/error packets/publish/auth_error packets/publish/dropped
packets/puback/received packets/puback/sent packets/puback/inuse packets/puback/missed
packets/pubrec/received packets/pubrec/sent packets/pubrec/inuse packets/pubrec/missed
packets/pubrel/received packets/pubrel/sent packets/pubrel/missed
packets/pubcomp/received packets/pubcomp/sent packets/pubcomp/missed
packets/subscribe/received packets/subscribe/error packets/subscribe/auth_error packets/suback/sent
packets/unsubscribe/received packets/unsubscribe/error packets/unsuback/sent
packets/pingreq/received packets/pingresp/sent packets/disconnect/received packets/disconnect/sent
packets/auth/received packets/auth/sent
messages/received messages/sent messages/qos0/received messages/qos0/sent messages/qos1/received messages/qos1/sent
messages/qos2/received messages/qos2/sent messages/publish messages/dropped messages/dropped/expired
messages/dropped/no_subscriber messages/forward messages/retained messages/delayed messages/delivered messages/acked
""".split()


class SysTopicsTests(SynchronousTestCase):
    """
    Tests for L{SysTopics}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.broker.clock.advance(STARTED)

    def start(self, nodes: Callable[[], list[str]] | None = None, **keys: Any) -> SysTopics:
        """
        Start the service, to be stopped when the test ends.

        @param keys: of C{[broker]}, without C{sys_}.
        """
        settings = BrokerSettings(**{f"sys_{key}": value for key, value in keys.items()})
        service = SysTopics(self.broker, settings, nodes)
        service.startService()
        self.addCleanup(lambda: service.running and service.stopService())
        return service

    def published(self) -> list[str]:
        """
        The topics below the prefix since last asked, sorted.
        """
        topics = sorted(message.topic.removeprefix(PREFIX) for message in self.broker.published)
        self.broker.published.clear()
        return topics

    def test_state(self) -> None:
        """
        At the start there is everything: nodes, version, description, gauges and metrics.
        """
        self.broker.counts = {"connections": 3, "subscriptions.shared": 2}
        self.broker.counters.messages_qos1_received = 17
        self.start()
        payloads = self.broker.payloads()
        self.assertEqual(payloads["$SYS/brokers"], "node@127.0.0.1")
        self.assertIn(PREFIX + "version", payloads)
        self.assertIn(PREFIX + "sysdescr", payloads)
        self.assertEqual(payloads[PREFIX + "stats/connections/count"], "3")
        self.assertEqual(payloads[PREFIX + "stats/subscriptions/shared/max"], "2")
        self.assertEqual(payloads[PREFIX + "metrics/messages/qos1/received"], "17")

    def test_metricTopics(self) -> None:
        """
        The metrics published are those of the specification, no more and no less.
        """
        self.assertEqual(sorted(name.replace(".", "/") for name in METRICS), sorted(METRIC_TOPICS))
        self.start()
        metrics = [topic for topic in self.published() if topic.startswith("metrics/")]
        self.assertEqual(metrics, sorted(f"metrics/{topic}" for topic in METRIC_TOPICS))

    def test_statTopics(self) -> None:
        """
        So are the gauges.
        """
        self.start()
        gauges = "connections sessions suboptions subscribers subscriptions subscriptions/shared topics routes".split()
        expected = sorted(f"stats/{gauge}/{aspect}" for gauge in gauges for aspect in ("count", "max"))
        self.assertEqual([topic for topic in self.published() if topic.startswith("stats/")], expected)

    def test_retained(self) -> None:
        """
        The nodes, the version and the description are retained, nothing else; all are the broker's own, at QoS 0.
        """
        self.start()
        retained = {message.topic.removeprefix(PREFIX) for message in self.broker.published if message.retain}
        self.assertEqual(retained, {"$SYS/brokers", "version", "sysdescr"})
        self.assertEqual({(message.system, message.qos) for message in self.broker.published}, {(True, 0)})

    def test_heartbeat(self) -> None:
        """
        Uptime and date are published at each heartbeat, and only they.
        """
        service = self.start(interval=3600.0, heartbeat=30.0)
        self.published()
        self.broker.clock.advance(29)
        self.assertEqual(self.published(), [])
        self.broker.clock.advance(1)
        payloads = self.broker.payloads()
        self.assertEqual(payloads[PREFIX + "uptime"], "30 seconds")
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(STARTED + 30))
        self.assertEqual(payloads[PREFIX + "datetime"], local)
        self.assertEqual(self.published(), ["datetime", "uptime"])
        self.assertEqual(service.uptime(), 30)

    def test_interval(self) -> None:
        """
        The rest is published at each interval, and only that.
        """
        self.start(interval=60, heartbeat=0)
        atStart = self.published()
        self.broker.clock.pump([1] * 60)
        self.assertEqual(self.published(), atStart)
        self.assertNotIn("uptime", atStart)

    def test_never(self) -> None:
        """
        An interval of 0 publishes nothing at all, in neither tree.
        """
        self.start(interval=0, tree="both", legacy_topics=True)
        self.broker.clock.pump([60] * 3)
        self.assertEqual(self.published(), [])

    def test_configure(self) -> None:
        """
        Other settings hold at once; those that say nothing else change nothing.
        """
        service = self.start()
        self.published()
        service.configure(BrokerSettings(max_sessions=7))
        self.assertEqual(self.published(), [])
        service.configure(BrokerSettings(sys_interval=0))
        self.broker.clock.pump([60] * 3)
        self.assertEqual(self.published(), [])
        service.configure(BrokerSettings(sys_interval=10, sys_heartbeat=0))
        found = self.published()
        self.assertIn("metrics/messages/received", found)
        self.broker.clock.pump([1] * 10)
        self.assertEqual(self.published(), found)

    def test_stoppedIsNotStarted(self) -> None:
        """
        Settings start nothing that has been stopped.
        """
        service = self.start()
        service.stopService()
        self.published()
        service.configure(BrokerSettings(sys_interval=10))
        self.assertEqual(self.published(), [])
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])

    def test_verne(self) -> None:
        """
        VerneMQ's tree has all metrics by its names, with C{/} for C{_}; series and their labels are added up.
        """
        traffic = self.broker.traffic.of("tcp.x", "external")
        traffic.byVersion[4].packets_publish_received = 3
        traffic.byVersion[5].packets_publish_received = 4
        self.broker.counts = {"retained": 5}
        self.broker.metrics.histogram("a.seconds", "A", (1, 2)).own.observe(1.5)
        self.start(tree="vernemq")
        payloads = self.broker.payloads()
        self.assertEqual({topic.split("/")[1] for topic in payloads}, {"node@127.0.0.1"})
        found = {topic.removeprefix("$SYS/node@127.0.0.1/"): payload for topic, payload in payloads.items()}
        for topic, payload in {
            "mqtt/publish/received": "7",
            "mqtt/connack/sent": "0",
            "retain/messages": "5",
            "queue/setup": "0",
            "client/expired": "0",
            "a/seconds/count": "1",
            "a/seconds/sum": "1.5",
        }.items():
            self.assertEqual(found[topic], payload)

    def test_both(self) -> None:
        """
        Both trees at once, with the QoS, the retain flag and the topic tree of the settings.
        """
        self.start(tree="both", qos=1, retain=True, topic_tree="site")
        self.assertEqual({topic.split("/")[1] for topic in self.broker.payloads()}, {"brokers", "node@127.0.0.1"})
        self.assertEqual(
            {(message.qos, message.retain, message.topicTree) for message in self.broker.published},
            {(1, True, "site")},
        )

    def test_legacy(self) -> None:
        """
        The topics of release 3, beside those of now; sessions that outlive their connections are counted for them.
        """
        clock = Clock()
        clock.advance(STARTED)
        broker, factory = makeBroker(clock)
        published: dict[str, str] = {}
        self.patch(broker, "publish", lambda message: published.update({message.topic: message.payload.decode()}))
        prefix = f"$SYS/brokers/{broker.nodeName}/"
        for number in range(3):
            Peer(factory, clock).connect(f"c{number}", sessionExpiry=number)
        service = SysTopics(broker, BrokerSettings(sys_legacy_topics=True))
        service.startService()
        clock.pump([1] * 60)
        packets = "connect connack subscribe suback unsubscribe unsuback pingreq pingresp auth".split()
        wanted = {
            **{f"metrics/packets/{packet}": "0" for packet in packets},
            "metrics/packets/connect": "3",
            "metrics/packets/connack": "3",
            "metrics/messages/expired": "0",
            "metrics/messages/qos2/expired": "0",
            "metrics/messages/qos2/dropped": "0",
            "stats/sessions/persistent/count": "2",
            "stats/sessions/persistent/max": "2",
        }
        self.assertEqual({topic: published[prefix + topic] for topic in wanted}, wanted)
        service.configure(BrokerSettings())
        published.clear()
        clock.pump([1] * 60)
        self.assertEqual([topic for topic in wanted if prefix + topic in published], [])
        service.stopService()
        broker.stopService()

    def test_maximumBetween(self) -> None:
        """
        A maximum that came and went between two publications is published.
        """
        self.start(interval=60)
        self.broker.counts = {"connections": 9}
        self.broker.metrics.sample()
        self.broker.counts = {"connections": 1}
        self.broker.clock.pump([1] * 60)
        payloads = self.broker.payloads()
        self.assertEqual(payloads[PREFIX + "stats/connections/max"], "9")
        self.assertEqual(payloads[PREFIX + "stats/connections/count"], "1")

    def test_nodes(self) -> None:
        """
        In a cluster all nodes are named.
        """
        self.start(nodes=lambda: ["a@x", "b@y"])
        self.assertEqual(self.broker.payloads()["$SYS/brokers"], "a@x,b@y")

    def test_stopped(self) -> None:
        """
        A service that has stopped leaves no call behind, and can be started again.
        """
        service = self.start()
        service.stopService()
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])
        self.published()
        service.startService()
        self.assertNotEqual(self.published(), [])

    def test_failures(self) -> None:
        """
        A publication that fails is logged, and does not end the later ones.
        """
        self.start(interval=60, heartbeat=0)
        publish = self.broker.publish
        self.patch(self.broker, "publish", lambda message: 1 / 0)
        self.broker.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(self.broker, "publish", publish)
        self.published()
        self.broker.clock.pump([1] * 60)
        self.assertNotEqual(self.published(), [])

    def test_publishingFails(self) -> None:
        """
        So is one that fails later.
        """
        self.broker.answer = fail(ValueError("no"))
        self.start(heartbeat=0)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
