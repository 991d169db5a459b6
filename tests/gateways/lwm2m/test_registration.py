"""
Tests for the registration interface (spec/gateways.md 5.4): codes, events, and who may take whose name.
"""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gateways.coap.codes import DELETE, GET, POST, PUT
from gateways.coap.options import LOCATION_PATH, OBSERVE, stringsOf
from gateways.lwm2m.registration import Lifetimes, RegistrationError, parseRegister, parseUpdate
from gateways.lwm2m.settings import LwM2MTopics
from tests.kits.lwm2m import LINKS, Kit
from twisted_mqtt.hooks.verdicts import ALLOW, STOP, AuthResult
from twisted_mqtt.net.peeridentity import PeerIdentity

LIMITS = Lifetimes(1, 86400)


def refusal(*queries: str) -> str:
    """
    Get the answer to a query; nothing if it is good.
    """
    try:
        parseRegister(queries, b"", LIMITS)
    except RegistrationError as error:
        assert str(error)
        return f"{error.code >> 5}.{error.code & 31:02}"
    return ""


@pytest.mark.parametrize(
    ("queries", "code"),
    [
        (["ep=a", "lt=60"], ""),  # 1.0: no version
        (["ep=a", "lt=60", "lwm2m=1"], ""),
        (["ep=a", "lt=60", "lwm2m=1.1", "Q"], ""),
        (["ep=a", "lt=60", "lwm2m=1.2"], ""),
        (["lt=60"], "4.00"),
        (["ep=", "lt=60"], "4.00"),
        (["ep=a"], "4.00"),
        (["ep=a", "lt="], "4.00"),
        (["ep=a", "lt=0"], "4.00"),
        (["ep=a", "lt=-5"], "4.00"),
        (["ep=a", "lt=1.5"], "4.00"),
        (["ep=a", "lt=86401"], "4.00"),
        (["ep=a", "lt=99999999999999999999"], "4.00"),
        (["ep=a", "lt=\u0663"], "4.00"),  # a digit, but not ours
        (["ep=a", "lt=60", "word"], "4.00"),
        (["ep=a", "lt=60", "=x"], "4.00"),
        (["ep=a", "lt=60", "lwm2m=2"], "4.12"),
        (["ep=a", "lt=60", "lwm2m=1."], "4.12"),
        (["ep=a", "lt=60", "lwm2m=x"], "4.12"),
        # The version is looked at first: the rest may mean something else in it.
        (["lwm2m=2.0"], "4.12"),
        (["ep=a/b", "lt=60"], "4.00"),
        (["ep=+", "lt=60"], "4.00"),
        (["ep=$SYS", "lt=60"], "4.00"),
        (["ep=a#", "lt=60"], "4.00"),
        (["ep=a\0", "lt=60"], "4.00"),
        (["ep=" + "a" * 256, "lt=60"], "4.00"),
        (["ep=urn:oma:lwm2m:oma:3 \u00e9", "lt=60"], ""),
    ],
)
def test_queries(queries: list[str], code: str) -> None:
    """
    A registration needs its parameters, in the right form; and a name must not make topics of others.
    """
    assert refusal(*queries) == code


def test_whatIsSaid() -> None:
    """
    The name, the lifetime and the version are taken out of the options; credentials are told nobody.
    """
    registration, credentials = parseRegister(
        ["ep=a", "b=UQ", "lt=60", "lwm2m=1.1", "u=tom", "p=secret", "apn=x=y", "sms=1"], LINKS, LIMITS
    )
    assert registration[:4] == ("a", 60, "1.1", {"b": "UQ", "apn": "x=y", "sms": "1"})
    assert (registration.listing.objectList, registration.queueMode) == (["/1/0", "/3/0", "/5/0"], True)
    assert credentials == ("tom", b"secret")


def test_updateChangesWhatItSays() -> None:
    """
    An update changes what it names and leaves the rest; a new binding without queue mode ends queue mode.
    """
    before, _ = parseRegister(["ep=a", "lt=60", "lwm2m=1.1", "b=U", "Q", "x=1"], LINKS, LIMITS)
    same, told = parseUpdate([], b"", LIMITS, before)
    assert (same, told) == (before, False)
    after, told = parseUpdate(["lt=5", "b=U", "ep=other"], b"</3/0>", LIMITS, before)
    assert (after.endpoint, after.lifetime, after.queueMode, told) == ("a", 5, False, True)
    assert (after.options, after.listing.objectList) == ({"b": "U", "x": "1"}, ["/3/0"])


