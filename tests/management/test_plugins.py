"""
Tests for the commands of VerneMQ in L{twisted_mqtt.management.builtin.plugins}, and for C{acl reload}.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.operations.operation import NotFound, Refused


@pytest.mark.shows("plugin_show", "plugin_enable", "plugin_disable")
def test_plugin() -> None:
    """
    An extension that runs is shown with its hooks; one that runs is not enabled again (ADM-40 to 42).
    """
    commands = Commands()
    assert commands.rows("plugin show") == []
    assert commands.lines("plugin enable", name="emqx_mod_presence") == ["Done"]
    (row,) = commands.rows("plugin show")
    assert list(row) == ["Plugin", "Type", "Hook(s)", "M:F/A"]
    assert (row["Plugin"], row["Type"]) == ("presence", "application")
    assert row["Hook(s)"].split("\n") == ["client.connected", "client.disconnected"]
    assert all(place.startswith("twisted_mqtt.modules.presence:") for place in row["M:F/A"].split("\n"))
    assert commands.rows("plugin show", hook="client.connected", plugin="presence") == [row]
    assert commands.rows("plugin show", hook="message.publish") == []
    with pytest.raises(Refused, match="already_started"):
        commands.lines("plugin enable", name="presence")
    assert commands.lines("plugin disable", name="presence") == ["Done"]
    with pytest.raises(Refused, match="not_started"):
        commands.lines("plugin disable", name="presence")
    with pytest.raises(NotFound, match="nothing"):
        commands.lines("plugin enable", name="nothing")


@pytest.mark.shows("reload_acl")
def test_reloadRules() -> None:
    """
    The rules are read again where their extension runs, else that is named.
    """
    commands = Commands()
    with pytest.raises(Refused, match="acl_internal, .* is not loaded") as refusal:
        commands.lines("acl reload")
    assert (refusal.value.status, refusal.value.code) == (503, 111)
    commands.lines("plugins load acl_internal")
    assert commands.lines("acl reload") == ["ok"]
