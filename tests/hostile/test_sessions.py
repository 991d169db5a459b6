"""
Clients that leave sessions behind.
"""

from tests.hostile.kit import StartSiege, entered, packet, publish, subscribe

MEGABYTE = 1_000_000
MESSAGES = 40
WAVES = 6


def test_endedSessionsLetGo(startSiege: StartSiege) -> None:
    """
    The messages in a session that was to be kept for an hour are let go when a clean start ends it. (40 MB a wave
    stayed until that hour was over.)
    """
    siege = startSiege({"persistence": {"store": "memory"}})
    broker = siege.broker
    payload = bytes(MEGABYTE)
    held: list[float] = []
    with siege.unharmed(), entered(broker, "filler") as filler:
        for _ in range(WAVES):
            with entered(broker, "hoarder", expiry=3600) as hoarder:
                hoarder.sendall(subscribe(["hoard"], options=1))
                assert packet(hoarder)[0] == 0x90
                hoarder.sendall(b"\xe0\x00")
                assert hoarder.recv(1) == b""
            for number in range(MESSAGES):
                filler.sendall(publish("hoard", payload, packetID=number + 1))
                assert packet(filler)[0] == 0x40
            held.append(broker.residentMiB)
    # One wave is there at the end, and the allocator may keep the room of another.
    assert held[-1] - held[0] < 2.5 * MESSAGES, held
