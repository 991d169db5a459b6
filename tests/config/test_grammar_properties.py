"""
Properties of the value grammars and of the reader.
"""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.config import ConfigurationError, forms, grammar, settingsFrom
from twisted_mqtt.config.grammar import Grammar, Unfit
from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.registry import installed
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.config.values import Bind, FlappingPolicy, RateLimit, TwoLimits

GRAMMARS = [form for module in (grammar, forms) for form in vars(module).values() if isinstance(form, Grammar)]

sizes = st.integers(0, 2**50)
positive = st.integers(1, 2**50)
seconds = st.one_of(st.integers(0, 10**9).map(float), st.floats(0.001, 1e9))
someSeconds = seconds.filter(bool)
topics = st.text(st.characters(exclude_characters="+#,\0", exclude_categories=["Cs", "Cc", "Z"]), min_size=1)

VALUES: list[tuple[Grammar[Any], st.SearchStrategy[Any]]] = [
    (grammar.FLAG, st.booleans()),
    (grammar.DURATION, seconds),
    (grammar.SIZE, sizes),
    (grammar.WHOLE, sizes),
    (grammar.RATE, st.builds(lambda amount, span: RateLimit(amount, span, amount), positive, someSeconds)),
    (grammar.RATE, st.builds(lambda amount, burst: RateLimit(amount, 1.0, burst), positive, positive)),
    (forms.BIND, st.builds(Bind, st.ip_addresses(v=4).map(str), st.integers(0, 65535))),
    (forms.BIND, st.builds(Bind, st.ip_addresses(v=6).map(str), st.integers(0, 65535))),
    (forms.MODE, st.integers(0, 0o777)),
    (forms.FLAPPING_POLICY, st.builds(FlappingPolicy, positive, someSeconds, someSeconds)),
    (forms.TWO_LIMITS, st.builds(TwoLimits, sizes, sizes)),
    (forms.PRIORITIES, st.dictionaries(topics, st.integers(0, 255))),
]


@pytest.mark.parametrize(("form", "values"), VALUES, ids=[form.name for form, _ in VALUES])
@given(data=st.data())
def test_writtenValuesReadTheSame(form: Grammar[Any], values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """
    Reading what was written gives the value back, to the last digit.
    """
    value = data.draw(values)
    assert form.parse(form.write(value)) == value


@given(st.integers(0, 100))
def test_percentagesReadTheSame(percent: int) -> None:
    """
    Whole percentages are written as such, although their fractions have no exact binary form.
    """
    assert grammar.PERCENT.write(grammar.PERCENT.parse(f"{percent}%")) == f"{percent}%"


scalars = st.one_of(
    st.text(),
    st.from_regex(r"[0-9]{1,4}(ms|s|m|h|KB|MB|%)?(,[0-9]{1,4}(s|KB)?)*", fullmatch=True),
    st.integers(),
    st.sampled_from([10**400, "9" * 5000, "1" * 400 + "s"]),
    st.floats(),
    st.booleans(),
    st.just(datetime.date(2020, 1, 1)),
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@pytest.mark.parametrize("form", GRAMMARS, ids=[form.name for form in GRAMMARS])
@given(written=anything)
def test_nothingElseIsRaised(form: Grammar[Any], written: object) -> None:
    """
    Every TOML value is accepted, or refused with advice.
    """
    try:
        form.parse(written)
    except Unfit as unfit:
        assert "must" in str(unfit)


NAMES = sorted(
    {
        *keysOf(Settings),
        *(key for outer in keysOf(Settings).values() if outer.table for key in keysOf(outer.table)),
        *(word for declaration in installed() for word in declaration.table.split(".")),
        *("²", "auth", "mysql", "external", "bind", "access", "1", "load", "topic", "rule", "", "web", "hook", "sn"),
    }
)
trees = st.recursive(
    scalars | st.sampled_from(["none", "on", "127.0.0.1:0", "allow all"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)
environments = st.dictionaries(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(
        lambda words: "MQTTBROKER__" + "__".join(words).upper()
    )
    | st.sampled_from(["EMQX_TCP_PORT", "EMQX_NODE_NAME", "EMQX_WSS_PORT"]),
    st.text() | st.sampled_from(["1883", "on"]),
    max_size=3,
)


@given(st.dictionaries(st.sampled_from(NAMES), trees, max_size=4), environments)
def test_anyTreeIsReadOrRefused(tables: dict[str, Any], environ: dict[str, str]) -> None:
    """
    Any file and any environment give settings or problems with advice, never another error.
    """
    try:
        settings = settingsFrom(tables, environ)
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
        assert "\n" not in "".join(map(str, error.problems))
    else:
        assert all(listener.zone in settings.zone for listener in settings.listener)
