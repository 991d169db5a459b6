"""
Tests of L{twisted_mqtt.core.inflight}.
"""

from __future__ import annotations

from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.inflight import Inflight
from twisted_mqtt.core.message import Message


def entryOf(qos: int = 1) -> Entry:
    """
    An entry of a message.
    """
    return Entry(Message("t", b"", qos), qos, False, None, None)


def test_identifiersAreReusedLast() -> None:
    """
    Packet identifiers are given in turn from 1 to 65535, and those that are in use are left out.
    """
    inflight = Inflight()
    kept = entryOf()
    assert inflight.add(kept) == 1
    for expected in range(2, 65536):
        entry = entryOf()
        assert inflight.add(entry) == expected
        inflight.remove(entry)
    assert inflight.add(entryOf()) == 2
    assert len(inflight) == 2


def test_resendingKeepsOrderAndWindow() -> None:
    """
    Messages in flight are sent again in the order of sending, as far as the window has room.
    """
    inflight = Inflight()
    entries = [entryOf() for _ in range(4)]
    for entry in entries:
        inflight.add(entry)
    inflight.startResending()
    assert inflight.nextToResend(2) is entries[0]
    assert inflight.nextToResend(2) is entries[1]
    assert inflight.nextToResend(2) is None
    inflight.remove(entries[0])
    assert inflight.nextToResend(2) is entries[2]


def test_acknowledgedBeforeItIsSentAgain() -> None:
    """
    A message that the client acknowledges before it is sent again is not sent again.
    """
    inflight = Inflight()
    entries = [entryOf() for _ in range(2)]
    for entry in entries:
        inflight.add(entry)
    inflight.startResending()
    inflight.remove(entries[0])
    assert inflight.nextToResend(9) is entries[1]
    assert inflight.resend is None and inflight.nextToResend(9) is None
