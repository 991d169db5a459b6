"""
HOCON as NanoMQ uses it: what is read, where it stood, and what is said of what can't be read.
"""

import json
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.config.hocon import MOST_CHARACTERS, MOST_DEPTH, MOST_FILES, HOCONError, Inclusion, Spot, parse

# The sample of the specification (rest-api-nanomq.md 3.12).
SAMPLE = """
mqtt { property_size = 32, max_packet_size = 10KB, max_mqueue_len = 2048
  retry_interval = 10s, keepalive_multiplier = 1.25 }
listeners.tcp { bind = "0.0.0.0:1883" }
listeners.ws { bind = "0.0.0.0:8083/mqtt" }
http_server { port = 8081, limit_conn = 2, username = admin, password = public, auth_type = basic }
log { to = [file, console], level = info, file = "nanomq.log", rotation { size = 10MB, count = 5 } }
auth { allow_anonymous = true, no_match = allow, deny_action = ignore, cache = { max_size = 32, ttl = 1m } }
"""


def test_sample() -> None:
    """
    The sample of the specification is read; sizes and durations stay text.
    """
    document = parse(SAMPLE)
    assert document.table == {
        "mqtt": {
            "property_size": 32,
            "max_packet_size": "10KB",
            "max_mqueue_len": 2048,
            "retry_interval": "10s",
            "keepalive_multiplier": 1.25,
        },
        "listeners": {"tcp": {"bind": "0.0.0.0:1883"}, "ws": {"bind": "0.0.0.0:8083/mqtt"}},
        "http_server": {
            "port": 8081,
            "limit_conn": 2,
            "username": "admin",
            "password": "public",
            "auth_type": "basic",
        },
        "log": {
            "to": ["file", "console"],
            "level": "info",
            "file": "nanomq.log",
            "rotation": {"size": "10MB", "count": 5},
        },
        "auth": {
            "allow_anonymous": True,
            "no_match": "allow",
            "deny_action": "ignore",
            "cache": {"max_size": 32, "ttl": "1m"},
        },
    }
    assert document.replaced == []


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("", {}),
        ("\ufeff", {}),
        ("{}", {}),
        ("\n\n # nothing\n // nothing\n", {}),
        ("{ a = 1 }", {"a": 1}),
        ("a = 1\nb : 2\nc { d = 3 }", {"a": 1, "b": 2, "c": {"d": 3}}),
        ("a = 1\r\nb = x y\r\n", {"a": 1, "b": "x y"}),
        ("a.b.c = 1, a.b.d = 2", {"a": {"b": {"c": 1, "d": 2}}}),
        ('"a.b".c = 1', {"a.b": {"c": 1}}),
        ("headers.content-type = plain", {"headers": {"content-type": "plain"}}),
        ("a = [1, 2,]", {"a": [1, 2]}),
        ("a = [\n 1 # one\n 2 // two\n]", {"a": [1, 2]}),
        ("a = [{b = 1}\n{b = 2}, {}]", {"a": [{"b": 1}, {"b": 2}, {}]}),
        ("a = [[x, y], []]", {"a": [["x", "y"], []]}),
        ("a =\n{ b = 1 }", {"a": {"b": 1}}),
        ("a =\n[\n1\n]", {"a": [1]}),
        ("a = true\nb = false\nc = null", {"a": True, "b": False, "c": None}),
        ("a = truest, b = nullable", {"a": "truest", "b": "nullable"}),
        ('a = "true", b = "1"', {"a": "true", "b": "1"}),
        ("a = 1.25, b = -3, c = 1e3", {"a": 1.25, "b": -3, "c": 1000.0}),
        ("a = 007, b = 80%, c = 10 MB", {"a": "007", "b": "80%", "c": "10 MB"}),
        ("a = /etc/nanomq/pwd.conf", {"a": "/etc/nanomq/pwd.conf"}),
        ("a = x // no", {"a": "x"}),
        ("a = x # no", {"a": "x"}),
        ('a = "# yes // yes"', {"a": "# yes // yes"}),
        (r'a = "tab\t quote\" \u00e9"', {"a": 'tab\t quote" é'}),
        ('a = """two\nlines and "quotes" and \\n"""', {"a": 'two\nlines and "quotes" and \\n'}),
        ('a = """one more""""', {"a": 'one more"'}),
        ('a = x"y z"w', {"a": "xy zw"}),
        ("a = 1\na = 2", {"a": 2}),
        ("a { b = 1 }\na { c = 2 }", {"a": {"b": 1, "c": 2}}),
        ("a = 1\na.b = 2", {"a": {"b": 2}}),
        ("a { b = 1 }\na = 2", {"a": 2}),
        ("a = []\na = {}", {"a": {}}),
        ("include = 1", {"include": 1}),
        ('password = {include "/etc/pwd.conf"}', {"password": {}}),
        ("café = crème", {"café": "crème"}),
        ("n = 123456789012345678901234567890", {"n": "123456789012345678901234567890"}),
    ],
)
def test_read(text: str, table: Mapping[str, object]) -> None:
    """
    Each way of writing gives its value, and a text has the same content without its last line's end.
    """
    assert parse(text).table == table
    assert parse(text + "\n").table == table


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a = ", "1:5", "a value is expected, not the end"),
        ("a =\nb = 1", "1:4", "a value is expected, not the end of the line"),
        ("a", "1:2", "after a key comes = or {, not the end"),
        ("a b = 1", "1:3", "after a key comes = or {, not b"),
        ("\n  = 1", "2:3", "a key is expected, not ="),
        ("a = 1 b = 2", "1:9", '= in a text without quotes; write "..."'),
        ("bind = 0.0.0.0:1883", "1:15", ": in a text without quotes"),
        ("a = b*", "1:6", "* in a text without quotes"),
        ("x\na {\n b = 1\n", "1:2", "after a key comes"),
        ("a {\n b = 1\n", "1:3", "this brace is never closed"),
        ("a = [1, 2", "1:5", "this bracket is never closed"),
        ('a = "x', "1:5", "this quote is never closed"),
        ('a = "x\ny"', "1:5", "this quote is never closed"),
        ('a = "x\\q"', "1:7", "after a backslash comes one of"),
        ('a = "x\ty"', "1:7", "a control character (code 9)"),
        ('a = """x""', "1:5", "these three quotes are never closed"),
        ("a = 1 }", "1:7", "} in a text without quotes|a comma or a new line|} after the end"),
        ("{a = 1} b", "1:9", "b after the end"),
        ("a = {b = 1} {c = 2}", "1:13", "a comma or a new line is expected, not {"),
        ("a = [1] [2]", "1:9", "a comma or a new line is expected, not ["),
        ("a += 1", "1:3", "+= is not known here"),
        ("a = \x00", "1:5", "a character that can't be shown (code 0)"),
        ("\x00", "1:1", "a key is expected, not a character that can't be shown (code 0)"),
        ('a = "\\u0000"', "1:5", "a NUL character"),
        ('a = "\\ud800"', "1:5", "half a character"),
        ("a..b = 1", "1:3", "a key is expected, not ."),
        ("a,,b", "1:2", "after a key comes = or {, not ,"),
        ("a = ${b}", "1:5", "nothing above is called b, and there is no such variable"),
        ("b = [1]\na = ${b}", "2:5", "b is a table or a list"),
        ("a = ${", "1:5", "a value is expected, not $"),
        ('include url("http://x/")', "1:9", "include url(...) is not known here"),
        ("include file(x)", "1:14", "the name of an included file stands in quotes"),
        ('include file("x"', "1:17", "a closing parenthesis is missing"),
    ],
)
def test_wrong(text: str, place: str, reason: str) -> None:
    """
    What is wrong is said with name, line and column.
    """
    with pytest.raises(HOCONError) as raised:
        parse(text, "nanomq.conf")
    error = raised.value
    assert str(error).startswith(f"nanomq.conf:{place}: ")
    assert f"{error.line}:{error.column}" == place
    assert any(said in error.reason for said in reason.split("|"))


