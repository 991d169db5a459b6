"""
No client of a gateway is a special case: bans, mount points, takeover, hooks and counts are those of MQTT clients. One
broker in memory has all the gateways.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateways.coap.codes import GET, PUT, codeText
from gateways.coap.gateway import CoAPGateway
from gateways.coap.message import ACK, CON, CoAPMessage, encode, encodeEmpty
from gateways.coap.options import OBSERVE, URI_PATH, URI_QUERY, stringOptions
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import PubSubTopics
from gateways.coap.settings import CoAPSettings
from gateways.mqttsn.codec import decode as decodeSN
from gateways.mqttsn.codec import encode as encodeSN
from gateways.mqttsn.packets import CONNACK, DISCONNECT, NOT_SUPPORTED, PUBACK, SUBACK, SUBSCRIBE, SNConnect, SNPacket
from gateways.mqttsn.packets import SNPublish as SNPublish
from gateways.mqttsn.packets import SNSubscribe as SNSubscribe
from gateways.mqttsn.protocol import MQTTSNProtocol
from gateways.mqttsn.settings import MQTTSNSettings
from tests.gateways.coap.test_gateway import Port
from tests.kits.mqttsn import Net
from tests.kits.stomp import Kit
from twisted_mqtt.broker.flapping import Flapping
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.hooks.verdicts import AuthResult
from twisted_mqtt.mqtt.protocol import MQTTFactory
from twisted_mqtt.testing.peer import Peer

HOST = "192.0.2.1"
# Short enough for MQTT-SN to need no REGISTER.
TOPIC = "ab"


class Together:
    """
    A broker, and all its gateways.
    """

    def __init__(self, **zone: Any) -> None:
        self.kit = Kit(zone=zone)
        self.broker, self.clock = self.kit.broker, self.kit.clock
        self.broker.hooks.clientAuthenticate.add(lambda client, verdict: AuthResult("success"))
        profile = ListenerProfile("x", self.broker.settings.resolveZone("external"))
        self.mqtt = MQTTFactory(self.broker, profile)
        self.net = Net()
        self.sn = MQTTSNProtocol(self.broker, MQTTSNSettings(username="tom"))
        self.sn.transport = self.net  # type: ignore[assignment]  # all that is asked of a port here
        self.coap = CoAPProtocol(CoAPGateway(self.broker, CoAPSettings(), PubSubTopics(3)), profile, self.clock)
        self.port = Port()
        self.coap.makeConnection(self.port)
        self.ports = 0


class STOMP:
    """
    A client.
    """

    refused = "Login or passcode error!", "banned"
    protocol = "stomp"

    def __init__(self, together: Together, clientID: str) -> None:
        self.client = together.kit.client(HOST)
        self.client.send("CONNECT", accept_version="1.2", host="x", login="tom", passcode="y", client_id=clientID)
        frame = self.client.next()
        self.outcome = "in" if frame.command == "CONNECTED" else frame.headers["message"]

    def subscribe(self) -> None:
        """
        Subscribe.
        """
        self.client.send("SUBSCRIBE", id="1", destination=TOPIC, ack="client-individual")

    def publish(self) -> None:
        """
        Publish.
        """
        self.client.send("SEND", b"x", destination=TOPIC, qos="1")

    def receive(self) -> None:
        """
        Receive a message, and acknowledge it.
        """
        self.client.send("ACK", id=self.client.next().headers["ack"])

    def leave(self) -> None:
        """
        Disconnect.
        """
        self.client.send("DISCONNECT")

    @property
    def gone(self) -> bool:
        """
        Whether it was sent away, and told so.
        """
        return bool(self.client.closed and self.client.all()[-1].headers["message"] == "session_taken_over")


class SN:
    """
    A client.
    """

    refused = (NOT_SUPPORTED,)
    protocol = "mqtt-sn"

    def __init__(self, together: Together, clientID: str) -> None:
        together.ports += 1
        self.together, self.address = together, (HOST, together.ports)
        # The packets that it gets before its own message is acknowledged.
        self.kept: Any = None
        answer = self.ask(SNConnect(clientID))
        assert answer.type == CONNACK
        self.outcome = "in" if answer.code == 0 else answer.code

    def ask(self, packet: Any) -> Any:
        """
        Say something, and take the next answer.
        """
        self.together.sn.datagramReceived(encodeSN(packet), self.address)
        return self.next()

    def next(self) -> Any:
        """
        The next message that has come.
        """
        self.together.kit.turn()
        return decodeSN(self.together.net.arrived[self.address].pop(0))

    def subscribe(self) -> None:
        """
        Subscribe.
        """
        assert self.ask(SNSubscribe(SUBSCRIBE, 1, TOPIC, idType=2, qos=1)).type == SUBACK

    def publish(self) -> None:
        """
        Publish.
        """
        self.kept = self.ask(SNPublish(int.from_bytes(TOPIC.encode(), "big"), b"x", 1, 2, idType=2))
        assert self.next() == SNPacket(PUBACK, 2, 0, self.kept.topicID)

    def receive(self) -> None:
        """
        Receive a message, and acknowledge it.
        """
        packet = self.kept
        self.together.sn.datagramReceived(encodeSN(SNPacket(PUBACK, packet.msgID, 0, packet.topicID)), self.address)

    def leave(self) -> None:
        """
        Disconnect.
        """
        assert self.ask(SNPacket(DISCONNECT)).type == DISCONNECT

    @property
    def gone(self) -> bool:
        """
        Whether it was sent away, and told so.
        """
        return bool(self.next().type == DISCONNECT and self.address not in self.together.sn.clients)


class COAP:
    """
    A client. It has no way of leaving, but silence.
    """

    refused = ("4.03",)
    protocol = "coap"

    def __init__(self, together: Together, clientID: str) -> None:
        together.ports += 1
        self.together, self.address, self.clientID = together, (HOST, together.ports), clientID
        self.number = 0
        # A notification that came before the answer that was waited for.
        self.kept: CoAPMessage | None = None
        code = self.ask(GET, "any")
        self.outcome = "in" if code == "2.05" else code

    def ask(self, code: int, topic: str, payload: bytes = b"", qos: int = 0, observe: bool = False) -> str:
        """
        A request; returns the code of its answer.
        """
        self.number += 1
        options = [(OBSERVE, b"")] if observe else []
        options += stringOptions(URI_PATH, ["mqtt", topic])
        options += stringOptions(URI_QUERY, [f"c={self.clientID}", "u=tom", "p=y", f"qos={qos}"])
        options.sort(key=lambda option: option[0])
        message = CoAPMessage(code, options, payload, b"%d" % self.number, CON, self.number)
        self.together.coap.datagramReceived(encode(message), self.address)
        answer = self.next()
        if answer.token != message.token:
            self.kept, answer = answer, self.next()
        return codeText(answer.code)

    def next(self) -> CoAPMessage:
        """
        The next message for it.
        """
        self.together.kit.turn()
        sent = self.together.port.sent
        index = next(index for index, (_, address) in enumerate(sent) if address == self.address)
        return sent.pop(index)[0]

    def subscribe(self) -> None:
        """
        Observe.
        """
        assert self.ask(GET, TOPIC, observe=True) == "2.05"

    def publish(self) -> None:
        """
        Publish.
        """
        assert self.ask(PUT, TOPIC, b"x", 1) == "2.04"

    def receive(self) -> None:
        """
        Receive a notification, and acknowledge it.
        """
        self.together.coap.datagramReceived(encodeEmpty(ACK, (self.kept or self.next()).messageID), self.address)

    def leave(self) -> None:
        """
        Say nothing any more.
        """
        self.together.clock.pump([1.0] * 130)

    @property
    def gone(self) -> bool:
        """
        Whether it was sent away; whoever has its name is elsewhere, so that it is not told.
        """
        gateway = self.together.coap._gateway
        return (self.address, self.clientID) not in gateway.clients


class MQTT:
    """
    The measure of them all.
    """

    refused = (0x8A,)
    protocol = "mqtt"

    def __init__(self, together: Together, clientID: str) -> None:
        self.peer = Peer(together.mqtt, together.clock)
        self.peer.connect(clientID, username="tom", password=b"y")
        self.outcome = "in"

    @property
    def gone(self) -> bool:
        """
        Whether it was sent away, and told so.
        """
        self.peer.expectClosed(0x8E)
        return True


GATEWAYS = pytest.mark.parametrize("kind", [STOMP, SN, COAP])


@GATEWAYS
@pytest.mark.parametrize("ban", ["clientid", "username", "peerhost"])
def test_bans(kind: Any, ban: Any) -> None:
    """
    A banned client, by any kind of ban, is not let in; others are.
    """
    together = Together()
    name = {"clientid": "bad", "username": "tom", "peerhost": HOST}[ban]
    together.broker.bans.add(name, ban)
    assert kind(together, "bad").outcome in kind.refused
    together.broker.bans.remove(ban, name)
    assert kind(together, "bad").outcome == "in"


@GATEWAYS
def test_flapping(kind: Any) -> None:
    """
    A client that comes again and again is banned.
    """
    together = Together(enable_flapping_detect=True)
    broker = together.broker
    watching = Flapping(
        broker.settings, broker.hooks, broker.bans, broker.registry.sendAway, broker.clock.seconds, broker.dates
    )
    watching.configure(broker.settings)
    outcomes = [kind(together, "restless").outcome for _ in range(40)]
    assert outcomes[0] == "in" and outcomes[-1] in kind.refused


@GATEWAYS
def test_mountpoint(kind: Any) -> None:
    """
    Its topics are below the zone's mount point, and it does not see that.
    """
    together = Together(mountpoint="site/%c/")
    heard: list[str] = []
    together.broker.hooks.messagePublish.add(
        lambda message: heard.append(message.topic) if not message.system else message
    )
    client = kind(together, "me")
    client.subscribe()
    client.publish()
    assert heard == [f"site/me/{TOPIC}"]


@pytest.mark.parametrize("after", [STOMP, SN, COAP, MQTT])
@pytest.mark.parametrize("before", [STOMP, SN, COAP, MQTT])
def test_takeover(before: Any, after: Any) -> None:
    """
    A client identifier is one client, whatever protocol it speaks: who comes later takes over.
    """
    together = Together()
    first = before(together, "same")
    second = after(together, "same")
    assert (first.outcome, second.outcome) == ("in", "in")
    together.kit.turn()
    assert first.gone
    assert [client.protocol for client in together.broker.clients.values()] == [after.protocol]


@GATEWAYS
def test_hooks(kind: Any) -> None:
    """
    Every hook is told what it is told of MQTT clients, in that order.
    """
    together = Together(enable_acl=True)
    told: list[str] = []

    def watch(name: str) -> Any:
        def callback(*args: Any) -> Any:
            subject = args[0]
            if not getattr(subject, "system", False):
                assert getattr(subject, "protocol", kind.protocol) == kind.protocol
                told.append(name)
            # Of a fold, the last is what is folded.
            return args[-1] if name in folds else None

        return callback

    hooks = together.broker.hooks
    folds = {
        "client.connect",
        "client.connack",
        "client.authenticate",
        "client.check_acl",
        "client.subscribe",
        "client.unsubscribe",
        "message.publish",
        "message.delivered",
    }
    for name in sorted(folds) + [
        "client.connected",
        "client.disconnected",
        "session.created",
        "session.subscribed",
        "session.terminated",
        "message.acked",
    ]:
        hooks[name].add(watch(name), priority=-1000)
    client = kind(together, "me")
    client.subscribe()
    client.publish()
    client.receive()
    client.leave()
    together.kit.turn()
    assert told == [
        "client.connect",
        "client.authenticate",
        "session.created",
        "client.connack",
        "client.connected",
        "client.subscribe",
        "client.check_acl",
        "session.subscribed",
        "client.check_acl",
        "message.publish",
        "message.delivered",
        "message.acked",
        "client.disconnected",
        "session.terminated",
    ]
