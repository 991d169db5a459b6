"""
Wills: published when a client goes without a word, at once or after a delay (3.1.2.5, 3.1.3.2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_mqtt.base.waiting import isDeferred
from twisted_mqtt.core.session import NEVER

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session

_log = Logger()


class Wills:
    """
    The wills of clients that are gone, until they are published or their clients come back.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clock: Any = broker.clock
        self._waiting: dict[str, tuple[Message, Any]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def leave(self, client: ClientInfo, session: Session) -> None:
        """
        A client is gone: see to its will, if it still has one.
        """
        will = client.will
        client.will = None
        if will is None:
            if session.journal is not None:
                self._broker.store.removeWill(client.clientID)
            return
        delay = client.willDelay
        if session.expiryInterval != NEVER:
            delay = min(delay, session.expiryInterval)  # [MQTT-3.1.3-9]: whichever comes first
        if delay == 0:
            self._forget(client.clientID, session)
            self._publish(will)
        else:
            self.delay(client.clientID, will, delay)
            if session.journal is not None:
                self._broker.store.saveWill(client.clientID, will, self._clock.seconds() + delay, delay)

    def delay(self, clientID: str, will: Message, seconds: float) -> None:
        """
        Publish a will after some time.
        """
        self.cancel(clientID)
        call = self._clock.callLater(seconds, self.sessionEnded, clientID)
        self._waiting[clientID] = (will, call)

    def cancel(self, clientID: str) -> None:
        """
        The client has come back to its session: its will is not published.
        """
        waiting = self._waiting.pop(clientID, None)
        if waiting is not None and waiting[1].active():
            waiting[1].cancel()

    def sessionEnded(self, clientID: str) -> None:
        """
        Publish a will that waits: its time has come, or the session has ended.
        """
        waiting = self._waiting.pop(clientID, None)
        if waiting is None:
            return
        will, call = waiting
        if call.active():
            call.cancel()
        session = self._broker.sessions.get(clientID)
        if session is not None:
            self._forget(clientID, session)
        self._publish(will)

    def stop(self) -> None:
        """
        Publish no more; what a store has kept goes on after the next start.
        """
        for _, call in self._waiting.values():
            if call.active():
                call.cancel()
        self._waiting.clear()

    def _forget(self, clientID: str, session: Session) -> None:
        if session.journal is not None:
            self._broker.store.removeWill(clientID)

    def _publish(self, will: Message) -> None:
        now = self._clock.seconds()
        will.timestamp = now
        properties = will.properties
        if properties is not None and properties.messageExpiry is not None:
            will.expiresAt = now + properties.messageExpiry
        outcome = self._broker.publish(will)
        if isDeferred(outcome):
            outcome.addErrback(self._ebPublish, will)

    def _ebPublish(self, failure: Failure, will: Message) -> None:
        _log.failure("Publishing the will for {topic} failed", failure=failure, topic=will.topic)
