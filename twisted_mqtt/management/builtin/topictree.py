"""
The tree of subscribed topics, level by level (spec/rest-api-nanomq.md 3.10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.core.topics import splitShare
from twisted_mqtt.operations.operation import INVALID, Call, Operation, Refused, Route, Rows, operation

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Levels and clients that one answer may have.
MOST: Final = 10_000

# So many subscriptions are taken in one go.
_AT_ONCE: Final = 100


class WhichTopics(Struct, kw_only=True):
    """
    Which part of the tree is shown.
    """

    topic: Annotated[
        str, Meta(description="Only filters that begin with these levels, such as a/b; all by default")
    ] = ""


class TopicNode(Struct, kw_only=True):
    """
    One level of a filter.

    @ivar topic: its word; empty for the root.
    @ivar cld_cnt: how many levels there are directly below.
    @ivar clientid: who has subscribed a filter that ends here.
    """

    topic: str
    cld_cnt: int
    clientid: list[str] | UnsetType = UNSET


class _Level:
    """
    One level while the tree is made.
    """

    __slots__ = ("below", "clients", "word")

    def __init__(self, word: str) -> None:
        self.word = word
        self.below: dict[str, _Level] = {}
        self.clients: list[str] = []


def _levels(root: _Level) -> Iterator[list[TopicNode] | None]:
    """
    The levels from the root on, each in the order of those above; L{None} for a step that has made a node.
    """
    level = [root]
    while level:
        row: list[TopicNode] = []
        beneath: list[_Level] = []
        for one in level:
            row.append(TopicNode(topic=one.word, cld_cnt=len(one.below), clientid=one.clients or UNSET))
            beneath.extend(one.below[word] for word in sorted(one.below))
            yield None
        yield row
        level = beneath


@operation(
    "list_topic-tree",
    "Show the tree of subscribed topics, level by level",
    "topics tree",
    Route("GET", "/topic-tree/"),
    positional=("topic",),
    text=lambda row: (" ".join(f"{one.topic or '/'}({one.cld_cnt})" for one in row),),
)
async def topicTree(call: Call[WhichTopics]) -> Rows[list[TopicNode]]:
    """
    Shared subscriptions stand where their filters do, without the names of their groups.
    """
    wanted, directory = call.request.topic, call.broker.directory
    root, size = _Level(""), 1
    found = directory.subscriptions(
        lambda one: not wanted or f"{splitShare(one.topicFilter)[1]}/".startswith(f"{wanted}/")
    )
    while not found.exhausted:
        for subscription in await found.next(_AT_ONCE):
            at = root
            for word in splitShare(subscription.topicFilter)[1].split("/"):
                under = at.below.get(word)
                if under is None:
                    under = at.below[word] = _Level(word)
                    size += 1
                at = under
            at.clients.append(subscription.subscriber.clientID)
            size += 1
        if size > MOST:
            raise Refused(INVALID, f"topic: the tree has more than {MOST} levels and clients; ask for a part of it")
    return Rows(Listing(call.broker.clock, _levels(root)), lambda row: row)


OPERATIONS: tuple[Operation, ...] = (topicTree,)
