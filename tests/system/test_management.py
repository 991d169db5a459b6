"""
The work of management, against a real process: an extension that makes sessions, watches, publishes on behalf of
clients and pages through everything, and the REST API, called in all ways, while clients exchange messages.

With C{MANAGEMENT_SESSIONS=100000} (C{make stress-management}) it is the measurement: a million subscriptions, and the
figures are printed.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kits.wrongrequests import CREDENTIALS
from tests.system.conftest import configuration
from tests.system.pairs import Pairs
from tests.system.process import Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import accepted, publish, read
from tests.vectors.packets import counted, frame

SESSIONS = int(os.environ.get("MANAGEMENT_SESSIONS", "1000"))
SUBSCRIPTIONS = 10
PAIRS = 10
#: Messages a second of each pair.
RATE = 50
#: Phases without and with paging, in turn, and the seconds of each.
PHASES = 3
SECONDS = 1.0 if SESSIONS <= 1000 else 10.0
#: The time that a message may take anyway, in milliseconds: a machine that runs other tests meanwhile has pauses of its
#: own. A walk through 1,000 sessions and 10,000 subscriptions at once, and again, would hold up messages for longer.
ANYHOW = 100.0 if SESSIONS <= 1000 else 4.0

#: Calls of all kinds: method, path, body, status.
CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/clients?_limit=100", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/clients/session-{session}", None, 200),
    ("GET", "/clients?_limit=100&_page=5", None, 200),
    ("GET", "/subscriptions?_limit=100", None, 200),
    ("GET", "/subscriptions/session-{session}", None, 200),
    ("GET", "/routes?_limit=100", None, 200),
    ("GET", "/routes/s%2F{session}%2F1", None, 200),
    ("GET", "/brokers", None, 200),
    ("GET", "/nodes", None, 200),
    ("GET", "/stats", None, 200),
    ("GET", "/metrics/", None, 200),
    ("GET", "/emqx_prometheus", None, 200),
    ("GET", "/alarms/present", None, 200),
    ("GET", "/alarms/history", None, 200),
    ("GET", "/plugins", None, 200),
    ("GET", "/listeners", None, 200),
    ("GET", "/apps", None, 200),
    ("GET", "/settings?key=zone.external", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/health", None, 200),
    ("POST", "/mqtt/publish", {"topic": "s/1/1", "payload": "x", "qos": 1}, 200),
    ("POST", "/mqtt/publish_batch", [{"topic": f"s/{number}/1", "payload": "x"} for number in range(20)], 200),
    ("POST", "/mqtt/subscribe", {"clientid": "listener", "topic": "mine/+", "qos": 1}, 200),
    ("POST", "/mqtt/unsubscribe", {"clientid": "listener", "topic": "mine/+"}, 200),
    ("POST", "/banned", {"who": "bad-client", "as": "clientid", "until": 4_000_000_000}, 200),
    ("GET", "/banned", None, 200),
    ("DELETE", "/banned/clientid/bad-client", None, 200),
    ("DELETE", "/clients/nobody-{number}", None, 404),
    ("GET", "/clients?_page=0", None, 400),
    ("GET", "/nothing", None, 404),
]
#: So many calls are made, in as many phases as there are without calls, and so many a second: a management that keeps
#: asking. Without a pace the figure would be about how three busy processes share two processors.
COUNT = 200 if SESSIONS <= 1000 else 2000
PACE = 100
#: So many phases without calls, and so many with.
CALL_PHASES = 2 if SESSIONS <= 1000 else 8

PLUGIN = """
from twisted_mqtt.extensions.makers import ExtensionMaker

