"""
Clients that make the broker say what can't be said: the names that they choose stand in topics and answers, and what
comes of that harms nobody else.
"""

from __future__ import annotations

import json
from contextlib import closing

from tests.hostile.kit import Siege, StartSiege, entered, mqtt, packet, ping, publish, subscribe
from tests.system.rawclient import opened, untilClosed
from tests.vectors.packets import counted, frame

PRESENCE = "$SYS/brokers/+/clients/+/+"
LONGEST = 65_535
INSIDE = "tcp.inside"


def tenants(mountpoint: str) -> dict[str, object]:
    """
    A listener whose clients are below a mount point, beside that of the ordinary clients.
    """
    listeners = {"inside": {"bind": "127.0.0.1:0", "zone": "tenants"}, "external": {"bind": "127.0.0.1:0"}}
    return {"listener": {"tcp": listeners}, "zone": {"tenants": {"mountpoint": mountpoint}}}


def presenceOf(siege: Siege, seen: set[str], until: str) -> None:
    """
    Come back to the session of who watches presence, acknowledge what has waited, and note whom it was about; then go.
    """
    with entered(siege.broker, "watcher", flags=0, expiry=3600) as watcher:
        while until not in seen:
            first, body = packet(watcher)
            assert first & 0xF6 == 0x32, first
            topic = 2 + int.from_bytes(body[:2], "big")
            watcher.sendall(b"\x40\x02" + body[topic : topic + 2])
            seen.add(json.loads(body[topic + 3 :])["clientid"])
        watcher.sendall(b"\xe0\x00")
        untilClosed(watcher)


def test_presence(startSiege: StartSiege) -> None:
    """
    A client identifier of 65,500 bytes makes a presence topic that is longer than any topic: a session that watches
    presence gets what comes behind it, at each return. (It failed at every return, and never got the rest.)
    """
    siege = startSiege({"mqtt": {"max_clientid_len": LONGEST}})
    with siege.unharmed():
        with entered(siege.broker, "watcher", expiry=3600) as watcher:
            watcher.sendall(subscribe([PRESENCE], options=1))
            assert packet(watcher)[0] == 0x90
        seen: set[str] = set()
        for turn in range(3):
            for name in ("x" * 65_500, "ä" * 32_750, f"next{turn}"):
                entered(siege.broker, name).close()
            presenceOf(siege, seen, f"next{turn}")
    assert not any(len(name) > 1000 for name in seen)


def test_saneIdentifiers(startSiege: StartSiege) -> None:
    """
    Without further ado nobody has an identifier that long: it is refused with the reason (0x85).
    """
    siege = startSiege()
    with siege.unharmed(), closing(opened(siege.broker, mqtt("x" * 1025))) as link:
        assert packet(link)[1][1] == 0x85
        entered(siege.broker, "x" * 1024).close()


def test_behindAMountPoint(startSiege: StartSiege) -> None:
    """
    A message right at a mount point has no topic behind it: who is there with a session and C{#} gets the next one, and
    no PUBLISH without a topic.
    """
    siege = startSiege(tenants("t/%c/"), listeners=2)
    with siege.unharmed(), entered(siege.broker, "outside") as outside:
        for flags in (0x02, 0x00, 0x00):
            with closing(opened(siege.broker, mqtt("tenant", flags, expiry=3600), listener=INSIDE)) as tenant:
                assert packet(tenant)[0] == 0x20
                if flags:
                    tenant.sendall(subscribe(["#"], options=1))
                    assert packet(tenant)[0] == 0x90
                for topic in ("t/tenant/", "t/tenant", "t/tenant/a"):
                    outside.sendall(publish(topic, topic.encode(), packetID=1))
                    assert packet(outside)[0] == 0x40
                first, body = packet(tenant)
                assert (first, body[:3], body[6:]) == (0x32, counted(b"a"), b"t/tenant/a"), (first, body)
                tenant.sendall(b"\x40\x02" + body[3:5])
                ping(tenant)
                # What waits for it, for the next turn.
                tenant.sendall(b"\xe0\x04")


def test_namesInTopics(startSiege: StartSiege) -> None:
    """
    A name that would change the shape of a mount point keeps its owner out, who is told why.
    """
    siege = startSiege(tenants("%c/"), listeners=2)
    with siege.unharmed():
        for name in ("$SYS", "a/b", "+", "#", "$share"):
            with closing(opened(siege.broker, mqtt(name), listener=INSIDE)) as link:
                first, body = packet(link)
                assert (first, body[1]) == (0x20, 0x87) and b"name" in body, (name, body)


def test_answersThatFitNowhere(startSiege: StartSiege) -> None:
    """
    A client that leaves no room for an answer is sent away at once, and does not wait for it for ever.
    """
    siege = startSiege()
    with siege.unharmed():
        for most, answer in ((4, b""), (7, b"\x20\x03\x00\x95\x00")):
            head = counted(b"MQTT") + b"\x05\x02\x00\x00" + b"\x05\x27" + most.to_bytes(4, "big")
            assert untilClosed(opened(siege.broker, frame(0x10, head + counted(b"small")))) == answer
        head = counted(b"MQTT") + b"\x05\x02\x00\x00" + b"\x05\x27" + (40).to_bytes(4, "big")
        with closing(opened(siege.broker, frame(0x10, head + counted(b"larger")))) as link:
            assert packet(link)[1][1] == 0
            link.sendall(subscribe([f"f/{number}" for number in range(100)]))
            first, body = packet(link)
            assert (first, body[:1]) == (0xE0, b"\x95")
