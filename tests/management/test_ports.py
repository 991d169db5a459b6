"""
Tests for L{twisted_mqtt.management.builtin.ports}; a port that is opened for clients is in tests/system/test_ctl.py.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.operations.operation import NotFound, Refused


@pytest.fixture
def commands() -> Commands:
    """
    A broker with a port.
    """
    made = Commands()
    made.memory.node.listen(TCPPortSettings(bind=Bind("127.0.0.1", 1883)), object(), "tcp.external")  # type: ignore[arg-type]  # nobody connects
    return made


@pytest.mark.shows("show_ports")
def test_show(commands: Commands) -> None:
    """
    The columns of VerneMQ (ADM-20).
    """
    (row,) = commands.rows("listener show")
    assert row.__struct_fields__ == ("type", "status", "ip", "port", "mountpoint", "max_conns")
    assert (row.status, row.ip, row.port, row.mountpoint) == ("running", "127.0.0.1", 1883, "")


@pytest.mark.shows("stop_port", "restart_port")
def test_stopAndRestart(commands: Commands) -> None:
    """
    One that was stopped is shown as such, and listens again when it is told to.
    """
    where = {"address": "127.0.0.1", "port": 1883}
    assert commands.lines("listener stop", **where) == ["Done"]
    assert commands.rows("listener show")[0].status == "stopped"
    assert commands.lines("listener restart", **where) == ["Done"]
    assert commands.rows("listener show")[0].status == "running"
    with pytest.raises(NotFound, match="there are 127.0.0.1:1883"):
        commands.lines("listener stop", address="127.0.0.1", port=1)
    with pytest.raises(Refused, match="port"):
        commands.lines("listener stop", address="127.0.0.1", port=70000)


@pytest.mark.shows("delete_port")
def test_delete(commands: Commands) -> None:
    """
    One that listens, or that is of the configuration, is not deleted.
    """
    where = {"address": "127.0.0.1", "port": 1883}
    with pytest.raises(Refused, match="stop it first"):
        commands.lines("listener delete", **where)
    commands.lines("listener stop", **where)
    with pytest.raises(Refused, match="configuration"):
        commands.lines("listener delete", **where)


@pytest.mark.shows("start_port")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"port": 1883}, "listens at 127.0.0.1:1883 already"),
        ({"port": 1884, "http": "true"}, "management.listener.http.bind"),
        ({"port": 1884, "nr_of_acceptors": "none"}, "acceptors"),
        ({"port": 1884, "zone": "nowhere"}, "zone"),
        ({"port": 1884, "ssl": "true", "certfile": "/no/such/file"}, "certfile"),
        ({"port": 1884, "protocol_versions": "6"}, "allowed_protocol_versions"),
    ],
)
def test_start(commands: Commands, more: dict[str, object], says: str) -> None:
    """
    What can't be is refused with the key at fault, and nothing is left of it.
    """
    with pytest.raises(Refused, match=says):
        commands.lines("listener start", address="127.0.0.1", **more)
    assert commands.memory.node.settings.overridden() == {}
