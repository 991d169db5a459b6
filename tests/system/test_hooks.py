"""
Hooks in a real process: what callbacks decide is what clients see, and one that holds the reactor is named.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from tests.system.process import ROOT, Broker, fromTree
from tests.system.rawclient import connect5, opened, read

CALLBACKS = """
import time

from twisted_mqtt.hooks.packets import thisPacket
from twisted_mqtt.hooks.verdicts import STOP, Allow, AuthResult, Deny


def judge(client, access, topic, verdict):
    packet = thisPacket()
    if access == "subscribe":
        return None
    if packet.payload == b"large":
        return STOP(Deny("quota_exceeded", "enough"))
    return STOP(Allow(pause=0.2)) if packet.payload == b"fast" else None


def dawdle(client, connection):
    time.sleep(0.3)


def queued(session, message):
    print("queued for", session.clientID, message.payload, flush=True)


def authenticate(client, result):
    return AuthResult(clientID="renamed") if client.clientID == "named" else None


node.broker.hooks.clientCheckAcl.add(judge, perPacket=True)
node.broker.hooks.clientConnected.add(dawdle)
node.broker.hooks.messageQueued.add(queued)
node.broker.hooks.clientAuthenticate.add(authenticate)

services.startService()
"""


def publish5(payload: bytes, packetID: int) -> bytes:
    """
    A PUBLISH of MQTT 5 with QoS 1 to the topic C{t}.
    """
    body = b"\x00\x01t" + packetID.to_bytes(2, "big") + b"\x00" + payload
    return bytes((0x32, len(body))) + body


def test_callbacks(tmp_path: Path) -> None:
    """
    Reason codes and strings, pauses, another client identifier, messages for absent clients, a slow callback.
    """
    text = (ROOT / "docs" / "embedding.py").read_text(encoding="utf-8")
    assert "\nservices.startService()\n" in text
    program = tmp_path / "embedding.py"
    program.write_text(text.replace("\nservices.startService()\n", CALLBACKS), encoding="utf-8")
    environment = {
        **fromTree(),
        "MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND": "127.0.0.1:0",
        "MQTTBROKER__NODE__DATA_DIR": str(tmp_path),
    }
    broker = Broker([sys.executable, program], tmp_path, environment).started(1)
    # A session that outlives its connection (0x11), subscribed to t with QoS 1.
    absent = b"\x10\x19\x00\x04MQTT\x05\x02\x00\x00\x05\x11\x00\x00\x00\x64\x00\x07absent1"
    with closing(opened(broker, absent)) as link:
        assert read(link, 2)[:1] == b"\x20"
        link.sendall(b"\x82\x07\x00\x01\x00\x00\x01t\x01")
        while b"\x90\x04\x00\x01\x00\x01" not in (got := read(link, 1) + link.recv(4096)):
            assert got
        link.sendall(b"\xe0\x00")
        assert link.recv(1) == b""
    with closing(opened(broker, connect5("named"))) as link:
        connack = link.recv(4096)
        # Assigned Client Identifier
        assert b"\x12\x00\x07renamed" in connack
        link.sendall(publish5(b"large", 1))
        assert link.recv(4096) == b"\x40\x0d\x00\x01\x97\x09\x1f\x00\x06enough"
        link.sendall(publish5(b"fast", 2) + publish5(b"slow", 3))
        acks = b""
        while len(acks) < 8:
            acks += link.recv(4096)
        assert acks == b"\x40\x02\x00\x02\x40\x02\x00\x03"
    broker.waitFor(r"queued for absent1 b'fast'")
    broker.waitFor(r"dawdle, called for client.connected, blocked the reactor for \d{3} ms")
    broker.stop()
