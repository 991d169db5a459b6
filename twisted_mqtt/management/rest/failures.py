"""
Slows down who gives wrong credentials again and again. Whoever has an address of IPv6 has 2^64 of them, as a rule: a
network of that size counts as one address.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address
from typing import Final

#: So many wrong answers an address may give without being slowed down.
FREE: Final = 5
#: Seconds for which the next one has to wait; twice as long after each that follows, up to the longest.
FIRST: Final = 1.0
LONGEST: Final = 300.0
#: Seconds after which all is forgotten.
FORGOTTEN: Final = 900.0
#: So many addresses are known; the one that was wrong longest ago makes room.
MOST: Final = 10_000


def guesserOf(address: str) -> str:
    """
    By what a caller is known here: its address; of IPv6, its network.
    """
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))


class Failures:
    """
    The wrong credentials of each address. Times are seconds of a clock that nobody sets.
    """

    def __init__(self) -> None:
        # For each address how many there were, and when the last.
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """
        For how many seconds an address has to wait before its credentials are looked at; 0 for not at all.
        """
        count, last = self._known.get(address, (0, 0.0))
        if count < FREE or now - last > FORGOTTEN:
            return 0.0
        return max(0.0, last + min(LONGEST, FIRST * 2.0 ** min(count - FREE, 20)) - now)

    def wrong(self, address: str, now: float) -> None:
        """
        An address has given wrong credentials.
        """
        count, last = self._known.get(address, (0, 0.0))
        self._known[address] = (1 if now - last > FORGOTTEN else count + 1, now)
        self._known.move_to_end(address)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def right(self, address: str) -> None:
        """
        An address has given right credentials.
        """
        self._known.pop(address, None)
