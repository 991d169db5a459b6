"""
Tests for L{twisted_mqtt.node.http}: services, their ports and what is mounted in them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface.verify import verifyObject

from tests.kits.certificates import Authority
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.schema_http import AnyHTTPSettings, HTTPSettings, HTTPSSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.interfaces import IHTTPServices, IMount
from twisted_mqtt.net.tls.client import ClientContext
from twisted_mqtt.net.tls.options import TLSOptions
from twisted_mqtt.node.http import placeOf
from twisted_mqtt.node.service import BrokerService
from twisted_mqtt.stores.memory import MemoryStore

ANY = Bind("127.0.0.1", 0)


class Says(Resource):
    """
    Answers with its name, and what of the path is left for it.
    """

    isLeaf = True

    def __init__(self, name: str) -> None:
        Resource.__init__(self)
        self._name = name
        self.asked: Deferred[Any] = Deferred()

    def render_GET(self, request: Any) -> bytes | int:
        if b"wait" in request.args:
            self.asked.callback(request)
            return NOT_DONE_YET
        return f"{self._name} {request.prepath} {request.postpath} {request.isSecure()}".encode()

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        return b"%d" % len(request.content.read())


class Client(Protocol):
    """
    A client that says what it likes.
    """

    def __init__(self, says: bytes) -> None:
        self._says = says
        self.heard = b""
        self.gone: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._says)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.gone.callback(self.heard)


class HTTPTests(TestCase):
    """
    A node that has not begun, whose HTTP services work all the same.
    """

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.node = BrokerService(settingsFrom({}), reactor, MemoryStore())
        self.http = self.node.http
        self.addCleanup(lambda: Deferred.fromCoroutine(self.http.closeAll()))
        self.addCleanup(self.node.broker.wheel.stop)

    def endpoint(self, name: str) -> IStreamClientEndpoint:
        """
        A way to a port.
        """
        endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(
            self.reactor, "127.0.0.1", self.node.ports[name].address.port
        )
        return endpoint

    async def say(self, data: bytes, name: str = "management.http") -> bytes:
        """
        Say something to a port; what it answers until it closes.
        """
        client = await connectProtocol(self.endpoint(name), Client(data))
        return await client.gone

    async def get(self, path: str, name: str = "management.http") -> bytes:
        """
        The body of an answer.
        """
        answer = await self.say(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(), name)
        return answer.partition(b"\r\n\r\n")[2]

    async def test_opens(self) -> None:
        """
        A port opens when its table is there and something is mounted, in whichever order, and closes with either.
        """
        verifyObject(IHTTPServices, self.http)
        tables = {"http": HTTPSettings(bind=ANY), "none": HTTPSettings()}
        await self.http.declare("management", tables, "management.listener")
        self.assertEqual(list(self.node.ports), [])
        mount = await self.http.mount("management", "/a", Says("a"))
        verifyObject(IMount, mount)
        self.assertEqual((mount.service, mount.path, self.http.mounts("management")), ("management", "/a", [mount]))
        [port] = self.node.ports.values()
        self.assertEqual(
            (port.name, port.protocol, port.kind, port.path),
            ("management.http", "management", "http", "management.listener.http"),
        )
        self.assertEqual(await self.get("/a"), b"a [b'a'] [] False")
        other = await self.http.mount("management", "/b", Says("b"))
        await mount.close()
        await mount.close()
        self.assertEqual(await self.get("/b"), b"b [b'b'] [] False")
        self.assertEqual(json.loads(await self.get("/a"))["code"], 404)
        await other.close()
        self.assertEqual(dict(self.node.ports), {})
        await self.http.mount("dashboard", "/", Says("d"))
        self.assertEqual(dict(self.node.ports), {})
        await self.http.declare("dashboard", tables)
        self.assertEqual(list(self.node.ports), ["dashboard.http"])
        await self.http.declare("dashboard", {})
        self.assertEqual(dict(self.node.ports), {})

    async def test_anotherTable(self) -> None:
        """
        A port whose table has changed is opened anew; one with the same table stays.
        """
        tables: dict[str, AnyHTTPSettings] = {"one": HTTPSettings(bind=ANY), "two": HTTPSettings(bind=ANY)}
        await self.http.mount("management", "/", Says("x"))
        await self.http.declare("management", tables)
        one, two = self.node.ports["management.one"], self.node.ports["management.two"]
        tables["two"] = HTTPSettings(bind=ANY, max_body=7)
        await self.http.declare("management", tables)
        self.assertIs(self.node.ports["management.one"], one)
        self.assertIsNot(self.node.ports["management.two"], two)
        self.assertFalse(two.isOpen)

    async def test_longest(self) -> None:
        """
        The longest path that leads to a request counts; a resource is given what is left of it.
        """
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY)})
        for path, name in (("/", "root"), ("/api", "api"), ("/api/v4", "v4"), ("/with space", "space")):
            await self.http.mount("management", path, Says(name))
        for path, expected in (
            ("/", b"root [] [b''] False"),
            ("/x/y", b"root [] [b'x', b'y'] False"),
            ("/api", b"api [b'api'] [] False"),
            ("/api/", b"api [b'api'] [b''] False"),
            ("/apiary", b"root [] [b'apiary'] False"),
            ("/api/v4/clients/a%2Fb?x=1", b"v4 [b'api', b'v4'] [b'clients', b'a/b'] False"),
            ("/with%20space/a", b"space [b'with space'] [b'a'] False"),
        ):
            self.assertEqual(await self.get(path), expected)

    async def test_traversal(self) -> None:
        """
        No resource is asked for a path that leads upwards, however it is written.
        """
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY)})
        await self.http.mount("management", "/", Says("root"))
        for path in ("/a/../b", "/%2e%2e/b", "/./b", "/a/%2E", "/a%00b"):
            self.assertEqual(json.loads(await self.get(path))["code"], 404, path)

    async def test_taken(self) -> None:
        """
        One path has one resource; a port that can't be opened leaves nothing mounted.
        """
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY)})
        await self.http.mount("management", "/a", Says("a"))
        for path, problem in (("/a", "already"), ("/a/", "already"), ("a", "slash"), ("/a/../b", "dots"), ("//", None)):
            if problem is not None:
                with self.assertRaisesRegex(ValueError, problem):
                    self.http.mount("management", path, Says("b"))
        await self.http.declare("dashboard", {"http": HTTPSettings(bind=self.node.ports["management.http"].address)})
        with self.assertRaises(CannotListenError):
            await self.http.mount("dashboard", "/", Says("d"))
        self.assertEqual(self.http.mounts("dashboard"), [])
        self.assertEqual(list(self.node.ports), ["management.http"])
        self.flushLoggedErrors()

    async def test_secure(self) -> None:
        """
        A table with the keys of TLS makes a port of HTTPS, whose requests know it; one that sends more than is read is
        held back there as well.
        """
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        authority = Authority(folder)
        own = authority.issue("server")
        await self.http.mount("management", "/", Says("root"))
        settings = HTTPSSettings(bind=ANY, certfile=own.certfile, keyfile=own.keyfile)
        await self.http.declare("management", {"https": settings})
        port = self.node.ports["management.https"]
        self.assertEqual(port.kind, "https")
        context = ClientContext(TLSOptions("client", cacertfile=authority.cafile, protocols=(b"http/1.1",)))
        endpoint = context.wrap(HostnameEndpoint(self.reactor, "127.0.0.1", port.address.port), "localhost")
        client = await connectProtocol(endpoint, Client(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        self.assertEqual((await client.gone).partition(b"\r\n\r\n")[2], b"root [] [b'a'] True")

    async def test_hostile(self) -> None:
        """
        Requests that are too large are refused with their code; whoever sends them gets to read it, and nothing stays.
        """
        limits = {"max_head": 1000, "max_body": 5000}
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY, **limits)})
        await self.http.mount("management", "/", Says("root"))
        chunk = b"1000\r\n" + bytes(4096) + b"\r\n"
        for request, code in (
            (b"GET /" + b"x" * 100_000, 414),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 50_000, 431),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n" + bytes(200_000), 413),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 50, 413),
            (b"\x16\x03\x01\r\n\r\n" + bytes(range(256)) * 10, 400),
        ):
            answer = await self.say(request)
            self.assertEqual(answer.split()[1], b"%d" % code, answer[:100])
            self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["code"], code)
        # One after the other in order, many at once, is no offence.
        many = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 200 + b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.assertEqual((await self.say(many)).count(b"HTTP/1.1 200 OK"), 201)

    async def test_halfClosed(self) -> None:
        """
        A client that closes its half while it waits is gone; whoever makes its answer is told.
        """
        resource = Says("root")
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY)})
        await self.http.mount("management", "/", resource)
        client = await connectProtocol(
            self.endpoint("management.http"), Client(b"GET /?wait=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        )
        told: Deferred[None] = Deferred()
        request = await resource.asked
        request.notifyFinish().addErrback(lambda failure: told.callback(None))
        transport: Any = client.transport
        transport.loseWriteConnection()
        await told
        self.assertEqual(await client.gone, b"")

    async def test_limit(self) -> None:
        """
        The limits of ports hold for those of HTTP, too.
        """
        await self.http.declare("management", {"http": HTTPSettings(bind=ANY, max_connections=1)})
        await self.http.mount("management", "/", Says("root"))
        first = await connectProtocol(self.endpoint("management.http"), Client(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        self.assertEqual(await self.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), b"")
        self.assertEqual(self.node.ports["management.http"].figures()["refused_full"], 1)
        assert first.transport is not None
        first.transport.loseConnection()
        await first.gone


class PlaceTests(SynchronousTestCase):
    """
    Tests for L{placeOf}.
    """

    def test_parts(self) -> None:
        """
        A path as its parts, without what does not matter.
        """
        self.assertEqual(placeOf("/"), ())
        self.assertEqual(placeOf("/api/v4/"), (b"api", b"v4"))
        self.assertEqual(placeOf("/ü"), ("ü".encode(),))
