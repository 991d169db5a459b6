"""
Which web pages may connect (RFC 6455 10.2), and read answers (the CORS headers of Fetch).
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from twisted_mqtt.net.websocket.http import Headers

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

_USUAL_PORTS: Final = {"http": 80, "https": 443}


class Origins:
    """
    The origins that are allowed. A client that is not a browser sends no origin, and is allowed.

    @ivar allowed: such as C{https://example.org}, or with asterisks; none for all.
    """

    __slots__ = ("_ownScheme", "_patterns", "allowed")

    def __init__(self, allowed: Iterable[str] = (), ownScheme: str = "") -> None:
        """
        @param ownScheme: C{"http"} or C{"https"} where pages that come from the very port are allowed too. They are
            known by the address of the socket; a name is no proof, because its owner can point it to any address.
        """
        self.allowed = tuple(origin.lower().rstrip("/") for origin in allowed)
        # The brackets of an IPv6 address are no class of characters.
        self._patterns = [origin.replace("[", "[[]") for origin in self.allowed]
        self._ownScheme = ownScheme

    def allows(self, origin: str | None, here: IAddress) -> bool:
        """
        Whether a page may connect.

        @param here: the address that it has connected to.
        """
        if origin is None or not self.allowed:
            return True
        origin = origin.lower()
        if any(fnmatchcase(origin, pattern) for pattern in self._patterns):
            return True
        return bool(self._ownScheme) and origin == self._own(here)

    def headers(self, origin: str | None, here: IAddress) -> Headers:
        """
        The headers that let a page of an allowed origin read an answer.
        """
        if not self.allowed:
            return [("Access-Control-Allow-Origin", "*")]
        if origin is None or not self.allows(origin, here):
            return [("Vary", "Origin")]
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]

    def _own(self, here: IAddress) -> str | None:
        host, port = getattr(here, "host", None), getattr(here, "port", None)
        if not isinstance(host, str):
            return None
        name = f"[{host}]" if ":" in host else host
        scheme = self._ownScheme
        return f"{scheme}://{name}" if port == _USUAL_PORTS[scheme] else f"{scheme}://{name}:{port}"