def test_nameByKey() -> None:
    """
    A device may leave its name to what it is known by.
    """
    assert parseRegister(["lt=60"], b"", LIMITS, "device1")[0].endpoint == "device1"
    assert parseRegister(["lt=60", "ep=mine"], b"", LIMITS, "device1")[0].endpoint == "mine"


def test_registers() -> None:
    """
    A device is told where it is registered before anybody else hears of it; hooks are run in the order of 5.8.
    """
    kit = Kit()
    events: list[str] = []
    for point in (
        "client.connect",
        "client.connack",
        "client.connected",
        "session.subscribed",
        "session.unsubscribed",
        "client.disconnected",
    ):

        def note(*args: Any, point: str = point) -> Any:
            if getattr(args[0], "protocol", "") == "lwm2m":
                events.append(point)
            return args[-1] if point in ("client.connect", "client.connack") else None

        kit.broker.hooks[point].add(note)
    device = kit.device()
    answer = device.ask(POST, "/rd?ep=ep1&lt=300&lwm2m=1.0&b=U", LINKS)
    kit.run(1)
    assert answer.code == "2.01"
    assert stringsOf(answer.message.options, LOCATION_PATH) == ["rd", "ep1"]
    assert [what["msgType"] for what in kit.taken()] == ["register"]
    info = kit.broker.registry.clients["ep1"]
    assert (info.protoName, info.protocol, info.peerHost) == ("LwM2M", "lwm2m", "192.0.2.1")
    assert device.deregister() == "2.02"
    assert "ep1" not in kit.broker.registry.sessions
    assert events == [
        "client.connect",
        "client.connack",
        "client.connected",
        "session.subscribed",
        "session.unsubscribed",
        "client.disconnected",
    ]
    assert not kit.gateway.registry.devices and not kit.gateway.registry.coming and not kit.endpoint.addresses


@pytest.mark.parametrize(
    ("code", "uri", "observe", "expected"),
    [
        (GET, "/rd", False, "2.05"),
        (GET, "/rd", True, "4.05"),
        (PUT, "/rd", False, "4.00"),
        (DELETE, "/rd", False, "4.00"),
        (PUT, "/rd/ep1", False, "4.00"),
        (GET, "/rd/ep1", False, "4.00"),
        (POST, "/rd/ep1/x", False, "4.00"),
        (GET, "/", False, "4.00"),
        (POST, "/elsewhere", False, "4.00"),
        (POST, "/rd/ep1", False, "4.04"),
        (DELETE, "/rd/ep1", False, "4.04"),
        (POST, "/dp", False, "4.03"),
    ],
)
def test_otherRequests(code: int, uri: str, observe: bool, expected: str) -> None:
    """
    All other requests are answered as the table says.
    """
    kit = Kit()
    assert kit.device().code(code, uri, options=[(OBSERVE, b"")] if observe else []) == expected


def test_otherLocation() -> None:
    """
    A registered device can't use another location.
    """
    kit = Kit()
    device = kit.registered()
    for code in (POST, DELETE):
        assert device.code(code, "/rd/ep2") == "4.04"
    assert device.update() == "2.04"


def test_refused() -> None:
    """
    A device that is not let in is told 4.03, and may try again.
    """
    kit = Kit()
    asked: list[tuple[str | None, bytes | None]] = []

    def judge(client: Any, result: AuthResult) -> Any:
        asked.append((client.username, client.password))
        good = (client.username, client.password) == ("tom", b"secret")
        return STOP(AuthResult("success" if good else "bad_username_or_password"))

    kit.broker.hooks["client.authenticate"].add(judge)
    device = kit.device()
    assert device.register("lt=300&u=tom&p=wrong") == "4.03"
    assert device.register("lt=300&u=tom&p=secret") == "2.01"
    assert asked == [("tom", b"wrong"), ("tom", b"secret")]
    [(topic, event)] = kit.heard
    assert topic == "lwm2m/ep1/up/resp" and not {"u", "p"} & set(event["data"])


def test_banned() -> None:
    """
    A banned device is told 4.03.
    """
    kit = Kit()
    kit.broker.bans.add("ep1", "clientid")
    device = kit.device()
    assert device.register() == "4.03"
    assert kit.heard == []


