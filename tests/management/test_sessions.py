"""
Tests for L{twisted_mqtt.management.builtin.sessions}: the samples of spec/vernemq.md 20 and what they depend on.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.hooks.verdicts import ALLOW, DENY
from twisted_mqtt.management.builtin.sessions import ShowSessions
from twisted_mqtt.management.columns import isSame
from twisted_mqtt.operations.operation import NotFound, Refused

# spec/vernemq.md 20.1.
FIELDS = """
node mountpoint client_id queue_pid queue_size session_pid is_offline is_online statename deliver_mode offline_messages
online_messages num_sessions clean_session is_plugin queue_started_at user peer_host peer_port protocol waiting_acks
session_started_at topic qos rap no_local msg_ref msg_qos routing_key dup payload
""".split()


@pytest.fixture
def commands() -> Commands:
    """
    A broker with two clients, of which one has gone.
    """
    made = Commands()
    one = made.memory.client("one", username="anna")
    one.subscribe(SubscriptionRequest("a/b", 1), SubscriptionRequest("x/+", 2, noLocal=True))
    away = made.memory.client("away", sessionExpiry=3600)
    away.subscribe("a/b")
    away.lose()
    return made


@pytest.mark.shows("show_sessions")
def test_usualColumns(commands: Commands) -> None:
    """
    Without a field, these six are shown, sorted by name (ADM-10).
    """
    rows = {row["client_id"]: row for row in commands.rows("session show")}
    assert set(rows) == {"one", "away"}
    assert list(rows["one"]) == ["client_id", "is_online", "mountpoint", "peer_host", "peer_port", "user"]
    assert rows["one"]["user"] == "anna"
    assert (rows["one"]["is_online"], rows["away"]["is_online"]) == (True, False)


@pytest.mark.parametrize("field", FIELDS)
def test_everyField(commands: Commands, field: str) -> None:
    """
    Each field of 20.1 is a column, whether its value is cheap or not.
    """
    commands.memory.client("publisher").publish("a/b", b"hello", 1, 1)
    rows = commands.rows("session show", **{field: ""})
    assert rows
    assert all(list(row) == [field] for row in rows)


def test_oneClient(commands: Commands) -> None:
    """
    C{session show --node --is_online --client_id=client1} (ADM-14).
    """
    rows = commands.rows("session show", node="", is_online="", client_id="one")
    assert rows == [{"is_online": True, "node": commands.memory.broker.nodeName}]
    assert commands.rows("session show", client_id="nobody") == []


def test_subscriptions(commands: Commands) -> None:
    """
    C{session show --topic --client_id}: a row for each subscription; with a value, the subscribers of that filter.
    """
    rows = commands.rows("session show", topic="", client_id="", qos="", no_local="")
    assert sorted(tuple(row.values()) for row in rows) == [
        ("away", False, 2, "a/b"),
        ("one", False, 1, "a/b"),
        ("one", True, 2, "x/+"),
    ]
    subscribers = commands.rows("session show", topic=["", "a/b"], client_id="")
    assert sorted(row["client_id"] for row in subscribers) == ["away", "one"]
    assert commands.rows("session show", topic="a/b", qos="1", client_id="") == [{"client_id": "one"}]


def test_times(commands: Commands) -> None:
    """
    Times are milliseconds of Unix time (spec/vernemq.md A1).
    """
    (row,) = commands.rows("session show", client_id="one", queue_started_at="", session_started_at="")
    assert list(row) == ["queue_started_at", "session_started_at"]
    broker = commands.memory.broker
    session = broker.sessions.get("one")
    assert session is not None
    assert row["queue_started_at"] == round(broker.dates.of(session.createdAt) * 1000)
    assert row["queue_started_at"] == row["session_started_at"]


def test_messages(commands: Commands) -> None:
    """
    What waits for a client is a row for each message; payloads that are no UTF-8 are shown all the same.
    """
    publisher = commands.memory.client("publisher")
    publisher.publish("a/b", b"hello", 1, 1)
    publisher.publish("a/b", b"\xff", 1, 2)
    rows = commands.rows("session show", client_id="away", payload="", routing_key="", msg_qos="", queue_size="")
    assert rows == [
        {"msg_qos": 1, "payload": "hello", "queue_size": 2, "routing_key": "a/b"},
        {"msg_qos": 1, "payload": "\\xff", "queue_size": 2, "routing_key": "a/b"},
    ]
    assert len(commands.rows("session show", client_id="away", payload=["", "hello"])) == 1


def test_limit(commands: Commands) -> None:
    """
    There are 100 rows at most unless it is said; none is no limit.
    """
    for number in range(150):
        commands.memory.client(f"c{number}")
    assert len(commands.rows("session show")) == 100
    assert len(commands.rows("session show", limit=120)) == 120
    assert len(commands.rows("session show", limit=1000)) == 152
    with pytest.raises(Refused, match="limit"):
        commands.rows("session show", limit=0)


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (True, "true", True),
        (True, "on", True),
        (True, "1", False),
        (False, "true", False),
        (5, "5", True),
        (5, "05", True),
        (5, "five", False),
        (-5, "-5", True),
        (5, "--5", False),
        (5, "-", False),
        (5, "\u00b2", False),
        (5, "5" * 5000, False),
        ("5", "5", True),
        ("true", "true", True),
        (None, "x", False),
    ],
)
def test_comparison(value: str | int | bool | None, text: str, same: bool) -> None:
    """
    Flags and whole numbers compare as such, all else as text.
    """
    assert isSame(value, text) is same


def test_ownNamesWithCommas() -> None:
    """
    A value is taken as it is: a client may have a comma in its name, or be called C{..}.
    """
    commands = Commands()
    for name in ("a,b", "..", " "):
        commands.memory.client(name)
        assert commands.rows("session show", client_id=["", name]) == [{"client_id": name}]


@pytest.mark.shows("disconnect_session")
def test_disconnect(commands: Commands) -> None:
    """
    The session stays unless it is to be cleaned up; one that is not there is no error (ADM-12, ADM-55).
    """
    assert commands.lines("session disconnect", client_id="away") == ["Done"]
    assert "away" in commands.memory.broker.sessions
    assert commands.lines("session disconnect", client_id="away", cleanup="true") == ["Done"]
    assert "away" not in commands.memory.broker.sessions
    assert commands.lines("session disconnect", client_id="one") == ["Done"]
    assert "one" not in commands.memory.broker.clients
    assert commands.lines("session disconnect", client_id="nobody") == ["Done"]


@pytest.mark.shows("reauthorize_session")
def test_reauthorize(commands: Commands) -> None:
    """
    Subscriptions that the rules do not allow any more end, and no others (ADM-13).
    """
    broker = commands.memory.broker
    assert commands.lines("session reauthorize", client_id="one", username="anna") == ["Unchanged"]
    asked = []

    def check(client: object, access: str, topic: str, verdict: object) -> object:
        asked.append((access, topic))
        return DENY if topic == "x/+" else ALLOW

    broker.hooks.clientCheckAcl.add(check)
    assert commands.lines("session reauthorize", client_id="one", username="anna") == ["Done"]
    assert asked == [("subscribe", "a/b"), ("subscribe", "x/+")]
    session = broker.sessions.get("one")
    assert session is not None
    assert list(session.subscriptions) == ["a/b"]
    assert commands.lines("session reauthorize", client_id="one", username="anna") == ["Unchanged"]
    with pytest.raises(NotFound, match="has no client"):
        commands.lines("session reauthorize", client_id="one", username="bert")


def test_fieldsAreColumns() -> None:
    """
    Each field of the request has something to show.
    """
    assert set(FIELDS) <= set(ShowSessions.__struct_fields__)
