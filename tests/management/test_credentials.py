"""
Tests for L{twisted_mqtt.management.rest.credentials}: whoever guesses at many secrets at once, and who calls with the
account of the configuration or a token.
"""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jwt
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from tests.kits.rest import Rest
from twisted_mqtt.base.webtokens import TokenKeyProblem
from twisted_mqtt.management.applications import Applications
from twisted_mqtt.management.extension import Management
from twisted_mqtt.management.rest.credentials import Credentials
from twisted_mqtt.management.rest.failures import FREE, guesserOf
from twisted_mqtt.management.settings import ManagementSettings, NanoMQAccount
from twisted_mqtt.operations.operation import Caller, Refused
from twisted_mqtt.testing.extension import resultOf


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
        responseHeaders=Headers(),
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


SECRET = b"a secret of at least thirty-two bytes"


def restWith(tmp_path: Path, **nanomq: Any) -> tuple[Rest, Path]:
    """
    A broker that takes tokens, and the file of their key.
    """
    file = tmp_path / "key"
    file.write_bytes(SECRET)
    account = NanoMQAccount(jwt_public_keyfile=str(file), **nanomq)
    return Rest(ManagementSettings(nanomq=account)), file


def bearer(secret: bytes = SECRET, **claims: Any) -> dict[str, str]:
    """
    The header of a token.
    """
    return {"Authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}


def test_account() -> None:
    """
    The account of the configuration may do everything, from anywhere, and hears NanoMQ's dialect; applications are
    there beside it.
    """
    rest = Rest(ManagementSettings(nanomq=NanoMQAccount(username="nano", password="s:ecret")))
    answer = rest.call("GET", "/brokers", user="nano:s:ecret", host="192.0.2.1")
    assert "node" not in answer.data[0]
    assert rest.call("GET", "/apps", user="nano:s:ecret").status == 200
    assert "node" in rest.call("GET", "/brokers").data[0]
    for user in ("nano:", "nano:wrong", ":s:ecret", "Nano:s:ecret"):
        answer = rest.call("GET", "/brokers", user=user)
        assert (answer.status, answer.json["code"]) == (401, 103)


@pytest.mark.parametrize(("username", "password"), [("", ""), ("", "public"), ("nano", "")])
def test_noAccount(username: str, password: str) -> None:
    """
    Without a name or a password there is no account.
    """
    rest = Rest(ManagementSettings(nanomq=NanoMQAccount(username=username, password=password)))
    assert rest.call("GET", "/brokers", user=f"{username}:{password}").status == 401


def test_publicPassword() -> None:
    """
    The password of NanoMQ's sample is of use on this machine only.
    """
    rest = Rest(ManagementSettings(nanomq=NanoMQAccount(username="nano", password="public")))
    assert rest.call("GET", "/brokers", user="nano:public").status == 200
    assert rest.call("GET", "/brokers", user="nano:public", host="192.0.2.1").status == 401


def test_tokens(tmp_path: Path) -> None:
    """
    Who shows a token may do what it says, or everything, until it expires: that has a code of its own.
    """
    rest, _ = restWith(tmp_path, jwt_leeway=0.0)
    now = rest.memory.broker.dates.now()
    headers = bearer(sub="anna", exp=now + 60)
    assert rest.call("GET", "/brokers", user=None, headers=headers, host="192.0.2.1").status == 200
    assert rest.call("GET", "/apps", user=None, headers=headers).status == 200
    for claims in ({"scope": "read other"}, {"scopes": ["read"]}):
        narrow = bearer(exp=now + 60, **claims)
        assert rest.call("GET", "/clients", user=None, headers=narrow).status == 200
        assert rest.call("DELETE", "/clients/a", user=None, headers=narrow).status == 403
    rest.memory.clock.advance(60)
    answer = rest.call("GET", "/brokers", user=None, headers=headers)
    assert (answer.status, answer.json["code"]) == (401, 116)
    assert answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer x.y.z",
        "Bearer é",
        bearer(b"x" * 32)["Authorization"],
        bearer(scopes=5)["Authorization"],
        bearer(scope=None)["Authorization"],
        bearer(scopes=[["read"]])["Authorization"],
        "Bearer " + jwt.encode({}, None, "none"),
        "Token x",
    ],
)
def test_wrongTokens(tmp_path: Path, value: str) -> None:
    """
    Anything else is nobody; guesses are slowed down.
    """
    rest, _ = restWith(tmp_path)
    for _ in range(FREE):
        answer = rest.call("GET", "/brokers", user=None, headers={"Authorization": value})
        assert (answer.status, answer.json["code"]) in ((401, 103), (401, 104))
    if answer.json["code"] == 103:
        assert rest.call("GET", "/brokers", user=None, headers=bearer()).status == 429