def test_hookThatTakesItsTime() -> None:
    """
    While somebody is asked about a device it is not registered, the same request does not count twice, and another one
    from there has to wait.
    """
    kit = Kit()
    waiting: Deferred[AuthResult] = Deferred()
    kit.broker.hooks["client.authenticate"].add(lambda client, result: waiting)
    device = kit.device()
    answer = device.ask(POST, "/rd?ep=ep1&lt=300", LINKS)
    kit.run(1)
    assert device.register() == "5.03"
    assert device.update() == "4.04"
    assert (answer.code, kit.heard) == ("", [])
    waiting.callback(AuthResult("success"))
    kit.run(1)
    assert answer.code == "2.01"
    assert [what["msgType"] for what in kit.taken()] == ["register"]
    assert not kit.gateway.registry.coming


class Slow:
    """
    A store whose writing takes as long as a test wants.
    """

    def __init__(self, kit: Kit) -> None:
        self._progress = kit.broker.router.progress
        self._kit = kit

    def begin(self) -> None:
        """
        From now on nothing is safe.
        """
        self._progress.sequence += 1

    def end(self) -> None:
        """
        All is.
        """
        self._progress.committed = self._progress.sequence
        for link in list(self._kit.broker.router.waiting):
            link.committed()
        self._kit.run(1)


def test_answeredWhenSafe() -> None:
    """
    A device is registered when that has been written, and not before; whoever asks again has to wait.
    """
    kit = Kit()
    slow = Slow(kit)
    slow.begin()
    device = kit.device()
    answer = device.ask(POST, "/rd?ep=ep1&lt=300", LINKS)
    kit.run(1)
    assert (answer.code, kit.heard) == ("", [])
    assert (device.register(), device.update()) == ("5.03", "4.04")
    slow.end()
    assert answer.code == "2.01"
    assert [what["msgType"] for what in kit.taken()] == ["register"]


def test_askedAgainBeforeItIsSafe() -> None:
    """
    Of several updates that wait for the store the last is answered, and a change that any of them tells is told once.
    """
    kit = Kit()
    device = kit.registered()
    slow = Slow(kit)
    slow.begin()
    asked = [device.ask(POST, "/rd/ep1", links) for links in (b"", b"</3/0>", b"", b"")]
    kit.run(6)
    assert kit.taken() == []
    slow.end()
    assert [answer.code for answer in asked] == ["", "", "", "2.04"]
    assert [what["data"]["objectList"] for what in kit.taken()] == [["/3/0"]]
    slow.begin()
    asked = [device.ask(POST, "/rd/ep1", b"</1/0>"), device.ask(POST, "/rd?ep=ep1&lt=300", LINKS)]
    kit.run(6)
    slow.end()
    assert [answer.code for answer in asked] == ["", "2.01"]
    assert [what["msgType"] for what in kit.taken()] == ["register"]


def test_stopsWhileSomebodyIsAsked() -> None:
    """
    The gateway may stop in the middle of it.
    """
    kit = Kit()
    waiting: Deferred[AuthResult] = Deferred()
    kit.broker.hooks["client.authenticate"].add(lambda client, result: waiting)
    device = kit.device()
    answer = device.ask(POST, "/rd?ep=ep1&lt=300", LINKS)
    kit.run(1)
    kit.gateway.endAll(0x8B)
    waiting.callback(AuthResult("success"))
    kit.run(1)
    assert answer.code == "5.03"
    assert (
        not kit.gateway.registry.coming
        and not kit.gateway.registry.devices
        and "ep1" not in kit.broker.registry.clients
    )


def test_full() -> None:
    """
    One device too many is told so; those that are there may register again.
    """
    kit = Kit(max_clients=1)
    device = kit.registered()
    assert kit.device("ep2").register() == "5.03"
    assert device.register() == "2.01"
    assert kit.device("ep1").register() == "2.01"
    assert kit.device("ep2").register() == "5.03"
    assert kit.broker.counters.connections_refused_full == 2


def test_lifetime() -> None:
    """
    Without an update within its lifetime a device is gone, with what it had subscribed; an update gives it another.
    """
    kit = Kit()
    device = kit.registered("lt=60")
    kit.run(50)
    assert device.update("lt=100") == "2.04"
    kit.run(98)
    assert "ep1" in kit.gateway.registry.devices
    kit.run(3)
    assert "ep1" not in kit.gateway.registry.devices
    assert "ep1" not in kit.broker.registry.sessions
    assert device.update() == "4.04"


