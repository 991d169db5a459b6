"""
The Eclipse Paho client as a peer that a test can question: every call waits for the broker's answer.
"""

import itertools
import queue
import socket
from types import TracebackType
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.system.process import PATIENCE, Broker

V31 = int(paho.MQTTv31)
V311 = int(paho.MQTTv311)
V5 = int(paho.MQTTv5)
VERSIONS = [V31, V311, V5]

_sentinels = itertools.count(1)


def properties(packetType: int, **values: object) -> Properties:
    """
    Properties by Paho's names, such as C{MessageExpiryInterval=5}.

    @param packetType: one of L{PacketTypes}.
    """
    made: Properties = Properties(packetType)  # type: ignore[no-untyped-call]  # Paho's constructor has no annotations
    for name, value in values.items():
        setattr(made, name, value)
    return made


def propertiesOf(message: paho.MQTTMessage) -> dict[str, Any]:
    """
    The properties that came with a message, by Paho's names.
    """
    return {name: value for name, value in vars(message.properties).items() if name[0].isupper()}


class Peer:
    """
    One client identifier, connected on entering and disconnected on leaving.

    @ivar sessionPresent: what the last CONNACK said.
    @ivar granted: the properties of the last CONNACK, by Paho's names.
    @ivar ended: the reasons of the connections that ended, oldest first.
    @ivar reasons: what the broker said to each message published, by packet identifier.
    """

    def __init__(
        self,
        broker: Broker,
        clientID: str,
        version: int = V5,
        clean: bool = True,
        manualAck: bool = False,
        transport: Literal["tcp", "websockets"] = "tcp",
        **connectProperties: Any,
    ) -> None:
        """
        @param transport: by which of the broker's listeners it comes.
        """
        self._broker = broker
        self._port = broker.port if transport == "tcp" else broker.ports["listener.ws.external"]
        self._version = version
        self._clean = clean
        self._connectProperties = connectProperties
        self._answers: queue.Queue[Any] = queue.Queue()
        self._messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.ended: queue.Queue[int] = queue.Queue()
        self.clientID = clientID
        self.sessionPresent = False
        self.granted: dict[str, Any] = {}
        arguments: dict[str, Any] = {} if version == V5 else {"clean_session": clean}
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=clientID,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,
            manual_ack=manualAck,
            transport=transport,
            **arguments,
        )
        self.client.on_connect = lambda c, u, flags, reason, given: self._answers.put((flags, reason, given))
        self.client.on_subscribe = lambda c, u, mid, reasons, given: self._answers.put([r.value for r in reasons])
        self.client.on_unsubscribe = lambda c, u, mid, reasons, given: self._answers.put([r.value for r in reasons])
        self.reasons: dict[int, int] = {}
        self.client.on_publish = lambda c, u, mid, reason, given: self.reasons.update({mid: reason.value})
        self.client.on_message = lambda c, u, message: self._messages.put(message)
        self.client.on_disconnect = lambda c, u, flags, reason, given: self.ended.put(reason.value)

    def __enter__(self) -> "Peer":
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def connect(self) -> "Peer":
        """
        Connect and wait until the broker accepts.

        @raise AssertionError: if it refuses.
        """
        arguments: dict[str, Any] = {}
        if self._version == V5:
            arguments["clean_start"] = self._clean
            arguments["properties"] = properties(PacketTypes.CONNECT, **self._connectProperties)
        self.client.connect(self._broker.host, self._port, **arguments)
        self.client.loop_start()
        flags, reason, given = self._answers.get(timeout=PATIENCE)
        assert reason.value == 0, reason
        self.sessionPresent = bool(flags.session_present)
        self.granted = given.json() if given is not None else {}
        return self

    def disconnect(self, **given: object) -> None:
        """
        Send DISCONNECT, with C{given} properties, and stop.
        """
        if self._version == V5:
            self.client.disconnect(properties=properties(PacketTypes.DISCONNECT, **given))
        else:
            self.client.disconnect()
        self.client.loop_stop()

    def vanish(self) -> None:
        """
        Lose the connection as a crash does, without a DISCONNECT.
        """
        opened = self.client.socket()
        assert isinstance(opened, socket.socket)
        opened.shutdown(socket.SHUT_RDWR)
        self.ended.get(timeout=PATIENCE)
        self.client.loop_stop()

    def will(self, topicName: str, payload: str, qos: int = 1, retain: bool = False, **given: object) -> "Peer":
        """
        Leave a will; to be called before connecting.
        """
        arguments = {"properties": properties(PacketTypes.WILLMESSAGE, **given)} if given else {}
        self.client.will_set(topicName, payload, qos, retain, **arguments)
        return self

    def subscribe(self, topicFilter: str, qos: int = 2, **options: Any) -> int:
        """
        Subscribe and wait for SUBACK.

        @param options: those of L{SubscribeOptions}, and C{identifier} for a subscription identifier.

        @return: the reason code.
        """
        if self._version == V5:
            identifier = options.pop("identifier", None)
            given = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier) if identifier else None
            self.client.subscribe(topicFilter, options=SubscribeOptions(qos, **options), properties=given)
        else:
            self.client.subscribe(topicFilter, qos)
        (reason,) = self._answers.get(timeout=PATIENCE)
        return int(reason)

    def unsubscribe(self, topicFilter: str) -> list[int]:
        """
        Unsubscribe and wait for UNSUBACK.

        @return: its reason codes; there are none before 5.0.
        """
        self.client.unsubscribe(topicFilter)
        reasons: list[int] = self._answers.get(timeout=PATIENCE)
        return reasons

    def publish(self, topicName: str, payload: str | bytes, qos: int = 1, retain: bool = False, **given: Any) -> int:
        """
        Publish and wait until the broker has it, as far as C{qos} can tell.

        @return: the reason code of its last acknowledgement.
        """
        arguments = {"properties": properties(PacketTypes.PUBLISH, **given)} if given else {}
        published = self.client.publish(topicName, payload, qos, retain, **arguments)
        published.wait_for_publish(PATIENCE)
        assert published.is_published()
        return self.reasons[published.mid]

    def receive(self) -> paho.MQTTMessage:
        """
        The next message; waits for it.
        """
        return self._messages.get(timeout=PATIENCE)

    def payloads(self, count: int) -> list[str]:
        """
        The payloads of the next C{count} messages.
        """
        return [self.receive().payload.decode() for _ in range(count)]

    def expectNothing(self, sender: "Peer", topicName: str) -> None:
        """
        See that no message is on its way: one that is sent now is the next to come.

        @param topicName: matched by a subscription of this peer.
        """
        mark = f"sentinel {next(_sentinels)}"
        sender.publish(topicName, mark)
        assert self.receive().payload.decode() == mark
