"""
Tests for L{twisted_mqtt.management.builtin.verneconfiguration}.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.operations.operation import NotFound, Refused


@pytest.mark.shows("set_keys", "show_keys")
@pytest.mark.parametrize(
    ("name", "text", "key", "here"),
    [
        ("max_client_id_size", "45", "mqtt.max_clientid_len", 45),
        ("retry_interval", "20", "zone.external.retry_interval", 20.0),
        ("persistent_client_expiration", "1w", "zone.external.session_expiry_interval", 604800.0),
        ("max_online_messages", "-1", "zone.external.max_online_messages", 0),
        ("max_offline_messages", "10", "zone.external.max_offline_messages", 10),
        ("upgrade_outgoing_qos", "on", "zone.external.upgrade_qos", True),
        ("shared_subscription_policy", "prefer_local", "broker.shared_subscription_strategy", "prefer_local"),
        ("max_last_will_delay", "60", "mqtt.max_will_delay", 60.0),
        ("zone.external.max_inflight", "64", "zone.external.max_inflight", 64),
    ],
)
def test_keys(name: str, text: str, key: str, here: object) -> None:
    """
    VerneMQ's keys are in VerneMQ's units, ours in ours; C{set} prints nothing on success (ADM-54).
    """
    commands = Commands()
    assert commands.lines("set", changes=[f"{name}={text}"]) == []
    assert commands.memory.node.settings.get(key) == here
    (row,) = commands.rows("show", keys=[name])
    assert list(row) == ["node", name]
    if name not in ("persistent_client_expiration", "upgrade_outgoing_qos"):
        assert str(row[name]) == text


def test_several() -> None:
    """
    Several at once, all or none; C{show} has a column for each, in the order in which they were asked for.
    """
    commands = Commands()
    commands.lines("set", changes=["max_client_id_size=45", "max_message_rate=100"])
    assert commands.rows("show", keys=["max_message_rate", "max_client_id_size"], all="true") == [
        {"node": commands.memory.broker.nodeName, "max_message_rate": 100, "max_client_id_size": 45}
    ]
    with pytest.raises(Refused, match="retry_interval"):
        commands.lines("set", changes=["max_client_id_size=46", "retry_interval=soon"])
    assert commands.rows("show", keys=["max_client_id_size"])[0]["max_client_id_size"] == 45


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("max_client_id_size", "is not key=value"),
        ("", "is not key=value"),
        ("no_such_key=1", "there is no key no_such_key"),
        ("allow_multiple_sessions=on", "shared subscription"),
        ("max_online_messages=0", "-1 is no limit"),
        ("max_online_messages=x", "a whole number"),
        ("receive_max_broker=10", "mqtt.receive_maximum is no setting of this broker"),
        ("retry_interval=-1", "retry_interval"),
        ("upgrade_outgoing_qos=perhaps", "upgrade_qos"),
    ],
)
def test_refused(change: str, says: str) -> None:
    """
    What can't be set is refused with its name and the reason.
    """
    with pytest.raises(Refused, match=says):
        Commands().lines("set", changes=[change])


def test_otherNode() -> None:
    """
    Another node is not found; nothing is set here then.
    """
    with pytest.raises(NotFound, match="node"):
        Commands().lines("set", changes=["max_client_id_size=45"], node="other@host")
