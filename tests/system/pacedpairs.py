"""
Pairs of MQTT clients that exchange messages at a steady pace, from one process; it tells how long messages took.

Each line on its standard input is a number of seconds, for which it sends, or "begin SECONDS": then it says "begun" and
sends until the next line, "end", and for so many seconds at least. After either it prints a line of JSON: how many
messages were sent, how many were C{lost} or C{doubled}, and how many milliseconds they took: the median, one in a
hundred more than C{p99}, the longest.

Usage: pacedpairs.py HOST PORT PAIRS RATE [QOS]
"""

import json
import select
import socket
import sys
import time

# For so many seconds it waits for the last messages.
PATIENCE = 30.0


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

    def __init__(self, host: str, port: int, count: int, rate: float, qos: int) -> None:
        """
        @param rate: how many messages a pair exchanges a second.
        """
        self._interval = 1.0 / (rate * count)
        self._qos = qos
        self._poll = select.epoll()
        self._publishers: list[socket.socket] = []
        self._links: dict[int, socket.socket] = {}
        self._unread: dict[int, bytes] = {}
        self._took: dict[int, float] = {}
        self._doubled = 0
        self._sent = 0
        for number in range(count):
            subscriber = self._connected(host, port, f"to-{number}")
            subscriber.sendall(frame(0x82, b"\x00\x01" + counted(b"pair/%d" % number) + bytes((qos,))))
            assert subscriber.recv(5) == b"\x90\x03\x00\x01" + bytes((qos,))
            self._publishers.append(self._connected(host, port, f"from-{number}"))
            for link in (subscriber, self._publishers[-1]):
                self._links[link.fileno()] = link
                self._unread[link.fileno()] = b""
                self._poll.register(link.fileno(), select.EPOLLIN)

    def _connected(self, host: str, port: int, clientID: str) -> socket.socket:
        link = socket.create_connection((host, port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(frame(0x10, counted(b"MQTT") + b"\x04\x02\x00\x00" + counted(clientID.encode())))
        assert link.recv(4) == b"\x20\x02\x00\x00"
        return link

    def exchange(self, seconds: float, untilTold: bool = False) -> dict[str, float]:
        """
        Exchange messages for some time; returns how it went.

        @param seconds: for how long at least.
        @param untilTold: whether to go on until there is a line on standard input.
        """
        self._took.clear()
        self._doubled = 0
        first = self._sent
        now = time.perf_counter()
        end, due = now + seconds, now
        if untilTold:
            self._poll.register(0, select.EPOLLIN)
        while untilTold or now < end:
            while due <= now:
                self._publish()
                due += self._interval
            if not self._receive(max(0.0, due - now)):
                untilTold = False
                self._poll.unregister(0)
            now = time.perf_counter()
        sent = self._sent - first
        end = now + PATIENCE
        while len(self._took) < sent and time.perf_counter() < end:
            self._receive(0.1)
        took = sorted(self._took.values())
        return {
            "messages": sent,
            "lost": sent - len(took),
            "doubled": self._doubled,
            "median": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)],
            "longest": took[-1],
        }

    def _publish(self) -> None:
        number = self._sent % len(self._publishers)
        self._sent += 1
        identifier = (self._sent % 65535 + 1).to_bytes(2, "big") if self._qos else b""
        payload = b"%010d%020d" % (self._sent, time.perf_counter_ns())
        packet = frame(0x30 | self._qos << 1, counted(b"pair/%d" % number) + identifier + payload)
        self._publishers[number].sendall(packet)

    def _receive(self, wait: float) -> bool:
        """
        Read what there is; returns whether there is no line on standard input.
        """
        goesOn = True
        for descriptor, _ in self._poll.poll(wait):
            link = self._links.get(descriptor)
            if link is None:
                goesOn = False
                continue
            chunk = link.recv(65536)
            assert chunk, "the broker has closed a connection"
            data = self._unread[descriptor] + chunk
            while len(data) >= 2 and len(data) >= 2 + data[1]:
                if data[0] >> 4 == 3:
                    self._take(link, data[2 : 2 + data[1]])
                data = data[2 + data[1] :]
            self._unread[descriptor] = data
        return goesOn

    def _take(self, link: socket.socket, body: bytes) -> None:
        now = time.perf_counter_ns()
        number = int(body[-30:-20])
        if number in self._took:
            self._doubled += 1
        self._took[number] = (now - int(body[-20:])) / 1e6
        if self._qos:
            link.sendall(b"\x40\x02" + body[-32:-30])


def main() -> None:
    """
    Do as is said.
    """
    host, port, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    pairs = Pairs(host, port, count, rate, int(sys.argv[5]) if len(sys.argv) > 5 else 0)
    print("connected", flush=True)
    # Unbuffered, for the poll has to see what is not read yet.
    with open(0, "rb", buffering=0, closefd=False) as orders:
        while line := orders.readline():
            if not line.startswith(b"begin"):
                print(json.dumps(pairs.exchange(float(line))), flush=True)
                continue
            print("begun", flush=True)
            found = pairs.exchange(float(line.split()[1]), untilTold=True)
            orders.readline()
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
