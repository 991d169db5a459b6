"""
Who calls by HTTP: HTTP Basic with an application and its secret, or with NanoMQ's account; or a token (spec/rest-api.md
1.1, section 7; rest-api-nanomq.md 1).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from ipaddress import ip_address
from math import ceil
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredLock

from twisted_mqtt.base.printable import printable
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.management.applications import KEY_SHOWN
from twisted_mqtt.management.rest.failures import Failures, guesserOf
from twisted_mqtt.operations.operation import EMPTY_PASSWORD, TOKEN_EXPIRED, WRONG_PASSWORD, Caller, Refused

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

    from twisted_mqtt.management.applications import Applications
    from twisted_mqtt.management.rest.accounts import Account, Tokens


class Credentials:
    """
    Checks the credentials of requests, those of one address one after the other; slows down who gives wrong ones.

    @ivar tokens: checks tokens; L{None} where none are taken.
    """

    def __init__(
        self,
        applications: Applications,
        clock: IReactorTime,
        account: Account | None = None,
        tokens: Tokens | None = None,
        basic: bool = True,
    ) -> None:
        """
        @param account: that of the configuration.
        @param basic: whether HTTP Basic is taken.
        """
        self.tokens = tokens
        self._applications = applications
        self._account = account
        self._basic = basic
        self._clock = clock
        self._failures = Failures()
        # Of the guessers whose credentials are being checked, and for how many requests.
        self._checking: dict[str, tuple[DeferredLock, int]] = {}
        self._log = RateLimitedLog(clock.seconds)

    async def check(self, request: Request) -> Caller:
        """
        @return: who calls.

        @raise Refused: nobody who may; the answer's headers are set.
        """
        address = addressOf(request)
        guesser = guesserOf(address)
        self._slowDown(request, guesser)
        if self.tokens is not None:
            token = tokenOf(request)
            if token is not None:
                return self._checkToken(request, self.tokens, token, address, guesser)
        given = basicOf(request) if self._basic else None
        if given is not None:
            if isFromElsewhere(request):
                # A browser adds credentials that somebody has typed in before to the requests of any page.
                raise Refused(403, "a page of another site may not call; a proxy has to pass on the header Host", 403)
            caller = None if self._account is None else self._account.check(*given, address, isLocal(request))
            if caller is not None:
                self._failures.right(guesser)
                return caller
            # One after the other: hundreds of guesses at once would all be looked at before the first is known to be
            # wrong, and each takes a thread.
            lock, count = self._checking.get(guesser) or (DeferredLock(), 0)
            self._checking[guesser] = (lock, count + 1)
            await lock.acquire()
            try:
                self._slowDown(request, guesser)
                caller = await self._applications.check(*given, address, isLocal(request))
                if caller is not None:
                    self._failures.right(guesser)
                    return caller
                self._failures.wrong(guesser, self._clock.seconds())
                self._log.warn(
                    'REST: refused: application "{name}" from {address}: there is none, its secret is wrong, it is off'
                    " or expired, or it is that of the first start, which serves this machine alone",
                    name=printable(_namedIn(*given)),
                    address=address,
                )
            finally:
                lock.release()
                lock, count = self._checking[guesser]
                if count > 1:
                    self._checking[guesser] = (lock, count - 1)
                else:
                    del self._checking[guesser]
        self._challenge(request)
        if given is not None:
            raise Refused(WRONG_PASSWORD, "wrong application or secret", 401)
        wanted = [
            *(["HTTP Basic, AppID and secret"] if self._basic else []),
            *(["a token (Bearer)"] if self.tokens is not None else []),
        ]
        raise Refused(EMPTY_PASSWORD, f"credentials are needed: {' or '.join(wanted)}", 401)

    def _checkToken(self, request: Request, tokens: Tokens, token: str, address: str, guesser: str) -> Caller:
        """
        @raise Refused: the token is not accepted.
        """
        try:
            caller = tokens.check(token, address)
        except Refused as refusal:
            self._challenge(request)
            # One that has expired was nobody's guess.
            if refusal.code != TOKEN_EXPIRED:
                self._failures.wrong(guesser, self._clock.seconds())
                self._log.warn("REST: refused: a token from {address}: {why}", address=address, why=str(refusal))
            raise
        self._failures.right(guesser)
        return caller

    def _challenge(self, request: Request) -> None:
        """
        Say what credentials may be shown (RFC 7617 2, RFC 6750 3).
        """
        challenges = [b'Basic realm="mqttbroker", charset="UTF-8"'] if self._basic else []
        if self.tokens is not None:
            challenges.append(b'Bearer realm="mqttbroker"')
        request.responseHeaders.setRawHeaders(b"www-authenticate", challenges)

    def _slowDown(self, request: Request, guesser: str) -> None:
        """
        @raise Refused: the address has to wait.
        """
        wait = self._failures.wait(guesser, self._clock.seconds())
        if wait > 0:
            request.setHeader(b"retry-after", str(ceil(wait)).encode("ascii"))
            raise Refused(429, "too many wrong credentials from this address", 429)


def _namedIn(user: str, secret: str) -> str:
    """
    How credentials are named in the log. An API key is the user name, without a secret: what it begins with is enough,
    since one that is off or expired is still somebody's secret.
    """
    return user if secret or len(user) <= KEY_SHOWN else f"{user[:KEY_SHOWN]}..."


def addressOf(request: Request) -> str:
    """
    The address of whoever calls; C{""} on a UNIX socket.
    """
    return getattr(request.getClientAddress(), "host", None) or ""


def isLocal(request: Request) -> bool:
    """
    Whether somebody on this machine calls: from it, for a name or address that is it wherever one asks, and not from a
    page of another site that a browser on this machine shows. (Such a page may have a name of its own that leads to
    this machine, and is of the same site then.)
    """
    address = addressOf(request)
    if not address:
        return True
    host = request.getHeader(b"host")
    return _isLoopback(address) and (host is None or _isHere(host)) and not isFromElsewhere(request)


def isFromElsewhere(request: Request) -> bool:
    """
    Whether a browser says that a page of another site makes this request (Fetch Metadata 2.1; RFC 6454 7).
    """
    site = request.getHeader(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = request.getHeader(b"origin")
    return origin is not None and origin.partition(b"://")[2].lower() != (request.getHeader(b"host") or b"").lower()


def _isHere(host: bytes) -> bool:
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return _isLoopback(name[1:].partition("]")[0])
    name = name.partition(":")[0].removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or _isLoopback(name)


def _isLoopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def tokenOf(request: Request) -> str | None:
    """
    The token of a request; L{None} if there is none (RFC 6750 2.1).
    """
    scheme, _, rest = (request.getHeader(b"authorization") or b"").partition(b" ")
    return rest.strip().decode("latin-1") if scheme.lower() == b"bearer" else None


def basicOf(request: Request) -> tuple[str, str] | None:
    """
    The credentials of HTTP Basic; L{None} if there are none that can be read (RFC 7617).
    """
    header = request.getHeader(b"authorization") or b""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, secret = b64decode(rest.strip(), validate=True).partition(b":")
        return (user.decode("utf-8"), secret.decode("utf-8")) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None
