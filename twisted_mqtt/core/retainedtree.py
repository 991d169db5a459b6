"""
The index of retained messages.

Its answer equals that of L{twisted_mqtt.core.topics.matches} over all topics; a property test checks this.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.topics import hasWildcard, matches
from twisted_mqtt.core.tree import DEEP


class RetainedNode:
    """
    A level of the topics that have a retained message.
    """

    __slots__ = ("message", "children")

    def __init__(self) -> None:
        self.message: Message | None = None
        self.children: dict[str, RetainedNode] | None = None


class RetainedTree:
    """
    The last retained message of each topic.

    @ivar count: how many there are.
    @ivar bytes: the length of their payloads together.
    """

    __slots__ = ("count", "bytes", "_messages", "_deep", "_root", "_cache")

    def __init__(self) -> None:
        self.count: int = 0
        self.bytes: int = 0
        self._messages: dict[str, Message] = {}
        self._deep: dict[str, Message] = {}
        self._root: RetainedNode = RetainedNode()
        self._cache: dict[str, list[Message]] = {}

    def get(self, topic: str) -> Message | None:
        """
        The retained message of a topic.
        """
        return self._messages.get(topic)

    def topics(self) -> list[str]:
        """
        The topics that have a retained message.
        """
        return list(self._messages)

    def put(self, message: Message) -> Message | None:
        """
        Keep a message for its topic; returns the one it takes the place of.
        """
        topic = message.topic
        old = self._messages.get(topic)
        self._messages[topic] = message
        self.bytes += len(message.payload)
        if old is None:
            self.count += 1
        else:
            self.bytes -= len(old.payload)
        if self._cache:
            self._cache.clear()
        if topic.count("/") >= DEEP:
            self._deep[topic] = message
            return old
        node = self._root
        for level in topic.split("/"):
            children = node.children
            if children is None:
                children = node.children = {}
            child = children.get(level)
            if child is None:
                child = children[level] = RetainedNode()
            node = child
        node.message = message
        return old

    def remove(self, topic: str) -> Message | None:
        """
        Forget the message of a topic; returns it.
        """
        old = self._messages.pop(topic, None)
        if old is None:
            return None
        self.count -= 1
        self.bytes -= len(old.payload)
        if self._cache:
            self._cache.clear()
        if topic.count("/") >= DEEP:
            del self._deep[topic]
        else:
            self._prune(self._root, topic.split("/"), 0)
        return old

    def match(self, topicFilter: str) -> list[Message]:
        """
        The retained messages whose topics match a filter. The list may be shared: it must not be changed.
        """
        if not hasWildcard(topicFilter):
            message = self._messages.get(topicFilter)
            return [] if message is None else [message]
        found = self._cache.get(topicFilter)
        if found is None:
            found = []
            if topicFilter.count("/") <= DEEP:
                self._walk(self._root, topicFilter.split("/"), 0, found)
            if self._deep:
                found.extend([message for topic, message in self._deep.items() if matches(topicFilter, topic)])
            if len(self._cache) >= 16:
                self._cache.clear()
            self._cache[topicFilter] = found
        return found

    def messages(self, topicFilter: str) -> Iterator[Message | None]:
        """
        The retained messages whose topics match a filter, while they change. No topic comes twice; one that has a
        message all the time comes. L{None} is a step without one.
        """
        if not hasWildcard(topicFilter):
            yield self._messages.get(topicFilter)
            return
        for message in list(self._deep.values()):
            yield message if matches(topicFilter, message.topic) else None
        if topicFilter.count("/") > DEEP:
            return
        # A level that goes and comes again meanwhile has no message that was there all the time; each is visited once.
        filters = topicFilter.split("/")
        # A level, how many levels of the filter are above what is below it, and which of that is still to be visited.
        stack: list[tuple[RetainedNode, int, list[str]]] = [(self._root, 0, _wanted(self._root, filters[0], True))]
        while stack:
            node, index, levels = stack[-1]
            if not levels:
                stack.pop()
                continue
            name = levels.pop()
            child = None if node.children is None else node.children.get(name)
            if child is None:
                yield None
                continue
            if filters[index] != "#":
                index += 1
            if index == len(filters):
                yield child.message
                continue
            yield child.message if filters[index] == "#" else None
            levels = _wanted(child, filters[index], False)
            if levels:
                stack.append((child, index, levels))

    def _prune(self, node: RetainedNode, levels: list[str], index: int) -> None:
        if index == len(levels):
            node.message = None
            return
        children = node.children
        child = None if children is None else children.get(levels[index])
        if children is None or child is None:
            return
        self._prune(child, levels, index + 1)
        if child.message is None and child.children is None:
            del children[levels[index]]
            if not children:
                node.children = None

    def _walk(self, node: RetainedNode, levels: list[str], index: int, found: list[Message]) -> None:
        if index == len(levels):
            if node.message is not None:
                found.append(node.message)
            return
        level = levels[index]
        children = node.children
        if level == "#":
            if node.message is not None:
                found.append(node.message)
            if children is not None:
                first = node is self._root
                for name, child in children.items():
                    if not first or not name.startswith("$"):  # [MQTT-4.7.2-1]
                        self._walk(child, levels, index, found)
        elif children is None:
            return
        elif level == "+":
            for name, child in children.items():
                if index or not name.startswith("$"):
                    self._walk(child, levels, index + 1, found)
        else:
            found_ = children.get(level)
            if found_ is not None:
                self._walk(found_, levels, index + 1, found)


def _wanted(node: RetainedNode, level: str, first: bool) -> list[str]:
    """
    The levels below one that a level of a filter matches.

    @param first: whether they are the first levels of topics.
    """
    children = node.children
    if children is None:
        return []
    if level == "#" or level == "+":
        # [MQTT-4.7.2-1]
        return [name for name in children if not name.startswith("$")] if first else list(children)
    return [level]
