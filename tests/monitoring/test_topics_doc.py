"""
C{docs/topics.md}: the access rules in it can be used, and no topic of C{$SYS} is left out or invented.
"""

import re
from pathlib import Path

from twisted_mqtt.auth.aclfile import DEFAULT, parseRules
from twisted_mqtt.core.topics import DELAYED
from twisted_mqtt.modules.delayed import LONGEST
from twisted_mqtt.monitoring.systopics import METRICS, STATS

TEXT = (Path(__file__).parents[2] / "docs" / "topics.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", TEXT)


def test_rules() -> None:
    """
    Every block of rules is one; the last is what holds without a file.
    """
    blocks = re.findall(r"```erlang\n(.*?)```", TEXT, re.DOTALL)
    assert [len(parseRules(block).rules) for block in blocks] == [4, 5]
    assert blocks[-1].split() == DEFAULT.split()


def test_metrics() -> None:
    """
    Every metric that is a topic is named, and no other.
    """
    named = [word for word in CODE if word.startswith(("bytes.", "messages.", "packets."))]
    assert set(named) == set(METRICS)


def test_stats() -> None:
    """
    Every figure that is a topic is named, and no other.
    """
    listed = TEXT[TEXT.index("`stats/`:") :].partition(", each with")[0]
    assert [word.replace("/", ".") for word in re.findall(r"`([^`]+)`", listed)[1:]] == list(STATS)


def test_delayed() -> None:
    """
    The prefix and the longest delay are those of the code.
    """
    assert f"`{DELAYED}SECONDS/TOPIC`" in TEXT
    assert f"{LONGEST:,} ({LONGEST // 86400} days)" in TEXT
