"""
Tests of waiting until something is on disk.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kits.stores import Bed
from twisted_mqtt.broker.safety import NotSafe
from twisted_mqtt.core.message import Message
from twisted_mqtt.testing.broker import makeBroker


def outcome(safe: Deferred[None] | None) -> list[object]:
    """
    Get the result of a Deferred, if it has fired.
    """
    assert safe is not None
    found: list[object] = []
    safe.addBoth(found.append)
    return found


def test_nothing() -> None:
    """
    Nobody waits for a store that keeps nothing.
    """
    broker, _ = makeBroker(Clock())
    broker.publish(Message("a", b"p", 1, True))
    assert broker.safe() is None


def test_committed(tmp_path: Path) -> None:
    """
    A waiter is told when everything that was published before is committed, in order; a message that changes nothing
    waits for nobody.
    """
    bed = Bed(tmp_path)
    broker = bed.broker
    broker.publish(Message("nobody", b"p", 1))
    assert broker.safe() is None
    bed.worker.held = True
    broker.publish(Message("a", b"p", 1, True))
    first = outcome(broker.safe())
    bed.clock.advance(1)
    broker.publish(Message("b", b"p", 1, True))
    second = outcome(broker.safe())
    assert first == second == []
    bed.worker.step()
    assert (first, second) == ([None], [])
    bed.worker.release()
    bed.clock.advance(1)
    assert second == [None]
    assert broker.safe() is None
    bed.stop()


def test_survives(tmp_path: Path) -> None:
    """
    A message that was reported safe is there after a crash.
    """
    bed = Bed(tmp_path)
    account = bed.broker.account("api")
    assert bed.broker.publishAs(account, "a", b"p", 1, True) == 0x10
    safe = outcome(bed.broker.safe())
    bed.clock.advance(1)
    assert safe == [None]
    bed.restart(crash=True)
    message = bed.broker.retained.get("a")
    assert message is not None and message.payload == b"p"
    bed.stop()


def test_cancelled(tmp_path: Path) -> None:
    """
    A waiter that has given up does not hold up others.
    """
    bed = Bed(tmp_path)
    bed.worker.held = True
    bed.broker.publish(Message("a", b"p", 1, True))
    given, kept = bed.broker.safe(), bed.broker.safe()
    assert given is not None
    given.addErrback(lambda failure: None)
    given.cancel()
    told = outcome(kept)
    bed.clock.advance(1)
    bed.worker.release()
    bed.clock.advance(1)
    assert told == [None]
    bed.stop()


def test_stopped(tmp_path: Path) -> None:
    """
    A broker that stops writes first, then tells who waits.
    """
    bed = Bed(tmp_path)
    bed.broker.publish(Message("a", b"p", 1, True))
    told = outcome(bed.broker.safe())
    bed.stop()
    assert told == [None]


def test_neverWritten(tmp_path: Path) -> None:
    """
    A waiter for a message that was never written is told when the broker has stopped.
    """
    bed = Bed(tmp_path)
    safety = bed.broker._safety
    bed.broker.router.progress.sequence += 5
    told = outcome(bed.broker.safe())
    safety.stop()
    assert isinstance(told[0], Failure) and told[0].check(NotSafe)
    bed.broker.router.progress.sequence -= 5
    bed.stop()
