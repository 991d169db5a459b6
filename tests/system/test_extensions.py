"""
Extensions of a real broker: what happens to clients of a gateway that changes, to one that does not start, and what is
kept across a restart.
"""

import socket
from pathlib import Path

import pytest

from tests.system.conftest import configuration
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, startTwistd
from tests.system.test_reload import Reloadable

CONNECT = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0"


def stompClient(port: int) -> socket.socket:
    """
    A STOMP client that is in.
    """
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(CONNECT)
    assert b"CONNECTED" in client.recv(4096)
    return client


def untilEnd(client: socket.socket) -> bytes:
    """
    Everything that a client is still told.
    """
    received = b""
    while piece := client.recv(4096):
        received += piece
    client.close()
    return received


def test_gatewayChanges(tmp_path: Path) -> None:
    """
    Another table for a gateway starts it again: its clients are told and sent away, MQTT clients notice nothing.
    Without its name it stops.
    """
    tables = {"plugins": {"load": ["stomp"]}, "stomp": {"listener": {"bind": "127.0.0.1:0"}}}
    reloadable = Reloadable(tmp_path, tables, 2)
    broker = reloadable.broker
    with Peer(broker, "mqtt") as peer:
        peer.subscribe("a")
        client = stompClient(broker.ports["stomp"])
        reloadable.tables["stomp"]["frame"] = {"max_headers": 20}
        assert reloadable.reload() == (1, 0, 0)
        assert reloadable.said("reload: stomp: started again with other settings")
        assert b"ERROR\nmessage:server_shutting_down" in untilEnd(client)
        reloadable.findPorts(3)
        client = stompClient(broker.ports["stomp"])
        reloadable.tables["plugins"]["load"] = []
        reloadable.reload()
        assert reloadable.said("reload: stomp: stopped")
        assert b"ERROR" in untilEnd(client)
        with pytest.raises(ConnectionRefusedError):
            stompClient(broker.ports["stomp"])
        peer.publish("a", "still here", 1)
        assert peer.payloads(1) == ["still here"]
    broker.stop()


def test_gatewayThatDoesNotStart(tmp_path: Path) -> None:
    """
    A gateway whose port is taken is told of, with an alarm, and does not keep the broker from serving others. When the
    file names another port, it starts.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tables = {"plugins": {"load": ["stomp"]}, "stomp": {"listener": {"bind": f"127.0.0.1:{port}"}}}
        reloadable = Reloadable(tmp_path, tables, 1)
        broker = reloadable.broker
        broker.waitFor("Plugin stomp does not start: ")
        with Peer(broker, "mqtt") as peer:
            peer.subscribe("a")
            peer.publish("a", "served", 1)
            assert peer.payloads(1) == ["served"]
        reloadable.tables["stomp"]["listener"]["bind"] = "127.0.0.1:0"
        assert reloadable.reload() == (1, 0, 0)
        assert reloadable.said("reload: stomp: started")
        reloadable.findPorts(2)
        stompClient(broker.ports["stomp"]).close()
    broker.stop()


def test_necessary(tmp_path: Path) -> None:
    """
    Without its access rules the broker does not start.
    """
    (tmp_path / "acl.conf").write_text("{allow, all")
    with pytest.raises(AssertionError, match="Plugin acl_internal does not start"):
        startTwistd(tmp_path, {**configuration(tmp_path), "acl_file": str(tmp_path / "acl.conf")})


def test_kept(tmp_path: Path) -> None:
    """
    Loading and unloading for good holds after a restart, and unknown names of extensions are reported.
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "loaded_plugins").write_text("emqx_door.\nstomp.\n-presence.\n")
    broker = startTwistd(tmp_path, {**configuration(tmp_path), "stomp": {"listener": {"bind": "127.0.0.1:0"}}}, 2)
    assert 'no extension "emqx_door" is installed' in broker.text
    stompClient(broker.ports["stomp"]).close()
    with Peer(broker, "watching") as peer:
        peer.subscribe("$SYS/brokers/+/clients/#")
        Peer(broker, "other").connect().disconnect()
        peer.publish("a", "", 1)
        peer.subscribe("done")
        peer.publish("done", "done", 1)
        assert peer.payloads(1) == ["done"]
    broker.stop()
