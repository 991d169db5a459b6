"""
Logins: the built-in account and clients without a login. The broker's own authentication decides about all others.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from twisted_mqtt.hooks.verdicts import STOP, AuthResult

if TYPE_CHECKING:
    from gateways.stomp.settings import StompSettings
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.interfaces import IExtensionContext

# Before everybody else, and after.
_FIRST: Final = 1 << 30
_LAST: Final = -_FIRST

# Everybody knows these, so they are no secret.
_KNOWN: Final = ("guest", "guest")


class Logins:
    """
    Takes part in the authentication of STOMP clients.
    """

    def __init__(self, settings: StompSettings) -> None:
        self._login = settings.default_user.login
        self._passcode = settings.default_user.passcode
        self._anonymous = settings.allow_anonymous

    def start(self, context: IExtensionContext) -> None:
        """
        Begin to take part.
        """
        context.hook("client.authenticate", self._first, priority=_FIRST)
        context.hook("client.authenticate", self._last, priority=_LAST)

    def _first(self, client: ClientInfo, verdict: object) -> object:
        if client.protocol != "stomp" or client.provenUsername is not None:
            return None
        if client.username is None:
            if self._anonymous is None:
                return None
            result = AuthResult("success" if self._anonymous else "not_authorized", anonymous=True)
            return result if self._anonymous else STOP(result)
        if not self._login or client.username != self._login:
            return None
        right = client.password == self._passcode.encode("utf-8")
        if right and (self._login, self._passcode) == _KNOWN and not _isLoopback(client.peerHost):
            right = False
        return STOP(AuthResult("success" if right else "bad_username_or_password"))

    def _last(self, client: ClientInfo, verdict: object) -> AuthResult | None:
        # A login that nobody knows is not as good as none.
        if client.protocol != "stomp" or client.username is None or client.provenUsername is not None:
            return None
        if isinstance(verdict, AuthResult) and verdict.anonymous:
            return AuthResult("bad_username_or_password")
        return None


def _isLoopback(host: str | None) -> bool:
    try:
        return host is None or ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
