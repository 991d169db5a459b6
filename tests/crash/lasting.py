"""
Clients whose sessions and wills have a time: what becomes of them counts from the new start for those that were there
when the broker was killed, and from their going for those that were away.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Final

from tests.crash.checker import Checker
from tests.crash.clients import Client, Subscriber
from twisted_mqtt.core.packets import (
    PUBACK,
    PUBLISH,
    SUBACK,
    Ack,
    Packet,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from twisted_mqtt.testing.peer import connectPacket, propertiesOf

#: For how many seconds a short session outlives its connection, and for how many its client's will waits.
SHORT: Final = 5
WILL_DELAY: Final = 4
#: After so many seconds a will is on disk that nobody waits for.
WRITTEN: Final = 0.2
#: How much later than at its end a session may go.
SLACK: Final = 1.5


class ShortSubscriber(Subscriber):
    """
    A subscriber with a short session and a will that waits; it stays, and comes back at once after a kill: then its
    session is there, however long it had been connected, and its will is never published.
    """

    def __init__(self, clientID: str, checker: Checker) -> None:
        super().__init__(clientID, checker, 5)

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self.reset()
        will = Will(f"wills/{self.clientID}", b"0", 1, False, propertiesOf(willDelay=WILL_DELAY))
        self.send(connectPacket(self.clientID, 5, cleanStart=False, sessionExpiry=SHORT, will=will))


class Late(Client):
    """
    A client with a session and a will that waits a second; it does not come back before that was published.

    @ivar number: what its present will says.
    """

    def __init__(self, clientID: str) -> None:
        super().__init__(clientID, 5)
        self.number = 0

    @property
    def topic(self) -> str:
        """
        Of its will.
        """
        return f"wills/{self.clientID}"

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self.reset()
        self.number += 1
        will = Will(self.topic, b"%d" % self.number, 1, False, propertiesOf(willDelay=1))
        self.send(connectPacket(self.clientID, 5, cleanStart=False, sessionExpiry=86400, will=will))


class Present(Client):
    """
    A client without a session that says by a retained message that it is there, and by its will that it is not.

    @ivar number: what was said last: odd while it is there.
    @ivar ready: whether what it has said is acknowledged.
    """

    def __init__(self, clientID: str, version: int) -> None:
        super().__init__(clientID, version)
        self.number = 0
        self.ready = False

    @property
    def topic(self) -> str:
        """
        Of what it says.
        """
        return f"retained/{self.clientID}"

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self.reset()
        self.ready = False
        self.number += 1 + self.number % 2
        will = Will(self.topic, b"%d" % (self.number + 1), 1, True, None)
        self.send(connectPacket(self.clientID, self.version, cleanStart=True, will=will))

    def opened(self) -> None:
        """
        It is there.
        """
        self.send(Publish(self.topic, b"%d" % self.number, 1, True, False, 1))

    def take(self, packet: Packet) -> None:
        """
        Messages that it has sent are kept.
        """
        assert packet.type == PUBACK, packet
        self.ready = True


class Expiring(Client):
    """
    A client that is away for longer than its session lasts: it is not there any more when it comes, and the broker has
    not forgotten that with the process.

    @ivar since: when it went; 0 while it is there.
    """

    lasts = 1

    def __init__(self, clientID: str) -> None:
        super().__init__(clientID, 5)
        self.since = 0.0
        self.problem = ""
        self.count = 0

    @property
    def isDue(self) -> bool:
        """
        Whether its session must have ended by now, or has not begun.
        """
        return not self.since or time.monotonic() - self.since > self.lasts + SLACK

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self.reset()
        self.send(connectPacket(self.clientID, 5, cleanStart=False, sessionExpiry=self.lasts))

    def accepted(self, sessionPresent: bool) -> None:
        """
        See L{Client}.
        """
        away = time.monotonic() - self.since
        if self.since:
            self.count += 1
            if sessionPresent:
                self.problem = f"{self.clientID}: its session of {self.lasts} s is there after {away:.1f} s"
        self.open = True

    def leave(self) -> None:
        """
        Go.
        """
        if self.socket is not None:
            self.since = time.monotonic()
            self.close()


class Watcher(Client):
    """
    A subscriber of wills, with a session.

    @ivar wills: the numbers that have come, by topic.
    """

    def __init__(self) -> None:
        super().__init__("watcher", 5)
        self.subscribed = False
        self.wills: dict[str, list[int]] = defaultdict(list)

    def opened(self) -> None:
        """
        The first time, subscribe.
        """
        self.hadSession = True
        if not self.subscribed:
            self.send(Subscribe(1, [SubscriptionRequest("wills/#", 1)]))

    def take(self, packet: Packet) -> None:
        """
        A will.
        """
        if packet.type == SUBACK:
            self.subscribed = True
        elif packet.type == PUBLISH:
            assert isinstance(packet, Publish)
            self.wills[packet.topic].append(int(packet.payload))
            self.send(Ack(PUBACK, packet.packetID))
