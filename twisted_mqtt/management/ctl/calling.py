"""
Calls a broker: on this machine by its UNIX socket, elsewhere by its REST API.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_mqtt.management.describe import Description

#: Seconds without a byte from the broker, once it has taken the call, after which it is given up.
TIMEOUT = 60.0
#: Seconds in which a broker must answer that it is there, unless the command line says otherwise.
ANSWERING_TIMEOUT = 5.0
#: The same while a shell completes a word.
COMPLETING_TIMEOUT = 1.0
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


class Answer(NamedTuple):
    """
    The answer of an operation.

    @ivar isJSON: whether it is; else it is text, to be shown as it comes.
    """

    isJSON: bool
    pieces: Iterator[bytes]


class Caller(Protocol):
    """
    A way to a broker.
    """

    def describe(self) -> list[dict[str, Any]]:
        """
        The operations of the broker, as L{Description}s.

        @raise NotReached: there is no broker.
        @raise RefusedCall: it does not tell them to this caller.
        """

    def call(self, operation: Description, request: Mapping[str, object], form: str) -> Answer:
        """
        Call an operation.

        @param form: C{"emqx"} for the lines that EMQ X prints, C{"json"} for JSON.

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


#: What OpenSSL says, in words that tell what to do.
_ABOUT_TLS: Final = {
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS; is it http://?",
    "HTTP_REQUEST": "what answers there does not speak TLS; is it http://?",
    "RECORD_LAYER_FAILURE": "what answers there does not speak TLS; is it http://?",
    "UNSUPPORTED_PROTOCOL": "the broker has no version of TLS that this machine takes",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the broker has no version of TLS that this machine takes",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a certificate of its clients: this program has none",
}
#: By OpenSSL's number of the error (X509_V_ERR_...).
_ABOUT_CERTIFICATES: Final = {
    9: "its certificate is not valid yet: is the clock of this machine right?",
    10: "its certificate has expired",
    18: "its certificate is signed by itself: name its file with --cacert, if it is the broker's",
    19: "its certificate is from an authority that this machine does not know: name the file of that with --cacert",
    20: "its certificate is from an authority that this machine does not know: name the file of that with --cacert",
    21: "its certificate is from an authority that this machine does not know: name the file of that with --cacert",
    23: "its certificate was revoked",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}


def _aboutCertificate(error: ssl.SSLCertVerificationError) -> str:
    known = _ABOUT_CERTIFICATES.get(error.verify_code, "its certificate can't be trusted")
    return f"{known} ({error.verify_message.rstrip('.')})"


