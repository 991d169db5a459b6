"""
Clients that leave sessions behind.
"""

from contextlib import ExitStack

from tests.hostile.kit import StartSiege, entered, mqtt, packet, publish, subscribe
from tests.system.rawclient import opened, read

MEMORY = {"persistence": {"store": "memory"}}
MEGABYTE = 1_000_000
MESSAGES = 40
WAVES = 6
# Half a million messages of wills.
CLIENTS = 1500
SUBSCRIBERS = 400


def test_endedSessionsLetGo(startSiege: StartSiege) -> None:
    """
    The messages in a session that was to be kept for an hour are let go when a clean start ends it. (40 MB a wave
    stayed until that hour was over.)
    """
    siege = startSiege(MEMORY)
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


def test_goTogether(startSiege: StartSiege) -> None:
    """
    Very many clients vanish at the same time, and each has a will that very many others are to hear of.
    """
    siege = startSiege(MEMORY)
    broker = siege.broker
    with ExitStack() as stack:
        hearing = [stack.enter_context(entered(broker, f"hearing{number}")) for number in range(SUBSCRIBERS)]
        for link in hearing:
            link.sendall(subscribe(["gone/+"]))
            assert packet(link)[0] == 0x90
        going = [opened(broker, mqtt(f"going{number}", will=(f"gone/{number}", b"x"))) for number in range(CLIENTS)]
        for link in going:
            assert packet(link)[0] == 0x20
        with siege.unharmed():
            for link in going:
                link.close()
            wills = sum(len(publish(f"gone/{number}", b"x")) for number in range(CLIENTS))
            for link in hearing:
                assert len(read(link, wills)) == wills
