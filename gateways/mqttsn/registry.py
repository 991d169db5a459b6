"""
Topic identifiers: those that each client knows (MQTT-SN 1.2, 6.5 to 6.7), and the predefined ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.mqttsn.packets import NORMAL, PREDEFINED, SHORT

if TYPE_CHECKING:
    from collections.abc import Mapping

# 0x0000 and 0xFFFF are reserved (5.3.11).
_LARGEST: Final = 0xFFFE


class Predefined:
    """
    The topic identifiers that clients and gateway know beforehand; one object for all clients.
    """

    __slots__ = ("_identifiers", "_topics")

    def __init__(self, topics: Mapping[int, str]) -> None:
        self._topics = {identifier: topic for identifier, topic in topics.items() if 0 < identifier <= _LARGEST}
        self._identifiers = {topic: identifier for identifier, topic in self._topics.items()}

    def topicOf(self, identifier: int) -> str | None:
        """
        The topic, or L{None} if the identifier stands for none.
        """
        return self._topics.get(identifier)

    def identifierOf(self, topic: str) -> int | None:
        """
        The identifier, or L{None} if the topic has none.
        """
        return self._identifiers.get(topic)


class TopicRegistry:
    """
    The topic identifiers of one client, from its CONNECT until its connection ends.

    There are never more than C{limit}: of those that the gateway has given by itself, for messages that match a
    wildcard, the least recently used one gives its number to the next. Topics that the client has asked for stay.

    @ivar limit: how many there may be.
    """

    __slots__ = ("limit", "_predefined", "_topics", "_identifiers", "_given", "_known", "_next")

    def __init__(self, predefined: Predefined, limit: int) -> None:
        self.limit = min(limit, _LARGEST)
        self._predefined = predefined
        self._topics: dict[int, str] = {}
        self._identifiers: dict[str, int] = {}
        # Given by the gateway, least lately used first; those in the client's own hand are not there.
        self._given: dict[str, int] | None = None
        # Topics that the client has itself called by their predefined identifiers.
        self._known: set[str] | None = None
        self._next = 1

    def __len__(self) -> int:
        return len(self._topics)

    def topicOf(self, idType: int, identifier: int) -> str | None:
        """
        The topic that the client means, or L{None}.
        """
        if idType == NORMAL:
            return self._topics.get(identifier)
        if idType == PREDEFINED:
            topic = self._predefined.topicOf(identifier)
            if topic is not None:
                self._know(topic)
            return topic
        return shortName(identifier)

    def register(self, topic: str) -> int | None:
        """
        Number a topic as the client asks: by REGISTER, or by SUBSCRIBE of a name without wildcards.

        @return: L{None} where it has as many as it may have.
        """
        identifier = self._identifiers.get(topic)
        if identifier is None:
            identifier = self._free()
            if identifier is None:
                return None
            self._topics[identifier] = topic
            self._identifiers[topic] = identifier
        elif self._given is not None:
            self._given.pop(topic, None)
        return identifier

    def give(self, topic: str) -> int | None:
        """
        Number a topic that the client is going to be told of; L{confirm} says that it was.

        @return: L{None} where there is no number left.
        """
        if topic in self._identifiers:
            return self._identifiers[topic]
        identifier = self._free()
        if identifier is None:
            return None
        if self._given is None:
            self._given = {}
        self._given[topic] = identifier
        self._topics[identifier] = topic
        self._identifiers[topic] = identifier
        return identifier

    def reference(self, topic: str) -> tuple[int, int] | None:
        """
        How to name a topic to the client.

        @return: the type of an identifier and the identifier; L{None} if it has to be told one first.
        """
        identifier = self._identifiers.get(topic)
        if identifier is not None:
            given = self._given
            if given is not None and topic in given:
                del given[topic]
                given[topic] = identifier
            return NORMAL, identifier
        if self._known is not None and topic in self._known:
            identifier = self._predefined.identifierOf(topic)
            if identifier is not None:
                return PREDEFINED, identifier
        short = shortID(topic)
        return None if short is None else (SHORT, short)

    def forget(self, topic: str) -> None:
        """
        The client does not know the topic's number, whatever we thought.
        """
        identifier = self._identifiers.pop(topic, None)
        if identifier is not None:
            del self._topics[identifier]
        if self._given is not None:
            self._given.pop(topic, None)
        if self._known is not None:
            self._known.discard(topic)

    def forgetID(self, identifier: int) -> None:
        """
        The same, of a topic that is known by its number.
        """
        topic = self._topics.get(identifier)
        if topic is not None:
            self.forget(topic)

    def _know(self, topic: str) -> None:
        if self._known is None:
            self._known = set()
        self._known.add(topic)

    def _free(self) -> int | None:
        if len(self._topics) >= self.limit:
            if not self._given:
                return None
            oldest = next(iter(self._given))
            identifier = self._given.pop(oldest)
            del self._identifiers[oldest]
            del self._topics[identifier]
            return identifier
        while self._next in self._topics:
            self._next = self._next + 1 if self._next < _LARGEST else 1
        identifier = self._next
        self._next = identifier + 1 if identifier < _LARGEST else 1
        return identifier


def shortName(identifier: int) -> str | None:
    """
    The short topic name of two bytes that stand in the place of an identifier; L{None} if they are no text.
    """
    try:
        return identifier.to_bytes(2, "big").decode("utf-8")
    except UnicodeDecodeError:
        return None


def shortID(topic: str) -> int | None:
    """
    A topic name of two bytes as a number; L{None} if it is none.
    """
    if len(topic) > 2:
        return None
    encoded = topic.encode("utf-8")
    return encoded[0] << 8 | encoded[1] if len(encoded) == 2 else None
