"""
How values are written, by example.
"""

import ipaddress
from typing import Any

import pytest

from twisted_mqtt.config import forms, grammar
from twisted_mqtt.config.grammar import Grammar, Unfit
from twisted_mqtt.config.values import AccessRule, Bind, FlappingPolicy, RateLimit, RewriteRule, TwoLimits

READ: list[tuple[Grammar[Any], object, object]] = [
    (grammar.FLAG, "on", True),
    (grammar.FLAG, "off", False),
    (grammar.FLAG, " TRUE ", True),
    (grammar.FLAG, False, False),
    (grammar.DURATION, "15s", 15.0),
    (grammar.DURATION, "5m", 300.0),
    (grammar.DURATION, "2h", 7200.0),
    (grammar.DURATION, "86400s", 86400.0),
    (grammar.DURATION, "1h30m", 5400.0),
    (grammar.DURATION, "250ms", 0.25),
    (grammar.DURATION, "1.5d", 129600.0),
    (grammar.DURATION, "60", 60.0),
    (grammar.DURATION, 60, 60.0),
    (grammar.DURATION, 0.5, 0.5),
    (grammar.DURATION, "0", 0.0),
    (grammar.PERIOD, "100ms", 0.1),
    (grammar.PERIOD, 0, 0.0),
    (grammar.PERIOD, "1m", 60.0),
    (grammar.SIZE, "2KB", 2048),
    (grammar.SIZE, "1MB", 1048576),
    (grammar.SIZE, "1000mb", 1048576000),
    (grammar.SIZE, "1 GB", 1073741824),
    (grammar.SIZE, "512B", 512),
    (grammar.SIZE, "512", 512),
    (grammar.SIZE, 0, 0),
    (grammar.PERCENT, "80%", 0.8),
    (grammar.PERCENT, "62.5 %", 0.625),
    (grammar.PERCENT, 5, 0.05),
    (grammar.PERCENT, 0.0, 0.0),
    (grammar.RATE, "100KB,10s", RateLimit(102400, 10.0, 102400)),
    (grammar.RATE, "10,60s", RateLimit(10, 60.0, 10)),
    (grammar.RATE, "100,200", RateLimit(100, 1.0, 200)),
    (grammar.RATE, [100, 200], RateLimit(100, 1.0, 200)),
    (grammar.RATE, ["100KB", "10s"], RateLimit(102400, 10.0, 102400)),
    (grammar.WINDOW, "10,60", RateLimit(10, 60.0, 10)),
    (grammar.WINDOW, "10, 1m", RateLimit(10, 60.0, 10)),
    (grammar.WHOLE, "7", 7),
    (grammar.TEXT, "", ""),
    (grammar.choice(["a", "B"]), "b", "B"),
    (grammar.listOf(grammar.TEXT), "", ()),
    (grammar.listOf(grammar.TEXT), "a, b", ("a", "b")),
    (grammar.listOf(grammar.TEXT), ["a", "b"], ("a", "b")),
    (forms.BIND, 1883, Bind("0.0.0.0", 1883)),
    (forms.BIND, "1883", Bind("0.0.0.0", 1883)),
    (forms.BIND, "127.0.0.1:11883", Bind("127.0.0.1", 11883)),
    (forms.BIND, "localhost:0", Bind("localhost", 0)),
    (forms.BIND, "[::1]:1883", Bind("::1", 1883)),
    (forms.BIND, "::1:2000", Bind("::1", 2000)),
    (forms.SOCKET_PATH, "/run/mqtt.sock", Bind(path="/run/mqtt.sock")),
    (forms.MODE, "660", 0o660),
    (forms.ACCESS_RULE, "allow all", AccessRule(True)),
    (forms.ACCESS_RULE, "deny 192.168.0.0/24", AccessRule(False, ipaddress.ip_network("192.168.0.0/24"))),
    (forms.ACCESS_RULE, "ALLOW 10.0.0.1", AccessRule(True, ipaddress.ip_network("10.0.0.1/32"))),
    (forms.ACCESS_RULE, "allow 192.168.0.7/24", AccessRule(True, ipaddress.ip_network("192.168.0.0/24"))),
    (forms.FLAPPING_POLICY, "30, 1m, 5m", FlappingPolicy(30, 60.0, 300.0)),
    (forms.TWO_LIMITS, "1000|1MB", TwoLimits(1000, 1048576)),
    (forms.PRIORITIES, "topic/1=10,topic/2=8", {"topic/1": 10, "topic/2": 8}),
    (forms.PRIORITIES, "a=b=3", {"a=b": 3}),
    (forms.PRIORITIES, {"topic/1": 10}, {"topic/1": 10}),
    (forms.PRIORITIES, "none", {}),
    (forms.TOPIC_FILTER, "$client/%c", "$client/%c"),
    (forms.TOPIC_FILTER, "+/a/#", "+/a/#"),
    (forms.TOPIC_TABLE, {"1": "/a", "2": "b"}, {1: "/a", 2: "b"}),
    (forms.REWRITE_RULE, "x/# ^x/y/(.+)$ z/y/$1", RewriteRule("x/#", "^x/y/(.+)$", "z/y/$1")),
    (forms.REWRITE_RULE, "y/+/z/# ^y/(.+)/z/(.+)$ y/z/$2", RewriteRule("y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2")),
    (forms.NODE_NAME, "emqx@127.0.0.1", "emqx@127.0.0.1"),
    (forms.CIPHER_LIST, "AES128-SHA:AES256-SHA", ("AES128-SHA", "AES256-SHA")),
    (forms.TLS_VERSION_LIST, "tlsv1.2,TLSv1.3", ("tlsv1.2", "tlsv1.3")),
]