def test_places() -> None:
    """
    Each key that holds has its place; one that was replaced has none but that of the last, and nothing of the old
    value is left.
    """
    document = parse("a { b = 1 }\n  c = [x, {y = 2}]\na { b = 3 }\nc = 4\nd = 1.50, d = 007\n", "f")
    assert document.table == {"a": {"b": 3}, "c": 4, "d": "007"}
    assert document.spots == {
        ("a",): Spot("f", 1, 1),
        ("a", "b"): Spot("f", 3, 5),
        ("c",): Spot("f", 4, 1),
        ("d",): Spot("f", 5, 11),
    }
    assert document.replaced == [
        (("a", "b"), Spot("f", 1, 5)),
        (("c",), Spot("f", 2, 3)),
        (("d",), Spot("f", 5, 1)),
    ]
    assert document.written == {}
    assert parse("l = [1, 1.50]").written == {("l", "1"): "1.50"}


def test_includes() -> None:
    """
    Without somebody who gives texts, an include is noted and no file is read; with one, its content stands where the
    include is, and keys have their place in it.
    """
    text = 'auth { password = {include "pwd.conf"} }\ninclude required(file("more.conf"))\n'
    document = parse(text)
    assert document.table == {"auth": {"password": {}}}
    assert document.includes == [
        Inclusion(("auth", "password"), "pwd.conf", Spot("configuration", 1, 20)),
        Inclusion((), "more.conf", Spot("configuration", 2, 1)),
    ]
    files = {"pwd.conf": "admin: public\nclient: 0042\n", "more.conf": "{ log { level = warn } }"}
    document = parse(text, include=files.__getitem__)
    assert document.table == {
        "auth": {"password": {"admin": "public", "client": "0042"}},
        "log": {"level": "warn"},
    }
    assert document.spots["auth", "password", "client"] == Spot("pwd.conf", 2, 1)


