"""
HTTP/1.1 for untrusted clients: Twisted's server with limits on the size of a request and the time that it may take.

The answer to a refused request, and to one without a resource, is a short JSON text: C{{"code": 404, "message": "Not
Found"}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.web.error import UnsupportedMethod
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as TwistedRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request, Site

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.base.ratelimits import TokenBucket

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

_log = Logger()

SERVER: Final = b"mqttbroker"
"""
What the C{Server} header says: no version, which would tell strangers what to try.
"""

#: Seconds after which a connection that has sent several requests at once lets others have their turn.
SLICE: Final = 0.002
_LINES_AT_ONCE: Final = 100.0
_LINES_A_SECOND: Final = 20.0

# Where nothing else ends a connection that waits: Twisted takes 0 for "no time-outs at all".
_FOR_EVER: Final = 365 * 86400.0

# Where Twisted's own pages in HTML are; what a resource of somebody else's answers stays.
_TWISTEDS: Final = ("twisted.web.pages", "twisted.web.resource")


@dataclass(frozen=True)
class HTTPLimits:
    """
    The limits of a request, in bytes and seconds; see L{twisted_mqtt.config.schema_http}.
    """

    head: int = 16384
    headers: int = 100
    body: int = 1 << 20
    headTimeout: float = 10.0
    bodyTimeout: float = 60.0
    idleTimeout: float = 60.0
    requests: int = 1000


def errorBody(code: int, message: str = "") -> bytes:
    """
    The body that tells an error.

    @param message: C{""} for the usual words of the code.
    """
    return json.dumps({"code": code, "message": message or HTTPStatus(code).phrase}).encode("ascii")


def phraseOf(code: int) -> bytes:
    """
    The words of a status in the status line. Twisted does not know those of RFC 6585, such as 429.
    """
    try:
        return HTTPStatus(code).phrase.encode("ascii")
    except ValueError:
        return b""


class BoundedRequest(Request):
    """
    A request whose body is in memory, and no longer than it may be.
    """

    channel: BoundedChannel
    site: BoundedSite
    defaultContentType = b"text/plain; charset=utf-8"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Request.__init__(self, *args, **kwargs)
        self._size = 0
        self.began = 0.0

    def gotLength(self, length: int | None) -> None:
        """
        See Twisted's C{Request}.
        """
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        See Twisted's C{Request}.
        """
        self._size += len(data)
        if self._size > self.channel.limits.body:
            self.channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        assert self.content is not None
        self.content.write(data)

    def process(self) -> None:
        """
        Answer, unless it is refused already.
        """
        if self.channel.refused:
            return
        self.began = self.channel.seconds()
        Request.process(self)

    def render(self, resrc: IResource) -> None:
        """
        Have a resource answer. A body of an answer to HEAD is not sent, whatever the resource returns.
        """
        if _isNotThere(resrc):
            self.answerError(HTTPStatus.NOT_FOUND)
            return
        try:
            body: Any = resrc.render(self)
        except UnsupportedMethod as error:
            self.responseHeaders.setRawHeaders(b"Allow", [b", ".join(sorted(error.allowedMethods))])
            self.answerError(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        if body == NOT_DONE_YET:
            return
        if not isinstance(body, bytes):
            raise TypeError(f"{type(resrc).__name__} has returned {type(body).__name__} instead of bytes")
        self._answer(body)

    def processingFailed(self, reason: Failure) -> None:
        """
        A resource has raised something: say no more than that.
        """
        self.site.faults.failure(
            "{method} {path} failed", reason, method=_printed(self.method), path=_printed(self.path)
        )
        if self.finished or self.startedWriting:
            # It is too late for another answer; one that is cut off is noticed.
            self.channel.abort()
            return
        self.answerError(HTTPStatus.INTERNAL_SERVER_ERROR)

    def answerError(self, code: int, message: str = "") -> None:
        """
        Answer with an error in JSON.
        """
        self.setResponseCode(code)
        self.responseHeaders.setRawHeaders(b"Content-Type", [b"application/json"])
        self._answer(errorBody(code, message))

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """
        See Twisted's C{Request}.
        """
        Request.setResponseCode(self, code, phraseOf(code) if message is None else message)

    def _answer(self, body: bytes) -> None:
        if self.code != HTTPStatus.NO_CONTENT:  # RFC 9110 8.6
            self.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        request: Any = self
        # Of an answer to HEAD, Twisted sends the headers only.
        request.write(body)
        request.finish()


class BoundedChannel(HTTPChannel):
    """
    One connection.

    @ivar refused: whether a request was refused, so that nothing more is read.
    """

    site: BoundedSite
    factory: BoundedSite

    def __init__(self) -> None:
        HTTPChannel.__init__(self)
        self.refused = False
        self._waits = True
        self._headSize = 0
        self._headerCount = 0
        self._lines = 0
        # Of the present request: how many Host headers it must have, and has.
        self._needsHost = False
        self._hosts = 0
        self._served = 0
        # When others are to have their turn; for ever where nothing is being read.
        self._turnEnds = inf

    @property
    def limits(self) -> HTTPLimits:
        """
        Those of its port.
        """
        return self.factory.limits

    def seconds(self) -> float:
        """
        The time.
        """
        return self.factory.reactor.seconds()

    def isSecure(self) -> bool:
        """
        Whether there is TLS below.
        """
        return self.factory.secure

    def connectionMade(self) -> None:
        """
        The connection is there; its first request does not take as long to begin as later ones.
        """
        self.MAX_LENGTH = self.limits.head
        self.maxHeaders = self.limits.headers + 1
        self.totalHeadersSize = 2 * self.limits.head
        self._upper("connectionMade")
        self._within(self.limits.headTimeout)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's has a default
        """
        The connection is gone.
        """
        self.refused = True
        self._upper("connectionLost", reason)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        if self.refused:
            return
        if self._waits and data:
            self._waits = False
            self._within(self.limits.headTimeout)
        if self._turnEnds < inf:  # Twisted calls it again for what waits
            self._upper("dataReceived", data)
            return
        self._turnEnds = perf_counter() + SLICE
        try:
            self._upper("dataReceived", data)
        finally:
            self._turnEnds = inf

    def lineReceived(self, line: bytes) -> None:
        """
        A line of a head has come.
        """
        if self.refused:
            return
        self._headSize += len(line) + 2
        if self._headSize > self.limits.head:
            self._refuseHead()
            return
        if line:
            self._lines += 1
            if self._lines == 1:
                self._needsHost = line.endswith(b"HTTP/1.1")
        self._upper("lineReceived", line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        A line is longer than a whole head may be.
        """
        self._refuseHead()

    def headerReceived(self, line: bytes) -> bool:
        """
        A header has come.
        """
        if self.refused:
            return False
        self._headerCount += 1
        if self._headerCount > self.limits.headers:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False
        if line.partition(b":")[0].strip().lower() == b"host":
            self._hosts += 1
        taken: bool = self._upper("headerReceived", line)
        return taken

    def allHeadersReceived(self) -> None:
        """
        The head is complete.
        """
        hosts = self._hosts
        self._headSize = self._headerCount = self._lines = self._hosts = 0
        if self.refused:
            return
        if hosts > 1 or (self._needsHost and not hosts):  # RFC 9112 3.2
            self.refuse(HTTPStatus.BAD_REQUEST)
            return
        # Before a client is told that it may send the body (100 Continue).
        if self.length is not None and self.length > self.limits.body:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self._within(self.limits.bodyTimeout)
        self._upper("allHeadersReceived")

    def allContentReceived(self) -> None:
        """
        The request is complete.
        """
        if not self.refused:
            self._upper("allContentReceived")

    def rawDataReceived(self, data: bytes) -> None:
        """
        A part of a body has come, or of a request behind the one that is being answered.
        """
        if not self.refused:
            self._upper("rawDataReceived", data)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """
        Say whether another request may follow.
        """
        self._served += 1
        if self._served >= self.limits.requests:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        persistent: bool = self._upper("checkPersistence", request, version)
        return persistent

    def requestDone(self, request: Request) -> None:
        """
        A request is answered. One chunk may hold a thousand of them: after a while, others have their turn.
        """
        if perf_counter() > self._turnEnds:
            self.factory.reactor.callLater(0, self._goOn, request)
        else:
            self._done(request)

    def _goOn(self, request: Request) -> None:
        if not self.refused:
            self._done(request)

    def _done(self, request: Request) -> None:
        self._waits = True
        self._upper("requestDone", request)

    def setTimeout(self, period: float | None) -> float | None:
        """
        Called by Twisted's part: with L{None} when a request is complete, else when the next one is waited for.
        """
        return self._within(None if period is None else self.limits.idleTimeout or _FOR_EVER)

    def resetTimeout(self) -> None:
        """
        Called by Twisted's part whenever bytes have come. A request that comes byte by byte gets no more time for it.
        """

    def timeoutConnection(self) -> None:
        """
        Something did not come in time.
        """
        self.factory.slow(self.transport.getPeer() if self.transport is not None else None)
        if self._waits:
            self.loseConnection()
        else:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)

    def refuse(self, code: int) -> None:
        """
        Answer a request that is not complete, or is none, with an error, and close.
        """
        if self.refused:
            return
        self.refused = True
        self.factory.refused += 1
        self._within(None)
        body = errorBody(code)
        head = (
            f"HTTP/1.1 {code:d} {HTTPStatus(code).phrase}\r\nServer: {SERVER.decode()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert self.transport is not None
        self.transport.write(head.encode("ascii") + body)
        self.loseConnection()

    def abort(self) -> None:
        """
        Close, whatever has not been sent.
        """
        assert self.transport is not None
        self.refused = True
        self._within(None)
        transport: Any = self.transport
        transport.abortConnection()

    def loseConnection(self) -> None:
        """
        Close when everything is sent.
        """
        self.refused = True
        self._upper("loseConnection")

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's name for what it does with nonsense; by another one, the answer would be its own, without a body.
        self.refuse(HTTPStatus.BAD_REQUEST)

    def _refuseHead(self) -> None:
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if self._lines else HTTPStatus.REQUEST_URI_TOO_LONG)

    def _within(self, seconds: float | None) -> float | None:
        before: float | None = TimeoutMixin.setTimeout(self, seconds or None)
        return before

    def _upper(self, name: str, *args: object) -> Any:
        """
        Call Twisted's method of that name, of which it says no types.
        """
        return getattr(HTTPChannel, name)(self, *args)


class BoundedSite(Site):
    """
    Makes the connections of a port.

    @ivar limits: of requests.
    @ivar secure: whether there is TLS below.
    @ivar refused: how many requests were refused before they were complete.
    @ivar requests: how many were answered.
    @ivar faults: logs what resources raise, one a second.
    """

    noisy = False
    protocol = BoundedChannel  # type: ignore[assignment]  # Twisted's own is a choice between HTTP/1.1 and 2
    reactor: IReactorTime

    def __init__(
        self,
        find: Callable[[Request], IResource],
        limits: HTTPLimits,
        reactor: IReactorTime,
        path: str,
        secure: bool,
        logged: bool,
    ) -> None:
        """
        @param find: finds the resource that answers a request, and takes what leads to it from its C{postpath}.
        @param path: the table of the port, for the log.
        @param logged: whether requests are logged.
        """
        Site.__init__(
            self,
            None,
            requestFactory=BoundedRequest,
            # Forms are read from the body by whoever wants one; several parts take time and memory.
            parsePOSTFormSubmission=False,
            timeout=limits.idleTimeout or _FOR_EVER,
            reactor=reactor,
        )
        self.limits = limits
        self.secure = secure
        self.refused = 0
        self.requests = 0
        self.faults = RateLimitedLog(reactor.seconds)
        self._find = find
        self._path = path
        self._logged = logged
        self._bucket = TokenBucket(_LINES_A_SECOND, _LINES_AT_ONCE, reactor.seconds())
        self._left = 0
        self._slow = RateLimitedLog(reactor.seconds)

    def startFactory(self) -> None:
        """
        A port begins to listen. There is no file of Twisted's to log to.
        """

    def stopFactory(self) -> None:
        """
        A port has stopped.
        """

    def getResourceFor(self, request: Request) -> IResource:
        """
        See Twisted's C{Site}.
        """
        request.site = self
        headers = request.responseHeaders
        headers.setRawHeaders(b"Server", [SERVER])
        headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
        return self._find(request)

    def slow(self, peer: IAddress | None) -> None:
        """
        A client did not send in time.
        """
        self._slow.info("{path}: {peer} did not send a request in time", path=self._path, peer=peerName(peer))

    def log(self, request: TwistedRequest) -> None:
        """
        A request is answered: count it, and log it if that is wanted.
        """
        self.requests += 1
        if not self._logged:
            return
        now = self.reactor.seconds()
        if not self._bucket.takeIfThere(1.0, now):
            self._left += 1
            return
        left, self._left = self._left, 0
        began = getattr(request, "began", now)
        _log.info(
            "{path}: {peer} {method} {target} {code} {size} bytes {took:.0f} ms{left}",
            path=self._path,
            peer=peerName(request.getClientAddress()),
            method=_printed(request.method),
            # The text after a question mark may hold keys and passwords.
            target=_printed(request.path),
            code=request.code,
            size=request.sentLength,
            took=1000 * (now - began),
            left=f" ({left} others before)" if left else "",
        )


def _isNotThere(resource: IResource) -> bool:
    """
    Whether a resource is Twisted's page for what is not there.
    """
    if type(resource).__module__ not in _TWISTEDS:
        return False
    # Each of the two kinds has its own name for it.
    code = getattr(resource, "code", None) or getattr(resource, "_code", None)
    return code == HTTPStatus.NOT_FOUND


def _printed(text: bytes) -> str:
    """
    The input of an untrusted client, for a line of the log.
    """
    return ascii(text.decode("latin-1"))[1:-1][:200]
