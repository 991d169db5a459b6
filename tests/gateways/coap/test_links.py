"""
Tests for L{gateways.coap.links} (RFC 6690) and L{gateways.coap.query}.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.links import LinkError, WebLink, filterLinks, formatLinks, parseLinks
from gateways.coap.query import Form, QueryError, parseForm

SENSORS = b'</sensors>;ct=40;title="Sensor, \\"Index\\"",</sensors/temp>;rt="temperature-c other";if="sensor";obs'


def test_parse() -> None:
    """
    Attributes are quoted, bare, or without a value; a comma in quotes parts nothing.
    """
    assert parseLinks(SENSORS) == [
        WebLink("/sensors", [("ct", "40"), ("title", 'Sensor, "Index"')]),
        WebLink("/sensors/temp", [("rt", "temperature-c other"), ("if", "sensor"), ("obs", None)]),
    ]
    assert formatLinks(parseLinks(SENSORS)) == SENSORS
    assert parseLinks(b" ") == []


@pytest.mark.parametrize("payload", [b"x", b"<a", b"<a>x", b"<a>,", b'<a>;t="x', b"\xff", b"<a>,;x", b"<a>;=1"])
def test_malformed(payload: bytes) -> None:
    """
    Malformed links are refused.
    """
    with pytest.raises(LinkError):
        parseLinks(payload)


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ([], ["/sensors", "/sensors/temp"]),
        (["rt=temperature-c"], ["/sensors/temp"]),
        (["rt=other"], ["/sensors/temp"]),
        (["rt=temp*"], ["/sensors/temp"]),
        (["rt=temp"], []),
        (["href=/sensors"], ["/sensors"]),
        (["href=/sensors*"], ["/sensors", "/sensors/temp"]),
        (["ct=40", "rt=other"], []),
        (["novalue"], ["/sensors", "/sensors/temp"]),
    ],
)
def test_filter(query: list[str], targets: list[str]) -> None:
    """
    Filters compare a value, one of several values, or the beginning of one.
    """
    assert [link.target for link in filterLinks(parseLinks(SENSORS), query)] == targets


NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
LINKS = st.builds(WebLink, st.text("/abc0-", max_size=9), st.lists(st.tuples(NAMES, st.none() | st.text(max_size=9))))


@given(st.lists(LINKS, max_size=4))
def test_roundTrip(links: list[WebLink]) -> None:
    """
    Links that were written are read again.
    """
    assert parseLinks(formatLinks(links)) == links


@given(st.binary(max_size=60) | st.text('<>;,="\\a 1', max_size=40).map(str.encode))
def test_anyPayload(payload: bytes) -> None:
    """
    Any payload is links or is refused.
    """
    try:
        links = parseLinks(payload)
    except LinkError:
        return
    assert parseLinks(formatLinks(links)) == links


def test_form() -> None:
    """
    A form's values are written as in a URI, the message as any bytes.
    """
    assert parseForm(b"topic=a%2Fb&message=%00%ff+x&retain=true") == Form("a/b", b"\x00\xff x", 0, True)


@given(st.binary(max_size=60))
def test_anyForm(payload: bytes) -> None:
    """
    Any payload is a form or is refused.
    """
    try:
        assert parseForm(b"topic=a&" + payload).topic == "a"
    except QueryError:
        pass
