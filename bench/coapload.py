"""
The load of C{bench.coap}: clients that ask, clients that observe, and clients that shake hands.

Datagrams are made of parts that were encoded beforehand; what comes is compared with the beginning that it must have:
its code, message ID and token are those of the one answer that its client waits for. So each request is answered once
and rightly, or it is told.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from bench.contest import Figures, LoadError, Watch
from gateways.coap.codes import CONTENT, GET
from gateways.coap.message import ACK, CON, CoAPMessage, encode
from gateways.coap.options import OBSERVE, URI_PATH, URI_QUERY, Option

ffi: Any = _ffi
lib: Any = _lib

_PAIRS: Final = [number.to_bytes(2, "big") for number in range(65536)]
_WARM_UP: Final = 0.7
# A client that has no answer for this long asks again, as CoAP does.
_PATIENCE: Final = 1.0
_TOKEN: Final = 4
_ACK_HEAD: Final = (0x60 | _TOKEN).to_bytes(1, "big")
# Empty messages: a confirmable one asks whether somebody is there, and is reset (RFC 7252 4.3).
_PING_HEAD: Final = b"\x40\x00"
_RESET_HEAD: Final = b"\x70\x00"
_FIRST: Final = 0x4000


def uri(path: str) -> list[Option]:
    """
    The options of a path with a query.
    """
    path, _, query = path.partition("?")
    options = [(URI_PATH, part.encode()) for part in path.strip("/").split("/")]
    return [*options, *((URI_QUERY, part.encode()) for part in query.split("&") if part)]


def udp(port: int) -> socket.socket:
    """
    A socket that is connected to a port of this machine.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.connect(("127.0.0.1", port))
    return opened


def askOnce(port: int, code: int, path: str, payload: bytes = b"", patience: float = 2.0) -> int:
    """
    Ask, and wait; returns the code of the answer.

    @raise OSError: none came.
    """
    with udp(port) as opened:
        opened.settimeout(patience)
        opened.send(encode(CoAPMessage(code, uri(path), payload, b"once", CON, 7)))
        return opened.recv(2048)[1]


class Asker:
    """
    One client, with one request under way.
    """

    __slots__ = ("socket", "recv", "send", "expected", "said", "count", "seen", "_next", "_head", "_tail", "_answer")

    def __init__(self, port: int, number: int, code: int, path: str, payload: bytes, answer: int) -> None:
        """
        @param answer: the code of the answers.
        """
        self.socket = udp(port)
        self.socket.setblocking(False)
        self.recv, self.send = self.socket.recv, self.socket.send
        self.expected = self.said = b""
        self.count = self.seen = 0
        self._next = _FIRST
        # The token is the message ID once more, and the client's number.
        mark = _PAIRS[number]
        whole = encode(CoAPMessage(code, uri(path), payload, b"\0\0" + mark, CON))
        self._head, self._tail = whole[:2], whole[6:]
        self._answer = _ACK_HEAD + bytes((answer,)), mark

    def ask(self) -> None:
        """
        Send the next request.
        """
        pair = _PAIRS[self._next]
        # A server would take it for the one that it has answered before.
        if self._next == _FIRST - 1:
            raise LoadError("a client has used up its message IDs: measure for a shorter time")
        self._next = (self._next + 1) & 0xFFFF
        head, mark = self._answer
        self.expected = head + pair + pair + mark
        self.said = self._head + pair + pair + self._tail
        self.send(self.said)

    def again(self) -> None:
        """
        Send the last one again.
        """
        self.send(self.said)


