"""
The cost of WebSocket: the throughput of connections with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.scenarios.base import Outcome, Running, Unsupported
from bench.scenarios.throughput import Throughput
from bench.secure import TLSAddress
from bench.sockets import Address
from bench.websocket import WebSocketAddress


@dataclass(frozen=True)
class _Framed:
    """
    A broker, seen through its listener with WebSocket.
    """

    pid: int
    address: Address
    secure: TLSAddress | None
    webSocket: WebSocketAddress | None


class WebSocketThroughput(Throughput):
    """
    Deliveries a second of some wiring, over WebSocket.
    """

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        See L{Throughput.run}.
        """
        address = broker.webSocket
        if address is None:
            raise Unsupported("it is not set up for WebSocket here")
        return super().run(_Framed(broker.pid, address, broker.secure, address), seconds)
