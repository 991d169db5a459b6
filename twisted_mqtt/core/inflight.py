"""
The messages of a session in flight: QoS 1 and 2 messages on their way to the client (4.3, 4.4).
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.subscription import SharedGroup

_LAST_ID: Final = 0xFFFF


class Inflight:
    """
    Messages of QoS 1 and 2 that were sent to the client and that it has not finished acknowledging.

    @ivar entries: by packet identifier, in the order of sending. The key is typed as an object, for compiled code
        makes a new object of a number at each look-up.
    @ivar resend: those that were sent on an earlier connection and are to be sent again before anything new, the next
        one last; L{None} if there are none.
    @ivar nextID: the packet identifier that is tried first for the next message.
    """

    __slots__ = ("entries", "resend", "nextID")

    def __init__(self) -> None:
        self.entries: dict[object, Entry] = {}
        self.resend: dict[object, Entry] | None = None
        self.nextID: int = 1

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry) -> int:
        """
        Give an entry a packet identifier that is not in use ([MQTT-2.2.1-3]); returns it.
        """
        packetID = self.nextID
        key: object = packetID
        entries = self.entries
        while key in entries:
            packetID = packetID + 1 if packetID < _LAST_ID else 1
            key = packetID
        self.nextID = packetID + 1 if packetID < _LAST_ID else 1
        entry.packetID = packetID
        entries[key] = entry
        return packetID

    def restore(self, entries: list[Entry]) -> None:
        """
        Take over entries that have their packet identifiers, in the order of sending.
        """
        for entry in entries:
            self.entries[entry.packetID] = entry

    def remove(self, entry: Entry) -> None:
        """
        The client is done with an entry.
        """
        del self.entries[entry.packetID]
        if self.resend is not None:
            self.forgetResend(entry)

    def forgetResend(self, entry: Entry) -> None:
        """
        An entry need not be sent again: the client may have got it on its last connection, and answer before it was.
        """
        resend = self.resend
        if resend is not None:
            resend.pop(entry.packetID, None)
            if not resend:
                self.resend = None

    def startResending(self) -> None:
        """
        The client is back: everything has to be sent again, in the same order ([MQTT-4.4.0-1]).
        """
        if self.entries:
            self.resend = {key: self.entries[key] for key in reversed(self.entries)}

    def nextToResend(self, window: int) -> Entry | None:
        """
        Take the next entry that has to be sent again; L{None} where the window has no room for it.
        """
        resend = self.resend
        if resend is None or len(self.entries) - len(resend) >= window:
            return None
        entry = resend.popitem()[1]
        if not resend:
            self.resend = None
        return entry

    def takeShared(self, groups: set[SharedGroup] | None) -> list[Entry]:
        """
        Take out what came through shared subscriptions at QoS 1: another member may get it. A QoS 2 message stays with
        its receiver ([MQTT-4.8.2-5]).

        @param groups: of these groups only; L{None} for all.
        """
        found: list[Entry] = []
        for entry in list(self.entries.values()):
            if entry.share is not None and (groups is None or entry.share in groups) and entry.qos == 1:
                found.append(entry)
                del self.entries[entry.packetID]
        if self.resend is not None:
            self.resend = {key: entry for key, entry in self.resend.items() if key in self.entries} or None
        return found
