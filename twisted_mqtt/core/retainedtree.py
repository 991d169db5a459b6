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
# A longer list of matches is not remembered.
_LONGEST: Final = 1 << 17
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


class _Frame:
    """
    A level on the way of a walk.

    @ivar nodes: what is below it and matches, as it was when the walk came.
    @ivar at: how many of these were visited.
    @ivar after: how many levels of the filter are above what is below C{nodes}.
    @ivar takes: whether the messages of C{nodes} match.
    @ivar isWhole: whether everything below C{nodes} matches.
    @ivar isLast: whether nothing below C{nodes} matches.
    """

    __slots__ = ("after", "at", "isLast", "isWhole", "nodes", "takes")

    def __init__(self, nodes: list[RetainedNode], after: int, takes: bool, isWhole: bool, isLast: bool) -> None:
        self.nodes: list[RetainedNode] = nodes
        self.at: int = 0
        self.after: int = after
        self.takes: bool = takes
        self.isWhole: bool = isWhole
        self.isLast: bool = isLast


class RetainedWalk:
    """
    The way through the levels that match a filter with wildcards, some steps at a time, while messages come and go. No
    message is found twice, and one that is there all the time is found.

    A level that has gone meanwhile is empty, so it does no harm to visit it. One that goes and comes again has no
    message that was there all the time, so it need not be visited.

    @ivar done: whether there is nothing more.
    @ivar stuck: whether it was given up, because some level has more below it than there may be.
    """

    __slots__ = ("done", "stuck", "_all", "_filter", "_levels", "_most", "_stack", "_tree", "_version")

    def __init__(self, tree: RetainedTree, topicFilter: str, most: int = -1, reserved: bool = False) -> None:
        """
        @param topicFilter: with wildcards.
        @param most: give up at a level that has more below it; -1 for never.
        @param reserved: whether topics that begin with C{$} are found too, which no filter with a wildcard in its first
            level matches.
        """
        self.done: bool = False
        self.stuck: bool = False
        self._tree: RetainedTree = tree
        self._version: int = tree.version
        # Everything found so far, to be remembered. As long as nothing changes, the tree holds these messages anyway.
        self._all: list[Message] | None = None if reserved else []
        self._filter: str = topicFilter
        self._most: int = most
        levels = self._levels = topicFilter.split("/")
        self._stack: list[_Frame] = []
        node = tree.root
        index = 0
        # Down to the level above the first wildcard: there is one way only.
        while levels[index] != "+" and levels[index] != "#" and levels[index + 1] != "+" and levels[index + 1] != "#":
            child = None if node.children is None else node.children.get(levels[index])
            if child is None:
                return
            node = child
            index += 1
        self._enter(node, index, index == 0 and not reserved)

    def _enter(self, node: RetainedNode, index: int, first: bool = False) -> bool:
        """
        See to what is below a level; returns whether there is anything.

        @param index: how many levels of the filter are above what is below.
        """
        children = node.children
        if children is None:
            return False
        levels = self._levels
        level = levels[index]
        if level == "#":
            nodes = self._below(children, first)
            self._stack.append(_Frame(nodes, index, True, True, False))
            return True
        if level == "+":
            nodes = self._below(children, first)
        else:
            child = children.get(level)
            if child is None:
                return False
            nodes = [child]
        after = index + 1
        isLast = after == len(levels)
        # Also the parent level: sport/# matches sport.
        takes = isLast or levels[after] == "#"
        self._stack.append(_Frame(nodes, after, takes, False, isLast))
        return True

    def _below(self, children: dict[str, RetainedNode], first: bool) -> list[RetainedNode]:
        if 0 <= self._most < len(children):
            self.stuck = True
            return []
        if first:  # [MQTT-4.7.2-1]
            return [child for name, child in children.items() if not name.startswith("$")]
        return list(children.values())

    def go(self, found: list[Message], steps: int) -> int:
        """
        Go on.

        @param found: what is found is added here.
        @param steps: how many levels to look at, at most; a few more where each has one below it.

        @return: at how many it has looked.
        """
        before = len(found)
        looked = self._go(found, steps)
        self._collect(found, before)
        return looked

    def _go(self, found: list[Message], steps: int) -> int:
        stack = self._stack
        looked = 0
        while stack and not self.stuck:
            frame = stack[len(stack) - 1]
            nodes = frame.nodes
            count = len(nodes)
            at = frame.at
            takes = frame.takes
            isWhole = frame.isWhole
            entered = False
            while at < count and not entered:
                if looked >= steps:
                    frame.at = at
                    return looked
                looked += 1
                node = nodes[at]
                at += 1
                if takes:
                    message = node.message
                    if message is not None:
                        found.append(message)
                if node.children is None or frame.isLast:
                    continue
                if not isWhole:
                    entered = self._enter(node, frame.after)
                    continue
                below: dict[str, RetainedNode] | None = node.children
                # One below the other needs no level on the way.
                while below is not None and len(below) == 1:
                    for only in below.values():
                        node = only
                    looked += 1
                    message = node.message
                    if message is not None:
                        found.append(message)
                    below = node.children
                if below is not None:
                    entered = self._enter(node, frame.after)
            frame.at = at
            if not entered:
                stack.pop()
        if self.stuck:
            stack.clear()
        self.done = not self.stuck
        return looked

    def _collect(self, found: list[Message], before: int) -> None:
        """
        Add to what is to be remembered; remember it where this is the end.
        """
        everything = self._all
        if everything is None:
            return
        if self._version != self._tree.version or len(everything) + len(found) - before > _LONGEST:
            self._all = None
            return
        everything.extend(found if before == 0 else found[before:])
        if self.done:
            self._all = None
            self._tree.remember(self._filter, everything)


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
        yield from self._steps(RetainedWalk(self, topicFilter))

    def everything(self) -> Iterator[Message | None]:
        """
        All retained messages, those too whose topics begin with C{$}; as L{messages}.
        """
        yield from self._steps(RetainedWalk(self, "#", -1, True))

    def _steps(self, walk: RetainedWalk) -> Iterator[Message | None]:
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
