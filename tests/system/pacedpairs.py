"""
Pairs of MQTT clients that exchange messages at a steady pace, from one process; it tells how long messages took.

Each line on its standard input is a number of seconds: for so long it sends, and prints a line of JSON then: how many
messages came, and how many milliseconds they took: the median, one in a hundred more than C{p99}, the longest.
"""

import json
import select
import socket
import sys
import time


def counted(data: bytes) -> bytes:
    """
    With its length before it.
    """
    return len(data).to_bytes(2, "big") + data


def frame(first: int, body: bytes) -> bytes:
    """
    A packet of less than 128 bytes.
    """
    return bytes((first, len(body))) + body


class Pairs:
    """
    So many pairs: one publishes, the other has subscribed to that.
    """

    def __init__(self, host: str, port: int, count: int, rate: float) -> None:
        """
        @param rate: how many messages a pair exchanges a second.
        """
        self._interval = 1.0 / (rate * count)
        self._poll = select.epoll()
        self._publishers: list[socket.socket] = []
        self._subscribers: dict[int, socket.socket] = {}
        self._unread: dict[int, bytes] = {}
        self._took: list[float] = []
        for number in range(count):
            subscriber = self._connected(host, port, f"to-{number}")
            subscriber.sendall(frame(0x82, b"\x00\x01" + counted(b"pair/%d" % number) + b"\x00"))
            assert subscriber.recv(5) == b"\x90\x03\x00\x01\x00"
            subscriber.setblocking(False)
            self._subscribers[subscriber.fileno()] = subscriber
            self._unread[subscriber.fileno()] = b""
            self._poll.register(subscriber.fileno(), select.EPOLLIN)
            self._publishers.append(self._connected(host, port, f"from-{number}"))

    def _connected(self, host: str, port: int, clientID: str) -> socket.socket:
        link = socket.create_connection((host, port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(frame(0x10, counted(b"MQTT") + b"\x04\x02\x00\x00" + counted(clientID.encode())))
        assert link.recv(4) == b"\x20\x02\x00\x00"
        return link

    def exchange(self, seconds: float) -> dict[str, float]:
        """
        Exchange messages for some time; returns how it went.
        """
        self._took.clear()
        now = time.perf_counter()
        end, due, turn = now + seconds, now, 0
        while now < end:
            while due <= now:
                number = turn % len(self._publishers)
                sent = b"%020d" % time.perf_counter_ns()
                self._publishers[number].sendall(frame(0x30, counted(b"pair/%d" % number) + sent))
                due += self._interval
                turn += 1
            self._receive(max(0.0, due - now))
            now = time.perf_counter()
        while len(self._took) < turn and time.perf_counter() < end + 30:
            self._receive(0.1)
        took = sorted(self._took)
        assert len(took) == turn, f"{len(took)} of {turn} messages came"
        return {
            "messages": turn,
            "median": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)],
            "longest": took[-1],
        }

    def _receive(self, wait: float) -> None:
        for descriptor, _ in self._poll.poll(wait):
            data = self._unread[descriptor] + self._subscribers[descriptor].recv(65536)
            now = time.perf_counter_ns()
            while len(data) >= 2 and len(data) >= 2 + data[1]:
                self._took.append((now - int(data[2 + data[1] - 20 : 2 + data[1]])) / 1e6)
                data = data[2 + data[1] :]
            self._unread[descriptor] = data


def main() -> None:
    """
    Do as is said.
    """
    host, port, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    pairs = Pairs(host, port, count, rate)
    print("connected", flush=True)
    for line in sys.stdin:
        print(json.dumps(pairs.exchange(float(line))), flush=True)


if __name__ == "__main__":
    main()
