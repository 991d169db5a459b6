"""
Tests for the CoAP gateway where retained messages are on disk alone, and take their time to come.
"""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from gateways.coap.codes import DELETE, GET, PUT, codeText
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, IF_NONE_MATCH, MAX_AGE, OBSERVE, uintOf, uintOption
from tests.gateways.coap.test_gateway import Kit
from tests.kits.disk import Disk


class DiskKit(Kit):
    """
    A gateway whose broker has the messages published so far on disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disk = self.broker.retained.source = Disk()
        self.local.publish("a/b", b"kept", 1, True)
        assert self.code(PUT, "/ps/c?c=me", b"{}", [uintOption(CONTENT_FORMAT, 50), uintOption(MAX_AGE, 60)]) == "2.01"
        self.write()
        self.notified()

    def write(self) -> None:
        """
        Write what has been published.
        """
        for message in self.published:
            if message.retain:
                self.disk.messages[message.topic] = message
        self.broker.retained.written(self.published)

    def wait(self, code: int, uri: str) -> CoAPMessage:
        """
        Send a request whose response has to wait, and answer it.
        """
        self.send(code, uri)
        assert self.notified() == []
        self.disk.answer()
        (response,) = self.notified()
        return response


@pytest.fixture
def kit() -> DiskKit:
    """
    A gateway.
    """
    return DiskKit()


def test_read(kit: DiskKit) -> None:
    """
    A value is read with its format and what is left of its age.
    """
    assert kit.wait(GET, "/ps/a/b?c=me").payload == b"kept"
    kit.clock.advance(20)
    value = kit.wait(GET, "/ps/c?c=me")
    assert (codeText(value.code), value.payload) == ("2.05", b"{}")
    assert (uintOf(value.options, CONTENT_FORMAT), uintOf(value.options, MAX_AGE)) == (50, 40)
    kit.clock.advance(41)
    assert kit.code(GET, "/ps/c?c=me") == "2.07"


def test_known(kit: DiskKit) -> None:
    """
    Whether there is a value is known without reading it.
    """
    assert kit.code(PUT, "/ps/a/b?c=me", b"x", [(IF_NONE_MATCH, b"")]) == "4.12"
    assert kit.code(PUT, "/ps/a/b?c=me", b"x") == "2.04"
    assert kit.code(DELETE, "/ps/a/b?c=me") == "2.02"
    assert kit.code(GET, "/ps/a/b?c=me") == "4.04"
    assert kit.disk.asked == []


def test_observe(kit: DiskKit) -> None:
    """
    The answer to an observation holds the value; what is published while it is read counts as newer, also where it
    arrives first.
    """
    kit.send(GET, "/ps/a/b?c=me", options=[(OBSERVE, b"")])
    kit.local.publish("a/b", b"passing", 0)
    (early,) = kit.notified()
    kit.disk.answer()
    (answer,) = kit.notified()
    assert (early.payload, answer.payload) == (b"passing", b"kept")
    numbers = uintOf(answer.options, OBSERVE), uintOf(early.options, OBSERVE)
    assert None not in numbers and numbers[0] < numbers[1]  # type: ignore[operator] # neither is None


def test_observeFilter(kit: DiskKit) -> None:
    """
    The values of a filter come after the answer, once they are read.
    """
    kit.observe("/mqtt/a/+?c=me")
    kit.notified()
    kit.disk.answer()
    assert [message.payload for message in kit.notified()] == [b"kept"]


class UnreadableTests(SynchronousTestCase):
    """
    A disk that fails.
    """

    def test_fails(self) -> None:
        """
        A value that can't be read is an error of the server.
        """
        kit = DiskKit()
        kit.send(GET, "/ps/a/b?c=me")
        kit.disk.fail()
        (response,) = kit.notified()
        self.assertEqual(codeText(response.code), "5.00")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