@pytest.mark.parametrize(("form", "written", "value"), READ)
def test_reads(form: Grammar[Any], written: object, value: object) -> None:
    """
    Each way of writing gives its value, of the right type.
    """
    read = form.parse(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("form", "written", "value"), READ)
def test_writesWhatItReads(form: Grammar[Any], written: object, value: object) -> None:
    """
    A default, as it is shown, can be put into a file and means the same.
    """
    assert form.parse(form.write(value)) == value


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (grammar.FLAG, 1),
        (grammar.FLAG, ""),
        (grammar.DURATION, "15 s"),
        (grammar.DURATION, "s"),
        (grammar.DURATION, ""),
        (grammar.DURATION, "-1s"),
        (grammar.PERIOD, "99ms"),
        (grammar.PERIOD, "0.0001ms"),
        (grammar.PERIOD, -1),
        (grammar.DURATION, "1w"),
        (grammar.DURATION, float("nan")),
        (grammar.DURATION, True),
        (grammar.SIZE, "1.5MB"),
        (grammar.SIZE, "-1"),
        (grammar.SIZE, "MB"),
        (grammar.PERCENT, "%"),
        (grammar.PERCENT, 101),
        (grammar.PERCENT, 0.5),
        (grammar.RATE, "100KB"),
        (grammar.RATE, "100KB,0s"),
        (grammar.RATE, "1,2,3"),
        (grammar.RATE, "0,5"),
        (grammar.WHOLE, "1.0"),
        (grammar.WHOLE, 1.0),
        (grammar.WHOLE, True),
        (grammar.WHOLE, "٣"),
        (forms.BIND, True),
        (forms.BIND, ":1883"),
        (forms.BIND, "a b:1883"),
        (forms.BIND, "256.0.0.1:1883"),
        (forms.BIND, "[::1:1883"),
        (forms.BIND, "host:+5"),
        (forms.ACCESS_RULE, "allow"),
        (forms.ACCESS_RULE, "allow host.example"),
        (forms.FLAPPING_POLICY, "30,0s,5m"),
        (forms.PRIORITIES, "a=256"),
        (forms.PRIORITIES, "=1"),
        (forms.TOPIC_FILTER, ""),
        (forms.TOPIC_FILTER, "a+/b"),
        (forms.NODE_NAME, "a@b@c"),
        (forms.NODE_NAME, "a/b@c"),
    ],
)
def test_refuses(form: Grammar[Any], written: object) -> None:
    """
    Anything else is refused with advice.
    """
    with pytest.raises(Unfit, match="must"):
        form.parse(written)


@pytest.mark.parametrize(
    ("rule", "host", "matches"),
    [
        ("allow all", "10.0.0.1", True),
        ("allow all", "", True),
        ("deny 10.0.0.0/8", "10.255.0.1", True),
        ("deny 10.0.0.0/8", "11.0.0.1", False),
        ("deny 10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("deny 10.0.0.0/8", "2001:db8::1", False),
        ("allow 2001:db8::/32", "2001:db8::7", True),
        ("allow 127.0.0.1", "", False),
    ],
)
def test_accessRuleMatches(rule: str, host: str, matches: bool) -> None:
    """
    A rule speaks about the addresses in its network, an IPv4 peer of a dual-stack socket included.
    """
    assert forms.ACCESS_RULE.parse(rule).matches(host) is matches


@pytest.mark.parametrize(
    ("bind", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("1", False),
        ("[::]:1", False),
        ("broker.example:1", False),
        ("192.168.1.1:1", False),
    ],
)
def test_loopback(bind: str, loopback: bool) -> None:
    """
    Only what no other machine can reach counts as loopback; a name that could mean anything does not.
    """
    assert forms.BIND.parse(bind).isLoopback is loopback


def test_socketIsLoopback() -> None:
    """
    A UNIX socket is on this machine.
    """
    assert forms.SOCKET_PATH.parse("/run/x").isLoopback


def test_rate() -> None:
    """
    Both forms of a rate come out as a token bucket.
    """
    assert grammar.RATE.parse("100KB,10s").perSecond == 10240
    assert grammar.RATE.parse("100,200").perSecond == 100
