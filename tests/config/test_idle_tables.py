"""
What is written and has no effect is told of: tables of extensions that do not start, zones that nothing uses, variables
with a misspelt prefix.
"""

from __future__ import annotations

from twisted_mqtt.config import settingsFrom


def test_gatewayThatDoesNotStart() -> None:
    """
    The table of a gateway that C{plugins.load} does not name has no effect, which is said; one that starts is quiet.
    """
    table = {"stomp": {"max_clients": 5}}
    assert settingsFrom(table).warnings == ['[stomp] has no effect: plugins.load does not name "stomp"']
    assert settingsFrom({**table, "plugins": {"load": ["stomp"]}}).warnings == []


def test_alwaysThere() -> None:
    """
    The tables of extensions that start by themselves are none of these.
    """
    assert settingsFrom({"retainer": {"max_payload_size": "1MB"}, "module": {"presence": {"qos": 1}}}).warnings == []


def test_unusedZone() -> None:
    """
    A zone that nothing uses is told of, if it is not the misspelt name of one that is used, which is an error.
    """
    [warning] = settingsFrom({"zone": {"cellar": {"max_inflight": 5}}}).warnings
    assert warning == "[zone.cellar] has no effect: no listener and no gateway uses this zone"
    used = {"tcp": {"external": {"bind": "127.0.0.1:0", "zone": "cellar"}}}
    assert settingsFrom({"zone": {"cellar": {}}, "listener": used}).warnings == []


def test_misspeltPrefix() -> None:
    """
    A variable whose prefix is nearly ours is told of.
    """
    settings = settingsFrom(
        {}, {"MQTBROKER__ALLOW_ANONYMOUS": "true", "mqttbroker__acl_nomatch": "deny", "OTHER__X": "1"}
    )
    assert settings.warnings == [
        "MQTBROKER__ALLOW_ANONYMOUS: is not read; names of variables begin with MQTTBROKER__",
        "mqttbroker__acl_nomatch: is not read; names of variables begin with MQTTBROKER__",
    ]
    assert settings.acl_nomatch == "allow"
