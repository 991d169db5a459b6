"""
Access rules of other brokers: what they decide there, ours decide here.
"""

from pathlib import Path

import pytest

from twisted_mqtt.auth.aclfile import PUBLISH, SUBSCRIBE, Rules, parseRules
from twisted_mqtt.convert.accessrules import fromLines, fromNanoMQ
from twisted_mqtt.convert.result import Result
from twisted_mqtt.convert.sources import Line

SAMPLES = Path(__file__).parent / "samples"


class Somebody:
    """
    A client as rules see one.
    """

    def __init__(self, username: str | None, clientID: str = "c1", peerHost: str = "10.0.0.1") -> None:
        self.username = username
        self.clientID = clientID
        self.peerHost = peerHost
        self.anonymous = username is None


ANYBODY = Somebody(None)
JOHN = Somebody("john")


def may(rules: Rules, client: Somebody, action: str, topic: str) -> bool:
    """
    Whether the rules grant it.
    """
    return rules.verdict(client, action, topic) is True  # type: ignore[arg-type]  # has what rules look at


def test_sampleOfVerneMQ() -> None:
    """
    The sample of VerneMQ's documentation (spec/vernemq.md AUT-16); its lines before the first user are for everybody.
    """
    result = Result()
    rules = parseRules(fromLines((SAMPLES / "vernemq/vmq.acl").read_text(), "vmq.acl", result, "all"))
    for client in (ANYBODY, JOHN):
        assert may(rules, client, PUBLISH, "bar")
        assert may(rules, client, SUBSCRIBE, "bar")
        assert may(rules, client, PUBLISH, "foo")
        assert may(rules, client, SUBSCRIBE, "all")
        assert not may(rules, client, PUBLISH, "other")
        assert not may(rules, client, SUBSCRIBE, "#")
    assert may(rules, JOHN, SUBSCRIBE, "foo")
    assert may(rules, JOHN, SUBSCRIBE, "baz")
    assert not may(rules, JOHN, PUBLISH, "baz")
    assert may(rules, JOHN, PUBLISH, "all")
    assert may(rules, JOHN, SUBSCRIBE, "with blank in it")
    assert not may(rules, ANYBODY, SUBSCRIBE, "foo")
    assert may(rules, JOHN, PUBLISH, "sensor/john/data")
    assert not may(rules, JOHN, PUBLISH, "sensor/ann/data")
    assert [each.line for each in result.remarks if each.kind == "lost"] == [12, 13, 14]


@pytest.mark.parametrize(("general", "granted"), [("anonymous", True), ("nobody", False)])
def test_mosquitto(general: str, granted: bool) -> None:
    """
    Mosquitto: what is denied is denied wherever it stands; lines before the first user are for those without a name.
    """
    text = "topic read news\nuser john\ntopic a/#\ntopic deny a/secret\nuser ann\ntopic b\n"
    result = Result()
    assert general in ("anonymous", "nobody")
    rules = parseRules(fromLines(text, "acl", result, "anonymous" if granted else "nobody"))
    assert may(rules, ANYBODY, SUBSCRIBE, "news") is granted
    assert not may(rules, ANYBODY, PUBLISH, "news")
    assert may(rules, JOHN, PUBLISH, "a/b")
    assert not may(rules, JOHN, PUBLISH, "a/secret")
    assert not may(rules, JOHN, PUBLISH, "b")
    assert not may(rules, Somebody("ann"), PUBLISH, "a/b")
    assert any(each.line == 1 for each in result.remarks)


@pytest.mark.parametrize(
    "line",
    [
        "topic",
        "topic ",
        "topic read",
        "user\ntopic a",
        "pattern read x%u/y",
        "topic read %u",
        "readwrite a",
        "topic a/#/b",
        'topic "}. {allow, all}. %%',
    ],
)
def test_linesThatGrantNothing(line: str) -> None:
    """
    A line that can't be understood grants nothing, also not by what it would mean as a rule of ours.
    """
    result = Result()
    rules = parseRules(fromLines(f"{line}\n", "acl", result, "all"))
    for topic in ("a", "x", "read", "#", "$SYS/a"):
        assert not may(rules, JOHN, PUBLISH, topic) or topic == line.partition(" ")[2]


def nanomq(*given: object) -> tuple[Rules, Result]:
    """
    Rules of NanoMQ as ours.
    """
    result = Result()
    lines = [(Line("f", number, f"rules.{number}", ""), rule) for number, rule in enumerate(given, 1)]
    return parseRules(fromNanoMQ(lines, result)), result


def test_nanomq() -> None:
    """
    The first rule that fits decides; names of clients in topics, addresses, and rules about several.
    """
    rules, result = nanomq(
        {"permit": "deny", "ipaddr": "10.9.9.9"},
        {"permit": "allow", "username": "john", "action": "publish", "topics": ["a/${clientid}", "b"]},
        {"permit": "deny", "username": "#", "action": "publish", "topics": ["b"]},
        {"permit": "allow", "and": [{"username": "john"}, {"clientid": "c1"}], "topics": ["c"]},
        {"permit": "allow", "or": [{"username": "ann"}, {"clientid": "c1"}], "topics": ["d"]},
        {"permit": "deny"},
    )
    assert result.remarks == []
    assert may(rules, JOHN, PUBLISH, "a/c1")
    assert not may(rules, JOHN, PUBLISH, "a/c2")
    assert may(rules, JOHN, PUBLISH, "b")
    assert not may(rules, ANYBODY, PUBLISH, "b")
    assert may(rules, JOHN, SUBSCRIBE, "c")
    assert not may(rules, Somebody("john", "c2"), SUBSCRIBE, "c")
    assert may(rules, Somebody("eve"), SUBSCRIBE, "d")
    assert not may(rules, Somebody("john", peerHost="10.9.9.9"), PUBLISH, "b")


@pytest.mark.parametrize(
    "rule",
    [
        None,
        "allow",
        {},
        {"permit": "maybe"},
        {"permit": "allow", "more": 1},
        {"permit": "deny", "username": "a", "clientid": "b"},
        {"permit": "allow", "username": 1},
        {"permit": "allow", "topics": []},
        {"permit": "allow", "topics": ["a#"]},
        {"permit": "allow", "topics": ["%u"]},
        {"permit": "allow", "topics": ["x${clientid}"]},
        {"permit": "allow", "action": "all"},
        {"permit": "allow", "and": []},
        {"permit": "allow", "or": [{"username": "a", "clientid": "b"}]},
        {"permit": "allow", "ipaddr": "nowhere"},
    ],
)
def test_rulesThatAreNotKnown(rule: object) -> None:
    """
    From a rule that can't be understood on, everything is denied: it could have denied what a later one allows.
    """
    rules, result = nanomq({"permit": "allow", "topics": ["first"]}, rule, {"permit": "allow"})
    assert may(rules, JOHN, PUBLISH, "first")
    assert not may(rules, JOHN, PUBLISH, "a")
    assert [each.line for each in result.remarks] == [2]
