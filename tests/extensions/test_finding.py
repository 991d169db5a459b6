"""
Tests for L{twisted_mqtt.extensions.finding}.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from twisted import plugins

from twisted_mqtt.extensions.finding import InstalledMakers

PLUGIN = """
from twisted_mqtt.extensions.makers import ExtensionMaker

maker = ExtensionMaker("{name}", "nowhere:Nothing", "Does nothing")
"""


def test_looksAgainWhereSomethingHasChanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is installed is remembered, and found when it is installed later, or mended where it stands; folders that are
    not there are nothing.
    """
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(tmp_path), str(tmp_path / "none")])
    find = InstalledMakers()
    find()  # Twisted writes its cache
    before = find()
    assert find() is before
    assert "late_one" not in {maker.name for maker in before}
    module = tmp_path / "late_one_plugin.py"
    module.write_text("syntax error")
    monkeypatch.setattr("twisted.python.log.err", lambda *args: None)
    assert "late_one" not in {maker.name for maker in find()}
    module.write_text(PLUGIN.format(name="late_one"))
    assert "late_one" in {maker.name for maker in find()}
    sys.modules.pop("twisted.plugins.late_one_plugin", None)
