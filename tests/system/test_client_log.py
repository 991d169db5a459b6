"""
The log of a real process: who came, who was refused, who went, over MQTT and the gateways; on consoles of other
encodings; in a file that logrotate cuts off.
"""

import os
import socket
from pathlib import Path

from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import V5, Peer
from tests.system.process import Broker, fromTree, toml, twistdCommand

# CONNECT of MQTT-SN (clean session, 10 s, "sn-dev"), and its DISCONNECT.
SN_CONNECT = bytes.fromhex("0c040401000a") + b"sn-dev"
SN_DISCONNECT = bytes.fromhex("0218")


def test_everyGateway(startBroker: StartBroker, name: str) -> None:
    """
    A client of MQTT and one of a gateway each have a line when they come and one when they go, with their figures.
    """
    broker = startBroker(
        {
            "plugins": {"load": ["stomp", "mqttsn"]},
            "stomp": {"listener": "127.0.0.1:0", "allow_anonymous": True},
            "mqtt": {"sn": {"port": "127.0.0.1:0"}},
        },
        3,
    )
    with Peer(broker, name) as peer:
        peer.publish(f"{name}/a", "hello", 1)
    broker.waitFor(rf'connected: "{name}" from 127\.0\.0\.1:\d+ on tcp\.external, MQTT')
    broker.waitFor(
        rf'disconnected: "{name}" from .*: by its DISCONNECT; here for .* s, received 1 messages \(\d+ bytes'
    )
    with socket.create_connection(("127.0.0.1", broker.ports["stomp"])) as stomp:
        stomp.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        broker.waitFor(r"connected: .* from 127\.0\.0\.1:\d+ on stomp, stomp")
        stomp.sendall(b"NONSENSE\n\n\0")
        broker.waitFor(r"disconnected: .* on stomp: protocol error: unknown command")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sn:
        sn.sendto(SN_CONNECT, ("127.0.0.1", broker.ports["mqtt.sn"]))
        broker.waitFor(r'connected: "sn-dev" from 127\.0\.0\.1:\d+ on mqttsn:udp, mqtt-sn')
        sn.sendto(SN_DISCONNECT, ("127.0.0.1", broker.ports["mqtt.sn"]))
        broker.waitFor(r'disconnected: "sn-dev" from .*: by its DISCONNECT')


def test_otherConsole(tmp_path: Path) -> None:
    """
    On a console that knows ASCII alone, names with other letters are escaped and every line is there; nobody's name
    begins a line.
    """
    file = tmp_path / "b.toml"
    file.write_text(toml(configuration(tmp_path)))
    environment = {**fromTree(), "PYTHONIOENCODING": "ascii"}
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment).started(1)
    with Peer(broker, "žlutý\u2028kůň", V5):
        pass
    broker.waitFor(r'disconnected: "\\u017elut\\xfd\\\\?u2028k\\u016f\\u0148" from')
    broker.stop()


def test_copyTruncate(startBroker: StartBroker, tmp_path: Path, name: str) -> None:
    """
    A log file that was copied and cut off while the broker writes it has no hole.
    """
    log = tmp_path / "log" / "mqttbroker.log"
    broker = startBroker({"log": {"to": "both", "dir": str(log.parent)}})
    with Peer(broker, f"{name}1"):
        pass
    broker.waitFor(rf'disconnected: "{name}1"')
    os.truncate(log, 0)
    with Peer(broker, f"{name}2"):
        pass
    broker.waitFor(rf'disconnected: "{name}2"')
    broker.stop()
    text = log.read_bytes()
    assert b"\0" not in text and f'disconnected: "{name}2"'.encode() in text
