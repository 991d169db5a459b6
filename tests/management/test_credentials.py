"""
Tests for L{twisted_mqtt.management.rest.credentials}: whoever guesses at many secrets at once.
"""

from __future__ import annotations

from base64 import b64encode
from types import SimpleNamespace
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.web.server import Request

from twisted_mqtt.management.applications import Applications
from twisted_mqtt.management.rest.credentials import Credentials
from twisted_mqtt.management.rest.failures import FREE
from twisted_mqtt.operations.operation import Caller, Refused


class SlowApplications:
    """
    Answers when the test says so.

    @ivar asked: the secrets that were looked at, and what answers.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Caller | None]]] = []

    async def check(self, appID: str, secret: str, address: str, isLocal: bool) -> Caller | None:
        """
        See L{Applications.check}.
        """
        self.asked.append((secret, Deferred()))
        return await self.asked[-1][1]


def ask(credentials: Credentials, secret: str, address: str) -> list[Caller | int]:
    """
    Have a request checked; the list gets who calls, or the status of the refusal.
    """
    token = b64encode(f"admin:{secret}".encode())
    request = SimpleNamespace(
        getClientAddress=lambda: SimpleNamespace(host=address),
        getHeader=lambda name: b"Basic " + token if name == b"authorization" else None,
        setHeader=lambda name, value: None,
    )
    got: list[Caller | int] = []

    async def run() -> None:
        try:
            got.append(await credentials.check(cast("Request", request)))
        except Refused as refusal:
            got.append(refusal.status)

    Deferred.fromCoroutine(run())
    return got


def test_guessesAtOnce() -> None:
    """
    Of many guesses that come at once, no more are looked at than of guesses that come one by one. Other addresses do
    not wait meanwhile, and the log names who guesses, once.
    """
    applications = SlowApplications()
    credentials = Credentials(cast("Applications", applications), Clock())
    with capturedLogs() as events:
        guesses = [ask(credentials, f"guess{number}", "192.0.2.66") for number in range(50)]
        other = ask(credentials, "right", "192.0.2.1")
        assert [secret for secret, _ in applications.asked] == ["guess0", "right"]
        caller = Caller("admin", frozenset(("read",)))
        applications.asked.pop()[1].callback(caller)
        assert other == [caller]
        for number in range(FREE):
            applications.asked[number][1].callback(None)
    assert len(applications.asked) == FREE
    assert guesses == [[401]] * FREE + [[429]] * (50 - FREE)
    said = [formatEvent(event) for event in events]
    assert len(said) == 1
    assert said[0].startswith('REST: refused: application "admin" from 192.0.2.66: ')


def test_rightAtOnce() -> None:
    """
    Requests with the right secret that come at once are all answered.
    """
    applications = SlowApplications()
    credentials = Credentials(cast("Applications", applications), Clock())
    answers = [ask(credentials, "right", "192.0.2.1") for _ in range(20)]
    caller = Caller("admin", frozenset(("read",)))
    for number in range(20):
        applications.asked[number][1].callback(caller)
    assert answers == [[caller]] * 20
