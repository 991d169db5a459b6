"""
Every scenario, and what this broker is meant to reach in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.scenarios.base import Scenario
from bench.scenarios.secure import Handshakes, SecureThroughput
from bench.scenarios.single import Connects, Latency, PingPong
from bench.scenarios.stored import IdleMemory, Queued, Retained
from bench.scenarios.throughput import Throughput, fanIn, fanOut, pairs, wildcards
from bench.scenarios.websocket import WebSocketThroughput


@dataclass(frozen=True)
class Goal:
    """
    A goal. Ratios are to Mosquitto in the same run; of two figures given, both must be met.

    @ivar bar: the least that will do.
    @ivar stretch: what the fastest brokers known to us do.
    @ivar absolute: the two figures are in the unit of the scenario, not ratios.
    @ivar stretchCPU: the broker's processor time for a delivery, in microseconds, that belongs to the stretch.
    @ivar ahead: the broker to be ahead of, for the stretch.
    """

    bar: float
    stretch: float
    absolute: bool = False
    stretchCPU: float | None = None
    ahead: str | None = None


@dataclass(frozen=True)
class Entry:
    """
    A row of the report.
    """

    scenario: Scenario
    goal: Goal | None = None


CATALOGUE: Final[tuple[Entry, ...]] = (
    Entry(
        Throughput("pairs0", "QoS 0, 10 publishers to 10 subscribers, own topics", pairs(10, 1000, qos=0)),
        Goal(8, 13, stretchCPU=0.8, ahead="nats"),
    ),
    Entry(
        Throughput("fanout100", "QoS 0 fan-out, 1 to 100", fanOut(100, 1000)),
        Goal(15, 25, stretchCPU=0.3),
    ),
    Entry(
        Throughput("fanout1000", "QoS 0 fan-out, 1 to 1,000", fanOut(1000, 100)),
        Goal(15, 25, stretchCPU=0.3),
    ),
    Entry(Throughput("fanin100", "QoS 0 fan-in, 100 to 1", fanIn(100, 100)), Goal(6, 8)),
    Entry(
        Throughput("pairs1", "QoS 1, 10 to 10, window 100", pairs(10, 100, qos=1)),
        Goal(4, 5, stretchCPU=2.5),
    ),
    Entry(
        Throughput("pairs2", "QoS 2, 10 to 10, window 20", pairs(10, 20, qos=2)),
        Goal(3, 4, stretchCPU=6),
    ),
    Entry(PingPong("pingpong", "one message at a time, 100 connections", 100), Goal(0.8, 1)),
    Entry(Connects("connects", "connect, connack, disconnect", 40), Goal(0.7, 1)),
    Entry(Latency("latency0", "p99 latency at 5,000 msg/s, QoS 0", 10, 5000, qos=0), Goal(2, 1)),
    Entry(Latency("latency1", "p99 latency at 5,000 msg/s, QoS 1", 10, 5000, qos=1), Goal(2, 1)),
    Entry(IdleMemory("idle", "memory per idle connection, of 10,000", 10_000), Goal(8, 5, absolute=True)),
    Entry(
        Throughput("wildcards", "100,000 subscriptions with + and #, 4 matches", wildcards(100, 1000, 4, 250)),
        Goal(2, 2.5, stretchCPU=2),
    ),
    Entry(Retained("retained", "# receiving 50,000 retained messages", 50_000), Goal(1, 1.5)),
    Entry(SecureThroughput("tlsfanout100", "TLS, QoS 0 fan-out, 1 to 100", fanOut(100, 1000)), Goal(2, 10)),
    Entry(SecureThroughput("tlspairs0", "TLS, QoS 0, 10 to 10, own topics", pairs(10, 1000, qos=0)), Goal(2, 8)),
    Entry(SecureThroughput("tlspairs1", "TLS, QoS 1, 10 to 10, window 100", pairs(10, 100, qos=1)), Goal(2, 4)),
    Entry(WebSocketThroughput("wsfanout100", "WebSocket, QoS 0 fan-out, 1 to 100", fanOut(100, 1000)), Goal(3, 8)),
    Entry(WebSocketThroughput("wspairs0", "WebSocket, QoS 0, 10 to 10", pairs(10, 1000, qos=0)), Goal(1, 2)),
    Entry(WebSocketThroughput("wspairs1", "WebSocket, QoS 1, 10 to 10, window 100", pairs(10, 100, qos=1)), Goal(1, 2)),
    Entry(Handshakes("handshakes", "TLS handshake, connect, connack, disconnect", 20), Goal(0.8, 1)),
    Entry(Handshakes("resumptions", "the same, resuming a session", 20, resuming=True), Goal(0.7, 1)),
    Entry(Queued("queued", "session receiving 10,000 queued QoS 1 messages", 10_000), Goal(1, 3)),
)
