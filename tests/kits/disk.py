"""
A disk for retained messages that are nowhere else.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from twisted_mqtt.core.message import Message


class Disk:
    """
    A source of retained messages, which answers when it is told to.
    """

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.asked: list[tuple[list[str], Deferred[tuple[dict[str, Message], int]]]] = []

    def readRetained(self, topics: list[str]) -> Deferred[tuple[dict[str, Message], int]]:
        """
        See L{Source<twisted_mqtt.broker.retained.Source>}.
        """
        answer: Deferred[tuple[dict[str, Message], int]] = Deferred()
        self.asked.append((topics, answer))
        return answer

    def answer(self) -> None:
        """
        Answer the first question.
        """
        topics, answer = self.asked.pop(0)
        answer.callback(({topic: self.messages[topic] for topic in topics if topic in self.messages}, len(topics)))

    def fail(self) -> None:
        """
        Answer the first question with a failure.
        """
        self.asked.pop(0)[1].errback(OSError("on purpose"))
