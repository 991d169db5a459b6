"""
Messages to one peer: on their way, or waiting for those before them.
"""

from __future__ import annotations

from collections import deque

from gateways.coap.message import CoAPMessage
from gateways.coap.roles import Address, Ended


class OutgoingMessage:
    """
    A message to a peer, which is waiting its turn or on its way.
    """

    __slots__ = ("address", "message", "data", "timeout", "sent", "ended")

    def __init__(self, address: Address, message: CoAPMessage, ended: Ended | None) -> None:
        self.address = address
        self.message = message
        self.data = b""
        self.timeout = 0.0
        self.sent = 0
        self.ended = ended


class PeerQueue:
    """
    The confirmable messages to one peer.

    @ivar probing: whether one of those on their way is a ping, whose answer the others wait for.
    """

    __slots__ = ("flying", "waiting", "probing")

    def __init__(self) -> None:
        self.probing = False
        self.flying: dict[int, OutgoingMessage] = {}
        self.waiting: deque[OutgoingMessage] = deque()