def requests(
    port: int,
    pid: int,
    ask: Callable[[int], Asker],
    clients: int,
    seconds: float,
    meter: Any = None,
) -> Figures:
    """
    So many clients ask, each as soon as it has its answer.

    @param ask: makes a client of its number.
    @param meter: has a C{socket}, a C{count} of what has come there and reads it by C{read}; each request must make one
        come.

    @raise LoadError: an answer is not that of a request, or is there twice; or something is missing in the end.
    """
    askers = [ask(number) for number in range(clients)]
    poll = select.epoll()
    try:
        places = {asker.socket.fileno(): asker for asker in askers}
        for fileno in places:
            poll.register(fileno, select.EPOLLIN)
        if meter is not None:
            poll.register(meter.socket.fileno(), select.EPOLLIN)
        for asker in askers:
            asker.ask()
        count = again = 0
        watch: Watch | None = None
        figures: Figures | None = None
        mark, retry = time.perf_counter() + _WARM_UP, time.perf_counter() + _PATIENCE
        waiting = clients
        while waiting:
            ready = poll.poll(0.2)
            for fileno, _ in ready:
                taken = places.get(fileno)
                if taken is None:
                    meter.read()
                    continue
                reply = taken.recv(2048)
                if not reply.startswith(taken.expected) or not taken.expected:
                    _surprise(taken, reply)
                    continue
                count += 1
                taken.count += 1
                if figures is None:
                    taken.ask()
                else:
                    taken.expected = b""
                    waiting -= 1
            now = time.perf_counter()
            if now >= mark:
                if watch is None:
                    watch, before, mark = Watch(pid), count, now + seconds
                elif figures is None:
                    figures = watch.figures(count - before)
            if now >= retry:
                retry = now + _PATIENCE
                for asker in askers:
                    if asker.seen == asker.count and asker.expected:
                        asker.again()
                        again += 1
                        if again > 20 * clients:
                            raise LoadError("requests are not answered")
                    asker.seen = asker.count
        assert figures is not None
        figures.again = again
        _settle(poll, places, meter, count, again)
        return figures
    finally:
        poll.close()
        for asker in askers:
            asker.socket.close()


def _surprise(asker: Asker, reply: bytes) -> None:
    """
    An answer that is none to what was asked last: only an acknowledgement without an answer is as it should be.
    """
    if asker.expected and reply == b"\x60\x00" + asker.expected[2:4]:
        return
    if asker.expected and len(reply) >= 8 and reply[0] == 0x44 and reply[1:2] == asker.expected[1:2]:
        # A separate response, which wants to be acknowledged.
        asker.send(b"\x60\x00" + reply[2:4])
        raise LoadError("separate responses are not foreseen here")
    raise LoadError(f"expected {asker.expected.hex()}, received {reply[:40].hex()}")


def _settle(poll: select.epoll, places: dict[int, Asker], meter: Any, count: int, again: int) -> None:
    """
    See that nothing comes twice, and that everything has come where it had to.
    """
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end or (meter is not None and meter.count < count and time.perf_counter() < end + 3):
        for fileno, _ in poll.poll(0.05):
            taken = places.get(fileno)
            if taken is None:
                meter.read()
            else:
                reply = taken.recv(2048)
                if not again:
                    raise LoadError(f"an answer came twice: {reply[:40].hex()}")
    if meter is not None and meter.count != count:
        raise LoadError(f"{count} were published, and {meter.count} came")


