"""
An MQTT client that counts the messages of a gateway's benchmark.
"""

from __future__ import annotations

from bench import packets
from bench.sockets import TCPAddress, openSession, subscribe


class Meter:
    """
    An MQTT client that counts the messages of one topic, all of one size, by its bytes.
    """

    def __init__(self, address: TCPAddress, topic: str, payload: bytes) -> None:
        self._size = len(packets.publish(topic, payload))
        self._bytes = 0
        self._buffer = bytearray(1 << 20)
        self.socket = openSession(address, "meter")
        subscribe(self.socket, [topic], 0)
        self.socket.setblocking(False)

    @property
    def count(self) -> int:
        """
        How many messages have come.
        """
        return self._bytes // self._size

    def read(self) -> None:
        """
        Take what is there.
        """
        try:
            self._bytes += self.socket.recv_into(self._buffer)
        except BlockingIOError:
            pass
