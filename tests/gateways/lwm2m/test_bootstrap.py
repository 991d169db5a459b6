"""
Tests for L{gateways.lwm2m.bootstrap} and L{gateways.lwm2m.accounts} (LwM2M 1.1.1 core 6.1).
"""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    DELETED,
    METHOD_NOT_ALLOWED,
    METHODS,
    POST,
    codeText,
)
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, URI_PATH, stringsOf, uintOf, uintOption
from gateways.lwm2m.accounts import Account, Accounts
from gateways.lwm2m.bootstrap import Refused, conversation
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import SENML_CBOR, SENML_JSON, TLV, Dialect, decode
from gateways.lwm2m.formats.values import Value
from gateways.lwm2m.settings import LwM2MBootstrap, LwM2MBootstrapEndpoint, LwM2MBootstrapServer
from tests.gateways.lwm2m.examples import MODELS
from tests.kits.lwm2m import Kit, Peer
from twisted_mqtt.net.peeridentity import PeerIdentity

KEY = "00112233445566778899aabbccddeeff"

PLAIN = LwM2MBootstrap(
    enable=True, server={"main": LwM2MBootstrapServer(uri="coap://192.0.2.1:5783", short_server_id=101, lifetime=300)}
)
SECURE = LwM2MBootstrap(
    enable=True,
    server={
        "main": LwM2MBootstrapServer(uri="coaps://lwm2m.example", short_server_id=1, binding="UQ"),
        "other": LwM2MBootstrapServer(uri="coap://192.0.2.1", short_server_id=2),
    },
    endpoint={
        "ep1": LwM2MBootstrapEndpoint(identity="id1", key=KEY),
        "ep2": LwM2MBootstrapEndpoint(servers=("other",)),
        "ep3": LwM2MBootstrapEndpoint(servers=("other", "nobody")),
    },
)


class Blank:
    """
    A device that knows no server but the bootstrap server, whose account it has at one place of its Security object.

    @ivar done: what it was asked, in order.
    @ivar values: what it has been told.
    @ivar answers: what it answers to a request instead of doing it.
    """

    def __init__(self, account: int | None = 0) -> None:
        self.done: list[str] = []
        self.values: dict[tuple[int, ...], Value] = {}
        self.answers: dict[str, CoAPMessage | None] = {}
        self.account = account
        self.formats: set[int] = set()

    def __call__(self, request: CoAPMessage) -> CoAPMessage | None:
        path = stringsOf(request.options, URI_PATH)
        what = f"{METHODS[request.code]} /{'/'.join(path)}"
        self.done.append(what)
        if what in self.answers:
            return self.answers[what]
        if what == "DELETE /":
            return CoAPMessage(DELETED)
        if what == "GET /0":
            if self.account is None:
                return CoAPMessage(METHOD_NOT_ALLOWED)
            links = b'</>;lwm2m="1.1",</0/%d>' % self.account
            return CoAPMessage(CONTENT, [uintOption(CONTENT_FORMAT, 40)], links)
        form = uintOf(request.options, CONTENT_FORMAT)
        if form is not None:
            self.formats.add(form)
            base = tuple(map(int, path))
            for entry in decode(form, request.payload, base, Dialect(MODELS)):
                self.values[entry.path] = entry.value
        return CoAPMessage(CHANGED)


def bootstrapped(kit: Kit, peer: Peer, query: str = "ep=ep1") -> str:
    """
    A device asks, and all is done.

    @return: what it is answered first.
    """
    code = peer.code(POST, f"/bs?{query}")
    kit.run(1)
    assert len(kit.gateway.bootstrapping) == 0
    return code


