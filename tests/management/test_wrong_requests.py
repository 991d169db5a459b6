"""
Wrong requests of all kinds: each is refused with a status, a code and a message that names the field, nothing has
changed by it, and the log has no error. The requests stand in L{tests.kits.wrongrequests}.
"""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from tests.kits.rest import Rest
from tests.kits.wrongrequests import RAW, Wrong, calls
from twisted_mqtt.management.rest.failures import FORGOTTEN

_BY_CALL: dict[str, list[Wrong]] = defaultdict(list)
for _each in calls():
    _BY_CALL[f"{_each.method[:20]} {_each.path.partition('?')[0][:40]}"].append(_each)


def test_number() -> None:
    """
    There are more than three hundred.
    """
    assert len(calls()) + len(RAW) > 300


def state(rest: Rest) -> list[object]:
    """
    What a call could have changed.
    """
    paths = ("/clients/here", "/subscriptions", "/banned", "/apps", "/configuration", "/plugins")
    return [rest.call("GET", path).data for path in paths]


@pytest.mark.parametrize("name", _BY_CALL)
def test_refused(name: str) -> None:
    """
    A wrong call is refused.
    """
    rest = Rest()
    reader = rest.memory.client("here")
    reader.subscribe("#")
    before = state(rest)
    found = {}
    for wrong in _BY_CALL[name]:
        answer = rest.call(
            wrong.method, wrong.path, wrong.body, user=wrong.user, kind=wrong.kind, headers=dict(wrong.headers)
        )
        what = answer.json
        if (answer.status, what.get("code")) != (wrong.status, wrong.code) or wrong.says not in what.get("message", ""):
            found[str(wrong)[:300]] = answer
        assert len(answer.body) < 4000
        if answer.status == 401:
            # Who is wrong again and again has to wait.
            rest.memory.wait(FORGOTTEN + 1, 100)
    assert not found, "\n".join(f"{call} -> {answer}" for call, answer in found.items())
    assert reader.payloads() == []
    assert state(rest) == before


@pytest.mark.parametrize("number", range(len(RAW)))
def test_noRequest(number: int) -> None:
    """
    What is no request is answered once, in JSON, and the connection is closed.
    """
    said, status = RAW[number]
    rest = Rest()
    answer, closed = rest.raw(said)
    assert answer.status == status, answer
    assert answer.json["code"] in (status, 109)
    assert closed
    assert json.loads(answer.body)["message"]


def test_duplicates() -> None:
    """
    Of two members of the same name the last holds, as JSON is read everywhere.
    """
    rest = Rest()
    reader = rest.memory.client("here")
    reader.subscribe("#")
    assert rest.call("POST", "/mqtt/publish", b'{"topic": "a", "topic": "b", "qos": 9, "qos": 1}').status == 200
    assert [packet.topic for packet in reader.receive()] == ["b"]
