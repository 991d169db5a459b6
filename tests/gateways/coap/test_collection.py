"""
Tests for topics with a configuration below C{/ps} (draft-ietf-core-coap-pubsub, 15 to 21), as clients see them; what
they send and get is written and read by cbor2.
"""

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.coap.codes import DELETE, FETCH, GET, IPATCH, POST, PUT, codeText
from gateways.coap.configuration import TopicConfiguration
from gateways.coap.expiry import Expiry
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    LOCATION_PATH,
    MAX_AGE,
    OBSERVE,
    Option,
    stringsOf,
    uintOf,
    uintOption,
    valueOf,
)
from gateways.coap.pubsub import PubSubTopics
from tests.gateways.coap.test_gateway import OTHER, PEER, Kit
from twisted_mqtt.base.dates import Dates
from twisted_mqtt.hooks.verdicts import DENY, STOP

SENSOR: dict[Any, Any] = {0: "room/sensor", 2: "core.ps.data"}
THIRD = ("192.0.2.3", 40000)


class PubSubKit(Kit):
    """
    A gateway, with what a client of the draft does.
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.restart()
        for address in (PEER, OTHER, THIRD):
            self.verify(address)

    def restart(self, most: int = 10) -> None:
        """
        Have the gateway begin with what its table has.
        """
        self.gateway.expiry.stop()
        records = self.broker.store.table("coap/topics").records(TopicConfiguration)
        self.gateway.topics = PubSubTopics(most, records)
        self.gateway.expiry = Expiry(self.gateway)
        self.gateway.expiry.arm()

    def cbor(self, code: int, uri: str, properties: object, **keys: Any) -> CoAPMessage:
        """
        Send properties.
        """
        payload = properties if isinstance(properties, bytes) else cbor2.dumps(properties)
        return self.ask(code, uri, payload, [uintOption(CONTENT_FORMAT, 606)], **keys)

    def create(self, properties: object = SENSOR) -> str:
        """
        Create a topic; returns the path of its configuration.
        """
        self.port.sent.clear()
        response = self.cbor(POST, "/ps?c=me", properties)
        assert codeText(response.code) == "2.01", response.payload
        return "/" + "/".join(stringsOf(response.options, LOCATION_PATH))

    def read(self, path: str) -> Any:
        """
        The configuration at a path.
        """
        response = self.ask(GET, path + "?c=me")
        assert codeText(response.code) == "2.05" and uintOf(response.options, CONTENT_FORMAT) == 606
        return cbor2.loads(response.payload)

    def links(self, uri: str = "/ps?c=me", properties: object = None) -> list[str]:
        """
        The targets of a list of links.
        """
        response = self.ask(GET, uri) if properties is None else self.cbor(FETCH, uri, properties)
        assert codeText(response.code) == "2.05" and uintOf(response.options, CONTENT_FORMAT) == 40
        text = response.payload.decode()
        return [link[1 : link.index(">")] for link in text.split(",")] if text else []


@pytest.fixture
def kit() -> PubSubKit:
    """
    A gateway.
    """
    return PubSubKit()


def test_create(kit: PubSubKit) -> None:
    """
    A new topic is answered with its place and its configuration; it has no value until one is published, which MQTT
    clients see.
    """
    response = kit.cbor(POST, "/ps?c=me", SENSOR)
    assert codeText(response.code) == "2.01" and uintOf(response.options, CONTENT_FORMAT) == 606
    root, identifier = stringsOf(response.options, LOCATION_PATH)
    assert root == "ps"
    assert cbor2.loads(response.payload) == {**SENSOR, 1: "/ps/room/sensor"} == kit.read(f"/ps/{identifier}")
    assert kit.code(GET, "/ps/room/sensor?c=me") == "4.04"
    assert codeText(kit.observe("/ps/room/sensor?c=me").code) == "4.04"
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"1") == "2.01"
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"2") == "2.04"
    assert kit.ask(GET, "/ps/room/sensor?c=me").payload == b"2"
    assert [(message.topic, message.payload, message.retain) for message in kit.published] == [
        ("room/sensor", b"1", True),
        ("room/sensor", b"2", True),
    ]


def test_everyProperty(kit: PubSubKit) -> None:
    """
    A client reads the properties that it has written; a date keeps the form in which it was written.
    """
    told = {**SENSOR, 3: 110, 4: "temperature", 5: "2030-12-31T23:59:59Z", 6: 100, 7: 3600, 8: 10}
    path = kit.create(told)
    assert kit.read(path) == {**told, 1: "/ps/room/sensor"}
    dated = {0: "other", 2: "core.ps.data", 5: cbor2.CBORTag(1, 1924991999)}
    raw = kit.ask(GET, kit.create(dated) + "?c=me").payload
    assert bytes.fromhex("05c11a72bd0bff") in raw


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({0: "a"}, "4.00"),
        ({2: "core.ps.data"}, "4.00"),
        ({0: "", 2: "core.ps.data"}, "4.00"),
        ({0: "a/#", 2: "core.ps.data"}, "4.00"),
        ({0: "a/../b", 2: "core.ps.data"}, "4.00"),
        ({0: "x" * 256, 2: "core.ps.data"}, "4.00"),
        ({0: 7, 2: "core.ps.data"}, "4.00"),
        ({0: "a", 2: ""}, "4.00"),
        ({0: "a", 2: "core.ps.data", 1: "coap://elsewhere/ps/a"}, "4.00"),
        ({0: "a", 2: "core.ps.data", 1: "/mqtt/a"}, "4.00"),
        ({0: "a", 2: "core.ps.data", 3: 65536}, "4.00"),
        ({0: "a", 2: "core.ps.data", 3: True}, "4.00"),
        ({0: "a", 2: "core.ps.data", 5: "tomorrow"}, "4.00"),
        ({0: "a", 2: "core.ps.data", 5: "1970-01-12T13:46:39Z"}, "4.00"),
        ({0: "a", 2: "core.ps.data", 5: float("nan")}, "4.00"),
        ({0: "a", 2: "core.ps.data", 5: 1e300}, "4.00"),
        ({0: "a", 2: "core.ps.data", 6: -1}, "4.00"),
        ({0: "a", 2: "core.ps.data", 7: 0}, "4.00"),
        ({0: "a", 2: "core.ps.data", 8: b"x"}, "4.00"),  # a first value, without its content format
        ({0: "a", 2: "core.ps.data", 10: [0]}, "4.00"),
        ({0: "a", 2: "core.ps.data", 99: 1}, "4.00"),
        ({0: "a", 2: "core.ps.data", "colour": 1}, "4.00"),
        ([0], "4.00"),
        (b"", "4.00"),
        (b"\xa1\x00", "4.00"),
        (b"\xa2\x00\x61a\x00\x61b", "4.00"),
        (cbor2.dumps(SENSOR) + b"\0", "4.00"),
        ({0: "$SYS/a", 2: "core.ps.data"}, "4.03"),
    ],
)
def test_wrong(kit: PubSubKit, properties: object, code: str) -> None:
    """
    A property that is missing, unknown or of another type is refused with a text; nothing is created.
    """
    response = kit.cbor(POST, "/ps?c=me", properties)
    assert codeText(response.code) == code and response.payload.decode()
    assert len(kit.gateway.topics) == 0 and kit.links() == []


def test_otherFormats(kit: PubSubKit) -> None:
    """
    Configurations come in their own content format, and in no other.
    """
    path = kit.create()
    payload = cbor2.dumps(SENSOR)
    for code, uri in ((POST, "/ps"), (FETCH, "/ps"), (FETCH, path), (PUT, path), (POST, path), (IPATCH, path)):
        assert kit.code(code, uri + "?c=me", payload, [uintOption(CONTENT_FORMAT, 60)]) == "4.15"
    assert kit.code(GET, path + "?c=me", options=[uintOption(ACCEPT, 60)]) == "4.06"


def test_nameInUse(kit: PubSubKit) -> None:
    """
    A topic-name, and a place of values, is given once.
    """
    kit.create()
    assert codeText(kit.cbor(POST, "/ps?c=me", SENSOR).code) == "4.00"
    other = {0: "other", 1: "/ps/room/sensor", 2: "core.ps.data"}
    assert codeText(kit.cbor(POST, "/ps?c=me", other).code) == "4.00"


def test_placeOfValues(kit: PubSubKit) -> None:
    """
    A client may choose the topic; its path is written as in a URI.
    """
    path = kit.create({0: "Living Room", 1: "ps/data/1bd0%20d6d", 2: "core.ps.data"})
    assert kit.read(path)[1] == "/ps/data/1bd0%20d6d"
    assert kit.code(PUT, "/ps/data/1bd0 d6d?c=me", b"1") == "2.01"
    assert kit.published[0].topic == "data/1bd0 d6d"


@pytest.mark.parametrize(("first", "format", "payload"), [(b"\x80", 60, b"\x80"), (b"", 60, b""), (True, None, b"")])
def test_initialized(kit: PubSubKit, first: object, format: int | None, payload: bytes) -> None:
    """
    A topic may have a first value from the beginning, be it empty: it can be read and observed at once.
    """
    properties = {**SENSOR, (9 if first is True else 8): first}
    if format is not None:
        properties[3] = format
    kit.create(properties)
    got = kit.ask(GET, "/ps/room/sensor?c=me")
    assert (codeText(got.code), got.payload) == ("2.05", payload)
    assert uintOf(got.options, CONTENT_FORMAT) == (42 if format is None else format)
    seen = kit.observe("/ps/room/sensor?c=me")
    assert (codeText(seen.code), seen.payload) == ("2.05", payload) and valueOf(seen.options, OBSERVE) is not None
    kit.notified()
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"1", address=OTHER, token=b"p") == "2.04"
    assert kit.code(DELETE, "/ps/room/sensor?c=me", token=b"d") == "2.02"
    assert kit.code(GET, "/ps/room/sensor?c=me", token=b"g") == "4.04"


def test_list(kit: PubSubKit) -> None:
    """
    The collection links to the configurations, or to those values that are there.
    """
    assert kit.links() == []
    first, second = kit.create(), kit.create({0: "other", 2: "core.ps.data"})
    assert kit.links() == [first, second] == kit.links("/.well-known/core?rt=core.ps.conf")
    assert kit.links("/ps?c=me&rt=core.ps.conf") == [first, second]
    assert kit.links(f"/ps?c=me&href={first}") == [first]
    assert kit.links("/ps?c=me&rt=core.ps.data") == []
    kit.ask(PUT, "/ps/other?c=me", b"1")
    assert kit.links("/ps?c=me&rt=core.ps.data") == ["/ps/other"] == kit.links("/.well-known/core?rt=core.ps.data")
    assert kit.links("/.well-known/core?rt=core.ps.coll") == ["/ps"] == kit.links("/.well-known/core?rt=core.ps&c=me")


def test_search(kit: PubSubKit) -> None:
    """
    FETCH finds the topics that have each of some properties.
    """
    first = kit.create({**SENSOR, 4: "temperature", 5: "2030-01-01T00:00:00Z"})
    second = kit.create({0: "other", 2: "core.ps.data", 4: "temperature", 6: 3})
    assert kit.links(properties={4: "temperature"}) == [first, second]
    assert kit.links(properties={"topic-type": "temperature", "max-subscribers": 3}) == [second]
    assert kit.links(properties={0: "room/sensor", 2: "core.ps.data"}) == [first]
    assert kit.links(properties={5: cbor2.CBORTag(1, 1893456000)}) == [first]
    assert kit.links(properties={4: "light"}) == []
    assert codeText(kit.cbor(FETCH, "/ps?c=me", {10: [0]}).code) == "4.00"


@pytest.mark.parametrize("wanted", [{10: ["topic-data", "media-type"]}, {9: [1, 3]}, {9: [3, 1, 1, 99, 4]}])
def test_readPart(kit: PubSubKit, wanted: object) -> None:
    """
    FETCH reads some properties, by the labels and names of all drafts; what the topic has not is left out.
    """
    path = kit.create({**SENSOR, 3: 112})
    response = kit.cbor(FETCH, path + "?c=me", wanted)
    assert codeText(response.code) == "2.05" and uintOf(response.options, CONTENT_FORMAT) == 606
    assert cbor2.loads(response.payload) == {1: "/ps/room/sensor", 3: 112}


@pytest.mark.parametrize("wanted", [{9: [1.5]}, {9: [True]}, {4: "x"}, {9: [1], 4: "x"}, {}, {9: list(range(99))}])
def test_wrongFilter(kit: PubSubKit, wanted: object) -> None:
    """
    To a topic FETCH sends a filter and nothing else.
    """
    assert codeText(kit.cbor(FETCH, kit.create() + "?c=me", wanted).code) == "4.00"


@pytest.mark.parametrize("method", [POST, PUT])
def test_replace(kit: PubSubKit, method: int) -> None:
    """
    PUT (POST from draft 19 on) replaces the configuration: what is not sent goes.
    """
    path = kit.create({**SENSOR, 4: "temperature", 6: 3})
    response = kit.cbor(method, path + "?c=me", {**SENSOR, 1: "ps/room/sensor", 3: 110})
    assert codeText(response.code) == "2.04" and uintOf(response.options, CONTENT_FORMAT) == 606
    assert cbor2.loads(response.payload) == {**SENSOR, 1: "/ps/room/sensor", 3: 110} == kit.read(path)
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"x", [uintOption(CONTENT_FORMAT, 50)]) == "4.15"
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"x", [uintOption(CONTENT_FORMAT, 110)]) == "2.01"
    got = kit.ask(GET, "/ps/room/sensor?c=me")
    assert uintOf(got.options, CONTENT_FORMAT) == 110


def test_patch(kit: PubSubKit) -> None:
    """
    IPATCH changes what it names, and the rest stays.
    """
    path = kit.create({**SENSOR, 4: "temperature", 6: 3})
    response = kit.cbor(IPATCH, path + "?c=me", {6: 5})
    assert codeText(response.code) == "2.04"
    assert cbor2.loads(response.payload) == {**SENSOR, 1: "/ps/room/sensor", 4: "temperature", 6: 5} == kit.read(path)


@pytest.mark.parametrize("method", [PUT, IPATCH])
@pytest.mark.parametrize("change", [{0: "x"}, {1: "/ps/x"}, {1: "coap://x/"}, {2: "x"}, {9: True}, {9: [1]}, {99: 1}])
def test_fixed(kit: PubSubKit, method: int, change: dict[int, object]) -> None:
    """
    Name, place and type of a topic stay as they are.
    """
    path = kit.create()
    assert codeText(kit.cbor(method, path + "?c=me", change).code) == "4.00"
    assert kit.read(path) == {**SENSOR, 1: "/ps/room/sensor"}


def test_delete(kit: PubSubKit) -> None:
    """
    With a configuration its value goes, and observers are told.
    """
    path = kit.create()
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    kit.observe("/ps/room/sensor?c=you", address=OTHER, token=b"o")
    kit.notified()
    assert kit.code(DELETE, path + "?c=me", token=b"d")
    sent = kit.notified()
    kit.acknowledge(sent[0], address=OTHER)
    sent += kit.notified()
    assert {(codeText(message.code), message.token) for message in sent} >= {("2.02", b"d"), ("4.04", b"o")}
    for code in (GET, DELETE):
        assert kit.code(code, path + "?c=me") == "4.04"
    for code in (FETCH, PUT, IPATCH):
        assert codeText(kit.cbor(code, path + "?c=me", {9: [1]}).code) == "4.04"
    assert kit.code(GET, "/ps/room/sensor?c=me") == "4.04"
    assert kit.broker.retained.get("room/sensor") is None
    assert kit.links() == [] and len(kit.gateway.topics) == 0
    kit.create()


def test_deleteValue(kit: PubSubKit) -> None:
    """
    Without its value a topic is half created again, and can be published to again.
    """
    path = kit.create()
    assert kit.code(DELETE, "/ps/room/sensor?c=me") == "4.04"
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    assert kit.code(DELETE, "/ps/room/sensor?c=me") == "2.02"
    assert kit.code(GET, "/ps/room/sensor?c=me") == "4.04"
    assert kit.read(path)[1] == "/ps/room/sensor"
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"2") == "2.01"


def test_mostSubscribers(kit: PubSubKit) -> None:
    """
    Beyond max-subscribers an observation is answered once, without Observe; if there are to be fewer, the last that
    have come are told 4.04.
    """
    path = kit.create({**SENSOR, 6: 2})
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    kit.notified()
    seen = [
        valueOf(kit.observe("/ps/room/sensor", address=address, token=b"o").options, OBSERVE) is not None
        for address in (PEER, OTHER, THIRD, PEER)
        if kit.port.sent.clear() is None
    ]
    assert seen == [True, True, False, True]
    kit.port.sent.clear()
    assert codeText(kit.cbor(IPATCH, path + "?c=me", {6: 1}, address=THIRD, token=b"p").code) == "4.04"
    assert [(codeText(message.code), address) for message, address in kit.port.sent] == [
        ("4.04", OTHER),
        ("2.04", THIRD),
    ]


def test_observerCheck(kit: PubSubKit) -> None:
    """
    An observer is asked whether it is there as often as observer-check says, if that is more often than usual.
    """
    kit.create({**SENSOR, 7: 5})
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    kit.observe("/ps/room/sensor?c=me", token=b"o")
    kit.notified()
    kinds = []
    for _ in range(4):
        kit.local.publish("room/sensor", b"x", 0)
        (message,) = kit.notified()
        kit.acknowledge(message)
        kinds.append(message.type)
        kit.clock.advance(3)
    assert kinds == [0, 1, 0, 1]


@pytest.mark.parametrize("text", [True, False])
def test_expires(kit: PubSubKit, text: bool) -> None:
    """
    When its date comes, a topic goes as if it were deleted; another date holds instead of the first.
    """
    dates: dict[bool, Callable[[int], object]] = {
        True: lambda seconds: f"1970-01-12T{13 + (2800 + seconds) // 3600}:{(2800 + seconds) % 3600 // 60:02}:40Z",
        False: lambda seconds: cbor2.CBORTag(1, 1_000_000 + seconds),
    }
    path = kit.create({**SENSOR, 5: dates[text](120)})
    kept = kit.create({0: "kept", 2: "core.ps.data", 5: dates[text](120)})
    assert codeText(kit.cbor(IPATCH, kept + "?c=me", {5: dates[text](600)}).code) == "2.04"
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    kit.observe("/ps/room/sensor?c=me", token=b"o")
    kit.notified()
    kit.clock.pump([1] * 119)
    assert codeText(kit.ask(GET, path + "?c=me").code) == "2.05"
    kit.notified()
    kit.clock.pump([1] * 3)
    sent = kit.notified()
    kit.acknowledge(sent[0])
    sent += kit.notified()
    assert codeText(sent[-1].code) == "4.04" and sent[-1].token == b"o"
    assert kit.code(GET, path + "?c=me") == "4.04" and kit.links() == [kept]
    assert kit.broker.retained.get("room/sensor") is None


def test_clockIsSet(kit: PubSubKit) -> None:
    """
    An expiration-date is one of the wall clock, also if that is set.
    """
    ahead = 0.0
    kit.broker.dates = Dates(kit.clock.seconds, lambda: kit.clock.seconds() + ahead)
    path = kit.create({**SENSOR, 5: cbor2.CBORTag(1, 1_003_600)})
    kit.clock.pump([1] * 100)
    ahead = -3600.0
    kit.clock.pump([10] * 360)
    assert kit.links() == [path]
    ahead = 0.0
    kit.clock.pump([1] * 61)
    assert kit.links() == [] and len(kit.gateway.topics) == 0


def test_accessRules(kit: PubSubKit) -> None:
    """
    A topic is created and changed by who may publish to it, and seen by who may subscribe it.
    """
    path = kit.create()
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    denied: list[str] = []
    kit.broker.hooks["client.check_acl"].add(
        lambda client, action, topic, verdict: STOP(DENY) if action in denied else None
    )
    denied.append("publish")
    kit.broker.forgetPermissions()
    for code, uri, properties in (
        (POST, "/ps", {0: "x", 2: "y"}),
        (PUT, path, SENSOR),
        (IPATCH, path, {6: 1}),
    ):
        assert codeText(kit.cbor(code, uri + "?c=me", properties).code) == "4.03"
    assert kit.code(DELETE, path + "?c=me") == "4.03"
    assert kit.links() == [path]
    denied[:] = ["subscribe"]
    kit.broker.forgetPermissions()
    assert kit.code(GET, path + "?c=me") == "4.03"
    assert codeText(kit.cbor(FETCH, path + "?c=me", {9: [1]}).code) == "4.03"
    assert kit.links() == [] == kit.links("/ps?c=me&rt=core.ps.data")


def test_bounded(kit: PubSubKit) -> None:
    """
    There are no more topics than C{max_topics}.
    """
    kit.restart(2)
    kit.create()
    kit.create({0: "b", 2: "c"})
    assert codeText(kit.cbor(POST, "/ps?c=me", {0: "d", 2: "c"}).code) == "5.03"
    assert len(kit.links()) == 2


def test_longList() -> None:
    """
    A list that is longer than a body may be is refused; one that properties make short is not.
    """
    kit = PubSubKit(max_body=100)
    first = kit.create()
    kit.create({0: "b", 2: "c"})
    kit.create({0: "d", 2: "c"})
    assert kit.code(GET, "/ps?c=me") == "4.13"
    assert kit.links(properties={0: "room/sensor"}) == [first]


def test_durable(kit: PubSubKit) -> None:
    """
    Configurations outlive the gateway, with their dates.
    """
    path = kit.create({**SENSOR, 3: 50, 5: cbor2.CBORTag(1, 1_000_060)})
    kit.ask(PUT, "/ps/room/sensor?c=me", b"1")
    kit.restart()
    assert kit.read(path)[3] == 50
    assert kit.code(PUT, "/ps/room/sensor?c=me", b"x", [uintOption(CONTENT_FORMAT, 60)]) == "4.15"
    assert codeText(kit.cbor(POST, "/ps?c=me", SENSOR).code) == "4.00"
    kit.clock.pump([1] * 62)
    assert kit.code(GET, path + "?c=me") == "4.04"
    kit.restart()
    assert kit.links() == []


def test_mountPoints() -> None:
    """
    Clients with another mount point have other topics, and may use the same names.
    """
    kit = PubSubKit(zone={"mountpoint": "%c/"})
    path = kit.create()
    assert kit.code(GET, path + "?c=you") == "4.04"
    assert kit.links("/ps?c=you") == []
    assert codeText(kit.cbor(POST, "/ps?c=you", SENSOR).code) == "2.01"
    kit.ask(PUT, "/ps/room/sensor?c=you", b"1")
    assert kit.published[0].topic == "you/room/sensor"


def test_removeManyInPortions(kit: PubSubKit) -> None:
    """
    A client that removes very many topics at once lets others have their turn, and may not do so too often at a time.
    """
    kit.restart(1000)
    for number in range(100):
        kit.gateway.topics.make(f"deep/{number}", None, None)
    kit.gateway.topics.make("deeper", None, None)
    kit.port.sent.clear()
    for number in range(5):
        kit.send(DELETE, "/ps/deep?c=me", token=b"%d" % number)
    assert 50 < len(kit.gateway.topics) < 100
    ((refused, _),) = kit.port.sent
    kit.port.sent.clear()
    assert codeText(refused.code) == "5.03" and uintOf(refused.options, MAX_AGE) == 1
    assert kit.code(PUT, "/ps/other?c=you", b"x", address=OTHER) == "2.01"
    kit.clock.advance(0)
    assert {codeText(message.code) for message in kit.notified()} == {"2.01", "2.02"}
    assert sorted(kit.gateway.topics.below("deeper", "", 9) + kit.gateway.topics.below("other", "", 9)) == [
        "deeper",
        "other",
    ]
    assert len(kit.gateway.topics) == 2


VALUES = st.recursive(
    st.integers() | st.text(max_size=5) | st.binary(max_size=5) | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 12), inner, max_size=3),
    max_leaves=6,
)
PAYLOADS = st.dictionaries(st.integers(-1, 12) | st.text(max_size=3), VALUES, max_size=6).map(cbor2.dumps) | st.binary(
    max_size=40
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 7), st.booleans(), PAYLOADS), max_size=8))
def test_fuzz(requests: list[tuple[int, bool, bytes]]) -> None:
    """
    Every request is answered, never by 5.00, and the gateway works afterwards.
    """
    kit = PubSubKit()
    path = kit.create()
    options: list[Option] = [uintOption(CONTENT_FORMAT, 606)]
    for code, ofTopic, payload in requests:
        response = kit.ask(code, (path if ofTopic else "/ps") + "?c=me", payload, options)
        assert codeText(response.code) != "5.00"
        kit.port.sent.clear()
    assert kit.code(PUT, "/mqtt/end?c=last", b"x", token=b"end") == "2.04"