def test_expiredTokensAreNoGuesses(tmp_path: Path) -> None:
    """
    Whoever has a token that was good does not have to wait for the next.
    """
    rest, _ = restWith(tmp_path)
    for _ in range(2 * FREE):
        assert rest.call("GET", "/brokers", user=None, headers=bearer(exp=1)).json["code"] == 116
    assert rest.call("GET", "/brokers", user=None, headers=bearer()).status == 200


def test_kinds(tmp_path: Path) -> None:
    """
    What is not taken is not looked at, and the answer says what is.
    """
    rest, _ = restWith(tmp_path, auth_type="jwt", username="nano", password="x")
    for user in ("nano:x", "admin:public"):
        answer = rest.call("GET", "/brokers", user=user)
        assert (answer.status, answer.json["code"]) == (401, 104)
        assert "token" in answer.json["message"] and "Basic" not in answer.json["message"]
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert rest.call("GET", "/brokers", user=None, headers=bearer()).status == 200
    rest, _ = restWith(tmp_path, auth_type="basic", username="nano", password="x")
    assert rest.call("GET", "/brokers", user=None, headers=bearer()).json["code"] == 104
    assert rest.call("GET", "/brokers", user="nano:x").status == 200


def test_anotherKey(tmp_path: Path) -> None:
    """
    A reload takes another key; one that can't be used leaves the old one.
    """
    rest, file = restWith(tmp_path)
    management = cast("Management", rest.harness.extension)
    file.write_bytes(b"short")
    with pytest.raises(TokenKeyProblem, match="32 bytes"):
        resultOf(Deferred.fromCoroutine(management.refreshKey()))
    assert rest.call("GET", "/brokers", user=None, headers=bearer()).status == 200
    file.write_bytes(b"y" * 32)
    resultOf(Deferred.fromCoroutine(management.refreshKey()))
    assert rest.call("GET", "/brokers", user=None, headers=bearer()).status == 401
    assert rest.call("GET", "/brokers", user=None, headers=bearer(b"y" * 32)).status == 200


@pytest.mark.parametrize("name", ["nothing", "."])
def test_noKey(tmp_path: Path, name: str) -> None:
    """
    A key that can't be used keeps management from starting, and says which file it is.
    """
    with pytest.raises(TokenKeyProblem, match="jwt_public_keyfile"):
        Rest(ManagementSettings(nanomq=NanoMQAccount(jwt_public_keyfile=str(tmp_path / name))))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8081"},  # a name that leads to this machine, for the time being
        {"Host": "localhost.evil.example"},
        {"Host": "[2001:db8::1]:8081"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_pagesOfOthers(headers: dict[str, str]) -> None:
    """
    What serves this machine alone does not serve the pages that a browser shows there, under whatever name.
    """
    rest = Rest()
    assert rest.call("GET", "/brokers", headers=headers).status in (401, 403)
    assert Rest(path="/metrics").call("GET", "", user=None, headers=headers).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8081"},
        {"Host": "127.9.9.9"},
        {"Host": "[::1]:8081"},
        {"Host": "LOCALHOST:8081"},
        {"Host": "broker.localhost"},
        {"Host": "localhost:8081", "Origin": "http://localhost:8081"},
        {"Host": "127.0.0.1:8081", "Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_ownPages(headers: dict[str, str]) -> None:
    """
    Pages of the broker itself are served, and what somebody types into a browser.
    """
    assert Rest().call("GET", "/brokers", headers=headers).status == 200
    assert Rest(path="/metrics").call("GET", "", user=None, headers=headers).status == 200


def test_pagesWithCredentials() -> None:
    """
    A browser adds credentials that were typed in before to what any page asks for. An application serves no page of
    another site, whatever the address.
    """
    rest = Rest()
    rest.call("POST", "/apps", {"app_id": "a", "name": "A", "secret": "s"})
    here = {"Host": "broker.example"}
    call = partial(rest.call, "GET", "/brokers", user="a:s", host="192.0.2.7")
    assert call(headers=here).status == 200
    refused = call(headers={**here, "Origin": "https://evil.example"})
    assert (refused.status, refused.json["code"]) == (403, 403)
    assert "another site" in refused.json["message"]
    # Behind a proxy that does not pass on what the host is called, the browser's own word counts.
    assert call(headers={**here, "Origin": "https://x.example", "Sec-Fetch-Site": "same-origin"}).status == 200


@pytest.mark.parametrize(
    ("address", "guesser"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:DB8:1:2::", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_guessers(address: str, guesser: str) -> None:
    """
    Of IPv6, all addresses of a network are one guesser.
    """
    assert guesserOf(address) == guesser


def test_guessesFromANetwork() -> None:
    """
    Whoever guesses from another address of the same IPv6 network each time is slowed down as from one.
    """
    applications = SlowApplications()
    credentials = Credentials(cast("Applications", applications), Clock())
    guesses = [ask(credentials, f"guess{number}", f"2001:db8::{number:x}") for number in range(50)]
    for number in range(FREE):
        applications.asked[number][1].callback(None)
    assert len(applications.asked) == FREE
    assert guesses == [[401]] * FREE + [[429]] * (50 - FREE)
