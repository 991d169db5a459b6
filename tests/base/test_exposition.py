"""
Tests for L{twisted_mqtt.base.exposition}.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import get_args

import pytest

from twisted_mqtt.base.exposition import Style, encoded, expose, isOpenMetrics, nameIn
from twisted_mqtt.base.metrics import Metrics
from twisted_mqtt.testing.memory import MemoryBroker

STYLES = get_args(Style)

#: What promtool says of names that are given: those of EMQ X, NanoMQ and VerneMQ have no "_total", and have "_count".
GIVEN = re.compile(
    r'counter metrics should have "_total" suffix'
    r'|non-histogram and non-summary metrics should not have "_count" suffix'
)


def oddMetrics() -> Metrics:
    """
    One of each kind, with what may not break the text.
    """
    metrics = Metrics()
    metrics.counter("a.sent", "Sent\nby \\", ("to",)).of('x"\\\n').value += 2
    metrics.gauge("there.count", "There", read=lambda: 1.5)
    metrics.histogram("c", "Seconds", (0.5, 1)).own.observe(0.7)
    return metrics


def test_expose() -> None:
    """
    Counters, gauges and histograms in the text format, labels escaped.
    """
    metrics = oddMetrics()
    assert expose(metrics.collect(), "emqx", "n@h").splitlines() == [
        "# HELP emqx_a_sent Sent\\nby \\\\",
        "# TYPE emqx_a_sent counter",
        'emqx_a_sent{node="n@h",to="x\\"\\\\\\n"} 2',
        "# HELP emqx_c Seconds",
        "# TYPE emqx_c histogram",
        'emqx_c_bucket{node="n@h",le="0.5"} 0',
        'emqx_c_bucket{node="n@h",le="1"} 1',
        'emqx_c_bucket{node="n@h",le="+Inf"} 1',
        'emqx_c_sum{node="n@h"} 0.7',
        'emqx_c_count{node="n@h"} 1',
        "# HELP emqx_there_count There",
        "# TYPE emqx_there_count gauge",
        'emqx_there_count{node="n@h"} 1.5',
    ]
    lines = expose(metrics.collect(), "emqx", openMetrics=True).splitlines()
    assert "# TYPE emqx_a_sent counter" in lines
    assert 'emqx_a_sent_total{to="x\\"\\\\\\n"} 2' in lines
    assert lines[-1] == "# EOF"


def test_prefix() -> None:
    """
    A prefix stands before every name, and nothing else has it.
    """
    plain = expose(oddMetrics().collect(), "vernemq")
    assert expose(oddMetrics().collect(), "vernemq", prefix="site1_") == re.sub(
        r"^(# (?:HELP|TYPE) )?(?=[act])", r"\1site1_", plain, flags=re.MULTILINE
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (1e300, "1e+300"), (-0.5, "-0.5")],
)
def test_oddValues(value: float, text: str) -> None:
    """
    A gauge may read anything that is a number.
    """
    metrics = Metrics()
    metrics.gauge("a", "A", read=lambda: value)
    assert expose(metrics.collect(), "vernemq").splitlines()[-1] == f"a {text}"


def test_loneSurrogate() -> None:
    """
    What can't be written in UTF-8 costs its character and nothing else.
    """
    metrics = Metrics()
    metrics.counter("a", "A", ("to",)).of("x\ud800\0y").value += 1
    assert encoded(expose(metrics.collect(), "vernemq")).endswith(b'a{to="x?\0y"} 1\n')


@pytest.mark.parametrize(
    ("accept", "isOpen"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/plain", False),
        (b"application/openmetrics-text; version=1.0.0", True),
        (b"Application/OpenMetrics-Text;version=1.0.0, */*;q=0.1", True),
        # What Prometheus sends.
        (b"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", False),
    ],
)
def test_accept(accept: bytes, isOpen: bool) -> None:
    """
    OpenMetrics is for who takes nothing else: Prometheus itself gets the names without "_total".
    """
    assert isOpenMetrics(accept) is isOpen


@pytest.mark.parametrize("style", STYLES)
def test_names(style: Style) -> None:
    """
    No two metrics of a broker have the same name, whatever style it is, nor does one look like a part of another.
    """
    broker = MemoryBroker().broker
    names = []
    for metric in broker.metrics.collect():
        name = nameIn(style, metric.name)
        if name is not None:
            names.append(name)
            if metric.kind == "histogram":
                names.extend(f"{name}_{part}" for part in ("bucket", "sum", "count"))
            elif metric.kind == "counter":
                # As it is called in OpenMetrics.
                names.append(name.removesuffix("_total") + "_total")
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
@pytest.mark.parametrize("style", STYLES)
def test_promtool(style: Style) -> None:
    """
    C{promtool check metrics} reads all metrics, and of what it would rather have there is nothing but the names, which
    are given.
    """
    memory = MemoryBroker()
    memory.client("a")
    text = expose(memory.broker.metrics.collect(), style, 'n"\\@h') + expose(oddMetrics().collect(), style, prefix="x_")
    done = subprocess.run(["promtool", "check", "metrics"], input=encoded(text), capture_output=True, check=False)
    said = done.stderr.decode().splitlines()
    assert [line for line in said if line and not GIVEN.search(line)] == []
    # 3: it could be read, and something was said of names.
    assert done.returncode == 3
    wrong = subprocess.run(["promtool", "check", "metrics"], input=b"a{ 1\n", capture_output=True, check=False)
    assert wrong.returncode == 1
