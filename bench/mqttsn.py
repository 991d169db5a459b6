"""
C{python -m bench.mqttsn}: MQTT-SN publishes a second at QoS 0 and 1, and the memory of a client.

It is a table of its own, because none of the brokers that the other tables compare with speaks MQTT-SN. Devices publish
messages of one size to one topic; an MQTT client receives them, and its bytes tell how many came: what the kernel has
dropped on the way to the gateway is missing there, and is told as lost.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.brokers import COMPILED, ROOT
from bench.child import Child, freePort, twistd
from bench.meter import Meter
from bench.sockets import HandshakeError, TCPAddress, openSession, raiseFileLimit
from bench.usage import cpuSeconds, residentBytes
from gateways.mqttsn.codec import decode, encode, encodePublish
from gateways.mqttsn.packets import PINGREQ, PINGRESP, SUBSCRIBE, SNConnect, SNPacket, SNRegister, SNSubscribe

_PATIENCE: Final = 5.0
_WARM_UP: Final = 0.5
_TOPIC: Final = "bench/mqttsn"
_PAYLOAD: Final = b"0123456789abcdef" * 4
_CONFIGURATION: Final = """\
[plugins]
load = ["mqttsn"]
[persistence]
store = "memory"
[node]
data_dir = "{folder}"
[zone.external]
max_mqueue_len = 0
[listener.tcp.external]
bind = "127.0.0.1:{port}"
[mqtt.sn]
port = "127.0.0.1:{udp}"
max_conn_rate = 1000000
"""


@dataclass(frozen=True)
class Tree:
    """
    Sources to start the broker from.
    """

    name: str
    title: str
    path: Path


TREES: Final = (Tree("ours", "this broker", ROOT), Tree("compiled", "this broker, compiled", COMPILED))


class RunningGateway(Child):
    """
    A broker with the gateway, in a child process.
    """

    def __init__(self, tree: Tree) -> None:
        super().__init__(f"mqttsn-{tree.name}")
        port, self.udp = freePort(), freePort(socket.SOCK_DGRAM)
        self.address = TCPAddress(port)
        configuration = self.folder / "mqttbroker.toml"
        configuration.write_text(_CONFIGURATION.format(folder=self.folder, port=port, udp=self.udp))
        self.start(twistd(configuration), {"PYTHONPATH": str(tree.path)}, self._isThere)

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


def publishing(gateway: RunningGateway, qos: int, seconds: float, atOnce: int) -> tuple[float, float, int]:
    """
    Ten devices publish.

    @param atOnce: how many messages of a device are under way.

    @return: messages a second, microseconds of the broker's processor time for each, and how many were lost.
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
        before, cpu, begun, measured = 0, 0.0, 0.0, False
        while True:
            now = time.perf_counter()
            if now >= deadline:
                if measured:
                    break
                measured, begun, cpu, before = True, now, cpuSeconds(gateway.pid), meter.count
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
        took, used, count = time.perf_counter() - begun, cpuSeconds(gateway.pid) - cpu, meter.count - before
        end = time.perf_counter() + 1.0
        while meter.count < sent and time.perf_counter() < end:
            select.select([meter.socket], [], [], 0.1)
            meter.read()
        return count / took, used / count * 1e6, sent - meter.count
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


def memory(gateway: RunningGateway, count: int) -> float:
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
        return (residentBytes(gateway.pid) - before) / count
    finally:
        for device in devices:
            device.close()


def _publishes(qos: int, atOnce: int) -> Callable[[RunningGateway, float], str]:
    return lambda gateway, seconds: _said(publishing(gateway, qos, seconds, atOnce))


ROWS: Final[tuple[tuple[str, Callable[[RunningGateway, float], str]], ...]] = (
    ("QoS 0, 10 devices to an MQTT client: messages/s", _publishes(0, 50)),
    ("QoS 1, 10 devices, one message each: messages/s", _publishes(1, 1)),
    ("QoS 1, 10 devices, 20 messages each: messages/s", _publishes(1, 20)),
    ("memory of a client, of 10,000: bytes", lambda gateway, _: f"{memory(gateway, 10_000):,.0f}"),
)


def _said(figures: tuple[float, float, int]) -> str:
    rate, cpu, lost = figures
    return f"{rate:,.0f} ({cpu:.2f})" + (f", {lost} lost" if lost else "")


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.mqttsn", description=__doc__)
    parser.add_argument("--brokers", default="ours,compiled", help="names, by commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each run (default: %(default)s)")
    given = parser.parse_args()
    raiseFileLimit()
    trees = [
        tree
        for tree in TREES
        if tree.name in given.brokers.split(",")
        and (tree.name != "compiled" or any(tree.path.glob("twisted_mqtt/core/*.so")))
    ]
    print("| MQTT-SN, 64-byte payloads (broker CPU us) | " + " | ".join(tree.title for tree in trees) + " |")
    print("|---|" + "---|" * len(trees))
    for title, measure in ROWS:
        cells = []
        for tree in trees:
            try:
                gateway = RunningGateway(tree)
                try:
                    cells.append(measure(gateway, given.seconds))
                finally:
                    gateway.stop()
            except (OSError, HandshakeError) as error:
                print(f"{tree.name}: {error}", file=sys.stderr)
                cells.append("failed")
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
