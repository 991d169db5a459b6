"""
Tests for L{twisted_mqtt.management.rest.cursors}: lists that are read while they change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from tests.kits.rest import Answer, Rest
from twisted_mqtt.base.listing import Listing
from twisted_mqtt.management.rest.cursors import IDLE, MOST_OF_ONE, Cursors
from twisted_mqtt.management.settings import ManagementSettings


class Kind(NamedTuple):
    """
    A list, and how something is put into it and taken out.
    """

    path: str
    key: Callable[[dict[str, Any]], str]
    add: Callable[[Rest, str], object]
    remove: Callable[[Rest, str], object]


def subscribe(rest: Rest, name: str) -> None:
    """
    Make a subscription that no other name has; ten of a client.
    """
    clientID, topic = f"client-{name[:-1]}", f"t/{name}/+" if int(name) % 3 else f"t/{name}"
    if clientID not in rest.memory.broker.clients:
        rest.memory.client(clientID)
    body = {"clientid": clientID, "topic": topic}
    assert rest.call("POST", "/mqtt/subscribe", body).status == 200


def unsubscribe(rest: Rest, name: str) -> None:
    """
    Take a subscription out.
    """
    body = {"clientid": f"client-{name[:-1]}", "topics": f"t/{name}/+,t/{name}"}
    assert rest.call("POST", "/mqtt/unsubscribe", body).status == 200


KINDS = {
    "clients": Kind(
        "/clients",
        lambda row: str(row["clientid"]),
        lambda rest, name: rest.memory.client(name),
        lambda rest, name: rest.memory.broker.endSession(name),
    ),
    "users": Kind(
        "/clients/username/anna",
        lambda row: str(row["clientid"]),
        lambda rest, name: rest.memory.client(name, username="anna"),
        lambda rest, name: rest.memory.broker.endSession(name),
    ),
    "subscriptions": Kind("/subscriptions", lambda row: str(row["topic"]).split("/")[1], subscribe, unsubscribe),
    "alarms": Kind(
        "/alarms/present/mqttbroker@127.0.0.1",
        lambda row: str(row["id"]),
        lambda rest, name: rest.memory.broker.alarms.activate(name, "warning", name, name),
        lambda rest, name: rest.memory.broker.alarms.deactivate(name),
    ),
    "routes": Kind("/routes", lambda row: str(row["topic"]).split("/")[1], subscribe, unsubscribe),
    "banned": Kind(
        "/banned",
        lambda row: str(row["who"]),
        lambda rest, name: rest.memory.broker.bans.add(name, "clientid"),
        lambda rest, name: rest.memory.broker.bans.remove("clientid", name),
    ),
}

NAMES = [f"{number:02}" for number in range(30)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whileItChanges(kind: str, data: st.DataObject) -> None:
    """
    Nothing is shown twice, and what is there all the time is shown, whatever comes, goes and comes again meanwhile.
    """
    path, key, add, remove = KINDS[kind]
    rest = Rest()
    there = data.draw(st.sets(st.sampled_from(NAMES)), "at first")
    for name in sorted(there):
        add(rest, name)
    steady, ever = set(there), set(there)
    shown: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        limit = data.draw(st.integers(1, 8), "limit")
        answer = rest.call("GET", f"{path}?_cursor={cursor}&_limit={limit}")
        assert len(answer.data) <= limit
        shown += map(key, answer.data)
        cursor = answer.json["meta"]["cursor"]
        for name in data.draw(st.lists(st.sampled_from(NAMES), max_size=8), "changing"):
            if name in there:
                remove(rest, name)
                steady.discard(name)
                there.remove(name)
            else:
                add(rest, name)
                there.add(name)
                ever.add(name)
    assert len(shown) == len(set(shown))
    assert steady <= set(shown) <= ever


def populated(count: int = 10) -> Rest:
    """
    A broker with some clients.
    """
    rest = Rest()
    for number in range(count):
        rest.memory.client(f"c{number}", username="even" if number % 2 == 0 else "odd")
    return rest


def names(answer: Answer) -> list[str]:
    """
    The clients that an answer shows.
    """
    return [row["clientid"] for row in answer.data]


def test_pages() -> None:
    """
    Each page says how to get the next one, and the last that there is none; a filter holds for all of them.
    """
    rest = populated()
    first = rest.call("GET", "/clients?_cursor=&_limit=6")
    assert first.json["meta"]["count"] == 10
    second = rest.call("GET", f"/clients?_cursor={first.json['meta']['cursor']}&_limit=6")
    assert (len(first.data), len(second.data), second.json["meta"]["cursor"]) == (6, 4, None)
    assert sorted(names(first) + names(second)) == [f"c{number}" for number in range(10)]
    even = rest.call("GET", "/clients?_cursor=&username=even&_limit=3")
    rest_ = rest.call("GET", f"/clients?_cursor={even.json['meta']['cursor']}&username=even")
    assert sorted(names(even) + names(rest_)) == ["c0", "c2", "c4", "c6", "c8"]


def test_pageAgain() -> None:
    """
    The last page can be asked for again, as after a lost connection; one before it is over.
    """
    rest = populated()
    first = rest.call("GET", "/clients?_cursor=&_limit=3").json["meta"]["cursor"]
    second = rest.call("GET", f"/clients?_cursor={first}&_limit=3")
    assert rest.call("GET", f"/clients?_cursor={first}&_limit=3").body == second.body
    rest.call("GET", f"/clients?_cursor={second.json['meta']['cursor']}&_limit=3")
    answer = rest.call("GET", f"/clients?_cursor={first}&_limit=3")
    assert (answer.status, answer.json["code"]) == (410, 108)
    assert "_cursor" in answer.json["message"]


def test_lostAmidAPage() -> None:
    """
    A page whose connection was lost amid it is complete when it is asked for again.
    """
    rest = populated(80)
    first = rest.call("GET", "/clients?_cursor=&_limit=5")
    cursor = first.json["meta"]["cursor"]
    path = f"/clients?_cursor={cursor}&_limit=75"
    # Whoever asks takes no more than the first rows.
    transport, channel = rest.listen(path, wait=0, paused=True)
    while b'"c' not in transport.value():
        rest.memory.clock.advance(0.0001)
    assert rest.call("GET", path).status == 409
    channel.connectionLost(Failure(ConnectionLost()))
    again = rest.call("GET", path)
    assert len(again.data) == 75
    assert set(names(first)) | set(names(again)) == {f"c{number}" for number in range(80)}


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("_cursor=x", 400, "_cursor"),
        ("_cursor=.1", 410, "_cursor"),
        ("_cursor=abc.99999999999999999999", 400, "_cursor"),
        ("_cursor=abc.2", 410, "_cursor"),
        ("_cursor=&_page=2", 400, "_page"),
        ("_cursor=&_limit=0", 400, "_limit"),
        ("_cursor={cursor}&username=even", 400, "another call"),
    ],
)
def test_wrong(query: str, status: int, says: str) -> None:
    """
    A cursor that is none, is over, or belongs to something else is refused, and nothing is shown.
    """
    rest = populated()
    cursor = rest.call("GET", "/clients?_cursor=&_limit=3").json["meta"]["cursor"]
    answer = rest.call("GET", "/clients?" + query.format(cursor=cursor))
    assert (answer.status, answer.json["code"]) == (status, 108)
    assert says in answer.json["message"]


def test_othersCursor() -> None:
    """
    Nobody reads on with the cursor of another application.
    """
    rest = populated()
    cursor = rest.call("GET", "/clients?_cursor=&_limit=3").json["meta"]["cursor"]
    secret = rest.call("POST", "/apps", {"app_id": "other", "name": "Other"}).data["secret"]
    assert rest.call("GET", f"/clients?_cursor={cursor}", user=f"other:{secret}").status == 410


def test_idle() -> None:
    """
    A cursor that nobody uses is forgotten; one that is used is not.
    """
    rest = populated()
    unused = rest.call("GET", "/clients?_cursor=&_limit=1").json["meta"]["cursor"]
    used = rest.call("GET", "/clients?_cursor=&_limit=1").json["meta"]["cursor"]
    for _ in range(3):
        rest.memory.wait(IDLE * 0.7)
        used = rest.call("GET", f"/clients?_cursor={used}&_limit=1").json["meta"]["cursor"]
    assert rest.call("GET", f"/clients?_cursor={unused}").status == 410


def test_many() -> None:
    """
    Who begins more lists than are kept loses the oldest, and not those of others.
    """
    rest = populated()
    secret = rest.call("POST", "/apps", {"app_id": "other", "name": "Other"}).data["secret"]
    others = rest.call("GET", "/clients?_cursor=&_limit=1", user=f"other:{secret}").json["meta"]["cursor"]
    mine = [rest.call("GET", "/clients?_cursor=&_limit=1").json["meta"]["cursor"] for _ in range(MOST_OF_ONE + 1)]
    assert rest.call("GET", f"/clients?_cursor={mine[0]}").status == 410
    assert rest.call("GET", f"/clients?_cursor={mine[1]}").status == 200
    assert rest.call("GET", f"/clients?_cursor={others}", user=f"other:{secret}").status == 200


def isOf(call: IDelayedCall, kind: type) -> bool:
    """
    Whether a delayed call is one of a method of some class.
    """
    return isinstance(getattr(getattr(call, "func", None), "__self__", None), kind)


def test_end() -> None:
    """
    The end of the extension is the end of all cursors.
    """
    rest = populated()
    before = len(rest.memory.clock.getDelayedCalls())
    rest.call("GET", "/clients?_cursor=&_limit=1")
    assert len(rest.memory.clock.getDelayedCalls()) > before
    rest.harness.stop()
    assert [call for call in rest.memory.clock.getDelayedCalls() if isOf(call, Cursors)] == []


def test_clientGone() -> None:
    """
    Nobody looks on through a list whose reader has gone.
    """
    rest = populated(2000)

    def listings() -> int:
        return sum(isOf(call, Listing) for call in rest.memory.clock.getDelayedCalls())

    for query in ("username=nobody", "username=nobody&_page=9", "_cursor=&username=nobody"):
        _, channel = rest.listen(f"/clients?{query}", wait=0)
        rest.memory.wait(0.001, 0.0002)
        assert listings() == 1
        channel.connectionLost(Failure(ConnectionLost()))
        assert listings() == 0


def test_all() -> None:
    """
    A list without pages is sent whole, however long it is.
    """
    rest = Rest(ManagementSettings(max_row_limit=10))
    for number in range(40):
        rest.memory.client(f"c{number}", username="anna")
    assert len(rest.call("GET", "/clients?_limit=40").data) == 10
    assert len(rest.call("GET", "/clients/username/anna").data) == 40
