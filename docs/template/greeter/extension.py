"""
The extension: its settings, and what it does.
"""

from typing import Annotated

from msgspec import Struct

from twisted_mqtt.config.keys import Duration, Flag, QoS, TopicFilter, TopicName
from twisted_mqtt.core.message import Message
from twisted_mqtt.interfaces import IClient, IExtensionContext


class GreeterSettings(Struct, frozen=True, kw_only=True):
    """
    C{[greeter]}: each field is a key, with its type, its meaning and its default.
    """

    topic: Annotated[TopicName, "Where greetings are published"] = "greetings"
    qos: Annotated[QoS, "The quality of service of greetings"] = 0
    loud: Annotated[Flag, "Whether greetings are shouted"] = False
    listen: Annotated[TopicFilter, "What clients say there is counted"] = "hello/#"
    report: Annotated[Duration, "Time between two lines of the log about it; 0 for none"] = 3600.0


class Greeter:
    """
    The extension C{greeter}.

    @ivar greeted: how many clients were greeted.
    @ivar heard: how many messages clients have published to what is listened to.
    """

    def __init__(self, settings: GreeterSettings) -> None:
        self.greeted = 0
        self.heard = 0
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Begin. What is registered through the context is taken back when the extension ends.
        """
        self._context = context
        context.hook("client.connected", self._connected)
        context.watch(self._settings.listen, self._said)
        if self._settings.report:
            context.loop(self._settings.report, self._report)

    def _connected(self, client: IClient, connection: IClient) -> None:
        text = f"hello {client.clientID}"
        payload = (text.upper() if self._settings.loud else text).encode()
        self._context.broker.publish(Message(self._settings.topic, payload, self._settings.qos))
        self.greeted += 1

    def _said(self, message: Message) -> None:
        self.heard += 1

    def _report(self) -> None:
        self._context.log.info(
            "{greeted} clients greeted, {heard} messages heard", greeted=self.greeted, heard=self.heard
        )