pager = ExtensionMaker(
    "pager", "tests.system.pager:Pager", "Stands for management", table="pager", settings="tests.system.pager:Settings"
)
"""


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Broker]:
    """
    A broker with the extension and its sessions.
    """
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "pager_plugin.py").write_text(PLUGIN)
    tables = {
        **configuration(tmp_path),
        "plugins": {"load": ["pager", "management"]},
        "management": {"listener": {"http": {"bind": "127.0.0.1:0", "max_requests": 1_000_000}}},
        "pager": {"sessions": SESSIONS, "subscriptions": SUBSCRIPTIONS},
    }
    if SESSIONS > 1000:
        tables["persistence"] = {"store": "memory"}
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(tables))
    environment = fromTree()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment)
    broker.waitFor("listening: ", patience=30 + SESSIONS / 100)
    broker.started(2)
    yield broker
    broker.stop()


class Asker:
    """
    Makes calls of the REST API, one after the other, C{PACE} a second, and notes how long each has taken.

    @ivar took: the milliseconds of the calls, by their kind.
    @ivar wrong: those that were not answered as they should.
    """

    def __init__(self, port: int) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self._made = 0
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def make(self, count: int) -> None:
        """
        Make so many calls of all kinds, in turn.
        """
        due = time.perf_counter()
        for _ in range(count):
            time.sleep(max(0.0, due - time.perf_counter()))
            due += 1 / PACE
            number = self._made
            self._made += 1
            method, path, body, status = CALLS[number % len(CALLS)]
            self._ask(method, path.format(number=number, session=number % SESSIONS), body, status, path)

    def close(self) -> None:
        """
        End.
        """
        self._link.close()

    def all(self, path: str) -> list[dict[str, Any]]:
        """
        Read a whole list with a cursor.
        """
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = json.loads(self._ask("GET", f"{path}&_cursor={cursor}", None, 200, f"{path} with a cursor"))
            found += answer["data"]
            cursor = answer["meta"]["cursor"]
        return found

    def _ask(self, method: str, path: str, body: object, status: int, kind: str) -> bytes:
        base = "" if path in ("/metrics", "/health") else "/api/v4"
        began = time.perf_counter()
        headers = {"Authorization": CREDENTIALS, "Content-Type": "application/json"}
        self._link.request(method, base + path, None if body is None else json.dumps(body), headers)
        answer = self._link.getresponse()
        said = answer.read()
        self.took[f"{method} {kind}"].append(1000 * (time.perf_counter() - began))
        if answer.status != status:
            self.wrong.append(f"{method} {path}: {answer.status} {said[:200]!r}")
        return said


def subscribed(broker: Broker, clientID: str, topicFilter: str) -> Any:
    """
    A connection that has subscribed something at QoS 0.
    """
    link = accepted(broker, clientID)
    link.sendall(frame(0x82, b"\x00\x01" + counted(topicFilter.encode()) + b"\x00"))
    assert read(link, 5) == b"\x90\x03\x00\x01\x00"
    return link


def payload(link: Any, topic: str) -> bytes:
    """
    The payload of the PUBLISH that comes next, which has this topic, QoS 0 and RETAIN clear.
    """
    first, size = read(link, 2)
    if size & 0x80:
        size = (size & 0x7F) | read(link, 1)[0] << 7
    body = read(link, size)
    assert (first, body[: 2 + len(topic)]) == (0x30, counted(topic.encode()))
    return body[2 + len(topic) :]


def test_publishesForAClient(managed: Broker) -> None:
    """
    An extension watches a topic, publishes for the client that it names, and says when that is on disk.
    """
    with (
        closing(subscribed(managed, "listener", "pager/said")) as listener,
        closing(subscribed(managed, "waiter", "pager/safe")) as waiter,
        closing(accepted(managed, "asker")) as asker,
    ):
        asker.sendall(publish("pager/say/listener", b"hello"))
        assert payload(listener, "pager/said") == b"hello"
        assert json.loads(payload(waiter, "pager/safe")) == {"reason": 0, "by": "asker"}


def test_pagesWhileMessagesFlow(managed: Broker, capfd: pytest.CaptureFixture[str]) -> None:
    """
    Paging through all sessions and subscriptions holds up nobody: of the messages that clients exchange meanwhile, 99
    of 100 take at most twice as long as before.
    """
    quiet: list[dict[str, float]] = []
    busy: list[dict[str, float]] = []
    pages: list[dict[str, float]] = []
    with (
        closing(Pairs(managed, PAIRS, RATE)) as pairs,
        closing(subscribed(managed, "manager", "pager/pages")) as manager,
    ):
        manager.settimeout(120)
        pairs.exchange(SECONDS)
        for _ in range(PHASES):
            quiet.append(pairs.exchange(SECONDS))
            manager.sendall(publish("pager/begin", b""))
            busy.append(pairs.exchange(SECONDS))
            manager.sendall(publish("pager/end", b""))
            pages.append(json.loads(payload(manager, "pager/pages")))
    assert not any(each["lost"] or each["doubled"] for each in quiet + busy)
    before = statistics.median(each["p99"] for each in quiet)
    meanwhile = statistics.median(each["p99"] for each in busy)
    with capfd.disabled():
        if SESSIONS > 1000:
            for name, phases in (("quiet", quiet), ("paging", busy), ("pages", pages)):
                for each in phases:
                    print(name, {key: round(value, 2) for key, value in each.items()})
            print(f"p99: {before:.2f} ms, while paging {meanwhile:.2f} ms")
    for each in pages:
        rounds = each["rounds"]
        assert rounds > 0
        # Beside those of the extension there are the sessions of the clients.
        assert each["sessions"] == each["sorted"] == rounds * (SESSIONS + 2 * PAIRS + 1)
        assert each["subscriptions"] == each["filters"] == rounds * (SESSIONS * SUBSCRIPTIONS + PAIRS + 1)
        assert each["named"] == rounds * SESSIONS // 100
    assert meanwhile <= max(2 * before, ANYHOW), (before, meanwhile)


def test_calls(managed: Broker, capfd: pytest.CaptureFixture[str]) -> None:
    """
    Calls of all kinds hold up nobody, and none of them takes long, however many sessions there are.
    """
    (listening,) = managed.waitFor(r"listening: management:http on 127\.0\.0\.1:(\d+)")
    quiet: list[dict[str, float]] = []
    busy: list[dict[str, float]] = []
    with (
        closing(Asker(int(listening[1]))) as asker,
        closing(subscribed(managed, "listener", "nothing")),
        closing(Pairs(managed, PAIRS, RATE)) as pairs,
    ):
        pairs.exchange(SECONDS)
        for _ in range(CALL_PHASES):
            quiet.append(pairs.exchange(COUNT / CALL_PHASES / PACE))
            pairs.begin()
            asker.make(COUNT // CALL_PHASES)
            busy.append(pairs.end())
        whole = asker.all("/clients?_limit=1000")
    assert not any(each["lost"] or each["doubled"] for each in quiet + busy)
    before = statistics.median(each["p99"] for each in quiet)
    meanwhile = statistics.median(each["p99"] for each in busy)
    assert asker.wrong == []
    names = [row["clientid"] for row in whole]
    assert len(names) == len(set(names)) == SESSIONS + 2 * PAIRS + 1
    with capfd.disabled():
        if SESSIONS > 1000:
            for kind, took in asker.took.items():
                print(f"{kind}: median {statistics.median(took):.1f} ms, longest {max(took):.1f} ms")
            for name, phases in (("quiet", quiet), ("calls", busy)):
                for each in phases:
                    print(name, {key: round(value, 2) for key, value in each.items()})
            print(f"p99 of messages: {before:.2f} ms, during {COUNT} calls {meanwhile:.2f} ms")
    slack = 10.0 if SESSIONS <= 1000 else 1.0
    assert statistics.median(asker.took["GET /clients?_limit=100"]) <= 20 * slack
    assert statistics.median(asker.took["GET /metrics"]) <= 50 * slack
    assert meanwhile <= max(2 * before, ANYHOW * min(slack, 4)), (quiet, busy)
