"""
Tests for L{twisted_mqtt.net.httpserver}: what strangers may send, and what they get for it.
"""

from __future__ import annotations

import json
from typing import Any
from warnings import catch_warnings, simplefilter

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import pages
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_mqtt.net import httpserver
from twisted_mqtt.net.httpserver import BoundedSite, HTTPLimits

PEER = IPv4Address("TCP", "192.0.2.1", 50000)
LIMITS = HTTPLimits(head=300, headers=5, body=100, headTimeout=10, bodyTimeout=60, idleTimeout=30, requests=1000)


class Echo(Resource):
    """
    Answers with what it was sent.
    """

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"got"

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        return request.content.read()


class Slow(Resource):
    """
    Answers when it is told to.
    """

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.asked: list[Any] = []
        self.lost: list[Any] = []

    def render_GET(self, request: Any) -> int:
        self.asked.append(request)
        request.notifyFinish().addErrback(self.lost.append)
        return NOT_DONE_YET


class Wrong(Resource):
    """
    Does what a resource should not.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> Any:
        if request.args.get(b"late"):
            request.write(b"a part")
            raise RuntimeError("secret")
        if request.args.get(b"type"):
            return "text"
        if request.args.get(b"inject"):
            request.setHeader(b"X-Said", request.args[b"inject"][0])
            return b"ok"
        raise RuntimeError("secret")


class Status(Resource):
    """
    Answers with the status that it is asked for.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setResponseCode(int(request.args[b"code"][0]))
        return b""


class Conversation:
    """
    One connection.
    """

    def __init__(self, site: BoundedSite) -> None:
        self.transport = StringTransport(peerAddress=PEER)
        self.channel: Any = site.buildProtocol(PEER)
        self.channel.makeConnection(self.transport)
        self._clock: Any = site.reactor

    def say(self, data: bytes, step: int = 0) -> None:
        """
        Send.

        @param step: so many bytes at a time; 0 for all at once.
        """
        for start in range(0, len(data), step or len(data) or 1):
            self.channel.dataReceived(data[start : start + step] if step else data)
            self._clock.advance(0)

    def heard(self) -> bytes:
        """
        Take the answer, which is forgotten then.
        """
        data = self.transport.value()
        self.transport.clear()
        return data

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """
        One answer: its code, headers, body.
        """
        head, _, body = self.heard().partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body


