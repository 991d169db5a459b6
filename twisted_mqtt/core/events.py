"""
The interface by which the core asks the broker about a session's messages and tells it of them, and the switches that
say whether it has to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.queuebudget import QueueBudget
from twisted_mqtt.core.topicmeter import TopicMeter

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.session import Session

# The answers of a deliver hook about a message.
DELIVER: Final = 0
DISCARD: Final = 1
WAIT: Final = 2


class Switches:
    """
    State that all sessions and connections of a broker share: which hook points have callbacks, so that the core asks
    nobody where nobody listens; the time; and what all queues may hold together.
    """

    __slots__ = ("publish", "acl", "delivered", "queued", "acked", "dropped", "aclGeneration", "now", "queues", "meter")

    def __init__(self) -> None:
        self.publish: bool = False
        self.acl: bool = False
        self.delivered: bool = False
        self.queued: bool = False
        self.acked: bool = False
        self.dropped: bool = False
        # Grows when what was allowed before may be so no more.
        self.aclGeneration: int = 0
        # The moment, as the core was last told it.
        self.now: float = 0.0
        self.queues: QueueBudget = QueueBudget()
        # Counts the messages of chosen topics, where there are any.
        self.meter: TopicMeter | None = None


class Work(Protocol):
    """
    Something long, which is done little by little so that others have their turns.
    """

    def goOn(self) -> bool:
        """
        Do a little, which takes a fraction of a millisecond.

        @return: whether there is more.
        """


class Events(Protocol):
    """
    Is told what happens to a session's messages; but for L{goOnLater}, called only where L{Switches} say so.
    """

    def goOnLater(self, work: Work) -> None:
        """
        Have the rest of something done in later turns.
        """

    def delivering(self, session: Session, entry: Entry) -> int:
        """
        A message is about to be sent. The entry's message may be exchanged.

        @return: L{DELIVER}, L{DISCARD}, or L{WAIT}: then C{session.decided} is called later.
        """

    def queued(self, session: Session, message: Message) -> None:
        """
        A message waits for a client that is not connected.
        """

    def acked(self, session: Session, message: Message) -> None:
        """
        The client has acknowledged a message.
        """

    def dropped(self, session: Session | None, message: Message, reason: str) -> None:
        """
        A message will not reach a client.
        """
