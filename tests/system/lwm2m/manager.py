"""
The other end of an LwM2M device: an MQTT client that gives it commands and hears its answers, notifications and events.
"""

from __future__ import annotations

import itertools
import json
from types import TracebackType
from typing import Any

from tests.system.paho_peer import Peer
from tests.system.process import Broker

_numbers = itertools.count(1)


class Manager:
    """
    The manager of one device, over MQTT.
    """

    def __init__(self, broker: Broker, endpoint: str, mountpoint: str = "") -> None:
        """
        @param mountpoint: what the gateway puts before topics; its default if empty.
        """
        self.endpoint = endpoint
        self._mountpoint = mountpoint or f"lwm2m/{endpoint}/"
        self.peer = Peer(broker, f"m{next(_numbers)}{endpoint}"[:23])

    def __enter__(self) -> Manager:
        self.peer.connect()
        self.peer.subscribe(self._mountpoint + "up/#")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peer.disconnect()

    def tell(self, payload: str | bytes | dict[str, Any], below: str = "", **given: Any) -> None:
        """
        Publish to the command topic, or C{below} it; resolved when the broker has it.
        """
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        self.peer.publish(self._mountpoint + "dn" + below, payload, **given)

    def next(self) -> dict[str, Any]:
        """
        The next thing that is said of the device, on the topic where its kind is said.
        """
        message = self.peer.receive()
        found: dict[str, Any] = json.loads(message.payload)
        kind = "notify" if found["msgType"] in ("notify", "send") else "resp"
        assert (message.topic, message.qos, message.retain) == (f"{self._mountpoint}up/{kind}", 0, False)
        return found

    def command(self, kind: str, data: dict[str, Any], **more: Any) -> int:
        """
        Give a command.

        @return: its C{reqID}.
        """
        number = next(_numbers)
        self.tell({"reqID": number, "msgType": kind, "data": data, **more})
        return number

    def ask(self, kind: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
        """
        Give a command, and wait for the answer, which must be the next thing that is said.

        @return: its C{data}.
        """
        number = self.command(kind, data, **more)
        return self.answerTo(number, kind, **more)

    def answerTo(self, number: int, kind: str, **more: Any) -> dict[str, Any]:
        """
        Wait for the answer to a command given before, which must be the next thing that is said.

        @return: its C{data}.
        """
        answer = self.next()
        data: dict[str, Any] = answer.pop("data")
        assert answer == {"reqID": number, "msgType": kind, **more}
        return data

    def read(self, path: str) -> Any:
        """
        Read one resource.

        @return: its value.
        """
        data = self.ask("read", {"path": path})
        assert (data["reqPath"], data["code"], data["codeMsg"]) == (path, "2.05", "content"), data
        (element,) = data["content"]
        assert element["path"] == path
        return element["value"]
