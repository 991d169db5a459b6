"""
Calls a broker: on this machine by its UNIX socket, elsewhere by its REST API.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twisted_mqtt.management.describe import Description

#: Seconds without a byte from the broker, once it has taken the call, after which it is given up.
TIMEOUT = 60.0
#: Seconds in which a broker must answer that it is there, unless the command line says otherwise.
ANSWERING_TIMEOUT = 5.0
_PIECE = 65536


class NotReached(Exception):
    """
    There is no broker, or it does not answer.
    """


class NoAnswer(NotReached):
    """
    Somebody listens there, and is silent.
    """

    def __init__(self, where: str, seconds: float) -> None:
        super().__init__(
            f"the broker at {where} does not answer within {seconds:g} s: it is stopped or hangs."
            " --timeout 60 waits for longer"
        )


class RefusedCall(Exception):
    """
    The broker does not do it; the text is its own.
    """


class Caller(Protocol):
    """
    A way to a broker.
    """

    def describe(self) -> list[dict[str, Any]]:
        """
        The operations of the broker, as L{Description}s; none where the way has no means to ask.

        @raise NotReached: there is no broker.
        """

    def call(self, operation: Description, request: Mapping[str, object], form: str) -> Iterator[bytes]:
        """
        Call an operation.

        @param form: C{"emqx"} for the lines that EMQ X prints, C{"json"} for JSON.

        @return: the answer in pieces.

        @raise NotReached: there is no broker.
        @raise RefusedCall: it is not done.
        """


class _SocketConnection(HTTPConnection):
    """
    HTTP on a UNIX socket.
    """

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """
        Open the socket.
        """
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _answerOf(
    connection: HTTPConnection,
    method: str,
    path: str,
    where: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> HTTPResponse:
    try:
        connection.request(method, path, body, dict(headers))
        return connection.getresponse()
    except FileNotFoundError:
        raise NotReached(f"no broker is running: there is no socket {where}") from None
    except PermissionError:
        raise NotReached(f"{where} belongs to another user: call this as the user that the broker runs as") from None
    except ConnectionRefusedError:
        raise NotReached(f"no broker is running: nobody listens at {where}") from None
    except TimeoutError:
        raise NoAnswer(where, connection.timeout or 0.0) from None
    except ssl.SSLError as error:
        raise NotReached(f"{where}: {error.reason or error}") from None
    except (OSError, HTTPException) as error:
        raise NotReached(f"{where}: {error}") from None


def _piecesOf(answer: HTTPResponse, where: str) -> Iterator[bytes]:
    """
    @raise RefusedCall: it tells a refusal.
    """
    if answer.status != 200:
        text = answer.read(_PIECE)
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{where} answers {answer.status} {answer.reason}"
        raise RefusedCall(message)
    try:
        while piece := answer.read1(_PIECE):
            yield piece
    except (OSError, HTTPException) as error:
        raise NotReached(f"{where}: the answer is not complete: {error}") from None


class SocketCaller:
    """
    Calls a broker on this machine.
    """

    def __init__(self, path: str, timeout: float = ANSWERING_TIMEOUT) -> None:
        """
        @param timeout: seconds in which it must answer that it is there.
        """
        self._path = path
        self._timeout = timeout

    def describe(self) -> list[dict[str, Any]]:
        """
        See L{Caller}.
        """
        answer = _answerOf(_SocketConnection(self._path, self._timeout), "GET", "/operations", self._path, {})
        found: list[dict[str, Any]] = json.loads(b"".join(_piecesOf(answer, self._path)))["data"]
        return found

    def call(self, operation: Description, request: Mapping[str, object], form: str) -> Iterator[bytes]:
        """
        See L{Caller}.
        """
        path = f"/operations/{quote(operation.name)}?{urlencode({'format': form})}"
        body = urlencode(dict(request), doseq=True).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = _answerOf(_SocketConnection(self._path), "POST", path, self._path, headers, body)
        return _piecesOf(answer, self._path)


class RemoteCaller:
    """
    Calls a broker on another machine, as an application.
    """

    def __init__(
        self,
        url: str,
        application: str,
        secret: str,
        authorities: str | None = None,
        timeout: float = ANSWERING_TIMEOUT,
    ) -> None:
        """
        @param url: such as C{https://broker.example:8081}.
        @param authorities: a file of those that the broker's certificate may be from; those of the system by default.
        @param timeout: seconds in which it must answer that it is there.

        @raise ValueError: it is no address.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address such as https://broker.example:8081")
        self._url = url
        self._timeout = timeout
        self._host, self._port = parts.hostname, parts.port or 8081
        self._base = parts.path.rstrip("/") + "/api/v4"
        self._context = ssl.create_default_context(cafile=authorities) if parts.scheme == "https" else None
        token = b64encode(f"{application}:{secret}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def describe(self) -> list[dict[str, Any]]:
        """
        None: the REST API describes its calls, not the commands.
        """
        return []

    def call(self, operation: Description, request: Mapping[str, object], form: str) -> Iterator[bytes]:
        """
        See L{Caller}.
        """
        if not operation.calls:
            raise RefusedCall(f"{operation.words}: there is no REST call of this; call it on the broker's machine")
        method, path = operation.calls[0]
        left = dict(request)
        parts = []
        for part in path.split("/"):
            value = left.pop(part[1:], "") if part.startswith(":") else part
            parts.append(quote(str(value), safe="") if part.startswith(":") else part)
        where = self._base + "/".join(parts)
        body = None
        if method in ("POST", "PUT"):
            body, headers = urlencode(left, doseq=True).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        else:
            where += f"?{urlencode(left, doseq=True)}" if left else ""
            headers = {}
        connection: HTTPConnection
        if self._context is None:
            connection = HTTPConnection(self._host, self._port, timeout=self._timeout)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        # Whether it is there is seen soon; what is asked for may take long.
        _answerOf(connection, "GET", "/health/ping", self._url, {}).read(_PIECE)
        connection.timeout = max(TIMEOUT, self._timeout)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        answer = _answerOf(connection, method, where, self._url, {**self._headers, **headers}, body)
        return _piecesOf(answer, self._url)


def defaultSocket(dataFolders: list[str]) -> str:
    """
    The socket of the broker of this machine: the first of these folders that has one.
    """
    paths = [os.path.join(folder, "ctl.sock") for folder in dataFolders]
    return next((path for path in paths if os.path.exists(path)), paths[0])
