"""
MQTT-SN publishes a second at QoS 0 and 1, and the memory of a client.

Devices publish messages of one size to one topic; an MQTT client receives them, and its bytes tell how many came: what
the kernel has dropped on the way to the gateway is missing there, and is told as lost.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.child import freePort
from bench.contest import Contest, Figures, Row, Server, Watch, broker, ours
from bench.meter import Meter
from bench.sockets import HandshakeError, TCPAddress, openSession
from bench.usage import residentBytes
from gateways.mqttsn.codec import decode, encode, encodePublish
from gateways.mqttsn.packets import PINGREQ, PINGRESP, SUBSCRIBE, SNConnect, SNPacket, SNRegister, SNSubscribe

_PATIENCE: Final = 5.0
_WARM_UP: Final = 0.5
_TOPIC: Final = "bench/mqttsn"
_PAYLOAD: Final = b"0123456789abcdef" * 4


class RunningGateway(Server):
    """
    A broker with the gateway.
    """

    def __init__(self, tree: Path) -> None:
        super().__init__("mqttsn")
        port, self.udp = freePort(), freePort(socket.SOCK_DGRAM)
        self.address = TCPAddress(port)
        more = f'[mqtt.sn]\nport = "127.0.0.1:{self.udp}"\nmax_conn_rate = 1000000\n'
        self.run(broker(tree, self.folder, port, ["mqttsn"], more), self._isThere)

    def _isThere(self) -> None:
        openSession(self.address, "probe").close()
        Device(self, "probe").close()


class Device:
    """
    A client that is connected.
    """

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.settimeout(_PATIENCE)
            self.socket.connect(("127.0.0.1", gateway.udp))
            if self.ask(SNConnect(name)).code:
                raise HandshakeError("CONNECT was refused")
        except BaseException:
            self.socket.close()
            raise

    def ask(self, packet: SNPacket) -> Any:
        """
        Say something, and wait for the answer.
        """
        self.socket.send(encode(packet))
        return decode(self.socket.recv(4096))

    def close(self) -> None:
        """
        Go.
        """
        self.socket.close()


def publishing(gateway: RunningGateway, qos: int, seconds: float, atOnce: int) -> Figures:
    """
    Ten devices publish.

    @param atOnce: how many messages of a device are under way.
    """
    meter = Meter(gateway.address, _TOPIC, _PAYLOAD)
    devices = [Device(gateway, f"publisher{number}") for number in range(10)]
    poll = select.epoll()
    sent = 0
    try:
        burst: list[list[bytes]] = []
        for device in devices:
            topicID = device.ask(SNRegister(0, 1, _TOPIC)).topicID
            messages = [encodePublish(0, topicID, _PAYLOAD, qos, number + 1 if qos else 0) for number in range(atOnce)]
            # At QoS 0 nothing else tells that they were taken.
            burst.append(messages if qos else [*messages, encode(SNPacket(PINGREQ))])
            device.socket.setblocking(False)
            poll.register(device.socket.fileno(), select.EPOLLIN)
        poll.register(meter.socket.fileno(), select.EPOLLIN)
        places = {device.socket.fileno(): number for number, device in enumerate(devices)}
        missing = [0] * len(devices)
        answers = atOnce if qos else 1
        deadline = time.perf_counter() + _WARM_UP
        before = 0
        watch: Watch | None = None
        while True:
            now = time.perf_counter()
            if now >= deadline:
                if watch is not None:
                    break
                watch, before = Watch(gateway.pid), meter.count
                deadline = now + seconds
            for number, device in enumerate(devices):
                if missing[number] == 0:
                    for wire in burst[number]:
                        device.socket.send(wire)
                    sent += atOnce
                    missing[number] = answers
            ready = poll.poll(_PATIENCE)
            if not ready:
                raise HandshakeError("nothing comes any more")
            for fileno, _ in ready:
                if fileno == meter.socket.fileno():
                    meter.read()
                else:
                    missing[places[fileno]] -= _drain(devices[places[fileno]].socket)
        figures = watch.figures(meter.count - before)
        end = time.perf_counter() + 1.0
        while meter.count < sent and time.perf_counter() < end:
            select.select([meter.socket], [], [], 0.1)
            meter.read()
        return replace(figures, lost=sent - meter.count)
    finally:
        poll.close()
        meter.socket.close()
        for device in devices:
            device.close()


def _drain(one: socket.socket) -> int:
    taken = 0
    try:
        while True:
            one.recv(64)
            taken += 1
    except BlockingIOError:
        return taken


def memory(gateway: RunningGateway, count: int) -> Figures:
    """
    Bytes for a client that has subscribed one topic.
    """
    devices = [Device(gateway, f"first{number}") for number in range(10)]
    try:
        before = residentBytes(gateway.pid)
        for number in range(count):
            device = Device(gateway, f"idle{number}")
            devices.append(device)
            device.ask(SNSubscribe(SUBSCRIBE, 1, f"idle/{number}"))
        if devices[-1].ask(SNPacket(PINGREQ)).type != PINGRESP:
            raise HandshakeError("no PINGRESP")
        return Figures((residentBytes(gateway.pid) - before) / count)
    finally:
        for device in devices:
            device.close()


def _publishes(qos: int, atOnce: int) -> Callable[[RunningGateway, float], Figures]:
    return lambda gateway, seconds: publishing(gateway, qos, seconds, atOnce)


CONTEST: Final = Contest(
    "MQTT-SN, 64-byte payloads (broker CPU us)",
    ours(RunningGateway),
    (
        Row("qos0", "QoS 0, 10 devices to an MQTT client: messages/s", _publishes(0, 50)),
        Row("qos1", "QoS 1, 10 devices, one message each: messages/s", _publishes(1, 1)),
        Row("many", "QoS 1, 10 devices, 20 messages each: messages/s", _publishes(1, 20)),
        Row("memory", "memory of a client, of 10,000: bytes", lambda gateway, _: memory(gateway, 10_000)),
    ),
)
