"""
Tests for L{gateways.lwm2m.links}: spec/gateways.md 5.4, LwM2M 1.1.1 core 6.2.1 and 6.3.2.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.links import Listing, linkTexts, parseListing
from gateways.lwm2m.objects.paths import parsePath


def test_plain() -> None:
    """
    Objects and instances, whatever blanks are around.
    """
    listing = parseListing(b"</1>, </2>,</3/0> ,\r\n</4>, </5>")
    assert listing.alternatePath == "/"
    assert listing.prefix == ""
    assert listing.objectList == ["/1", "/2", "/3/0", "/4", "/5"]
    assert parseListing(b"") == parseListing(b" ") == Listing()


def test_alternatePath() -> None:
    """
    The link with rt="oma.lwm2m" says where the objects are, be it the first or the last.
    """
    for data in (
        b'</lwm2m>;rt="oma.lwm2m", </lwm2m/1/0>, </lwm2m/3/0>',
        b'</lwm2m/1/0>,</lwm2m/3/0>,</lwm2m>;ct=11543;rt="oma.lwm2m"',
        b'</lwm2m/>;rt="core.rd oma.lwm2m",</lwm2m/1/0>,</lwm2m/3/0>',
        b"</lwm2m>;rt=oma.lwm2m,</1/0>,</3/0>",
    ):
        listing = parseListing(data)
        assert listing.alternatePath == listing.prefix == "/lwm2m"
        assert listing.objectList == ["/1/0", "/3/0"]
    assert parseListing(b'</a/b>;rt="oma.lwm2m",</a/b/3/0>').objectList == ["/3/0"]
    assert parseListing(b'</>;rt="oma.lwm2m";ct=11543,</3/0>')._replace(formats=frozenset()) == Listing("", ((3, 0),))


def test_formats() -> None:
    """
    The content formats are those of that link, one or several.
    """
    assert parseListing(b'</>;rt="oma.lwm2m";ct="60 110 112 11542 11543"').formats == {60, 110, 112, 11542, 11543}
    assert parseListing(b'</>;rt="oma.lwm2m";ct=110').formats == {110}
    assert parseListing(b'</>;rt="oma.lwm2m";ct="a 110 -1 999999"').formats == {110}
    assert parseListing(b"</1/0>;ct=110").formats == frozenset()


def test_versions() -> None:
    """
    Objects may tell their versions, quoted or not.
    """
    listing = parseListing(b'</>;rt="oma.lwm2m",</1>;ver=1.1,</1/0>,</3>;ver="1.2",</5>;ver=x,</9/1>;ver=2.0')
    assert listing.versions == {1: "1.1", 3: "1.2", 9: "2.0"}
    assert listing.objectList == ["/1", "/1/0", "/3", "/5", "/9/1"]


def test_others() -> None:
    """
    Links to something else, to resources, or said twice, are left out; commas in quotes part nothing.
    """
    data = b'</sensors/temp>;title="a, </7>, b",</3/0>;x="\\"</8>",</3/0/1>,</3/0>,</65535/0>,<coap://h/4>,</03>,</5/0>'
    assert parseListing(data).objectList == ["/3/0", "/5/0"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"/1, /2", "no link at character 0"),
        (b"</1", "no link"),
        (b"\xff", "no link at character 0"),
        (b",;\0", "a comma or a NUL too many at character 0"),
        (b'</a//b>;rt="oma.lwm2m"', "alternate path '/a//b'"),
        (b'</a\n>;rt="oma.lwm2m"', "alternate path"),
        (b"</" + b"a" * 300 + b'>;rt="oma.lwm2m"', "alternate path"),
        (b",".join(b"</1/%d>" % number for number in range(1001)), "more than 1000 links"),
        (b"</1/0>," * 100_000, "more than 1000 links"),
    ],
)
def test_wrong(data: bytes, reason: str) -> None:
    """
    A payload with no link, or too many, is refused.
    """
    with pytest.raises(ContentError, match=reason) as caught:
        parseListing(data)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("data", "paths", "formats", "problem"),
    [
        (b'</>;ct=60 110;rt="oma.lwm2m",</3/0>', [(3, 0)], {60, 110}, "a blank without quotes at character 3"),
        (b"</1>,", [(1,)], set(), "a comma or a NUL too many at character 4"),
        (b",</1>,,</3/0>", [(1,), (3, 0)], set(), "a comma or a NUL too many at character 0"),
        (b"</1>,,</3/0>,", [(1,), (3, 0)], set(), "a comma or a NUL too many at character 4"),
        (b"</1>;,</3/0>;", [(1,), (3, 0)], set(), "an attribute without a name at character 4"),
        (b"</1>;;ver=1.1;,</3/0>", [(1,), (3, 0)], set(), "an attribute without a name at character 4"),
        (b"</1>,</3/0>\0", [(1,), (3, 0)], set(), "a comma or a NUL too many at character 11"),
        (b"</1>x,</3/0>", [(1,), (3, 0)], set(), "neither a comma nor an attribute at character 4"),
        (b"</1></3/0>", [(1,), (3, 0)], set(), ""),
        (b'</1>;rt="x,</3/0>', [(1,), (3, 0)], set(), "neither a comma nor an attribute at character 8"),
        (b"</1>;rt=\xff,</3/0>", [(1,), (3, 0)], set(), ""),
        (b"</>;ct=112,</1/0>", [(1, 0)], {112}, ""),
        (b"</>;ct=110;ct=112;rt=oma.lwm2m,</1/0>", [(1, 0)], {110, 112}, ""),
        (b'</>;ct="110";rt="oma.lwm2m";ct=112,</1/0>', [(1, 0)], {110, 112}, ""),
        (b'</1/0>,</>;rt="oma.lwm2m",<>;ct=11543', [(1, 0)], {11543}, ""),
    ],
)
def test_asDevicesWriteIt(data: bytes, paths: list[tuple[int, ...]], formats: set[int], problem: str) -> None:
    """
    Readable links are taken, and the first unreadable part is reported: attributes may be broken, and commas too many.
    """
    listing = parseListing(data)
    assert list(listing.paths) == paths
    assert listing.formats == formats
    assert listing.problem == problem


def test_most() -> None:
    """
    A thousand are taken.
    """
    assert len(parseListing(b",".join(b"</1/%d>" % number for number in range(1000))).paths) == 1000


def test_discovered() -> None:
    """
    Answers to a discover are told as they are, without the alternate path.
    """
    data = b'</3/0/7>;dim=8;pmin=10;pmax=60;gt=50;lt=42.2, </3/0/8>,</3/0/9>;title="a,b"'
    texts = ["</3/0/7>;dim=8;pmin=10;pmax=60;gt=50;lt=42.2", "</3/0/8>", '</3/0/9>;title="a,b"']
    assert linkTexts(data, "") == linkTexts(data, "/lwm2m") == texts
    assert linkTexts(data.replace(b"</3", b"</lwm2m/3"), "/lwm2m") == texts
    assert linkTexts(b'</lwm2m>;rt="oma.lwm2m",</lwm2m/3>', "/lwm2m") == ['</lwm2m>;rt="oma.lwm2m"', "</3>"]
    assert linkTexts(b"", "") == []
    with pytest.raises(ContentError, match="link format: no link"):
        linkTexts(b"3/0", "")
    with pytest.raises(ContentError, match="more than 10000"):
        linkTexts(b"<>," * 10_001, "")


PIECES = st.sampled_from(
    ["</", "<", ">", "/", "1", "3/0", "lwm2m", ";", ",", "=", '"', "\\", "rt", "ct", "ver", "1.1", "oma.lwm2m", " "]
)


@given(st.binary(max_size=60) | st.lists(PIECES, max_size=30).map("".join).map(str.encode))
def test_anything(data: bytes) -> None:
    """
    Any payload is a listing that can be told, or is refused; likewise for a discover.
    """
    try:
        listing = parseListing(data)
        assert [parsePath(text, 1, 2) for text in listing.objectList] == list(listing.paths)
        assert listing.alternatePath.startswith("/")
    except ContentError:
        pass
    try:
        for text in linkTexts(data, "/lwm2m"):
            assert text.startswith("<")
    except ContentError:
        pass


def test_time() -> None:
    """
    Long lists take a time that grows with their length and not faster.
    """
    began = time.process_time()
    assert len(linkTexts(b",".join([b"</3/0/1>;a=1;b"] * 10_000), "/lwm2m")) == 10_000
    for hostile in (
        b"<" * 1_000_000,
        b" " * 1_000_000 + b"x",
        b'<>;a="' * 200_000,
        b"<>" + b" " * 1_000_000 + b"x",
        b"<>" + b";" * 1_000_000,
        b"<>" + b"x;" * 300_000,
        b"<>" + b" x" * 300_000,
        b'<>;a="\\"' * 100_000,
        b"<>" + b";a=" * 300_000,
        b"," * 1_000_000,
    ):
        try:
            linkTexts(hostile, "")
        except ContentError:
            pass
    assert time.process_time() - began < 5