def test_updateEvent() -> None:
    """
    An update is told where it brings a list of objects, and only then.
    """
    kit = Kit()
    device = kit.registered("lt=300&lwm2m=1.1&x=1")
    assert device.update() == "2.04"
    assert device.update("lt=0") == "4.00"
    assert device.update("b") == "4.00"
    assert kit.taken() == []
    assert device.update("b=UQ", b"</3/0>,</6>") == "2.04"
    data = {
        "ep": "ep1",
        "lt": 300,
        "lwm2m": "1.1",
        "x": "1",
        "b": "UQ",
        "alternatePath": "/",
        "objectList": ["/3/0", "/6"],
    }
    assert kit.taken() == [{"msgType": "update", "data": data}]
    assert device.update("", b"no links") == "4.00"


def test_registersAgain() -> None:
    """
    A device that registers again from the same address is not authenticated anew, but its registration is new.
    """
    kit = Kit()
    device = kit.registered("lt=10")
    connected = kit.broker.traffic.total("client_connected")
    assert device.register("lt=600", b"</3/0>") == "2.01"
    assert kit.taken()[0]["data"]["objectList"] == ["/3/0"]
    kit.run(400)
    assert device.update() == "2.04"
    assert kit.broker.traffic.total("client_connected") == connected


def test_otherCredentials() -> None:
    """
    With other credentials it is let in anew, even from where it was.
    """
    kit = Kit()
    device = kit.registered("lt=300&u=tom")
    assert device.register("lt=300&u=eve") == "2.01"
    assert kit.broker.registry.clients["ep1"].username == "eve"
    assert device.update() == "2.04"


def test_fromElsewhere() -> None:
    """
    A device that registers from elsewhere replaces itself; who was there before is not registered any more.
    """
    kit = Kit()
    before = kit.registered()
    after = kit.device("ep1")
    assert after.register() == "2.01"
    assert [what["msgType"] for what in kit.taken()] == ["register"]
    kit.command("read", "/3/0/0")
    kit.run(1)
    assert (before.asked, after.asked) == ([], ["/3/0/0"])
    assert before.register() == "2.01"
    assert len(kit.gateway.registry.devices) == 1


def test_updateFromElsewhere() -> None:
    """
    An update tells another address, if it shows what the registration has shown.
    """
    kit = Kit()
    kit.registered("lt=300&u=tom&p=secret")
    moved = kit.device("ep1")
    assert moved.update() == "4.04"
    assert moved.update("u=tom&p=wrong") == "4.04"
    assert moved.code(DELETE, "/rd/ep1?u=eve") == "4.04"
    assert moved.update("u=tom&p=secret") == "2.04"
    kit.command("read", "/3/0/0")
    kit.run(1)
    assert moved.asked == ["/3/0/0"]
    assert list(kit.endpoint.addresses) == [moved.address]


def test_severalFromOneAddress() -> None:
    """
    Any number of devices may come from one address, as they do behind a proxy.
    """
    kit = Kit()
    proxy = kit.registered()
    assert proxy.code(POST, "/rd?ep=ep2&lt=300", LINKS) == "2.01"
    assert proxy.code(POST, "/rd/ep2") == "2.04"
    assert proxy.update() == "2.04"
    # Nothing says which of them it is from.
    assert proxy.code(POST, "/dp", b"[]") == "4.00"
    kit.command("read", "/3/0/0", name="ep2")
    kit.run(1)
    assert proxy.asked == ["/3/0/0"]
    assert proxy.deregister() == "2.02"
    assert proxy.code(POST, "/rd/ep2") == "2.04"


KEY = PeerIdentity(psk=b"device1")
OTHER_KEY = PeerIdentity(psk=b"device2")


def test_provenNameIsSafe() -> None:
    """
    A device that has proved its identity by its key is not replaced by one that has not, neither in plain text nor with
    another key.
    """
    kit = Kit()
    device = kit.device("ep1", identity=KEY)
    assert device.register() == "2.01"
    assert kit.broker.registry.clients["ep1"].username == "device1"
    for stranger in (kit.device("ep1"), kit.device("ep1", identity=OTHER_KEY)):
        assert stranger.register() == "4.03"
        assert stranger.update() == "4.04"
        assert stranger.deregister() == "4.04"
    assert device.update() == "2.04"
    again = kit.device("ep1", identity=PeerIdentity(psk=b"device1"))
    assert again.register() == "2.01"


