"""
Tests for L{twisted_mqtt.base.about}.
"""

import re

import pytest

from twisted_mqtt.base.about import uptimeText, versionText


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (25.9, "25 seconds"),
        (60, "1 minutes, 0 seconds"),
        (239, "3 minutes, 59 seconds"),
        (3600, "1 hours, 0 minutes, 0 seconds"),
        (86400 + 18 * 3600 + 45 * 60 + 1, "1 days,18 hours, 45 minutes, 1 seconds"),
    ],
)
def test_uptime(seconds: float, text: str) -> None:
    """
    A time is told as EMQ X tells it.
    """
    assert uptimeText(seconds) == text


def test_version() -> None:
    """
    The version reads as one, installed or not.
    """
    assert re.fullmatch(r"v\d+\.\d+.*", versionText())
