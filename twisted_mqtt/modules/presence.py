"""
Publishes a message under C{$SYS/brokers/<node>/clients/} when a client connects or disconnects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config.keys import Flag, QoS
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.reasons import nameOf
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.interfaces import IClient, IExtensionContext

_log = Logger()

# Also what escapes them, so that no two identifiers become the same.
_ESCAPED: Final = str.maketrans({"/": "%2F", "+": "%2B", "#": "%23", "\0": "%00", "%": "%25"})


class PresenceSettings(Struct, frozen=True, kw_only=True):
    """
    C{[module.presence]}: messages about clients that come and go.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = True
    qos: Annotated[QoS, "Quality of service of these messages"] = 1


@implementer(IExtension)
class Presence:
    """
    The extension C{presence}.
    """

    def __init__(self, settings: PresenceSettings) -> None:
        self._qos = settings.qos

    def start(self, context: IExtensionContext) -> None:
        """
        Listen for clients that connect and disconnect.
        """
        self._broker = broker = context.broker
        self._prefix = f"$SYS/brokers/{broker.nodeName}/clients/"
        context.hook("client.connected", self._connected)
        context.hook("client.disconnected", self._disconnected)

    def _connected(self, client: IClient, connection: object) -> None:
        if not self._broker.isHeard(self._prefix):
            return
        self._publish(
            client.clientID,
            "connected",
            {
                **self._common(client),
                "connack": 0,
                "ts": int(self._broker.dates.of(client.connectedAt)),
                "clean_start": client.cleanStart,
                "keepalive": client.keepAlive,
                "sockport": client.sockPort,
                "expiry_interval": client.expiryInterval,
                "connected_at": int(self._broker.dates.of(client.connectedAt)),
            },
        )

    def _disconnected(self, client: IClient, reason: int | str, connection: object) -> None:
        if not self._broker.isHeard(self._prefix):
            return
        now = int(self._broker.dates.now())
        self._publish(
            client.clientID,
            "disconnected",
            {**self._common(client), "reason": reasonText(reason), "ts": now, "disconnected_at": now},
        )

    def _common(self, client: IClient) -> dict[str, object]:
        # Only there is the client identifier not all that tells clients apart.
        tree = {"topic_tree": client.topicTree} if client.topicTree else {}
        return {
            **tree,
            "clientid": client.clientID,
            # EMQ X writes the word for a client without a user name, and consumers look for it.
            "username": "undefined" if client.username is None else client.username,
            "ipaddress": client.peerHost,
            "proto_name": client.protoName,
            "proto_ver": client.protoVersion,
        }

    def _publish(self, clientID: str, event: str, content: dict[str, object]) -> None:
        topic = f"{self._prefix}{asLevel(clientID)}/{event}"
        message = Message(
            topic, msgspec.json.encode(content), self._qos, timestamp=self._broker.clock.seconds(), system=True
        )
        waiting = self._broker.publish(message)
        if isinstance(waiting, Deferred):
            # Nobody is kept waiting for it: a client is not to wait for those who watch it.
            waiting.addErrback(self._ebPublish, topic)

    def _ebPublish(self, failure: Failure, topic: str) -> None:
        _log.failure("Publishing {topic} failed", failure=failure, topic=topic)


def reasonText(reason: int | str) -> str:
    """
    Say why a connection ended.
    """
    if isinstance(reason, str):
        return reason
    return "normal" if reason == 0 else nameOf(reason)


def asLevel(clientID: str) -> str:
    """
    Make one level of a topic name of a client identifier: what would make more of it, or a name that nobody may send,
    is written as in a URL.
    """
    return clientID.translate(_ESCAPED)