def test_accounts() -> None:
    """
    A device forgets what it knew, gets an instance of both objects for each server, and is told to begin.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    assert bootstrapped(kit, kit.device("ep1", blank)) == "2.04"
    assert blank.done == ["DELETE /", "GET /0", "PUT /0/1", "PUT /1/1", "POST /bs"]
    assert blank.values == {
        (0, 1, 0): "coap://192.0.2.1:5783",
        (0, 1, 1): False,
        (0, 1, 2): 3,
        (0, 1, 3): b"",
        (0, 1, 4): b"",
        (0, 1, 5): b"",
        (0, 1, 10): 101,
        (1, 1, 0): 101,
        (1, 1, 1): 300,
        (1, 1, 6): True,
        (1, 1, 7): "U",
    }
    # Nobody is registered by that, and nobody has heard of it.
    assert kit.gateway.registry.devices == {}
    assert kit.heard == []


@pytest.mark.parametrize(("account", "instance"), [(0, 1), (1, 2), (5, 1), (None, 1)])
def test_ownAccount(account: int | None, instance: int) -> None:
    """
    The account of the bootstrap server is not written over, wherever a device has it; one that can't say has it at 0.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank(account)
    bootstrapped(kit, kit.device("ep1", blank))
    assert blank.done[2:] == [f"PUT /0/{instance}", f"PUT /1/{instance}", "POST /bs"]


@pytest.mark.parametrize("pct", [TLV, SENML_JSON, SENML_CBOR])
def test_format(pct: int) -> None:
    """
    A device says in which format it wants to be told (core 6.1.7.1).
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    assert bootstrapped(kit, kit.device("ep1", blank), f"ep=ep1&pct={pct}") == "2.04"
    assert blank.formats == {pct}
    assert blank.values[(1, 1, 1)] == 300


def test_key() -> None:
    """
    Over DTLS, a device that has shown who it is gets its key.
    """
    kit = Kit(bootstrap=SECURE)
    blank = Blank()
    peer = kit.device("ep1", blank, PeerIdentity(psk=b"id1"))
    assert bootstrapped(kit, peer) == "2.04"
    assert blank.values[(0, 1, 0)] == "coaps://lwm2m.example"
    assert blank.values[(0, 1, 2)] == 0
    assert blank.values[(0, 1, 3)] == b"id1"
    assert blank.values[(0, 1, 5)] == bytes.fromhex(KEY)
    assert blank.values[(1, 1, 7)] == "UQ"
    assert blank.values[(0, 2, 2)] == 3
    assert blank.done[2:] == ["PUT /0/1", "PUT /1/1", "PUT /0/2", "PUT /1/2", "POST /bs"]


@pytest.mark.parametrize("identity", [PeerIdentity(psk=b"ep1"), PeerIdentity(cn="ep1")])
def test_proven(identity: PeerIdentity) -> None:
    """
    So does one whose key or certificate has its name; it need not say that again.
    """
    kit = Kit(bootstrap=SECURE)
    blank = Blank()
    assert bootstrapped(kit, kit.device("ep1", blank, identity), "pct=110") == "2.04"
    assert blank.values[(0, 1, 5)] == bytes.fromhex(KEY)


@pytest.mark.parametrize(
    "identity", [None, PeerIdentity(psk=b"id2"), PeerIdentity(cn="ep2"), PeerIdentity(cn="id1"), PeerIdentity()]
)
def test_keyOfSomebodyElse(identity: PeerIdentity | None) -> None:
    """
    Nobody else gets it, and nobody gets it without DTLS.
    """
    kit = Kit(bootstrap=SECURE)
    blank = Blank()
    assert bootstrapped(kit, kit.device("ep1", blank, identity)) == "4.03"
    assert blank.done == []


def test_keyOfTheFile() -> None:
    """
    A device without a table has the key that others have told of its name.
    """
    kit = Kit(bootstrap=SECURE)
    kit.broker.preSharedKeys.add(lambda identity: b"secret" if identity == b"ep9" else None)
    blank = Blank()
    peer = kit.device("ep9", blank, PeerIdentity(psk=b"ep9"))
    assert bootstrapped(kit, peer, "ep=ep9") == "2.04"
    assert blank.values[(0, 1, 3)] == b"ep9"
    assert blank.values[(0, 1, 5)] == b"secret"
    assert bootstrapped(kit, peer, "ep=ep8") == "4.00"


def test_servers() -> None:
    """
    A device may have servers of its own; what is wrong with the settings is told, and costs no other device anything.
    """
    kit = Kit(bootstrap=SECURE)
    blank = Blank()
    assert bootstrapped(kit, kit.device("ep2", blank), "ep=ep2") == "2.04"
    assert blank.values[(0, 1, 0)] == "coap://192.0.2.1"
    assert (0, 2, 0) not in blank.values
    assert bootstrapped(kit, kit.device("ep3", blank), "ep=ep3") == "4.00"
    assert kit.gateway.bootstrapping.accounts.problems == [
        "lwm2m.bootstrap.endpoint.ep3.servers: there is no lwm2m.bootstrap.server.nobody"
    ]


def test_sameNumber() -> None:
    """
    Servers of one device have different numbers.
    """
    server = LwM2MBootstrapServer(uri="coap://192.0.2.1")
    accounts = Accounts(LwM2MBootstrap(server={"a": server, "b": server}), lambda identity: None)
    assert accounts.problems == ["lwm2m.bootstrap.server.b.short_server_id: 1 is that of a too"]
    with pytest.raises(ContentError, match="one number"):
        accounts.of("ep1")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "4.00"),
        ("ep=", "4.00"),
        ("ep=a%00", "2.04"),
        ("ep=a\x07", "4.00"),
        ("ep=" + "a" * 252, "2.04"),
        ("ep=ep1&pct=60", "4.15"),
        ("ep=ep1&pct=x", "4.15"),
        ("x", "4.00"),
    ],
)
def test_refused(query: str, code: str) -> None:
    """
    A device has a name, and a format that there is.
    """
    kit = Kit(bootstrap=PLAIN)
    assert bootstrapped(kit, kit.device("ep1", Blank()), query) == code


def test_disabled() -> None:
    """
    Without being enabled there is nothing there; nor is there without servers.
    """
    for bootstrap in (LwM2MBootstrap(server=PLAIN.server), LwM2MBootstrap(enable=True)):
        kit = Kit(bootstrap=bootstrap)
        blank = Blank()
        assert bootstrapped(kit, kit.device("ep1", blank)) == "4.00"
        assert blank.done == []


@pytest.mark.parametrize(
    ("failing", "done"),
    [("DELETE /", 1), ("PUT /0/1", 3), ("PUT /1/1", 4), ("POST /bs", 5)],
)
def test_failing(failing: str, done: int) -> None:
    """
    When a device refuses one request, it gets no more.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    blank.answers[failing] = CoAPMessage(BAD_REQUEST)
    bootstrapped(kit, kit.device("ep1", blank))
    assert len(blank.done) == done
    assert blank.done[-1] == failing


