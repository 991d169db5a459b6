"""
Bans: client identifiers, user names and addresses that may not connect, for a time or for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.broker.banrecord import Ban, BanKind

if TYPE_CHECKING:
    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.base.records import Records

KINDS: Final[tuple[BanKind, ...]] = ("clientid", "username", "peerhost")

# So many entries that are gone may stand in the list of those that end, besides one for each that is not.
_SLACK: Final = 1000


class Bans:
    """
    The bans of a broker.
    """

    def __init__(self, records: Records[Ban], now: Callable[[], float], dates: Dates) -> None:
        """
        @param records: where they are kept, by kind and name.
        @param now: the moment.
        """
        self._records = records
        self._now = now
        self._dates = dates
        self._tables: dict[BanKind, dict[str, Ban]] = {kind: {} for kind in KINDS}
        # (moment, number, ban) of those that end. What was replaced or removed before is found out when its time comes,
        # or once there is more of that than of others.
        self._ending: list[tuple[float, int, Ban]] = []
        self._count = 0

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))

    def list(self) -> list[Ban]:
        """
        All entries, the oldest first.
        """
        return sorted((ban for table in self._tables.values() for ban in table.values()), key=lambda ban: ban.at)

    def get(self, kind: BanKind, who: str) -> Ban | None:
        """
        One entry.
        """
        return self._tables[kind].get(normalised(kind, who))

    def add(
        self, who: str, kind: BanKind, reason: str = "", by: str = "", until: float = 0.0, at: float | None = None
    ) -> Ban:
        """
        Ban somebody, in place of an existing entry. Connected clients stay: bans are checked when clients connect.

        @param until: when it ends, as a date in seconds since the epoch; 0 for never. If the wall clock is set
            meanwhile, the ban lasts as long as was meant when it was made.
        @param at: since when; now unless it is said.

        @raise ValueError: there is no such kind, or nobody is called that.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        if not who:
            raise ValueError(f"a ban needs a {kind}")
        if kind == "peerhost":
            # Else a slip of the pen would stand here as though it kept somebody out.
            ip_address(who)
        ban = Ban(normalised(kind, who), kind, reason, by, self._dates.now() if at is None else at, until)
        self._records.put(_keyOf(ban.kind, ban.who), ban)
        self._set(ban)
        return ban

    def remove(self, kind: BanKind, who: str) -> bool:
        """
        Let somebody in again; returns whether there was an entry.
        """
        who = normalised(kind, who)
        if self._tables[kind].pop(who, None) is None:
            return False
        self._records.remove(_keyOf(kind, who))
        return True

    def load(self) -> None:
        """
        Take over what is kept; what is over goes with the first housekeeping.
        """
        for _, ban in self._records.items():
            self._set(ban)

    def _set(self, ban: Ban) -> None:
        self._tables[ban.kind][ban.who] = ban
        if ban.until:
            self._count += 1
            heapq.heappush(self._ending, (self._dates.moment(ban.until, ban.at), self._count, ban))
            if len(self._ending) > 2 * len(self) + _SLACK:
                self._ending = [each for each in self._ending if self._stands(each[2])]
                heapq.heapify(self._ending)

    def _stands(self, ban: Ban) -> bool:
        """
        Whether an entry has been neither removed nor replaced.
        """
        return self._tables[ban.kind].get(ban.who) is ban

    def find(self, client: Any) -> Ban | None:
        """
        The entry that keeps a client out.

        @param client: provides L{IClient<twisted_mqtt.interfaces.IClient>}.
        """
        tables = self._tables
        ban = tables["clientid"].get(client.clientID)
        if ban is None and client.username is not None:
            ban = tables["username"].get(client.username)
        if ban is None and tables["peerhost"] and client.peerHost is not None:
            ban = tables["peerhost"].get(normalised("peerhost", client.peerHost))
        # Between its end and the next look at the clock it stands here still.
        return None if ban is None or 0 < self._dates.moment(ban.until, ban.at) <= self._now() else ban

    def expire(self, now: float) -> None:
        """
        Remove the entries whose time is over at a moment.
        """
        while self._ending and self._ending[0][0] <= now:
            ban = heapq.heappop(self._ending)[2]
            if self._stands(ban):
                self.remove(ban.kind, ban.who)


def _keyOf(kind: BanKind, who: str) -> str:
    return f"{kind}:{who}"


def normalised(kind: BanKind, who: str) -> str:
    """
    One way of writing what may be written in several: an IPv6 address, or an IPv4 address as an IPv6 socket shows it.
    """
    if kind != "peerhost" or ":" not in who:
        return who
    try:
        address = ip_address(who)
    except ValueError:
        return who
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
