"""
Tests for L{gateways.lwm2m.objects.paths}.
"""

import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.objects.paths import Path, isWithin, joinPath, parsePath, pathText, uriPath, withoutPrefix


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/3", (3,)),
        ("3/0", (3, 0)),
        ("/3/0/13", (3, 0, 13)),
        ("/3/0/", (3, 0)),
        ("/3/0/6/65534", (3, 0, 6, 65534)),
        ("/65534/65534/65534/65534/", (65534, 65534, 65534, 65534)),
    ],
)
def test_parse(text: str, path: Path) -> None:
    """
    Slashes around a path mean nothing.
    """
    assert parsePath(text) == path


@pytest.mark.parametrize(
    "text",
    ["", "/", "//", "/3//0", "//3", "/3/0//", "/a", "/-1", "/+1", "/ 1", "/1 ", "/01", "/65535", "/99999", "/100000"]
    + ["/1/2/3/4/5", "/1.0", "/\u0661", "/1\n", "/" + "1" * 5000, "/1" * 5000, "</3>", "/3?x"],
)
def test_wrong(text: str) -> None:
    """
    A malformed path is refused, with a short message.
    """
    with pytest.raises(ContentError) as caught:
        parsePath(text)
    assert 0 < len(str(caught.value)) < 150


def test_length() -> None:
    """
    Too few or too many segments are refused, and it is said how many are wanted.
    """
    assert parsePath("/3/0/4", 3, 3) == (3, 0, 4)
    with pytest.raises(ContentError, match=r"'/3/0': 2 segments, 3 wanted"):
        parsePath("/3/0", 3, 3)
    with pytest.raises(ContentError, match=r"'/3/0/0/0': 4 segments, 1 to 3 wanted"):
        parsePath("/3/0/0/0", 1, 3)


def test_join() -> None:
    """
    A path is added to another one whether or not there is a slash between them.
    """
    assert joinPath((3, 0), "13") == joinPath((3, 0), "/13") == joinPath((3, 0), "13/") == (3, 0, 13)
    assert joinPath((5,), "/0/1") == (5, 0, 1)
    assert joinPath((3, 0, 6), "") == joinPath((3, 0, 6), "/") == (3, 0, 6)
    with pytest.raises(ContentError, match="more than 4 segments"):
        joinPath((3, 0), "1/2/3")


def test_prefix() -> None:
    """
    An alternate path stands before every path in a URI, and is taken away from what comes; from nothing else.
    """
    assert uriPath((3, 0, 0), "/lwm2m") == ["lwm2m", "3", "0", "0"]
    assert uriPath((3, 0, 0), "") == ["3", "0", "0"]
    assert uriPath((), "/a/b") == ["a", "b"]
    assert withoutPrefix("/lwm2m/3/0", "/lwm2m") == "/3/0"
    assert withoutPrefix("/lwm2m", "/lwm2m") == ""
    assert withoutPrefix("/lwm2md/3/0", "/lwm2m") == "/lwm2md/3/0"
    assert withoutPrefix("/3/0", "/lwm2m") == withoutPrefix("/3/0", "") == "/3/0"


def test_text() -> None:
    """
    As text a path begins with a slash and does not end with one, but for that of the device as a whole.
    """
    assert pathText((3, 0, 6, 1)) == "/3/0/6/1"
    assert pathText(()) == "/"
    assert isWithin((3, 0, 1), (3, 0))
    assert isWithin((3, 0), (3, 0))
    assert not isWithin((3,), (3, 0))
    assert not isWithin((3, 1, 0), (3, 0))
