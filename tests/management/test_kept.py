"""
When a call that changes something is answered: tests for L{twisted_mqtt.management.rest.resource.answerOf}.
"""

from __future__ import annotations

from twisted.internet.testing import StringTransport

from tests.kits.rest import Rest
from twisted_mqtt.management.rest.resource import PATIENCE


def begin(rest: Rest) -> StringTransport:
    """
    Remove a ban, while the store is busy.
    """
    assert rest.call("POST", "/banned", {"who": "one", "as": "clientid"}).status == 200
    rest.memory.broker.router.progress.sequence += 1
    return rest.listen("/banned/clientid/one", method="DELETE")[0]


def test_onDisk() -> None:
    """
    A change is answered when it is on disk; what changes nothing does not wait for that.
    """
    rest = Rest()
    transport = begin(rest)
    assert transport.value() == b""
    assert rest.call("GET", "/banned").data == []
    router = rest.memory.broker.router
    router.progress.committed = router.progress.sequence
    router.committed()
    rest.memory.wait(0.01, 0.001)
    assert transport.value().startswith(b"HTTP/1.1 200 OK\r\n")


def test_storeFails() -> None:
    """
    While the store can't be written, the caller hears after a while that the change may be lost.
    """
    transport = begin(rest := Rest())
    rest.memory.wait(PATIENCE + 1)
    assert transport.value().startswith(b"HTTP/1.1 500 ")
    assert b'"code":118' in transport.value()
