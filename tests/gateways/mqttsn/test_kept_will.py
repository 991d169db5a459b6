"""
Tests for wills of MQTT-SN clients whose sessions a store keeps (MQTT-SN 1.2, 6.3 and 6.4).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateways.mqttsn.packets import (
    ACCEPTED,
    CONNACK,
    WILLMSG,
    WILLMSGREQ,
    WILLMSGRESP,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICRESP,
    WILLTOPICUPD,
    SNConnect,
    SNPacket,
    SNWillTopic,
)
from tests.kits.mqttsn import Device, World
from tests.kits.stores import Bed


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """
    A broker whose store is a file.
    """
    return Bed(tmp_path)


def expect(bed: Bed, device: Device, *packets: SNPacket) -> None:
    """
    Exactly these must have come, once the store has had its turn.
    """
    for _ in range(3):
        bed.clock.advance(0)
    device.expect(*packets)


def withWill(bed: Bed) -> Device:
    """
    A client with a session that outlives it, and a will.
    """
    device = World(bed=bed).device()
    device.say(SNConnect(device.name, will=True, cleanSession=False)).expect(SNPacket(WILLTOPICREQ))
    device.say(SNWillTopic(WILLTOPIC, "will/topic", 1)).expect(SNPacket(WILLMSGREQ))
    device.say(SNPacket(WILLMSG, data=b"gone"))
    expect(bed, device, SNPacket(CONNACK, code=ACCEPTED))
    return device


def test_changedBeforeCrash(bed: Bed) -> None:
    """
    Topic and message that were changed, and answered for, are those of the will that is published after a crash.
    """
    device = withWill(bed)
    bed.client("watcher").subscribe("#", qos=1)
    device.say(SNWillTopic(WILLTOPICUPD, "other/topic", 1))
    expect(bed, device, SNPacket(WILLTOPICRESP, code=ACCEPTED))
    device.say(SNPacket(WILLMSGUPD, data=b"otherwise"))
    expect(bed, device, SNPacket(WILLMSGRESP, code=ACCEPTED))
    bed.restart(crash=True)
    packet: Any = bed.client("watcher").next()
    assert (packet.topic, packet.payload, packet.qos) == ("other/topic", b"otherwise", 1)


def test_deletedBeforeCrash(bed: Bed) -> None:
    """
    A will that was deleted, and answered for, is not published after a crash.
    """
    device = withWill(bed)
    bed.client("watcher").subscribe("#", qos=1)
    assert bed.rows("will") == 1
    device.say(SNWillTopic(WILLTOPICUPD))
    expect(bed, device, SNPacket(WILLTOPICRESP, code=ACCEPTED))
    assert bed.rows("will") == 0
    bed.restart(crash=True)
    bed.client("watcher").expectNothing()


def test_answeredWhenSafe(bed: Bed) -> None:
    """
    The change of a will is answered when it would survive a crash.
    """
    device = withWill(bed)
    bed.worker.held = True
    device.say(SNPacket(WILLMSGUPD, data=b"otherwise"))
    expect(bed, device)
    bed.worker.release()
    expect(bed, device, SNPacket(WILLMSGRESP, code=ACCEPTED))
