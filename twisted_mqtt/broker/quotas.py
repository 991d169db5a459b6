"""
How many sessions and wills there are, in all and of whom, and whether there may be another.

It is compiled like the core, because every connection goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED, SERVER_BUSY, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.core.queuebudget import QueueBudget
    from twisted_mqtt.core.session import Session


class Quotas:
    """
    The sessions and wills of a broker, counted.

    @ivar mostSessions: how many sessions there may be; 0 for any number.
    @ivar mostWills: how many wills, of clients that are here and of those that are gone; 0 for any number.
    @ivar mostWillBytes: how many bytes of them; 0 for any number.
    @ivar report: is told of the limits that are reached, by their names in L{twisted_mqtt.broker.limitreports.LIMITS},
        with a sentence for a person.
    @ivar wills: how many wills there are.
    @ivar willBytes: how many bytes these have.
    """

    __slots__ = (
        "mostSessions",
        "mostWills",
        "mostWillBytes",
        "report",
        "wills",
        "willBytes",
        "_budget",
        "_count",
        "_users",
        "_addresses",
    )

    def __init__(self, count: Callable[[], int], budget: QueueBudget) -> None:
        """
        @param count: how many sessions there are.
        @param budget: says whether memory is scarce.
        """
        self.mostSessions: int = 0
        self.mostWills: int = 0
        self.mostWillBytes: int = 0
        self.report: Callable[[str, str], None] = _ignore
        self.wills: int = 0
        self.willBytes: int = 0
        self._count = count
        self._budget: QueueBudget = budget
        # How many sessions each has begun that live.
        self._users: dict[str, int] = {}
        # By protocol, then by address: a gateway has a limit of its own.
        self._addresses: dict[str, dict[str, int]] = {}

    def refusal(self, client: ClientInfo) -> int:
        """
        Why a client is given no new session; 0 if there is no such reason.
        """
        if self._budget.scarce:
            self.report("memory", f"{client} is refused: the process has too little memory left for new sessions")
            return SERVER_BUSY
        if self.mostSessions and self._count() >= self.mostSessions:
            self.report("sessions", f"{client} is refused: there are {self.mostSessions} sessions")
            return QUOTA_EXCEEDED
        options = client.options
        username = client.username
        most = options.max_sessions_per_user
        if most and username is not None and self._users.get(username, 0) >= most:
            self.report("sessions_user", f"{client} is refused: the user {username!r} has {most} sessions")
            return QUOTA_EXCEEDED
        address = client.peerHost
        most = client.profile.maxPerAddress
        if most and address is not None and self._from(client.protocol).get(address, 0) >= most:
            self.report("sessions_address", f"{client} is refused: clients at {address} have {most} sessions")
            return QUOTA_EXCEEDED
        return SUCCESS

    def _from(self, protocol: str) -> dict[str, int]:
        counts = self._addresses.get(protocol)
        if counts is None:
            counts = self._addresses[protocol] = {}
        return counts

    def sessionsOf(self, username: str | None, address: str | None, protocol: str = "mqtt") -> tuple[int, int]:
        """
        How many sessions a user and an address have begun that live.
        """
        return self._users.get(username or "", 0), self._from(protocol).get(address or "", 0)

    def began(self, session: Session, username: str | None, address: str | None, protocol: str = "") -> None:
        """
        A session has begun.

        @param address: where its client was; L{None} if nobody knows any more.
        @param protocol: that of its client.
        """
        session.beganBy = username
        if username is not None:
            self._users[username] = self._users.get(username, 0) + 1
        if address is not None:
            counts = session.beganFrom = self._from(protocol)
            session.beganAt = address
            counts[address] = counts.get(address, 0) + 1

    def ended(self, session: Session) -> None:
        """
        A session has ended.
        """
        username, address, counts = session.beganBy, session.beganAt, session.beganFrom
        if username is not None:
            session.beganBy = None
            _lower(self._users, username)
        if address is not None and counts is not None:
            session.beganAt = session.beganFrom = None
            _lower(counts, address)

    def willRefusal(self, client: ClientInfo, will: Message) -> int:
        """
        Why a client may not have a will; 0 if there is no such reason.
        """
        if (self.mostWills and self.wills >= self.mostWills) or (
            self.mostWillBytes and self.willBytes + sizeOf(will) > self.mostWillBytes
        ):
            self.report(
                "wills", f"{client} is refused with its will: there are {self.wills} with {self.willBytes} bytes"
            )
            return QUOTA_EXCEEDED
        return SUCCESS

    def holdWill(self, will: Message) -> int:
        """
        There is another will; returns what L{releaseWill} is to be given when it is gone.
        """
        size = sizeOf(will)
        self.wills += 1
        self.willBytes += size
        return size

    def releaseWill(self, size: int) -> None:
        """
        A will is gone.
        """
        self.wills -= 1
        self.willBytes -= size


def sizeOf(message: Message) -> int:
    """
    The bytes of a message that limits count.
    """
    return len(message.topic) + len(message.payload)


def _lower(counts: dict[str, int], name: str) -> None:
    count = counts.get(name, 0)
    if count > 1:
        counts[name] = count - 1
    elif count:
        del counts[name]


def _ignore(name: str, what: str) -> None:
    pass
