"""
A ban as a record in a table of the store. A field that is added later needs a default.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

BanKind: TypeAlias = Literal["clientid", "username", "peerhost"]


class Ban(msgspec.Struct, frozen=True):
    """
    One ban.

    @ivar who: the client identifier, user name or address.
    @ivar kind: which of these it is; called C{as} outside.
    @ivar reason: for a person.
    @ivar by: who has banned them.
    @ivar at: since which date, in seconds since the epoch.
    @ivar until: the date when it ends, in seconds since the epoch; 0 for never.
    """

    who: str
    kind: BanKind
    reason: str
    by: str
    at: float
    until: float

    def asDict(self) -> dict[str, Any]:
        """
        The entry by the names that management shows.
        """
        return {
            "who": self.who,
            "as": self.kind,
            "reason": self.reason,
            "by": self.by,
            "at": self.at,
            "until": self.until,
        }
