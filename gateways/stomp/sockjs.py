"""
SockJS over plain HTTP: polling, streaming, server-sent events, and the requests that a client makes before these.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Any, Final

from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from gateways.stomp.sockjsframes import BrokenMessages, messagesOf
from gateways.stomp.sockjssession import SockJSSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateways.stomp.websocket import StompSocketFactory
    from twisted_mqtt.net.websocket.origins import Origins

_JAVASCRIPT: Final = b"application/javascript; charset=UTF-8"
_JSON: Final = b"application/json; charset=UTF-8"
_TEXT: Final = b"text/plain; charset=UTF-8"
_HTML: Final = b"text/html; charset=UTF-8"
_EVENTS: Final = b"text/event-stream; charset=UTF-8"

_A_YEAR: Final = 31536000

# Browsers give a page nothing of an answer before so much has come.
_PRELUDE: Final = b"h" * 2048 + b"\n"

_IFRAME: Final = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="{url}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""


class HTTPAnswer:
    """
    An answer that frames are written to.
    """

    def __init__(self, request: Request, limit: int, before: bytes, after: bytes) -> None:
        """
        @param limit: after so many bytes it ends; 1 for after the first frame.
        @param before: what stands before each frame.
        @param after: what stands after it.
        """
        self._request = request
        self._left = limit
        self._before = before
        self._after = after
        self._ended = False

    def frame(self, frame: bytes) -> bool:
        """
        See L{Answer<gateways.stomp.sockjssession.Answer>}.
        """
        if self._ended:
            return False
        data = self._before + frame + self._after
        self._request.write(data)
        self._left -= len(data)
        return self._left > 0

    def finish(self) -> None:
        """
        See L{Answer<gateways.stomp.sockjssession.Answer>}.
        """
        if not self._ended:
            self._ended = True
            self._request.finish()

    def lost(self) -> None:
        """
        The client's connection is gone.
        """
        self._ended = True


class SockJSResource(Resource):
    """
    Everything below a path.
    """

    isLeaf = True

    def __init__(self, factory: StompSocketFactory, origins: Origins) -> None:
        Resource.__init__(self)
        self._factory = factory
        self._origins = origins
        self._table = factory.table
        self._path = factory.table.path.rstrip("/")
        self._sessions: dict[str, SockJSSession] = {}

    def stop(self) -> None:
        """
        End all sessions.
        """
        for session in list(self._sessions.values()):
            session.stop()
        self._sessions.clear()

    def render(self, request: Request) -> bytes | int:
        """
        Answer a request.

        @return: the body, or C{NOT_DONE_YET}: then the answer is written later.
        """
        path = request.path.decode("utf-8", "replace")
        if path != self._path and not path.startswith(self._path + "/"):
            return self._say(request, 404, b"not found\n")
        origin = request.getHeader("origin")
        channel: Any = request.channel
        if not self._origins.allows(origin, channel.transport.getHost()):
            return self._say(request, 403, b"the origin of this page is not allowed\n")
        request.setHeader(b"access-control-allow-origin", (origin or "*").encode("latin-1", "replace"))
        request.setHeader(b"vary", b"Origin")
        if origin:
            request.setHeader(b"access-control-allow-credentials", b"true")
        request.setHeader(b"cache-control", b"no-store, no-cache, no-transform, must-revalidate, max-age=0")
        parts = path[len(self._path) :].strip("/").split("/")
        if len(parts) == 1:
            return self._renderSingle(request, parts[0])
        if len(parts) == 3 and all(parts) and not any("." in part for part in parts):
            return self._renderTransport(request, parts[1], parts[2])
        return self._say(request, 404, b"not found\n")

    # Resources directly below the path

    def _renderSingle(self, request: Request, name: str) -> bytes | int:
        if name == "info":
            return self._renderInfo(request)
        if request.method not in (b"GET", b"HEAD"):
            return self._say(request, 405, b"", allow=b"GET, HEAD")
        if name == "":
            return self._say(request, 200, b"Welcome to SockJS!\n")
        if name.startswith("iframe") and name.endswith(".html") and self._table.client_url:
            return self._renderFrame(request)
        if name == "websocket":
            return self._say(request, 400, b'Can "Upgrade" only to "WebSocket".\n')
        return self._say(request, 404, b"not found\n")

    def _renderInfo(self, request: Request) -> bytes | int:
        if request.method == b"OPTIONS":
            return self._allow(request, b"OPTIONS, GET")
        if request.method not in (b"GET", b"HEAD"):
            return self._say(request, 405, b"", allow=b"OPTIONS, GET")
        info = {
            "websocket": True,
            "origins": ["*:*"],
            "cookie_needed": False,
            # So that clients with a poor generator of random numbers have something better.
            "entropy": random.SystemRandom().getrandbits(32),
        }
        return self._say(request, 200, json.dumps(info, separators=(",", ":")).encode(), _JSON)

    def _renderFrame(self, request: Request) -> bytes | int:
        page = _IFRAME.format(url=self._table.client_url.replace('"', "%22").replace("<", "%3C")).encode()
        tag = b'"%b"' % hashlib.sha256(page).hexdigest()[:32].encode()
        request.setHeader(b"cache-control", b"public, max-age=%d" % _A_YEAR)
        allowed = self._origins.allowed
        if allowed:
            # A page that may show the iframe speaks through it.
            request.setHeader(b"content-security-policy", f"frame-ancestors {' '.join(allowed)}".encode())
        if request.setETag(tag) is not None:
            return b""
        return self._say(request, 200, page, _HTML)

    # The transports

    def _renderTransport(self, request: Request, name: str, transport: str) -> bytes | int:
        wanted = _TRANSPORTS.get(transport)
        if wanted is None:
            return self._say(request, 404, b"not found\n")
        method, render = wanted
        if request.method == b"OPTIONS":
            return self._allow(request, b"OPTIONS, " + method)
        if request.method != method:
            return self._say(request, 405, b"", allow=b"OPTIONS, " + method)
        return render(self, request, name)

    def _poll(self, request: Request, name: str) -> bytes | int:
        return self._attach(request, name, _JAVASCRIPT, b"", HTTPAnswer(request, 1, b"", b"\n"))

    def _stream(self, request: Request, name: str) -> bytes | int:
        answer = HTTPAnswer(request, self._table.response_limit, b"", b"\n")
        return self._attach(request, name, _JAVASCRIPT, _PRELUDE, answer)

    def _events(self, request: Request, name: str) -> bytes | int:
        answer = HTTPAnswer(request, self._table.response_limit, b"data: ", b"\r\n\r\n")
        return self._attach(request, name, _EVENTS, b"\r\n", answer)

    def _attach(
        self, request: Request, name: str, contentType: bytes, prelude: bytes, answer: HTTPAnswer
    ) -> bytes | int:
        session = self._sessions.get(name)
        if session is None:
            session = self._makeSession(request, name)
            if session.refused:
                return self._say(request, 503, b"no further client is taken\n")
            self._sessions[name] = session
        request.setHeader(b"content-type", contentType)
        if prelude:
            request.write(prelude)
        current = session

        def gone(_: object) -> None:
            answer.lost()
            current.detach(answer)

        request.notifyFinish().addErrback(gone)
        session.attach(answer)
        return NOT_DONE_YET

    def _makeSession(self, request: Request, name: str) -> SockJSSession:
        transport: Any = request.channel.transport
        return SockJSSession(
            self._factory,
            transport.getPeer(),
            transport.getHost(),
            getattr(transport, "peerIdentity", None),
            request.getHeader("cookie"),
            lambda: self._forget(name),
        )

    def _forget(self, name: str) -> None:
        self._sessions.pop(name, None)

    def _receive(self, request: Request, name: str) -> bytes | int:
        session = self._sessions.get(name)
        if session is None:
            return self._say(request, 404, b"not found\n")
        content: Any = request.content
        body = content.read()
        if not body:
            return self._say(request, 500, b"Payload expected.\n")
        try:
            messages = messagesOf(body)
        except BrokenMessages:
            return self._say(request, 500, b"Broken JSON encoding.\n")
        if not session.isReading:
            return self._say(request, 503, b"what was sent before has not been taken yet\n")
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def answer() -> None:
            if not gone:
                self._say(request, 204, b"")
                request.finish()

        # Before it is answered, the client sends no more: that is how it is told to wait.
        return self._say(request, 204, b"") if session.received(messages, answer) else NOT_DONE_YET

    # Plain answers

    def _say(self, request: Request, code: int, body: bytes, contentType: bytes = _TEXT, allow: bytes = b"") -> bytes:
        request.setResponseCode(code)
        if allow:
            request.setHeader(b"allow", allow)
        if code != 204:
            request.setHeader(b"content-type", contentType)
            request.setHeader(b"content-length", b"%d" % len(body))
        return body

    def _allow(self, request: Request, methods: bytes) -> bytes:
        request.setHeader(b"access-control-allow-methods", methods)
        wanted = request.getHeader("access-control-request-headers")
        if wanted:
            request.setHeader(b"access-control-allow-headers", wanted.encode("latin-1", "replace"))
        request.setHeader(b"access-control-max-age", b"%d" % _A_YEAR)
        request.setHeader(b"cache-control", b"public, max-age=%d" % _A_YEAR)
        return self._say(request, 204, b"")


_TRANSPORTS: Final[dict[str, tuple[bytes, Callable[[SockJSResource, Request, str], bytes | int]]]] = {
    "xhr": (b"POST", SockJSResource._poll),
    "xhr_streaming": (b"POST", SockJSResource._stream),
    "xhr_send": (b"POST", SockJSResource._receive),
    "eventsource": (b"GET", SockJSResource._events),
}
