"""
Tests of L{twisted_mqtt.core.templates}.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.core.templates import UnfitName, filled, isPlainLevel
from twisted_mqtt.core.topics import hasWildcard, isTopicName

NAMES: dict[str, str | None] = {"c": "c1", "u": "%c", "a": None}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain/", "plain/"),
        ("%c", "c1"),
        ("t/%c/%u/", "t/c1/%c/"),
        ("%u%c%%c%x%", "%cc1%c1%x%"),
        ("$share/g/%c", "$share/g/c1"),
    ],
)
def test_filled(template: str, expected: str) -> None:
    """
    Each mark is filled in once, and what is no mark stays.
    """
    assert filled(template, NAMES) == expected


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("t/%n", "a/b"),
        ("t/%n", "+"),
        ("t/%n", "a#"),
        ("t/%n", "\0"),
        ("%n/t", "$SYS"),
        ("$share/g/%n/t", "$SYS"),
        ("$queue/%n", "$SYS"),
        ("$local/%n", "$SYS"),
        ("t/%n", None),
    ],
)
def test_unfit(template: str, name: str | None) -> None:
    """
    A name that would change the shape of a topic, or make one of the broker's, is refused with the reason.
    """
    with pytest.raises(UnfitName) as caught:
        filled(template, {"n": name})
    assert "name" in str(caught.value)


def test_dollarInside() -> None:
    """
    A C{$} means something at the beginning of a topic only.
    """
    assert filled("t/%n/", {"n": "$SYS"}) == "t/$SYS/"
    assert filled("$share/%n/t", {"n": "$g"}) == "$share/$g/t"
    assert [isPlainLevel("$a"), isPlainLevel("$a", True), isPlainLevel("")] == [True, False, False]


@given(st.text(alphabet="ab$%cu/+#\0", max_size=6), st.text(alphabet="ab$%cu/+#\0", max_size=6))
def test_neverAnotherShape(clientID: str, username: str) -> None:
    """
    Whatever clients call themselves: a template has as many levels as it is written with, no wildcard, and no C{$} at
    its beginning.
    """
    try:
        topic = filled("%c/x%u/", {"c": clientID, "u": username})
    except UnfitName:
        return
    assert topic.count("/") == 2 and not hasWildcard(topic) and isTopicName(topic) and not topic.startswith("$")
