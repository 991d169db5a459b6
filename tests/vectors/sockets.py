"""
Vectors over TCP, against any MQTT server: C{python -m tests.vectors.sockets HOST PORT}.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from tests.vectors.model import Failed, load
from tests.vectors.run import Run


class SocketLink:
    """
    A TCP connection.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, 5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """
        Bytes to the broker; that it has closed is found out by reading.
        """
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def receive(self, wait: float) -> bytes | None:
        """
        Take the received bytes.
        """
        if self._socket.fileno() < 0:
            return None
        readable, _, _ = select.select([self._socket], [], [], wait)
        if not readable:
            return b""
        try:
            return self._socket.recv(1 << 20) or None
        except ConnectionError:
            return None

    def abort(self) -> None:
        """
        A reset instead of an orderly end.
        """
        if self._socket.fileno() < 0:
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class SocketBench:
    """
    A broker behind a TCP port.
    """

    patience = 3.0
    concurrent = True

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def open(self) -> SocketLink:
        """
        A new connection.
        """
        return SocketLink(self._address)

    def advance(self, seconds: float) -> None:
        """
        Wait in real time: only a person who asked for it does.
        """
        time.sleep(seconds)


def main(arguments: list[str]) -> int:
    """
    Ask a running server, and print what differs::

        HOST PORT [--slow SECONDS] [--configured] [--lenient] [part of a name...]

    C{--lenient} asks of a fault only that it closes the connection, whatever reason is given or not;
    C{--slow} takes in the vectors in which up to so many seconds pass, C{--configured} those that need settings:
    the server must then have been given them.
    """
    host, port, *rest = arguments
    configured, lenient = "--configured" in rest, "--lenient" in rest
    rest = [word for word in rest if word not in ("--configured", "--lenient")]
    longest = 0.0
    if "--slow" in rest:
        place = rest.index("--slow")
        longest = float(rest[place + 1])
        del rest[place : place + 2]
    bench = SocketBench(host, int(port))
    ran = failed = 0
    for vector in load():
        if vector.webSocket or vector.hooks or (vector.settings and not configured) or vector.waits > longest:
            continue
        if rest and not any(part in vector.key for part in rest):
            continue
        run = Run(vector, bench, lenient)
        ran += 1
        try:
            run.run()
        except Failed as failure:
            failed += 1
            print(failure)
        run.cleanUp()
    print(f"{ran} vectors, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
