"""
Who calls by HTTP: HTTP Basic with an application and its secret (spec/rest-api.md 1.1).
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
from twisted_mqtt.management.rest.failures import Failures
from twisted_mqtt.operations.operation import Caller, Refused

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Request

    from twisted_mqtt.management.applications import Applications


class Credentials:
    """
    Checks the credentials of requests, those of one address one after the other; slows down who gives wrong ones.
    """

    def __init__(self, applications: Applications, clock: IReactorTime) -> None:
        self._applications = applications
        self._clock = clock
        self._failures = Failures()
        # Of the addresses whose credentials are being checked, and for how many requests.
        self._checking: dict[str, tuple[DeferredLock, int]] = {}
        self._log = RateLimitedLog(clock.seconds)

    async def check(self, request: Request) -> Caller:
        """
        @return: who calls.

        @raise Refused: nobody who may; the answer's headers are set.
        """
        address = addressOf(request)
        self._slowDown(request, address)
        given = basicOf(request)
        if given is not None:
            # One after the other: hundreds of guesses at once would all be looked at before the first is known to be
            # wrong, and each takes a thread.
            lock, count = self._checking.get(address) or (DeferredLock(), 0)
            self._checking[address] = (lock, count + 1)
            await lock.acquire()
            try:
                self._slowDown(request, address)
                caller = await self._applications.check(*given, address, isLocal(request))
                if caller is not None:
                    self._failures.right(address)
                    return caller
                self._failures.wrong(address, self._clock.seconds())
                self._log.warn(
                    'REST: refused: application "{name}" from {address}: there is none, its secret is wrong, it is off'
                    " or expired, or it is that of the first start, which serves this machine alone",
                    name=printable(given[0]),
                    address=address,
                )
            finally:
                lock.release()
                lock, count = self._checking[address]
                if count > 1:
                    self._checking[address] = (lock, count - 1)
                else:
                    del self._checking[address]
        request.setHeader(b"www-authenticate", b'Basic realm="mqttbroker", charset="UTF-8"')
        text = "wrong application or secret" if given else "credentials are needed: HTTP Basic, AppID and secret"
        raise Refused(401, text, 401)

    def _slowDown(self, request: Request, address: str) -> None:
        """
        @raise Refused: the address has to wait.
        """
        wait = self._failures.wait(address, self._clock.seconds())
        if wait > 0:
            request.setHeader(b"retry-after", str(ceil(wait)).encode("ascii"))
            raise Refused(429, "too many wrong credentials from this address", 429)


def addressOf(request: Request) -> str:
    """
    The address of whoever calls; C{""} on a UNIX socket.
    """
    return getattr(request.getClientAddress(), "host", None) or ""


def isLocal(request: Request) -> bool:
    """
    Whether a request comes from this machine.
    """
    address = addressOf(request)
    try:
        return not address or ip_address(address).is_loopback
    except ValueError:
        return False


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