def _answerOf(
    connection: HTTPConnection,
    method: str,
    path: str,
    where: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> HTTPResponse:
    """
    Begin a call; the connection is closed if there is no answer.

    @raise NotReached: there is none.
    """
    try:
        return _begin(connection, method, path, where, headers, body)
    except NotReached:
        connection.close()
        raise


def _begin(
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
        link = connection.sock
        if isinstance(connection, HTTPSConnection) and link is not None and not isinstance(link, ssl.SSLSocket):
            # It has taken the connection, and waits for the rest of what it takes for a line.
            raise NotReached(f"{where}: what listens there does not answer in TLS; is it http://?") from None
        raise NoAnswer(where, connection.timeout or 0.0) from None
    except ssl.SSLCertVerificationError as error:
        raise NotReached(f"{where}: {_aboutCertificate(error)}") from None
    except ssl.SSLError as error:
        raise NotReached(f"{where}: {_ABOUT_TLS.get(error.reason or '', error.reason or str(error))}") from None
    except (BadStatusLine, ConnectionResetError) as error:
        if isinstance(error, ConnectionResetError) and (method == "POST" or isinstance(connection, _SocketConnection)):
            # A broker has said what it can be asked, or it is one by its socket.
            raise NotReached(f"{where}: the broker has ended the connection without an answer; see its log") from None
        raise NotReached(f"{where}: what answers there does not speak HTTP; is it https://?") from None
    except (OSError, HTTPException) as error:
        raise NotReached(f"{where}: {error}") from None


def _piecesOf(connection: HTTPConnection, answer: HTTPResponse, where: str) -> Iterator[bytes]:
    """
    An answer in pieces; the connection is closed behind it.

    @raise RefusedCall: it tells a refusal.
    """
    with closing(connection), answer:
        if answer.status != 200:
            raise RefusedCall(_refusalOf(answer, where))
        try:
            while piece := answer.read1(_PIECE):
                yield piece
        except HTTPException:
            raise NotReached(f"{where}: the broker has gone before the end of its answer") from None
        except OSError as error:
            raise NotReached(f"{where}: the answer is not complete: {error}") from None


def _refusalOf(answer: HTTPResponse, where: str) -> str:
    try:
        message = json.loads(answer.read(_PIECE))["message"]
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        message = None
    return message if isinstance(message, str) else f"{where} answers {answer.status} {answer.reason}"


class _HTTPCaller:
    """
    Calls a broker by HTTP: see L{twisted_mqtt.management.control}.
    """

    def __init__(self, where: str, base: str, timeout: float, headers: Mapping[str, str]) -> None:
        """
        @param where: what the broker is called in messages.
        @param base: the path below which the operations are.
        @param timeout: seconds in which it must answer that it is there.
        """
        self._where = where
        self._base = base
        self._timeout = timeout
        self._headers = headers

    def _connection(self, timeout: float) -> HTTPConnection:
        raise NotImplementedError

    def describe(self) -> list[dict[str, Any]]:
        """
        See L{Caller}.
        """
        connection = self._connection(self._timeout)
        answer = _answerOf(connection, "GET", self._base, self._where, self._headers)
        try:
            found: list[dict[str, Any]] = json.loads(b"".join(_piecesOf(connection, answer, self._where)))["data"]
            if not isinstance(found, list):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise NotReached(f"{self._where} is not a broker's: it does not say what can be asked of it") from None
        return found

    def call(self, operation: Description, request: Mapping[str, object], form: str) -> Answer:
        """
        See L{Caller}.
        """
        path = f"{self._base}/{quote(operation.name)}?{urlencode({'format': form})}"
        body = urlencode(dict(request), doseq=True).encode()
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        # It has said what can be asked of it, so it is there; what is asked for may take long.
        connection = self._connection(max(TIMEOUT, self._timeout))
        answer = _answerOf(connection, "POST", path, self._where, headers, body)
        kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        pieces = _piecesOf(connection, answer, self._where)
        # A refusal is raised here, not when somebody begins to read.
        first = next(pieces, b"")
        return Answer(kind == "application/json", chain((first,), pieces))


class SocketCaller(_HTTPCaller):
    """
    Calls a broker on this machine.
    """

    def __init__(self, path: str, timeout: float = ANSWERING_TIMEOUT) -> None:
        """
        @param timeout: seconds in which it must answer that it is there.
        """
        super().__init__(path, "/operations", timeout, {})
        self._path = path

    def _connection(self, timeout: float) -> HTTPConnection:
        return _SocketConnection(self._path, timeout)


class RemoteCaller(_HTTPCaller):
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
        @raise OSError: the file can't be read, or is none of certificates.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no address such as https://broker.example:8081")
        self._host, self._port = host, port or 8081
        self._context = ssl.create_default_context(cafile=authorities) if parts.scheme == "https" else None
        token = b64encode(f"{application}:{secret}".encode()).decode("ascii")
        base = parts.path.rstrip("/") + "/api/v4/operations"
        super().__init__(url, base, timeout, {"Authorization": f"Basic {token}"})

    def _connection(self, timeout: float) -> HTTPConnection:
        if self._context is None:
            return HTTPConnection(self._host, self._port, timeout=timeout)
        return HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)


def defaultSocket(dataFolders: list[str]) -> str:
    """
    The socket of the broker of this machine: the first of these folders that has one.
    """
    paths = [os.path.join(folder, "ctl.sock") for folder in dataFolders]
    return next((path for path in paths if os.path.exists(path)), paths[0])
