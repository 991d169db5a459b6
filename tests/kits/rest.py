"""
A caller of the REST API without a network: bytes of HTTP in, bytes out, and time that passes when a test says so.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.web.resource import getChildForRequest

from tests.kits.shown import called
from twisted_mqtt.management.control import ControlAPI
from twisted_mqtt.management.extension import Management
from twisted_mqtt.management.rest.resource import RestAPI
from twisted_mqtt.management.rest.router import Found
from twisted_mqtt.management.settings import ManagementSettings
from twisted_mqtt.net.httpserver import BoundedSite, HTTPLimits
from twisted_mqtt.testing.memory import MemoryBroker


class Answer(NamedTuple):
    """
    An answer.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The body, decoded.
        """
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """
        Get the member C{data} of an answer that reports success.
        """
        assert (self.status, self.json["code"]) == (200, 0), self
        return self.json.get("data")


class _FullTransport(StringTransport):
    """
    One that has no room for more than it was given.
    """

    def write(self, data: bytes) -> None:
        """
        Keep it, and say that this was enough.
        """
        super().write(data)
        if self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Keep them.
        """
        self.write(b"".join(data))


class Rest:
    """
    A broker in memory with management.

    @ivar memory: the broker.
    """

    def __init__(
        self,
        settings: ManagementSettings | None = None,
        service: str = "management",
        path: str = "/api/v4",
        **zone: Any,
    ) -> None:
        self.memory = MemoryBroker(**zone)
        self.harness = self.memory.run(Management(settings or ManagementSettings()), "management")
        (self._mount,) = [mount for mount in self.memory.node.http.mounts(service) if mount.path == path]
        self._site = BoundedSite(self._find, HTTPLimits(), self.memory.clock, "rest", False, False)

    def _find(self, request: Any) -> Any:
        parts = [part for part in self._mount.path.split("/") if part]
        del request.postpath[: len(parts)]
        called.update(_operationOf(self._mount.resource, request))
        return getChildForRequest(self._mount.resource, request)

    def listen(
        self, path: str, user: str = "admin:public", wait: float = 0.01, method: str = "GET", paused: bool = False
    ) -> tuple[StringTransport, Any]:
        """
        Make a call whose answer goes on; returns what it has come to, and the connection.

        @param wait: seconds that pass meanwhile.
        @param paused: whether the caller reads nothing, so that the first part of the answer waits for it.
        """
        kind = _FullTransport if paused else StringTransport
        transport = kind(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        channel = self._site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        credentials = b64encode(user.encode()).decode()
        where = self._mount.path.rstrip("/") + path
        channel.dataReceived(
            f"{method} {where} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\r\n".encode()
        )
        if wait:
            self.memory.wait(wait, 0.001)
        return transport, channel

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str | None = "admin:public",
        host: str = "127.0.0.1",
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """
        Make a call, and wait for its answer.

        The parameters are those of L{begin}.
        """
        self.begin(method, path, body, user=user, host=host, kind=kind, headers=headers)
        return self.finish()

    def begin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str | None = "admin:public",
        host: str = "127.0.0.1",
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        """
        Make a call.

        @param path: below the base.
        @param body: what is sent as JSON; bytes as they are.
        @param user: credentials; None for none.
        """
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {self._mount.path.rstrip('/')}{path} HTTP/1.1",
            *([] if headers and "Host" in headers else ["Host: localhost"]),
            f"Content-Length: {len(data)}",
        ]
        if user is not None:
            lines.append(f"Authorization: Basic {b64encode(user.encode()).decode()}")
        if data:
            lines.append(f"Content-Type: {kind}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        transport = StringTransport(peerAddress=IPv4Address("TCP", host, 1))
        channel = self._site.buildProtocol(IPv4Address("TCP", host, 1))
        channel.makeConnection(transport)
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + data)
        self._called = (transport, method, path)

    def finish(self) -> Answer:
        """
        Wait for the answer to what was called last.
        """
        transport, method, path = self._called
        for _ in range(10_000):
            if answer := _parse(transport.value(), method):
                return answer
            self.memory.clock.advance(0.001)
        raise AssertionError(f"no answer to {method} {path}: {transport.value()!r}")

    def raw(self, said: bytes) -> tuple[Answer, bool]:
        """
        Send bytes as they are; returns the answer, and whether the connection is closed.
        """
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
        channel = self._site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        channel.makeConnection(transport)
        channel.dataReceived(said)
        for _ in range(1000):
            if answer := _parse(transport.value(), "GET"):
                self.memory.clock.advance(0.001)
                return answer, transport.disconnecting
            self.memory.clock.advance(0.001)
        raise AssertionError(f"no answer to {said[:200]!r}: {transport.value()!r}")


def _operationOf(resource: Any, request: Any) -> Iterator[str]:
    """
    The name of the operation that a request asks for, if any.
    """
    parts = [part.decode("utf-8", "replace") for part in request.postpath if part]
    if isinstance(resource, RestAPI):
        found = resource.router.find(request.method.decode("latin-1"), parts)
        if isinstance(found, Found):
            yield found.operation.name
    elif isinstance(resource, ControlAPI) and len(parts) == 1:
        yield parts[0]


def _parse(said: bytes, method: str) -> Answer | None:
    head, found, rest = said.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                return Answer(status, headers, body)
            body, rest = body + rest[:length], rest[length + 2 :]
        return None
    length = int(headers["content-length"])
    if method != "HEAD" and len(rest) < length:
        return None
    return Answer(status, headers, rest)
