"""
Tests for L{twisted_mqtt.monitoring.pushgateway}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers

from tests.kits.metricspeers import Sending
from twisted_mqtt.monitoring.pushgateway import LONGEST_PAUSE, TIMEOUT, PushGateway
from twisted_mqtt.monitoring.settings import StatsDSettings
from twisted_mqtt.testing.memory import MemoryBroker


class Answer:
    """
    An answer of a gateway.

    @ivar transport: what its body comes by.
    """

    def __init__(self, code: int, body: bytes | None = b"") -> None:
        """
        @param body: what it says; None for nothing and no end.
        """
        self.code = code
        self.transport = StringTransport()
        self._body = body

    def deliverBody(self, protocol: Any) -> None:
        """
        See C{IResponse}.
        """
        protocol.makeConnection(self.transport)
        if self._body is not None:
            for start in range(0, len(self._body), 1000):
                if not self.transport.disconnecting:
                    protocol.dataReceived(self._body[start : start + 1000])
            protocol.connectionLost()


class Gateway:
    """
    Stands for an agent and the gateway that it asks.

    @ivar answer: what it answers: an L{Answer}, an exception, or None for nothing.
    @ivar requests: time, method, URL, headers and body of those that came.
    @ivar cancelled: how many were given up.
    """

    def __init__(self, clock: Any) -> None:
        self.answer: Answer | Exception | None = Answer(200)
        self.requests: list[tuple[float, bytes, bytes, Headers, bytes]] = []
        self.cancelled = 0
        self._clock = clock

    def request(self, method: bytes, url: bytes, headers: Headers, body: Any) -> Deferred[Any]:
        """
        See C{IAgent}.
        """
        transport = StringTransport()
        body.startProducing(transport)
        assert body.length == len(transport.value())
        self.requests.append((self._clock.seconds(), method, url, headers, transport.value()))
        asked: Deferred[Any] = Deferred(self._cancel)
        if isinstance(self.answer, Exception):
            asked.errback(self.answer)
        elif self.answer is not None:
            asked.callback(self.answer)
        return asked

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class Setup:
    """
    A broker in memory that pushes.
    """

    def __init__(self, **settings: Any) -> None:
        self.memory = MemoryBroker()
        self.gateway = Gateway(self.memory.clock)
        table, server = StatsDSettings(**settings), "http://gateway:9091"
        self.harness = self.memory.run(
            Sending(lambda context: PushGateway(context, table, server, self.gateway).begin()), "statsd"
        )

    @property
    def alarm(self) -> str:
        """
        What the alarm says; nothing where there is none.
        """
        alarm = self.memory.broker.alarms.active.get("push_gateway_down")
        return "" if alarm is None else alarm.summary


@pytest.fixture
def make() -> Iterator[type[Setup]]:
    """
    Makes them; their extensions are stopped after the test.
    """
    made: list[Setup] = []

    class Kept(Setup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            made.append(self)

    yield Kept
    for each in made:
        each.harness.stop()


def test_pushes(make: type[Setup]) -> None:
    """
    Each interval everything goes to the job and the instance of the node, with EMQ X's names.
    """
    setup = make()
    setup.memory.client("a")
    setup.memory.wait(30)
    (_, method, url, headers, body), _ = setup.gateway.requests
    assert (method, url) == (b"POST", b"http://gateway:9091/metrics/job/mqttbroker/instance/mqttbroker~127.0.0.1")
    assert headers.getRawHeaders("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
    assert b"\nemqx_packets_connect_received 1\n" in body
    assert setup.memory.broker.metrics.read()["pushgateway.pushed"] == 2
    assert setup.alarm == ""


def test_away(make: type[Setup]) -> None:
    """
    While pushing fails the pauses grow and there is an alarm; both end with the first push that is taken.
    """
    setup = make(interval=10)
    setup.gateway.answer = ConnectionRefusedError(111, "Connection refused")
    setup.memory.wait(220)
    times = [request[0] for request in setup.gateway.requests]
    assert [after - before for before, after in zip(times, times[1:], strict=False)] == [
        20,
        40,
        LONGEST_PAUSE,
        LONGEST_PAUSE,
    ]
    assert "Connection refused" in setup.alarm
    setup.gateway.answer = Answer(202)
    setup.memory.wait(LONGEST_PAUSE + 10)
    assert setup.alarm == ""
    times = [request[0] for request in setup.gateway.requests]
    assert times[-1] - times[-2] == 10


def test_longInterval(make: type[Setup]) -> None:
    """
    A failure does not make pushes come more often than is configured.
    """
    setup = make(interval=100)
    setup.gateway.answer = ConnectionRefusedError(111, "Connection refused")
    setup.memory.wait(350)
    assert len(setup.gateway.requests) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(400, b"text format parsing error\n"), "it answers 400: text format parsing error"),
        (Answer(307), "it answers 307"),
        (Answer(500, b"\xff" * 100_000), "it answers 500: " + "\ufffd" * 200),
        (ResponseFailed([Failure(ConnectionRefusedError(104, "reset"))]), "reset"),
        (ValueError(), "ValueError"),
    ],
)
def test_refused(make: type[Setup], answer: Answer | Exception, said: str) -> None:
    """
    What a gateway says when it refuses is told, without length, and no more of it is read.
    """
    setup = make()
    setup.gateway.answer = answer
    setup.memory.wait(15)
    assert said in setup.alarm
    assert len(setup.alarm) < 300
    if isinstance(answer, Answer) and answer.code == 500:
        assert answer.transport.disconnecting


@pytest.mark.parametrize("answer", [None, Answer(200, None)])
def test_silent(make: type[Setup], answer: Answer | None) -> None:
    """
    A gateway that does not answer, or does not end its answer, is given up after some seconds.
    """
    setup = make()
    setup.gateway.answer = answer
    setup.memory.wait(15 + TIMEOUT)
    assert setup.alarm == "it has not answered for 10 s"
    if answer is None:
        assert setup.gateway.cancelled == 1
    else:
        assert answer.transport.disconnecting
    setup.gateway.answer = Answer(200)
    setup.memory.wait(30)
    assert setup.alarm == ""


def test_stopped(make: type[Setup]) -> None:
    """
    At the end of the extension a push under way is given up, and none follows.
    """
    setup = make()
    setup.gateway.answer = None
    setup.memory.wait(15)
    setup.harness.stop()
    assert setup.gateway.cancelled == 1
    setup.memory.wait(60)
    assert (len(setup.gateway.requests), setup.alarm) == (1, "")
