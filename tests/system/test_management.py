"""
The work of management, against a real process: an extension that makes sessions, watches, publishes on behalf of
clients and pages through everything while clients exchange messages.

With C{MANAGEMENT_SESSIONS=100000} (C{make stress-management}) it is the measurement: a million subscriptions, and the
figures are printed.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

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
        "plugins": {"load": ["pager"]},
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
    broker.started(1)
    yield broker
    broker.stop()


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
