"""
Tests of the dictionary in parts.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.core.parteddict import PartedDict

KEYS = st.text("abc", max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["set", "delete", "pop"]), KEYS, st.integers())))
def test_likeADictionary(steps: list[tuple[str, str, int]]) -> None:
    """
    It holds what a plain dictionary would, whatever is done to it.
    """
    plain: dict[str, int] = {}
    parted: PartedDict[int] = PartedDict()
    for step, key, value in steps:
        if step == "set":
            plain[key] = parted[key] = value
        elif step == "pop":
            assert parted.pop(key) == plain.pop(key, None)
        elif key in plain:
            del plain[key]
            del parted[key]
        assert parted.get(key) == plain.get(key)
        assert (key in parted) == (key in plain)
        assert parted == plain
    assert len(parted) == len(plain)
    assert sorted(parted) == sorted(plain)
    assert sorted(parted.values()) == sorted(plain.values())
    assert all(parted[key] == value for key, value in plain.items())