class HTTPTestCase(SynchronousTestCase):
    """
    A site with some resources.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.slow = Slow()
        with catch_warnings():
            # Twisted's own resources still answer with it.
            simplefilter("ignore", DeprecationWarning)
            child = Resource().getChild(b"x", None)  # type: ignore[arg-type]  # the request is not looked at
        self.resources: dict[bytes, IResource] = {
            b"/": Echo(),
            b"/slow": self.slow,
            b"/wrong": Wrong(),
            b"/status": Status(),
            b"/nothing": pages.notFound(),
            b"/child": child,
        }

    def site(self, limits: HTTPLimits = LIMITS, logged: bool = False) -> BoundedSite:
        """
        The site.
        """
        return BoundedSite(lambda request: self.resources[request.path], limits, self.clock, "test.http", False, logged)

    def talk(self, **how: Any) -> Conversation:
        """
        A connection to it.
        """
        return Conversation(self.site(**how))

    def assertRefused(self, talk: Conversation, code: int) -> None:
        """
        See that a request was answered with an error in JSON, and nothing after it is read.
        """
        got, headers, body = talk.answer()
        self.assertEqual(got, code)
        self.assertEqual(json.loads(body)["code"], code)
        self.assertEqual(headers[b"content-length"], b"%d" % len(body))
        self.assertEqual((headers[b"content-type"], headers[b"connection"]), (b"application/json", b"close"))
        self.assertTrue(talk.transport.disconnecting)
        talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(talk.heard(), b"")
        talk.channel.connectionLost(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnswerTests(HTTPTestCase):
    """
    Get the answer.
    """

    def test_keepAlive(self) -> None:
        """
        A connection serves one request after the other, however they are cut; a body comes to the resource.
        """
        for step in (0, 1, 7):
            talk = self.talk()
            for _ in range(3):
                talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", step)
                code, headers, body = talk.answer()
                self.assertEqual((code, body), (200, b"got"))
                self.assertEqual(headers[b"server"], b"mqttbroker")
                self.assertEqual(headers[b"x-content-type-options"], b"nosniff")
                talk.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", step)
                self.assertEqual(talk.answer()[2], b"hello")
                talk.say(
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                    step,
                )
                self.assertEqual(talk.answer()[2], b"hello")
            self.assertFalse(talk.transport.disconnecting)

    def test_pipelined(self) -> None:
        """
        Requests that come together are answered in order.
        """
        talk = self.talk()
        talk.say(
            b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % number for number in range(10))
        )
        bodies = [part[-1:] for part in talk.heard().split(b"HTTP/1.1 200 OK")[1:]]
        self.assertEqual(bodies, [b"%d" % number for number in range(10)])

    def test_pipelinedBehindSlow(self) -> None:
        """
        While a request is being answered, those behind it wait, and the transport is told to read no more.
        """
        talk = self.talk()
        talk.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        self.assertEqual(talk.heard(), b"")
        self.assertEqual(talk.transport.producerState, "producing")
        for _ in range(40):
            talk.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
            if talk.transport.producerState == "paused":
                break
        self.assertEqual(talk.transport.producerState, "paused")
        self.slow.asked[0].write(b"done")
        self.slow.asked[0].finish()
        self.assertEqual(talk.heard().count(b"HTTP/1.1 200 OK"), 4)

    def test_pipelinedInPortions(self) -> None:
        """
        A client that sends very many requests at once has its answers in order, and others have their turn in between.
        """
        self.patch(httpserver, "SLICE", 0.0)
        talk = self.talk()
        bodies = [b"%d" % number for number in range(50)]
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        talk.channel.dataReceived(b"".join(head % (len(body), body) for body in bodies))
        self.assertEqual(talk.transport.value().count(b"HTTP/1.1 200"), 1)
        self.clock.pump([0] * 60)
        answers = talk.heard().split(b"HTTP/1.1 200")[1:]
        self.assertEqual([answer.partition(b"\r\n\r\n")[2] for answer in answers], bodies)

    def test_goneBetweenPortions(self) -> None:
        """
        A connection may be lost while its next request waits for its turn.
        """
        self.patch(httpserver, "SLICE", 0.0)
        talk = self.talk()
        talk.channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        talk.channel.connectionLost(Failure(ConnectionLost()))
        self.clock.pump([0] * 5)
        self.assertEqual(talk.transport.value().count(b"HTTP/1.1 200"), 1)

    def test_head(self) -> None:
        """
        HEAD is answered like GET, without the body.
        """
        talk = self.talk()
        talk.say(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        code, headers, body = talk.answer()
        self.assertEqual((code, headers[b"content-length"], body), (200, b"3", b""))
        talk.say(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        code, headers, body = talk.answer()
        self.assertEqual((code, body), (404, b""))
        self.assertGreater(int(headers[b"content-length"]), 0)

    def test_notFound(self) -> None:
        """
        Twisted's pages for what is not there become JSON.
        """
        for path in (b"/nothing", b"/child"):
            talk = self.talk()
            talk.say(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            code, headers, body = talk.answer()
            self.assertEqual((code, headers[b"content-type"]), (404, b"application/json"))
            self.assertEqual(json.loads(body), {"code": 404, "message": "Not Found"})
            self.assertFalse(talk.transport.disconnecting)

    def test_method(self) -> None:
        """
        A method that a resource does not have is answered with those that it has.
        """
        for method in (b"PUT", b"NONSENSE"):
            talk = self.talk()
            talk.say(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
            code, headers, body = talk.answer()
            self.assertEqual((code, headers[b"allow"]), (405, b"GET, HEAD, POST"))
            self.assertEqual(json.loads(body)["code"], 405)

    def test_failure(self) -> None:
        """
        An exception of a resource is logged, and not told to the client; if a part of the answer has left, it is cut
        off.
        """
        for path in (b"/wrong", b"/wrong?type=1"):
            talk = self.talk()
            talk.say(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            code, _, body = talk.answer()
            self.assertEqual((code, json.loads(body)["message"]), (500, "Internal Server Error"))
            self.assertNotIn(b"secret", body)
        talk = self.talk()
        talk.say(b"GET /wrong?late=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(talk.transport.disconnected)
        self.assertEqual(len(self.flushLoggedErrors()), 3)

    def test_injection(self) -> None:
        """
        A line break in the value of a header does not begin another header.
        """
        talk = self.talk()
        talk.say(b"GET /wrong?inject=a%0d%0aSet-Cookie:%20b HTTP/1.1\r\nHost: x\r\n\r\n")
        code, headers, _ = talk.answer()
        self.assertEqual(code, 200)
        self.assertNotIn(b"set-cookie", headers)

    def test_gone(self) -> None:
        """
        A client that goes before its answer is told to whoever makes it; nothing is left.
        """
        talk = self.talk()
        talk.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        talk.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.slow.lost), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oldVersion(self) -> None:
        """
        HTTP/1.0 is answered, and the connection closed.
        """
        talk = self.talk()
        talk.say(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(talk.heard().endswith(b"got"))
        self.assertTrue(talk.transport.disconnecting)

    def test_phrases(self) -> None:
        """
        The status line has the words of the status; none where nobody has given it any (RFC 9112 4).
        """
        for line in (
            b"200 OK",
            b"422 Unprocessable Entity",
            b"429 Too Many Requests",
            b"503 Service Unavailable",
            b"799 ",
        ):
            talk = self.talk()
            talk.say(b"GET /status?code=%b HTTP/1.1\r\nHost: x\r\n\r\n" % line[:3])
            self.assertEqual(talk.heard().partition(b"\r\n")[0], b"HTTP/1.1 " + line)

    def test_enough(self) -> None:
        """
        After as many requests as a connection may have, it is closed.
        """
        talk = self.talk(limits=HTTPLimits(requests=2))
        talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        heard = talk.heard()
        self.assertEqual((heard.count(b"HTTP/1.1 200"), heard.lower().count(b"connection: close")), (2, 1))
        self.assertTrue(talk.transport.disconnecting)


class LimitTests(HTTPTestCase):
    """
    Refused requests.
    """

    def test_longPath(self) -> None:
        """
        A request line that is too long is 414, whether its end has come or not.
        """
        for end in (b" HTTP/1.1\r\nHost: x\r\n\r\n", b""):
            talk = self.talk()
            talk.say(b"GET /" + b"x" * 400 + end)
            self.assertRefused(talk, 414)

    def test_longHead(self) -> None:
        """
        Headers that are too long, one or all together, or too many, are 431.
        """
        for headers in (
            b"X: " + b"x" * 400,
            b"X: " + b"x" * 400 + b"\r\n\r\n",
            b"".join(b"X%d: %s\r\n" % (number, b"x" * 80) for number in range(4)),
            b"X:\r\n" * 7,
        ):
            for step in (0, 1):
                talk = self.talk()
                talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers, step)
                self.assertRefused(talk, 431)

    def test_longBody(self) -> None:
        """
        A body that is too long is 413: at once where its length is told, before the client is asked to send it; else
        when it has come.
        """
        talk = self.talk()
        talk.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n")
        self.assertRefused(talk, 413)
        for step in (0, 9):
            talk = self.talk()
            talk.say(
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                + (b"32\r\n" + b"x" * 50 + b"\r\n") * 3,
                step,
            )
            self.assertRefused(talk, 413)
        talk = self.talk()
        talk.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(talk.heard(), b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.say(b"x" * 100)
        self.assertEqual(talk.answer()[2], b"x" * 100)

    def test_nonsense(self) -> None:
        """
        A request that is no HTTP, or could be understood in two ways, is answered 400.
        """
        for request in (
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        ):
            talk = self.talk()
            talk.say(request)
            self.assertRefused(talk, 400)

    def test_host(self) -> None:
        """
        HTTP/1.1 names the host once; HTTP/1.0 need not.

        RFC 9112 3.2.
        """
        for request in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX-Host: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
            b"GET / HTTP/1.0\r\nHost: x\r\nhost: x\r\n\r\n",
        ):
            talk = self.talk()
            talk.say(request)
            self.assertRefused(talk, 400)
        for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nhOsT:\r\n\r\n"):
            talk = self.talk()
            talk.say(request)
            self.assertEqual(talk.answer()[0], 200)
        # The second request on a connection is looked at as well.
        talk = self.talk()
        talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"HTTP/1.1 400", talk.heard())

    def test_slowHead(self) -> None:
        """
        A head that comes byte by byte has its time from the first byte, and no more.
        """
        talk = self.talk()
        for byte in b"GET / HTTP":
            talk.say(bytes([byte]))
            self.clock.advance(0.9)
        self.assertEqual(talk.heard(), b"")
        self.clock.advance(2)
        self.assertRefused(talk, 408)

    def test_silent(self) -> None:
        """
        A silent client is cut off without an answer: at first soon, later when it has been idle for long.
        """
        talk = self.talk()
        self.clock.advance(10)
        self.assertEqual((talk.heard(), talk.transport.disconnecting), (b"", True))
        talk = self.talk()
        talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        talk.heard()
        self.clock.advance(29)
        self.assertFalse(talk.transport.disconnecting)
        self.clock.advance(1)
        self.assertEqual((talk.heard(), talk.transport.disconnecting), (b"", True))

    def test_slowBody(self) -> None:
        """
        A body has its time as well.
        """
        talk = self.talk()
        talk.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        for _ in range(6):
            talk.say(b"x")
            self.clock.advance(9.9)
        self.assertEqual(talk.heard(), b"")
        self.clock.advance(1)
        self.assertRefused(talk, 408)

    def test_slowAnswer(self) -> None:
        """
        A client that waits for an answer is not cut off, however long that takes; then the time of the next request
        begins.
        """
        talk = self.talk()
        talk.say(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(1000)
        self.assertFalse(talk.transport.disconnecting)
        self.slow.asked[0].write(b"done")
        self.slow.asked[0].finish()
        self.assertIn(b"done", talk.heard())
        talk.say(b"GET")
        self.clock.advance(10)
        self.assertRefused(talk, 408)

    def test_secondHead(self) -> None:
        """
        The limits hold for each request of a connection by itself.
        """
        talk = self.talk()
        for _ in range(10):
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200 + b"\r\n\r\n")
            self.assertEqual(talk.answer()[0], 200)
        talk.say(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 400 + b"\r\n\r\n")
        self.assertRefused(talk, 431)


class AccessLogTests(HTTPTestCase):
    """
    The access log.
    """

    def test_line(self) -> None:
        """
        A line says who has asked for what and what came of it, without the query, and in one line.
        """
        self.resources[b"/a%0db"] = Echo()
        talk = self.talk(logged=True)
        with capturedLogs() as logs:
            talk.say(b"GET /a%0db?password=secret HTTP/1.1\r\nHost: x\r\n\r\n")
        from twisted.logger import formatEvent

        [line] = [formatEvent(event) for event in logs]
        self.assertEqual(line, "test.http: 192.0.2.1:50000 GET /a%0db 200 3 bytes 0 ms")

    def test_many(self) -> None:
        """
        Beyond a hundred lines at once they are counted, and the next line says how many.
        """
        talk = self.talk(logged=True)
        with capturedLogs() as logs:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 150)
        self.assertEqual(len(logs), 100)
        self.clock.advance(1)
        with capturedLogs() as logs:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual([event["left"] for event in logs], [" (50 others before)"])

    def test_off(self) -> None:
        """
        Nothing is logged where that is not wanted; requests are counted all the same.
        """
        site = self.site()
        talk = Conversation(site)
        with capturedLogs() as logs:
            talk.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual((logs, site.requests), ([], 1))
