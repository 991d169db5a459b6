"""
The grammar of access rules, and what they mean.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.auth.aclfile import DEFAULT, ACLProblem, parseRules
from twisted_mqtt.core.topicrules import allowsEverything

SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "acl.conf"


def client(
    clientID: str = "c1", username: str | None = "u1", peerHost: str | None = "10.0.0.7", anonymous: bool = False
) -> SimpleNamespace:
    """
    A client as rules see it.
    """
    return SimpleNamespace(clientID=clientID, username=username, peerHost=peerHost, anonymous=anonymous)


@pytest.mark.parametrize(
    ("rules", "action", "topic", "verdict"),
    [
        ("{allow, all}.", "publish", "a", True),
        ("{deny, all}.", "subscribe", "a", False),
        ('{allow, {user, "other"}, pubsub, ["a"]}.', "publish", "a", None),
        ('{allow, {user, "u1"}, pubsub, ["a"]}.', "publish", "a", True),
        ('{allow, {user, "u1"}, publish, ["a"]}.', "subscribe", "a", None),
        ('{deny, {client, "c1"}, publish, ["a/+"]}. {allow, all}.', "publish", "a/b", False),
        ('{deny, {client, "c1"}, publish, ["a/+"]}. {allow, all}.', "publish", "a/b/c", True),
        ('{deny, {clientid, "c1"}, publish, ["#"]}.', "publish", "x", False),
        ('{deny, "c1", publish, ["#"]}.', "publish", "x", False),
        ('{deny, {ipaddr, "10.0.0.0/24"}, pubsub, ["#"]}.', "publish", "x", False),
        ('{deny, {ipaddr, "10.0.1.0/24"}, pubsub, ["#"]}.', "publish", "x", None),
        ('{deny, {ipaddr, "10.0.0.7"}, pubsub, ["#"]}.', "publish", "x", False),
        ('{deny, all, subscribe, [{eq, "#"}]}. {allow, all}.', "subscribe", "#", False),
        ('{deny, all, subscribe, [{eq, "#"}]}. {allow, all}.', "subscribe", "a/#", True),
        ('{deny, all, subscribe, ["a/#"]}. {allow, all}.', "subscribe", "a/+/b", False),
        # "a/#" is more than "a/+": what is allowed of it is not enough, what is denied of it is too much.
        ('{allow, all, subscribe, ["a/+"]}. {deny, all}.', "subscribe", "a/#", False),
        ('{allow, all, subscribe, ["+"]}. {deny, all}.', "subscribe", "#", False),
        ('{allow, all, subscribe, ["a/+"]}. {deny, all}.', "subscribe", "a/+", True),
        ('{allow, all, subscribe, ["a/#"]}. {deny, all}.', "subscribe", "a/b/#", True),
        ('{deny, all, subscribe, ["a/+"]}. {allow, all}.', "subscribe", "a/#", False),
        ('{allow, all, pubsub, ["of/%c/x", "by/%u"]}. {deny, all}.', "publish", "of/c1/x", True),
        ('{allow, all, pubsub, ["of/%c/x", "by/%u"]}. {deny, all}.', "publish", "by/u1", True),
        ('{allow, all, pubsub, ["of/%c/x", "by/%u"]}. {deny, all}.', "publish", "by/u2", False),
        ('{allow, {\'and\', [{user, "u1"}, {client, "c2"}]}, pubsub, ["#"]}.', "publish", "x", None),
        ('{allow, {\'or\', [{user, "u1"}, {client, "c2"}]}, pubsub, ["#"]}.', "publish", "x", True),
        ('{allow, {user, all}, pubsub, ["#"]}.', "publish", "x", True),
        ("%% nothing but words\n{allow, all}. % and more", "publish", "x", True),
        ('{allow, {user, <<"u1">>}, pubsub, [<<"a">>]}.', "publish", "a", True),
        ("", "publish", "x", None),
    ],
)
def test_verdicts(rules: str, action: str, topic: str, verdict: bool | None) -> None:
    """
    The first rule that fits decides.
    """
    assert parseRules(rules).verdict(client(), action, topic) is verdict


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("{allow, all}", "expected '.' and not 'the end'; a rule ends with a full stop"),
        ("{allow all}.", "expected ',' and not 'all'"),
        ("{permit, all}.", "a rule begins with allow or deny, and not permit"),
        ("{allow, nobody}.", "whom a rule is about is"),
        ('{allow, all, read, ["a"]}.', "the access of a rule is publish, subscribe or pubsub"),
        ("{allow, all, publish, []}.", "the topics of a rule are a list in [], with at least one"),
        ('{allow, all, publish, ["a/#/b"]}.', 'a topic of a rule is "a topic filter"'),
        ('{allow, {ipaddr, "300.1.1.1"}, publish, ["a"]}.', "is not an address or network"),
        ("{allow, all}.\n{deny, !}.", "rules:2: '!}.' is not part of a rule"),
        ("[[[[[[[[[[[[a]]]]]]]]]]]]].", "a rule has no such depth"),
        ("{allow, all}. }.", "expected a rule or a part of one, and not '}'"),
        ('{allow, all, publish, ["a"', "expected ',' and not 'the end'"),
    ],
)
def test_problems(rules: str, message: str) -> None:
    """
    A malformed rule is refused; the error names its line and the right form.
    """
    with pytest.raises(ACLProblem) as caught:
        parseRules(rules, "rules")
    assert message in str(caught.value)
    assert str(caught.value).startswith("rules:")


@given(st.text(alphabet="{}[],.\"%'<>\\ \nallowdenyipusr/#+", max_size=60))
def test_anyText(text: str) -> None:
    """
    Any text is rules or a problem.
    """
    try:
        parseRules(text)
    except ACLProblem:
        pass


@given(st.text(max_size=60))
def test_anyTextAtAll(text: str) -> None:
    """
    The same of characters that no rule has.
    """
    try:
        parseRules(text)
    except ACLProblem:
        pass


def test_shipped() -> None:
    """
    The shipped file and the rules built in keep the statistics, and everything there is, to this machine.
    """
    for text in (DEFAULT, SHIPPED.read_text()):
        rules = parseRules(text)
        near, far = client(peerHost="127.0.0.1"), client()
        assert rules.verdict(near, "subscribe", "$SYS/brokers") is True
        assert rules.verdict(near, "subscribe", "#") is True
        # All of 127.0.0.0/8 is this machine.
        assert rules.verdict(client(peerHost="127.8.0.1"), "subscribe", "#") is True
        assert rules.verdict(far, "subscribe", "$SYS/brokers/+/version") is False
        assert rules.verdict(far, "subscribe", "#") is False
        assert rules.verdict(far, "subscribe", "room/#") is True
        assert rules.verdict(client(username="dashboard"), "subscribe", "$SYS/#") is True
        # A user name that was not authenticated fits no rule.
        assert rules.verdict(client(username="dashboard", anonymous=True), "subscribe", "$SYS/#") is False
        assert rules.verdict(client(peerHost="::1"), "subscribe", "$SYS/#") is True
        assert rules.verdict(client(peerHost=None), "subscribe", "#") is True
        assert allowsEverything([rules.publishRules(far)], False)


def test_placeholdersWithoutAValue() -> None:
    """
    A placeholder without a value, or with one that is more than a level, fits nothing: a client named "#" does not get
    everything.
    """
    rules = parseRules('{allow, all, pubsub, ["of/%c", "by/%u"]}. {deny, all}.')
    for name in ("#", "+", "a/b", "a\0"):
        assert rules.verdict(client(clientID=name), "subscribe", f"of/{name}") is False
    assert rules.verdict(client(username=None), "publish", "by/None") is False


def test_placeholderOfANameWithADollar() -> None:
    """
    A C{$} at the beginning of a name makes a topic of the broker's at the beginning of a topic only.
    """
    rules = parseRules('{allow, all, pubsub, ["%c/#", "of/%c"]}. {deny, all}.')
    assert rules.verdict(client(clientID="$SYS"), "subscribe", "$SYS/#") is False
    assert rules.verdict(client(clientID="$SYS"), "subscribe", "of/$SYS") is True


def test_placeholderOfAnUncheckedName() -> None:
    """
    What is allowed to a user name is allowed to who has been authenticated; what is denied to it is denied to who calls
    himself so, too.
    """
    rules = parseRules('{allow, all, pubsub, ["by/%u/#"]}. {deny, all}.')
    assert rules.verdict(client(), "subscribe", "by/u1/#") is True
    assert rules.verdict(client(anonymous=True), "subscribe", "by/u1/#") is False
    for anonymous in (True, False):
        rule = rules.publishRules(client(anonymous=anonymous)).find("by/u1/x")
        assert rule is not None and rule.allow is not anonymous
    rules = parseRules('{deny, all, pubsub, ["by/%u/#"]}. {allow, all}.')
    assert rules.verdict(client(anonymous=True), "subscribe", "by/u1/#") is False


@pytest.mark.parametrize("name", ["a/b", "$x", "c1"])
def test_denyingByAPlaceholder(name: str) -> None:
    """
    Nobody escapes a rule that denies by a name that can't be a level.
    """
    rules = parseRules('{deny, all, pubsub, ["cmd/%c/#", "%c/cmd"]}. {allow, all}.')
    for topic in (f"cmd/{name}/x", f"{name}/cmd"):
        assert rules.verdict(client(clientID=name), "publish", topic) is False
        (rule,) = [rules.publishRules(client(clientID=name)).find(topic)]
        assert rule is not None and not rule.allow
    assert rules.verdict(client(clientID=name), "publish", "other") is True


@pytest.mark.parametrize(
    ("rules", "nomatch", "free"),
    [
        ("{allow, all}.", False, True),
        ('{deny, all, subscribe, ["x"]}. {allow, all}.', False, True),
        ('{deny, all, publish, ["x"]}. {allow, all}.', True, False),
        ('{deny, {user, "other"}, publish, ["x"]}. {allow, all}.', False, True),
        ('{deny, {user, "u1"}, publish, ["x"]}. {allow, all}.', False, False),
        ('{allow, {user, "u1"}}. {deny, all}.', False, True),
        ('{allow, all, publish, ["x"]}.', False, False),
        ('{allow, all, publish, ["x"]}.', True, True),
        ("{deny, all}. {allow, all}.", True, False),
    ],
)
def test_publishesFreely(rules: str, nomatch: bool, free: bool) -> None:
    """
    A client that may publish to every topic is not asked about.
    """
    assert allowsEverything([parseRules(rules).publishRules(client())], nomatch) is free