def notifications(port: int, pid: int, path: str, trigger: Asker, observers: int, seconds: float) -> Figures:
    """
    So many clients observe a resource, which is written again as soon as all have been told.

    @param path: what they observe; C{%d} in it is the number of the client.
    @param trigger: writes.

    @raise LoadError: an observation is refused, or something comes that nobody has asked for.
    """
    sockets = []
    poll = select.epoll()
    try:
        marks: dict[int, tuple[socket.socket, bytes]] = {}
        for number in range(observers):
            opened = udp(port)
            sockets.append(opened)
            opened.settimeout(5)
            token = b"ob" + _PAIRS[number]
            where = path % number if "%" in path else path
            options = [*uri(where), (OBSERVE, b"")]
            opened.send(encode(CoAPMessage(GET, options, b"", token, CON, 1)))
            reply = opened.recv(2048)
            if reply[1] != CONTENT or reply[4:8] != token:
                raise LoadError(f"observing is refused: {reply.hex()}")
            opened.setblocking(False)
            poll.register(opened.fileno(), select.EPOLLIN)
            marks[opened.fileno()] = opened, token
        poll.register(trigger.socket.fileno(), select.EPOLLIN)
        count = missing = rounds = 0
        watch: Watch | None = None
        begin = time.perf_counter() + 2 * _WARM_UP
        while True:
            now = time.perf_counter()
            # The first ones are confirmable, since nothing is known of the observers.
            if watch is None and now >= begin and rounds >= 2:
                watch, before, missing = Watch(pid), count, 0
            elif watch is not None and now >= begin + seconds:
                return watch.figures(count - before, missing)
            trigger.ask()
            rounds += 1
            told: set[int] = set()
            answered = False
            end = now + _PATIENCE
            while len(told) < observers or not answered:
                ready = poll.poll(max(0.0, end - time.perf_counter()))
                if not ready:
                    break
                for fileno, _ in ready:
                    entry = marks.get(fileno)
                    if entry is None:
                        answered = trigger.recv(2048).startswith(trigger.expected) or answered
                        continue
                    opened, token = entry
                    data = opened.recv(2048)
                    if len(data) == 4 and data[:2] == _PING_HEAD:
                        opened.send(_RESET_HEAD + data[2:])
                        continue
                    if data[4:8] != token or data[1] != CONTENT:
                        raise LoadError(f"expected a notification, received {data[:40].hex()}")
                    if data[0] >> 4 & 3 == CON:
                        opened.send(bytes((0x40 | ACK << 4, 0)) + data[2:4])
                    told.add(fileno)
                    count += 1
            missing += observers - len(told)
    finally:
        poll.close()
        for opened in [*sockets, trigger.socket]:
            opened.close()


class HandshakeClient:
    """
    Makes DTLS handshakes, one after the other.
    """

    def __init__(self, key: tuple[bytes, bytes] | None) -> None:
        """
        @param key: an identity and its key; L{None} to go by the server's certificate, which is not checked.
        """
        self._context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        self._context.set_options(SSL.OP_NO_QUERY_MTU)
        self._callback: Any = None
        if key is None:
            self._context.set_cipher_list(b"ECDHE+AESGCM")
            return
        self._context.set_cipher_list(b"PSK-AES128-CCM8:@SECLEVEL=0")
        identity, secret = key

        def called(ssl: Any, hint: Any, room: Any, most: int, place: Any, mostKey: int) -> int:
            ffi.memmove(room, identity + b"\0", len(identity) + 1)
            ffi.memmove(place, secret, len(secret))
            return len(secret)

        self._callback = ffi.callback(
            "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)", called, error=0
        )
        context: Any = self._context
        lib.SSL_CTX_set_psk_client_callback(context._context, self._callback)

    def shake(self, port: int) -> None:
        """
        Make one, and say farewell.

        @raise LoadError: it does not come to an end.
        """
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        connection.set_ciphertext_mtu(1200)
        with udp(port) as opened:
            opened.settimeout(3)
            try:
                while True:
                    try:
                        connection.do_handshake()
                        break
                    except SSL.WantReadError:
                        self._flush(connection, opened)
                        connection.bio_write(opened.recv(4096))
                self._flush(connection, opened)
                connection.shutdown()
                self._flush(connection, opened)
            except (OSError, SSL.Error) as error:
                raise LoadError(f"no handshake: {error!r}") from error

    def _flush(self, connection: SSL.Connection, opened: socket.socket) -> None:
        try:
            opened.send(connection.bio_read(65536))
        except SSL.WantReadError:
            pass


def handshakes(port: int, pid: int, key: tuple[bytes, bytes] | None, seconds: float) -> Figures:
    """
    Handshakes, one after the other.
    """
    client = HandshakeClient(key)
    for _ in range(5):
        client.shake(port)
    watch, count = Watch(pid), 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        client.shake(port)
        count += 1
    return watch.figures(count)