@pytest.mark.parametrize("payload", [b"\xff", b"x", b"", b"</0>,</0/1/2>,</1/1>", b"</a>"])
def test_unreadableDiscover(payload: bytes) -> None:
    """
    A device's list of the remaining accounts helps, and harms nothing.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    blank.answers["GET /0"] = CoAPMessage(CONTENT, [], payload)
    bootstrapped(kit, kit.device("ep1", blank))
    assert blank.done[-1] == "POST /bs"


def test_silent() -> None:
    """
    A device that does not answer is given up: at the end of the attempts, or some time after it has received a request.
    """
    kit = Kit(bootstrap=PLAIN, response_timeout=20)
    peer = kit.device("ep1", Blank())
    assert peer.code(POST, "/bs?ep=ep1") == "2.04"
    peer.deaf = True
    kit.run(200)
    assert len(kit.gateway.bootstrapping) == 0
    blank = Blank()
    blank.answers["DELETE /"] = None
    peer = kit.device("ep1", blank)
    assert peer.code(POST, "/bs?ep=ep1") == "2.04"
    # The empty acknowledgement comes by itself.
    kit.run(15)
    assert len(kit.gateway.bootstrapping) == 1
    kit.run(20)
    assert len(kit.gateway.bootstrapping) == 0
    # An answer that comes then is no more than a stranger's.
    peer.respond(CoAPMessage(DELETED))
    kit.run(10)
    assert blank.done == ["DELETE /"]


def test_again() -> None:
    """
    A device that asks again, because it has been started anew perhaps, is told everything anew.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    blank.answers["PUT /1/1"] = None
    peer = kit.device("ep1", blank)
    assert peer.code(POST, "/bs?ep=ep1") == "2.04"
    kit.run(10)
    assert blank.done[-1] == "PUT /1/1"
    blank.answers.clear()
    blank.done.clear()
    assert bootstrapped(kit, peer) == "2.04"
    assert blank.done == ["DELETE /", "GET /0", "PUT /0/1", "PUT /1/1", "POST /bs"]


