"""
An extension that stands for management: it makes many sessions, and pages through all that there is while it is told
to.

It stands beside a plugin file that a test writes, and is told by messages: C{pager/begin}, C{pager/end}, the answer to
which is C{pager/pages}, what was seen; and C{pager/say/CLIENT}, whose payload it publishes for that client to
C{pager/said}, and tells in C{pager/safe} when it is on disk.
"""

from __future__ import annotations

import json
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct
from twisted.internet.defer import Deferred

from tests.kits.manysessions import ManySessions
from twisted_mqtt.base.waiting import nextTurn
from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from twisted_mqtt.base.listing import Listing


class Settings(Struct, frozen=True, kw_only=True):
    """
    Its table.
    """

    sessions: Annotated[int, "How many sessions it makes"] = 100
    subscriptions: Annotated[int, "How many subscriptions each of them has"] = 10


class Pager:
    """
    The extension.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._paging = False
        self._stopping = False
        self._going: Deferred[None] | None = None

    async def start(self, context: Any) -> None:
        """
        Make the sessions, then wait for what is to be done.
        """
        self._broker = context.broker
        sessions = ManySessions(self._broker, self._settings.subscriptions)
        for number in range(self._settings.sessions):
            sessions.make(number)
            if number % 10 == 9:
                await nextTurn(self._broker.clock)
        self._watches = [
            self._broker.watch("pager/begin", self._begin, name="pager"),
            self._broker.watch("pager/end", self._end, name="pager"),
            self._broker.watch("pager/say/+", self._say, name="pager"),
        ]

    def stop(self) -> Deferred[None] | None:
        """
        End, and let the last page come.
        """
        self._paging = False
        self._stopping = True
        for watch in self._watches:
            watch.close()
        return self._going

    def _begin(self, message: Message) -> None:
        self._paging = True
        self._going = Deferred.fromCoroutine(self._page())

    async def _end(self, message: Message) -> None:
        self._paging = False
        if self._going is not None:
            await self._going

    async def _say(self, message: Message) -> None:
        name = message.topic.rpartition("/")[2]
        client = self._broker.clients.get(name)
        who = self._broker.account(name, protocol="pager") if client is None else client
        reason = self._broker.publishAs(who, "pager/said", message.payload, 1, True)
        if isinstance(reason, Deferred):
            reason = await reason
        safe = self._broker.safe()
        if safe is not None:
            await safe
        self._broker.publish(Message("pager/safe", json.dumps({"reason": reason, "by": message.clientID}).encode()))

    async def _page(self) -> None:
        """
        Go through everything in pages, again and again; what has begun comes to its end.
        """
        directory = self._broker.directory
        seen = {"rounds": 0, "sessions": 0, "subscriptions": 0, "filters": 0, "sorted": 0, "named": 0}
        began = perf_counter()
        while self._paging:
            seen["sessions"] += await self._all(directory.sessions(), 100, lambda session: session.stats())
            seen["subscriptions"] += await self._all(directory.subscriptions(), 1000)
            seen["filters"] += await self._all(directory.filters(), 1000)
            seen["sorted"] += await self._all(directory.sessions(key=lambda session: session.createdAt), 100)
            seen["named"] += await self._all(directory.sessions(lambda session: session.username == "user-7"), 100)
            seen["rounds"] += 1
        self._broker.publish(Message("pager/pages", json.dumps({**seen, "seconds": perf_counter() - began}).encode()))

    async def _all(self, listing: Listing[Any], size: int, look: Any = repr) -> int:
        """
        Look at all that a listing shows, unless the broker stops; returns how much it was.
        """
        count = 0
        while not self._stopping and not listing.exhausted:
            page = await listing.next(size)
            for each in page:
                look(each)
            count += len(page)
        return count
