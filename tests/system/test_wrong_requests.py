"""
Wrong requests over HTTP, and those who look on at events, against a real broker: it refuses, goes on, and logs no
traceback.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import unquote

import pytest

from tests.kits.wrongrequests import CREDENTIALS, RAW, calls
from tests.system.conftest import StartBroker
from tests.system.process import Broker
from tests.system.rawclient import accepted, publish

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def managed(startBroker: StartBroker) -> Iterator[tuple[Broker, int]]:
    """
    A broker with management, and the port of its REST API, where a head has half a second to come.
    """
    listener = {"http": {"bind": "127.0.0.1:0", "head_timeout": "500ms", "max_requests": 100000, "send_timeout": "1s"}}
    broker = startBroker({"plugins": {"load": ["management"]}, "management": {"listener": listener}}, 2)
    (listening,) = broker.waitFor(r"listening: management:http on 127\.0\.0\.1:(\d+)")
    yield broker, int(listening[1])
    assert "Traceback" not in broker.text


def connect(port: int) -> socket.socket:
    """
    A connection to the REST API.
    """
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def everything(link: socket.socket) -> bytes:
    """
    What comes until the other side closes.
    """
    said = b""
    while data := link.recv(65536):
        said += data
    return said


def get(path: str) -> bytes:
    """
    A request.
    """
    return f"GET /api/v4{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {CREDENTIALS}\r\n\r\n".encode()


def test_calls(managed: tuple[Broker, int]) -> None:
    """
    All wrong calls are refused as in memory; those with wrong credentials are tried there.
    """
    broker, port = managed
    found = {}
    with closing(accepted(broker, "here")), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as link:
        for wrong in calls():
            # Parts of a path that are no names are not found before the REST API is asked.
            parts = unquote(wrong.path.partition("?")[0], errors="replace").split("/")
            if wrong.user is None or any(part in (".", "..", "\0") for part in parts):
                continue
            body = wrong.body if isinstance(wrong.body, bytes | None) else json.dumps(wrong.body).encode()
            headers = {"Authorization": "Basic " + b64encode(wrong.user.encode()).decode(), **dict(wrong.headers)}
            if body:
                headers["Content-Type"] = wrong.kind
            link.request(wrong.method, f"/api/v4{wrong.path}", body, headers)
            answer = link.getresponse()
            what = json.loads(answer.read())
            if (answer.status, what["code"]) != (wrong.status, wrong.code) or wrong.says not in what["message"]:
                found[str(wrong)[:200]] = (answer.status, str(what)[:200])
    assert not found, "\n".join(f"{call} -> {answer}" for call, answer in found.items())


def test_nonsense(managed: tuple[Broker, int]) -> None:
    """
    What is no request is answered once, in JSON, and the connection is closed; it is the same byte by byte.
    """
    _, port = managed
    for said, status in RAW:
        with closing(connect(port)) as link:
            link.sendall(said)
            answer = everything(link)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (said[:200], answer)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
    with closing(connect(port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(RAW[8][0])):
            link.sendall(RAW[8][0][at : at + 1])
        assert everything(link).startswith(b"HTTP/1.1 400 ")


def test_slowHead(managed: tuple[Broker, int]) -> None:
    """
    Requests whose heads do not come are answered 408, however many there are; others are served meanwhile.
    """
    _, port = managed
    with ExitStack() as stack:
        links = [stack.enter_context(closing(connect(port))) for _ in range(50)]
        for link in links:
            link.sendall(b"GET /api/v4/clients HTTP/1.1\r\nHost:")
        with closing(connect(port)) as other:
            other.sendall(get("/brokers").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert everything(other).startswith(b"HTTP/1.1 200 ")
        for link in links:
            assert everything(link).startswith(b"HTTP/1.1 408 ")


def test_pipelined(managed: tuple[Broker, int]) -> None:
    """
    Requests that come together are answered in order, the wrong ones among them; nonsense is the end.
    """
    _, port = managed
    with closing(connect(port)) as link:
        link.sendall((get("/brokers") + get("/nothing") + get("/clients?_page=0")) * 100 + b"nonsense\r\n\r\n")
        answer = everything(link)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404, 400] * 100 + [400]


def test_viewers(managed: tuple[Broker, int]) -> None:
    """
    Very many look on and go without a word; one who does not read is cut off; the others see everything.
    """
    broker, port = managed
    with ExitStack() as stack:
        for _ in range(3):
            with ExitStack() as passing:
                for _ in range(90):
                    link = passing.enter_context(closing(connect(port)))
                    link.sendall(get("/events"))
                    assert link.recv(12) == b"HTTP/1.1 200"
        steady = stack.enter_context(closing(connect(port)))
        steady.sendall(get("/events?types=message.publish&topic=seen"))
        slow = stack.enter_context(closing(connect(port)))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(get("/events?types=message.publish"))
        for link in (steady, slow):
            # The welcome, so that it looks on.
            said = b""
            while b": welcome" not in said:
                said += link.recv(1000)
        publisher = stack.enter_context(closing(accepted(broker, "publisher")))
        # So many are shown to a viewer in a second; together they are more than the kernel keeps.
        for _ in range(200):
            publisher.sendall(publish("unseen/" + "x" * 60_000, b"x" * 1000))
        publisher.sendall(publish("seen", b"hello"))
        said = b""
        while b"hello" not in said:
            said += steady.recv(65536)
        # It is cut off when it has read nothing for a second.
        asker = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)))
        deadline = time.monotonic() + 20
        while connections(asker) > 2:
            assert time.monotonic() < deadline


def connections(link: http.client.HTTPConnection) -> int:
    """
    How many connections the REST API has.
    """
    link.request("GET", "/api/v4/listeners", headers={"Authorization": CREDENTIALS})
    (node,) = json.loads(link.getresponse().read())["data"]
    return sum(row["current_conns"] for row in node["listeners"] if row["name"].startswith("management"))


def test_end(managed: tuple[Broker, int]) -> None:
    """
    A broker that ends does not wait for those who look on, nor for one that reads no more.
    """
    broker, port = managed
    with ExitStack() as stack:
        links = [stack.enter_context(closing(connect(port))) for _ in range(20)]
        for link in links:
            link.sendall(get("/events"))
            assert link.recv(12) == b"HTTP/1.1 200"
        publisher = stack.enter_context(closing(accepted(broker, "publisher")))
        slow = stack.enter_context(closing(connect(port)))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(get("/events?types=message.publish"))
        for _ in range(3000):
            publisher.sendall(publish("t", b"x" * 1000))
        began = time.monotonic()
        broker.stop()
        assert time.monotonic() - began < 10
        for link in links:
            assert everything(link).endswith(b"0\r\n\r\n")
