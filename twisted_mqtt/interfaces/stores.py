"""
Stores: what they keep and how far they have come.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from zope.interface import Attribute, Interface, classImplements

from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from twisted_mqtt.base.records import Records
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.retained import PayloadReader
    from twisted_mqtt.core.journal import Journal
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.stores.rows import KeptSession

R = TypeVar("R")


class IProgress(Interface):
    """
    How far a store has come.
    """

    sequence = Attribute("Grows with each write that was asked for.")
    stored = Attribute("The sequence up to which this node has written everything.")
    awaited = Attribute("The sequences at which something went to other nodes that they have not stored yet.")
    committed = Attribute("The sequence up to which everything would survive a crash, here and on other nodes.")
    broken = Attribute("Whether the store can't keep anything new at present.")
    failed = Attribute("Whether that is for the disk.")
    full = Attribute("Whether that is because it may not be larger.")
    stuck = Attribute("Whether it can't write at all; else one that is broken is full.")
    congested = Attribute("Whether so much waits to be written that publishers of QoS 1 and 2 have to wait too.")


class ITable(Interface):
    """
    A table of a store: small records under names, all of them in memory, so that reading never waits.

    A change is written with the next batch of the store, together with all other changes of the time and under the same
    promise: once C{progress.committed} has reached what C{progress.sequence} was after the change, it survives a crash.
    The user of a table must not let it grow without a bound.
    """

    name: str = Attribute("What it is called.")
    largest: int = Attribute("How many bytes a value has at most.")

    def get(key: str) -> bytes | None:
        """
        The value of a key; None where there is none.
        """

    def put(key: str, value: bytes) -> None:
        """
        Set the value of a key.

        @raise ValueError: the key is empty or longer than L{LONGEST_KEY<twisted_mqtt.stores.tables.LONGEST_KEY>}, or
            not to be encoded in UTF-8; the value is larger than C{largest}.

        @raise RuntimeError: the store is not open yet.
        """

    def remove(key: str) -> bool:
        """
        Remove a key; returns whether it was there.

        @raise RuntimeError: the store is not open yet.
        """

    def items() -> list[tuple[str, bytes]]:
        """
        All keys and values of this moment, in no particular order.
        """

    def count() -> int:
        """
        How many keys there are.
        """

    def records(kind: type[R]) -> Records[R]:
        """
        The same table with typed records for values.

        @param kind: a C{msgspec.Struct}, or another type that msgspec knows.
        """


class IStore(Interface):
    """
    Keeps persistent sessions, their messages, retained messages and wills, and tables of small records for everything
    else.

    Its write methods are called in order from the reactor's thread; they return nothing, do not wait and do not raise:
    what can't be kept makes C{progress.failed} true.
    """

    durable: bool = Attribute("Whether anything survives the process.")
    size: int = Attribute("How many bytes it has in use, as it was last measured.")
    progress: Progress = Attribute("An L{IProgress}.")
    commitTook: Callable[[float], None] | None = Attribute(
        "Told, in the reactor's thread, how many seconds the writer took to commit a batch; None where nobody measures."
    )
    journal: Journal | None = Attribute("What sessions tell of their messages; None where it is not durable.")

    def open(owner: IStoreOwner) -> Maybe[None]:
        """
        Open the store, fill its tables, and give the owner what it holds.

        @return: C{None}, or a Deferred that fires when that is done and fails with
            L{StoreError<twisted_mqtt.stores.schemas.StoreError>} where the store can't be used.
        """

    def close() -> Maybe[None]:
        """
        Write what is left and close.

        @return: C{None}, or a Deferred that fires when that is done. It does not fail.
        """

    def table(name: str, largest: int = 0) -> ITable:
        """
        The table of a name, the same each time. It can be asked for before the store is open, and is empty until then.

        @param name: small letters, digits, and C{_ . / -}; at most 100 of them, a letter first.
        @param largest: how many bytes a value may have, where that is more than 1 MiB.

        @raise ValueError: the name is none.
        """

    def measure() -> None:
        """
        See how large the store is: C{size} says so soon.
        """

    def saveSession(session: Session) -> None:
        """
        A persistent session has begun, or its expiry has changed, or its client has come or gone.
        """

    def removeSession(session: Session) -> None:
        """
        A persistent session has ended, with all that belongs to it.
        """

    def saveSubscription(session: Session, subscription: Subscription) -> None:
        """
        A persistent session has subscribed, or changed a subscription.
        """

    def removeSubscription(session: Session, topicFilter: str) -> None:
        """
        A persistent session has unsubscribed.
        """

    def putRetained(message: Message) -> None:
        """
        A message is now the retained one of its topic.
        """

    def removeRetained(topic: str) -> None:
        """
        A topic has no retained message any more.

        @param topic: with its topic tree: L{scoped<twisted_mqtt.core.topics.scoped>}.
        """

    def saveWill(key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        A client has a will.

        @param key: the C{key} of its session: its client identifier, with its topic tree if not the default one.
        @param publishAt: the moment when it is due; 0 while the client is connected.
        @param delay: for how many seconds it waits once the client is gone.
        """

    def removeWill(key: str) -> None:
        """
        A client has no will any more.

        @param key: see L{saveWill}.
        """

    def mark() -> None:
        """
        Count a change that is kept elsewhere: C{progress.sequence} grows by one at least, and C{progress.stored}
        reaches it as soon as everything before it is written here.
        """

    def room() -> Deferred[None] | None:
        """
        Whether there is room for more to write.

        @return: C{None} if there is, or a Deferred that fires when there is again. It does not fail.
        """


class IStoreOwner(Interface):
    """
    Whom a store works for: it takes over what the store holds when it is opened, and is told what becomes of the rest.

    When the store is opened, the methods are called in the order in which they stand here, each as often as there is
    something for it, and C{restored} last, before C{open} fires.
    """

    nodeName: str = Attribute("The name of the node.")

    def retainedAreIn(source: PayloadReader) -> None:
        """
        The payloads of retained messages are in the store alone.

        @param source: reads them.
        """

    def restoreSession(kept: KeptSession) -> Session | None:
        """
        A session, its client away. The owner makes it, without a journal; None where it is not wanted any more.
        """

    def restoreSubscription(subscription: Subscription) -> None:
        """
        A subscription of a session that was restored. The session knows it already.
        """

    def restoreRetained(message: Message) -> None:
        """
        A retained message; without its payload where the store alone is to keep that.
        """

    def restoreWill(key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        A will, as it was given to L{IStore.saveWill}.
        """

    def restored() -> None:
        """
        That was all.
        """

    def committed() -> None:
        """
        C{progress.committed} has grown: what waited for it may go out.
        """

    def retainedWritten(messages: list[Message]) -> None:
        """
        The payloads of these retained messages are in the store, which alone is to keep them.
        """

    def hurry(whether: bool) -> None:
        """
        Something waits that is not the network, or does no longer. May be called from any thread.
        """

    def storeFailed(text: str) -> None:
        """
        The store can't be written.

        @param text: why, for a person.
        """

    def storeLost(text: str) -> None:
        """
        The store was empty when it was opened, or was repaired with losses before.

        @param text: what has become of it, for a person.
        """

    def storeRecovered() -> None:
        """
        The store can be written again.
        """


classImplements(Progress, IProgress)
