"""
Value types for settings that are more than a number or a text.

Nothing here reads text; L{twisted_mqtt.config.grammar} does.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias

from msgspec import Struct

KB = 1024
MB = 1024 * KB
GB = 1024 * MB
DAY = 86400.0

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bind(Struct, frozen=True):
    """
    Where a listener listens: a host and port, or the path of a UNIX socket.

    @ivar host: a numeric address or a host name; C{""} for a UNIX socket.
    @ivar port: 0 lets the kernel choose.
    @ivar path: the UNIX socket's path; C{""} for a host and port.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def isLoopback(self) -> bool:
        """
        Whether only this machine can reach the address.
        """
        if self.path or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RateLimit(Struct, frozen=True):
    """
    So many bytes or items in so many seconds, with room for a burst: the three figures of a token bucket.

    @ivar amount: what may pass in C{seconds}.
    @ivar seconds: the length of the window.
    @ivar burst: what may pass at once after a pause.
    """

    amount: int
    seconds: float
    burst: int

    @property
    def perSecond(self) -> float:
        """
        The rate at which the bucket fills.
        """
        return self.amount / self.seconds


class FlappingPolicy(Struct, frozen=True):
    """
    When a client connects too often, and for how long it is then kept out.

    @ivar threshold: more connections than this within C{window} seconds...
    @ivar window: ...counted over this time...
    @ivar banned: ...ban the client for this many seconds.
    """

    threshold: int
    window: float
    banned: float


class TwoLimits(Struct, frozen=True):
    """
    A count and a number of bytes; reaching either is enough.
    """

    count: int
    size: int


class AccessRule(Struct, frozen=True):
    """
    One line of a listener's address list.

    @ivar allow: whether the addresses it names come in.
    @ivar network: the addresses; C{None} for all.
    """

    allow: bool
    network: Network | None = None

    def matches(self, host: str) -> bool:
        """
        Whether this rule speaks about a peer.

        @param host: the peer's numeric address.
        """
        if self.network is None:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # No numeric address, as with a UNIX socket: only C{all} speaks of it.
            return False
        # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address) in self.network

    def __str__(self) -> str:
        return f"{'allow' if self.allow else 'deny'} {'all' if self.network is None else self.network}"


class RewriteRule(Struct, frozen=True):
    """
    One topic rewriting rule: a topic that matches the filter and the pattern becomes the destination.
    """

    topicFilter: str
    pattern: str
    destination: str

    def compiled(self) -> re.Pattern[str]:
        """
        The pattern, ready to use; it was checked when it was read.
        """
        return re.compile(self.pattern)

    def __str__(self) -> str:
        return f"{self.topicFilter} {self.pattern} {self.destination}"


def filterFault(topicFilter: str) -> str | None:
    """
    Say what is wrong with a topic filter.

    @return: C{None} if it is a good one.
    """
    if not topicFilter:
        return "a topic filter has at least one character"
    if "\0" in topicFilter:
        return "a topic filter has no NUL character"
    levels = topicFilter.split("/")
    # [MQTT-4.7.1-2]
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        return "# stands alone in the last level of a topic filter"
    # [MQTT-4.7.1-3]
    if any("+" in level and level != "+" for level in levels):
        return "+ stands alone in its level of a topic filter"
    return None
