"""
The index of retained messages.

Its answer equals that of L{twisted_mqtt.core.topics.matches} over all topics; a property test checks this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.topics import hasWildcard

# The matches of so many filters are remembered, as long as no message comes or goes.
_CACHED_FILTERS: Final = 16
_ALL: Final = 1 << 60
# So many levels L{RetainedTree.messages} looks at in a step.
_STEP: Final = 8


class RetainedNode:
    """
    A level of the topics that have a retained message.
    """

    __slots__ = ("message", "children")

    def __init__(self) -> None:
        self.message: Message | None = None
        self.children: dict[str, RetainedNode] | None = None

    def bare(self) -> bool:
        """
        Whether neither a message nor any level is here.
        """
        return self.message is None and self.children is None


class RetainedWalk:
    """
    The way through the levels that match a filter with wildcards, some steps at a time, while messages come and go. No
    message is found twice, and one that is there all the time is found.

    @ivar done: whether there is nothing more.
    @ivar stuck: whether it was given up, because some level has more below it than there may be.
    """

    __slots__ = ("done", "stuck", "_filter", "_levels", "_most", "_stack", "_tree", "_version")

    def __init__(self, tree: RetainedTree, topicFilter: str, most: int = -1) -> None:
        """
        @param topicFilter: with wildcards.
        @param most: give up at a level that has more below it; -1 for never.
        """
        self.done: bool = False
        self.stuck: bool = False
        self._tree: RetainedTree = tree
        self._version: int = tree.version
        self._filter: str = topicFilter
        self._most: int = most
        levels = self._levels = topicFilter.split("/")
        # On the way are a level, how many levels of the filter are above what is below it, and which of that is still
        # to be visited. A level that goes and comes again meanwhile has no message that was there all the time: each is
        # visited once.
        self._stack: list[tuple[RetainedNode, int, list[str]]] = []
        node = tree.root
        index = 0
        # Down to the level above the first wildcard: there is one way only.
        while levels[index] != "+" and levels[index] != "#" and levels[index + 1] != "+" and levels[index + 1] != "#":
            child = None if node.children is None else node.children.get(levels[index])
            if child is None:
                return
            node = child
            index += 1
        self._enter(node, index, levels[index], index == 0)

    def _enter(self, node: RetainedNode, index: int, level: str, first: bool = False) -> bool:
        """
        See to what is below a level; returns whether there is anything.
        """
        children = node.children
        if children is None:
            return False
        if level != "+" and level != "#":
            if level not in children:
                return False
            self._stack.append((node, index, [level]))
            return True
        if 0 <= self._most < len(children):
            self.stuck = True
            self._stack.clear()
            return True
        names = list(children)
        if first:  # [MQTT-4.7.2-1]
            names = [name for name in names if not name.startswith("$")]
        # They are taken from the end, and are to come in the order in which they are there.
        names.reverse()
        self._stack.append((node, index, names))
        return True

    def go(self, found: list[Message], steps: int) -> int:
        """
        Go on.

        @param found: what is found is added here.
        @param steps: how many levels to look at, at most.

        @return: at how many it has looked.
        """
        stack = self._stack
        levels = self._levels
        last = len(levels)
        left = steps
        while stack:
            node, index, names = stack[len(stack) - 1]
            children = node.children
            after = index if levels[index] == "#" else index + 1
            # The word that the next level needs; empty if this is the last one.
            below = levels[after] if after < last else ""
            isLast = after == last
            entered = False
            while names and not entered:
                if left == 0:
                    return steps
                left -= 1
                name = names.pop()
                child = None if children is None else children.get(name)
                if child is None:
                    continue
                if isLast or below == "#":  # also the parent level: sport/# matches sport
                    message = child.message
                    if message is not None:
                        found.append(message)
                if not isLast and child.children is not None:
                    entered = self._enter(child, after, below)
            if not entered:
                stack.pop()
        self.done = not self.stuck
        return steps - left

    def remember(self, found: list[Message]) -> None:
        """
        Remember what was found, if nothing has changed meanwhile.

        @param found: all of it. The list must not be changed any more.
        """
        if self._version == self._tree.version:
            self._tree.remember(self._filter, found)


class RetainedTree:
    """
    The last retained message of each topic.

    @ivar count: how many there are.
    @ivar bytes: the length of their payloads together.
    @ivar version: another one after each change.
    @ivar root: above the first levels of all topics. Not to be changed.
    """

    __slots__ = ("count", "bytes", "version", "root", "_messages", "_cache")

    def __init__(self) -> None:
        self.count: int = 0
        self.bytes: int = 0
        self.version: int = 0
        self._messages: dict[str, Message] = {}
        self.root: RetainedNode = RetainedNode()
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
        self.version += 1
        if self._cache:
            self._cache.clear()
        node = self.root
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
        self.version += 1
        if self._cache:
            self._cache.clear()
        self._prune(topic)
        return old

    def match(self, topicFilter: str, steps: int = -1) -> list[Message] | None:
        """
        The retained messages whose topics match a filter. The list may be shared: it must not be changed.

        @param steps: how many levels to look at, at most; -1 for all.

        @return: L{None} where there are more levels to look at; see L{walk}.
        """
        if not hasWildcard(topicFilter):
            message = self._messages.get(topicFilter)
            return [] if message is None else [message]
        found = self._cache.get(topicFilter)
        if found is None:
            found = []
            walk = RetainedWalk(self, topicFilter, steps)
            walk.go(found, _ALL if steps < 0 else steps)
            if not walk.done:
                return None
            self.remember(topicFilter, found)
        return found

    def walk(self, topicFilter: str) -> RetainedWalk:
        """
        Begin to look for what matches a filter with wildcards.
        """
        return RetainedWalk(self, topicFilter)

    def remember(self, topicFilter: str, found: list[Message]) -> None:
        """
        Remember what matches a filter, until there is a change. The list must not be changed any more.
        """
        if len(self._cache) >= _CACHED_FILTERS:
            self._cache.clear()
        self._cache[topicFilter] = found

    def messages(self, topicFilter: str) -> Iterator[Message | None]:
        """
        The retained messages whose topics match a filter, while they change. No topic comes twice; one that has a
        message all the time comes. L{None} is a step without one.
        """
        if not hasWildcard(topicFilter):
            yield self._messages.get(topicFilter)
            return
        walk = RetainedWalk(self, topicFilter)
        while not walk.done:
            found: list[Message] = []
            walk.go(found, _STEP)
            yield from found
            yield None

    def _prune(self, topic: str) -> None:
        """
        Take the message of a topic out of its level, and the levels that hold nothing any more.
        """
        node = self.root
        path: list[RetainedNode] = []
        levels = topic.split("/")
        for level in levels:
            child = None if node.children is None else node.children.get(level)
            if child is None:
                return
            path.append(node)
            node = child
        node.message = None
        while path and node.bare():
            node = path.pop()
            children = node.children
            if children is None:
                return
            del children[levels[len(path)]]
            if not children:
                node.children = None
