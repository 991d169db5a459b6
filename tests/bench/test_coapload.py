"""
Each request has to be answered once, with the right code, message ID and token: anything else is told.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from bench.coapload import Asker, requests
from bench.contest import LoadError
from gateways.coap.codes import CONTENT, GET, NOT_FOUND
from gateways.coap.message import ACK, CoAPMessage, decode, encode

Serve = Callable[[CoAPMessage], list[CoAPMessage]]


def right(request: CoAPMessage) -> list[CoAPMessage]:
    """
    The answer that there should be.
    """
    return [CoAPMessage(CONTENT, [], b"x", request.token, ACK, request.messageID)]


class Server:
    """
    Answers as it is told to.
    """

    def __init__(self) -> None:
        self.serve: Serve = right
        self.count = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, address = self._socket.recvfrom(2000)
            if data == b"end":
                self._socket.close()
                return
            self.count += 1
            for answer in self.serve(decode(data)):
                self._socket.sendto(encode(answer), address)

    def stop(self) -> None:
        """
        End it.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    """
    A server.
    """
    made = Server()
    yield made
    made.stop()


def measured(server: Server, monkeypatch: pytest.MonkeyPatch) -> float:
    """
    The rate that is found.
    """
    monkeypatch.setattr("bench.coapload._WARM_UP", 0.05)

    def ask(number: int) -> Asker:
        return Asker(server.port, number, GET, "/a?b=c", b"", CONTENT)

    return requests(server.port, os.getpid(), ask, 5, 0.1).rate


def test_right(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Right answers are counted.
    """
    assert 0 < measured(server, monkeypatch) * 0.1 <= server.count * 2


def test_acknowledgedBefore(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An acknowledgement before the answer is none.
    """
    server.serve = lambda request: [CoAPMessage(0, type=ACK, messageID=request.messageID), *right(request)]
    assert measured(server, monkeypatch) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda request: [*right(request), *right(request)],
        lambda request: [CoAPMessage(NOT_FOUND, [], b"", request.token, ACK, request.messageID)],
        lambda request: [CoAPMessage(CONTENT, [], b"", b"fake", ACK, request.messageID)],
        lambda request: [CoAPMessage(CONTENT, [], b"", request.token, ACK, request.messageID ^ 1)],
    ],
    ids=["twice", "code", "token", "messageID"],
)
def test_wrong(server: Server, monkeypatch: pytest.MonkeyPatch, wrong: Serve) -> None:
    """
    Wrong ones end the measurement.
    """
    server.serve = wrong
    with pytest.raises(LoadError):
        measured(server, monkeypatch)
