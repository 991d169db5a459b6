"""
stomp.py as a peer that a test can question: every call waits for its receipt.
"""

import queue
import ssl
from typing import Any

import stomp

from tests.system.process import PATIENCE, Broker

CLASSES = {"1.0": "Connection10", "1.1": "Connection11", "1.2": "Connection12"}


class StompPeer:
    """
    One stomp.py connection; every call waits for its receipt.

    @ivar connected: the headers of CONNECTED.
    """

    def __init__(
        self,
        gateway: Broker,
        version: str,
        cafile: str | None = None,
        headers: dict[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        """
        @param cafile: the authority to trust, for TLS.
        @param headers: more of them, for CONNECT.
        """
        self.version = version
        self.frames: queue.Queue[tuple[str, dict[str, str], str]] = queue.Queue()
        made = getattr(stomp, CLASSES[version])
        address = gateway.host, gateway.ports["stomp" if cafile is None else "stomp.ssl"]
        self.connection = made([address], **arguments)
        if cafile is not None:
            self.connection.set_ssl([address], ca_certs=cafile, ssl_version=ssl.PROTOCOL_TLS_CLIENT)
        put = self.frames.put

        self.connected: dict[str, str] = {}
        connected = self.connected

        class Listener(stomp.ConnectionListener):  # type: ignore[misc, name-defined]  # it has no annotations
            def on_connected(self, frame: Any) -> None:
                connected.update(frame.headers)

            def on_message(self, frame: Any) -> None:
                put(("MESSAGE", dict(frame.headers), frame.body))

            def on_receipt(self, frame: Any) -> None:
                put(("RECEIPT", dict(frame.headers), ""))

            def on_error(self, frame: Any) -> None:
                put(("ERROR", dict(frame.headers), frame.body))

        self.connection.set_listener("", Listener())
        self.connection.connect("guest", "guest", wait=True, headers=headers or {})
        self._count = 0
        self._others: list[tuple[str, dict[str, str], str]] = []

    def __enter__(self) -> "StompPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.disconnect()

    def do(self, method: str, *arguments: Any, **headers: Any) -> None:
        """
        Call a method of the connection, and wait for its receipt.
        """
        self._count += 1
        receipt = f"r{self._count}"
        getattr(self.connection, method)(*arguments, receipt=receipt, **headers)
        while True:
            frame = self.frames.get(timeout=PATIENCE)
            assert frame[0] != "ERROR", frame
            if frame[0] == "RECEIPT" and frame[1]["receipt-id"] == receipt:
                return
            self._others.append(frame)

    def subscribe(self, destination: str, ack: str = "auto", name: str = "1") -> None:
        """
        Subscribe.
        """
        self.do("subscribe", destination, id=name, ack=ack)

    def message(self) -> tuple[dict[str, str], str]:
        """
        The next message.
        """
        while True:
            frame = self._others.pop(0) if self._others else self.frames.get(timeout=PATIENCE)
            if frame[0] == "MESSAGE":
                return frame[1], frame[2]

    def settle(self, method: str, headers: dict[str, str]) -> None:
        """
        ACK or NACK a message.
        """
        if self.version == "1.2":
            self.do(method, headers["ack"])
        elif self.version == "1.1":
            self.do(method, headers["message-id"], headers["subscription"])
        else:
            self.do(method, headers["message-id"])
