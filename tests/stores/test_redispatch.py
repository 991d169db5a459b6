"""
Messages that only the store has for a member of a shared subscription go to another when the member's session ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo, takeAll

EXPECTED = [b"%d" % number for number in range(700)]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker that has a long queue for a member that is away, and little else.
    """
    made = Bed(tmp_path)
    leaving = made.client("leaving")
    leaving.subscribe("$share/g/t", qos=1)
    leaving.subscribe("own", qos=1)
    leaving.lose()
    publishTo(made, *EXPECTED)
    publishTo(made, b"nobody else's", topic="own")
    yield made
    made.crash()


@pytest.mark.parametrize("restarted", [False, True])
def test_passedOn(bed: Bed, restarted: bool) -> None:
    """
    All of it, in order, and nothing is left; whether the queue was partly in memory or, after a start, not at all. The
    client that left begins anew meanwhile.
    """
    if restarted:
        bed.restart(crash=True)
    heir = bed.client("heir")
    heir.subscribe("$share/g/t", qos=1)
    bed.client("leaving", clean=True).subscribe("own", qos=1)
    assert takeAll(heir) == EXPECTED
    bed.clock.advance(1)
    assert (bed.entries, bed.messages, bed.rows("session"), bed.rows("subscription")) == (0, 0, 2, 2)
    publishTo(bed, b"new", topic="own")
    bed.restart(crash=True)
    assert takeAll(bed.client("leaving")) == [b"new"]


def test_passedOnAcrossACrash(bed: Bed) -> None:
    """
    A broker that is killed meanwhile goes on with it when it is started again.
    """
    heir = bed.client("heir")
    heir.subscribe("$share/g/t", qos=1)
    bed.worker.held = True
    bed.broker.registry.end("leaving")
    for _ in range(5):
        bed.clock.advance(0)
        bed.worker.step()
    assert bed.store.journal.progress.committed
    bed.restart(crash=True)
    assert "leaving" not in bed.broker.sessions
    assert list(bed.broker.sessions) == ["heir"]
    received = takeAll(bed.client("heir"))
    # Messages that had been sent before the crash may come again, and only these.
    assert [int(payload) for payload in received] == sorted(map(int, received))
    assert set(received) == set(EXPECTED) and len(received) == len(EXPECTED)
    bed.clock.advance(1)
    assert (bed.entries, bed.messages, bed.rows("session")) == (0, 0, 1)


def test_nobodyIsThere(bed: Bed) -> None:
    """
    Where there is no other member, it ends with the session.
    """
    bed.broker.registry.end("leaving")
    for _ in range(20):
        bed.clock.advance(0)
    bed.clock.advance(1)
    assert (bed.entries, bed.messages, bed.rows("session"), bed.rows("subscription")) == (0, 0, 0, 0)
    assert bed.broker.traffic.total("messages_dropped") >= len(EXPECTED)


def test_queueLimit(tmp_path: Path) -> None:
    """
    Messages that were dropped from a full queue are not passed on; the queue of the next member has its own limit.
    """
    bed = Bed(tmp_path, max_mqueue_len=300)
    leaving = bed.client("leaving")
    leaving.subscribe("$share/g/t", qos=1)
    leaving.lose()
    publishTo(bed, *EXPECTED)
    heir = bed.client("heir")
    heir.subscribe("$share/g/t", qos=1)
    bed.client("leaving", clean=True)
    assert takeAll(heir) == EXPECTED[-300:]
    bed.crash()