def test_includesThatFail() -> None:
    """
    A file that can't be read is an error where it is included; one with a mistake, where the mistake is.
    """

    def missing(file: str) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(HOCONError, match=r"^c:1:3: x can't be included: No such file or directory$"):
        parse('a{include "x"}', "c", missing)
    with pytest.raises(HOCONError, match=r"^x:1:1: a key is expected"):
        parse('a{include "x"}', "c", lambda file: "=")
    with pytest.raises(HOCONError, match="does one include itself|within each other"):
        parse('include "x"', "c", lambda file: 'include "x"')
    with pytest.raises(HOCONError, match=f"more than {MOST_FILES} files"):
        parse('include "x"\n' * (MOST_FILES + 1), "c", lambda file: "")


def test_variables() -> None:
    """
    A variable is a plain value that stands above, or one that was given; one that is optional may be missing.
    """
    text = "a = 5\nb = ${a}\nc { d = x${a}-${HOME} }\ne = ${?none}\nf = [${?none}, ${?HOME}]\n"
    text += "g = ${c.d}\nh = true\ni = ${h}"
    assert parse(text, variables={"HOME": "/h"}).table == {
        "a": 5,
        "b": 5,
        "c": {"d": "x5-/h"},
        "f": ["/h"],
        "g": "x5-/h",
        "h": True,
        "i": True,
    }


def test_bounds() -> None:
    """
    Neither length nor depth nor variables that double each other take more than they may, and the place is said.
    """
    with pytest.raises(HOCONError, match=f"more than {MOST_CHARACTERS} characters"):
        parse("#" * (MOST_CHARACTERS + 1))
    with pytest.raises(HOCONError, match=f"more than {MOST_CHARACTERS} characters"):
        parse('include "x"', include=lambda file: "#" * MOST_CHARACTERS)
    for text in ("[" * 100_000, "a = " + "[" * 100_000, "a{" * 100_000, "a." * 100_000 + "a = 1"):
        with pytest.raises(HOCONError):
            parse(text)
    assert parse(".".join("a" * MOST_DEPTH) + " = 1").table
    with pytest.raises(HOCONError, match="within each other"):
        parse(".".join("a" * (MOST_DEPTH + 1)) + " = 1")
    doubling = "a0 = 0123456789\n" + "".join(f"a{n} = ${{a{n - 1}}}${{a{n - 1}}}\n" for n in range(1, 40))
    with pytest.raises(HOCONError, match="a value of more than"):
        parse(doubling)


def test_takesNoLonger() -> None:
    """
    Many replaced values and many quotes cost no more than others of their length: no step looks through all that was
    read before.
    """
    many = "".join(f"k{n} = 1\n" for n in range(10_000))
    assert len(parse(many + "a = []\n" * 15_000).replaced) == 14_999
    with pytest.raises(HOCONError):
        parse('a = """' + '"' * 2 + ('x""' * 60_000))
    assert parse('a = """' + '"' * 60_000).table == {"a": '"' * (60_000 - 3)}


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=20)
)
_TABLES = st.recursive(
    st.dictionaries(st.text("abc-_é1", min_size=1, max_size=5), _SCALARS, max_size=4),
    lambda inner: st.dictionaries(
        st.text("abc", min_size=1, max_size=5), inner | st.lists(inner | _SCALARS, max_size=3), max_size=4
    ),
    max_leaves=12,
)


@given(_TABLES)
def test_jsonIsHOCON(table: Mapping[str, object]) -> None:
    """
    Any JSON object is read as what it is, and each of its keys has a place.
    """
    document = parse(json.dumps(table))
    assert document.table == table
    assert all(spot.line == 1 for spot in document.spots.values())
    assert {path[0] for path in document.spots} == table.keys()


@given(st.text(st.sampled_from('ab.={}[]:,"#/\\ \n$1+u') | st.characters(), max_size=60))
def test_anyText(text: str) -> None:
    """
    Any text is read, or is refused with a place inside it.
    """
    try:
        document = parse(text, variables={"a": "b"})
    except HOCONError as error:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
        assert re.fullmatch(r"configuration:\d+:\d+: .+", str(error))
    else:
        assert all(path[0] in document.table for path in document.spots)