def test_provenReplacesPlain() -> None:
    """
    A device with a key may take the place of one that has proved nothing.
    """
    kit = Kit()
    kit.registered()
    device = kit.device("ep1", identity=PeerIdentity("ep1", "CN=ep1", b"der"))
    assert device.register() == "2.01"
    assert kit.device("ep1", identity=PeerIdentity("ep1", "CN=ep1", b"renewed")).register() == "2.01"


def test_nameFromKey() -> None:
    """
    A device with a key that says no name has that of its key.
    """
    kit = Kit()
    device = kit.device("device1", identity=KEY)
    assert device.code(POST, "/rd?lt=300", LINKS) == "2.01"
    assert list(kit.gateway.registry.devices) == ["device1"]


def test_newAssociation() -> None:
    """
    A device that comes back in another association says so by an update; what waits for it is sent there.
    """
    kit = Kit()
    device = kit.device("ep1", identity=KEY)
    assert device.register() == "2.01"
    kit.secure.lost(device.address)
    kit.taken()
    kit.command("read", "/3/0/0")
    kit.run(100)
    assert (device.asked, kit.taken()) == ([], [])
    again = kit.device("ep1", identity=KEY)
    assert again.update() == "2.04"
    kit.run(1)
    assert again.asked == ["/3/0/0"]
    assert kit.codes() == [(1, "read", "2.05")]


def test_associationLostMeanwhile() -> None:
    """
    A command that was on its way when the association ended is sent again in the next one.
    """
    kit = Kit()
    device = kit.device("ep1", identity=KEY)
    device.register()
    kit.taken()
    device.deaf = True
    kit.command("read", "/3/0/0", 1)
    kit.command("execute", "/3/0/4", 2)
    kit.run(1)
    kit.secure.lost(device.address)
    assert kit.taken() == []
    again = kit.device("ep1", identity=KEY)
    assert again.update() == "2.04"
    kit.run(1)
    assert again.asked == ["/3/0/0", "/3/0/4"]
    assert [code for _, _, code in kit.codes()] == ["2.05", "2.05"]


def test_mqttClientTakesOver() -> None:
    """
    An MQTT client of the same identifier takes over, as it would from any client; the device has to register again.
    """
    kit = Kit()
    device = kit.registered()
    kit.broker.kick("ep1", 0x98)
    assert device.update() == "4.04"
    assert device.register() == "2.01"


def test_topics() -> None:
    """
    Topics and mount point are those of the settings, with name and address filled in; those of the zone come before.
    """
    topics = LwM2MTopics(command="command", response="%a/answer", register="up/in/%e")
    kit = Kit({"mountpoint": "zone/"}, mountpoint="iot/%e/", topics=topics)
    published: list[str] = []
    kit.broker.hooks["message.publish"].add(lambda message: published.append(message.topic) or message)
    kit.device().register()
    assert published[-1] == "zone/iot/ep1/up/in/ep1"
    kit.manager.publish("iot/ep1/command", b'{"msgType": "read", "data": {"path": "/3/0/0"}}')
    kit.run(1)
    assert published[-1] == "zone/iot/ep1/192.0.2.1/answer"


def test_eventWaitsForItsTurn() -> None:
    """
    Where access rules take their time, what is said of a device keeps its order.
    """
    kit = Kit()
    waiting: list[Deferred[str]] = []

    def judge(client: Any, action: str, topic: str, verdict: str) -> Any:
        if client.clientID != "ep1" or action != "publish" or waiting:
            return verdict
        waiting.append(Deferred())
        return waiting[0]

    kit.broker.hooks["client.check_acl"].add(judge)
    device = kit.device()
    assert device.register() == "2.01"
    assert device.update("", b"</3/0>") == "2.04"
    assert kit.heard == []
    waiting[0].callback(ALLOW)
    kit.run(1)
    assert [what["msgType"] for what in kit.taken()] == ["register", "update"]


def test_namesAreFilledInOnce() -> None:
    """
    A device that is called like a mark keeps its name in topics.
    """
    kit = Kit(mountpoint="%a/%e/")
    published: list[str] = []
    kit.broker.hooks["message.publish"].add(lambda message: published.append(message.topic) or message)
    kit.device("%a").register()
    kit.run(1)
    assert published == ["192.0.2.1/%a/up/resp"]