def test_many() -> None:
    """
    A hundred at once are served.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    blank.answers["DELETE /"] = None
    asked = [kit.device(f"ep{number}", blank).ask(POST, f"/bs?ep=ep{number}") for number in range(101)]
    kit.run(5)
    assert [answer.code for answer in asked] == ["2.04"] * 100 + ["5.03"]
    assert len(kit.gateway.bootstrapping) == 100
    kit.run(200)
    assert bootstrapped(kit, kit.device("more", Blank()), "ep=more") == "2.04"


def test_stop() -> None:
    """
    When the gateway stops, nothing is left to be done.
    """
    kit = Kit(bootstrap=PLAIN)
    blank = Blank()
    blank.answers["DELETE /"] = None
    peer = kit.device("ep1", blank)
    assert peer.code(POST, "/bs?ep=ep1") == "2.04"
    kit.run(5)
    kit.gateway.endAll(0x8B)
    assert len(kit.gateway.bootstrapping) == 0
    peer.respond(CoAPMessage(DELETED))
    kit.run(300)
    assert blank.done == ["DELETE /"]


def test_associationLost() -> None:
    """
    With its association a device is gone.
    """
    kit = Kit(bootstrap=SECURE)
    blank = Blank()
    blank.answers["PUT /0/1"] = None
    peer = kit.device("ep1", blank, PeerIdentity(psk=b"id1"))
    assert peer.code(POST, "/bs?ep=ep1") == "2.04"
    kit.run(5)
    kit.secure.lost(peer.address)
    assert len(kit.gateway.bootstrapping) == 0


def test_log() -> None:
    """
    The log tells how it ended, and nothing of a key.
    """
    kit = Kit(bootstrap=SECURE)
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        bootstrapped(kit, kit.device("ep1", Blank(), PeerIdentity(psk=b"id1")))
        blank = Blank()
        blank.answers["PUT /0/1"] = CoAPMessage(BAD_REQUEST)
        bootstrapped(kit, kit.device("ep1", blank, PeerIdentity(psk=b"id1")))
    finally:
        globalLogPublisher.removeObserver(events.append)
    told = [event["log_format"].format(**event) for event in events if "bootstrapped" in event["log_format"]]
    assert told == [
        "ep1 at 192.0.2.1 was bootstrapped",
        "ep1 at 192.0.2.2 was not bootstrapped: PUT /0/1 was answered 4.00",
    ]
    assert KEY not in repr(Account("coaps://x", b"id1", bytes.fromhex(KEY), 1, 1, "U"))


@given(st.lists(st.tuples(st.sampled_from([CHANGED, DELETED, CONTENT, BAD_REQUEST, 0, 255]), st.binary(max_size=20))))
def test_anyResponses(responses: list[tuple[int, bytes]]) -> None:
    """
    After every answer of a device, it is asked for the next thing, or has failed, or is done.
    """
    talk = conversation([Account("coap://h", b"", b"", number, 60, "U") for number in (1, 2)], TLV)
    next(talk)
    asked = 1
    try:
        for number, payload in responses:
            talk.send(CoAPMessage(number, [], payload))
            asked += 1
    except Refused:
        assert asked <= 7
    except StopIteration:
        assert asked == 7


def test_conversation() -> None:
    """
    Without a gateway: what is sent is what was meant, in each format.
    """
    account = Account("coap://h", b"", b"", 7, 60, "U")
    talk = conversation([account], SENML_JSON)
    next(talk)
    talk.send(CoAPMessage(DELETED))
    request = talk.send(CoAPMessage(METHOD_NOT_ALLOWED))
    assert json.loads(request.payload)[0] == {"bn": "/0/1/", "n": "0", "vs": "coap://h"}
    request = talk.send(CoAPMessage(CHANGED))
    assert json.loads(request.payload)[1] == {"n": "1", "v": 60}
    with pytest.raises(Refused, match=r"PUT /1/1 was answered 4\.00"):
        talk.send(CoAPMessage(BAD_REQUEST))
    talk = conversation([account], SENML_CBOR)
    next(talk)
    talk.send(CoAPMessage(DELETED))
    assert cbor2.loads(talk.send(CoAPMessage(METHOD_NOT_ALLOWED)).payload)[0] == {-2: "/0/1/", 0: "0", 3: "coap://h"}
    assert codeText(CHANGED) == "2.04"
