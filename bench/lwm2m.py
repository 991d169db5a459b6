"""
LwM2M registrations, updates, commands and notifications a second, and the memory of a device.

Fifty devices are
at work, each with one thing under way; who manages them is an MQTT client on a connection of its own.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import packets
from bench.child import freePort
from bench.contest import Contest, Figures, Row, Server, Watch, broker, ours
from bench.sockets import HandshakeError, TCPAddress, openSession, subscribe
from bench.usage import residentBytes
from gateways.coap.codes import CHANGED, CONTENT, CREATED, POST
from gateways.coap.message import ACK, CON, NON, CoAPMessage, decode, encode
from gateways.coap.options import (
    CONTENT_FORMAT,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    uintOption,
)

_PATIENCE: Final = 5.0
_WARM_UP: Final = 0.5
_DEVICES: Final = 50
_LINKS: Final = b"</1/0>,</3/0>,</4/0>,</5/0>,</6/0>"


class Running(Server):
    """
    A broker with the gateway.
    """

    def __init__(self, tree: Path) -> None:
        super().__init__("lwm2m")
        tcp, self.udp = freePort(), freePort(socket.SOCK_DGRAM)
        self.address = TCPAddress(tcp)
        more = f'[lwm2m]\nport = "127.0.0.1:{self.udp}"\n'
        self.run(broker(tree, self.folder, tcp, ["lwm2m"], more), self._isThere)

    def _isThere(self) -> None:
        openSession(self.address, "probe").close()
        Device(self, "probe").register()


class Device:
    """
    A device, as far as it takes.
    """

    def __init__(self, running: Running, name: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(_PATIENCE)
        self.socket.connect(("127.0.0.1", running.udp))
        self.name = name
        self._mid = 0
        self._where = stringOptions(URI_PATH, ["rd", name])
        query = stringOptions(URI_QUERY, [f"ep={name}", "lt=86400", "lwm2m=1.0", "b=U"])
        self._registration = [*stringOptions(URI_PATH, ["rd"]), uintOption(CONTENT_FORMAT, 40), *query]
        self.observed = b""
        self._number = 1

    def sendRegister(self) -> None:
        """
        Ask to be registered.
        """
        self._send(CON, POST, self._registration, _LINKS)

    def sendUpdate(self) -> None:
        """
        Ask for an update.
        """
        self._send(CON, POST, self._where, b"")

    def sendNotification(self) -> None:
        """
        Notify what is observed.
        """
        self._number += 1
        options = [uintOption(OBSERVE, self._number), uintOption(CONTENT_FORMAT, 0)]
        self._send(NON, CONTENT, options, b"42", self.observed)

    def _send(self, kind: int, code: int, options: list[Option], payload: bytes, token: bytes = b"t") -> None:
        self._mid = self._mid + 1 & 0xFFFF
        self.socket.send(encode(CoAPMessage(code, options, payload, type=kind, messageID=self._mid, token=token)))

    def hear(self) -> CoAPMessage:
        """
        Take the datagrams that have come.
        """
        return decode(self.socket.recv(2048))

    def serve(self) -> None:
        """
        Answer what has been asked.
        """
        asked = self.hear()
        options = [uintOption(CONTENT_FORMAT, 0)]
        if any(number == OBSERVE for number, _ in asked.options):
            self.observed = asked.token
            options.insert(0, uintOption(OBSERVE, 1))
        answer = CoAPMessage(CONTENT, options, b"42", type=ACK, messageID=asked.messageID, token=asked.token)
        self.socket.send(encode(answer))

    def register(self) -> None:
        """
        Register, and wait for the answer.
        """
        self.sendRegister()
        if self.hear().code != CREATED:
            raise HandshakeError("the registration was refused")


class Manager:
    """
    The MQTT client.
    """

    def __init__(self, running: Running) -> None:
        self.socket = openSession(running.address, "manager")
        subscribe(self.socket, ["lwm2m/+/up/#"], 0)
        self.socket.setblocking(False)
        self._rest = b""

    def ask(self, device: Device, kind: str) -> None:
        """
        Give a command.
        """
        payload = b'{"reqID":1,"msgType":"%s","data":{"path":"/3/0/9"}}' % kind.encode()
        self.socket.send(packets.publish(f"lwm2m/{device.name}/dn", payload))

    def take(self) -> int:
        """
        How many messages have come.
        """
        try:
            data = self._rest + self.socket.recv(1 << 20)
        except BlockingIOError:
            return 0
        count = place = 0
        while True:
            length = shift = 0
            at = place + 1
            while at < len(data):
                length |= (data[at] & 0x7F) << shift
                shift += 7
                at += 1
                if data[at - 1] < 0x80:
                    break
            else:
                break
            if at + length > len(data):
                break
            place = at + length
            count += 1
        self._rest = data[place:]
        return count


class Floor:
    """
    Fifty devices, who manages them, and what of them has something to say.
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.manager = Manager(running)
        self.devices = [Device(running, f"device{number}") for number in range(_DEVICES)]
        for device in self.devices:
            device.register()
        self._poll = select.epoll()
        self._poll.register(self.manager.socket.fileno(), select.EPOLLIN)
        self._places = {}
        for device in self.devices:
            self._places[device.socket.fileno()] = device
            self._poll.register(device.socket.fileno(), select.EPOLLIN)
        self.until(_DEVICES, lambda device: None)

    def until(self, count: int, heard: Callable[[Device], object]) -> None:
        """
        Wait until the manager has heard so much.
        """
        while count > 0:
            taken, devices = self.ready()
            count -= taken
            for device in devices:
                heard(device)

    def ready(self) -> tuple[int, list[Device]]:
        """
        How much the manager has heard, and which devices have something to read.

        @raise HandshakeError: nothing comes any more.
        """
        ready = self._poll.poll(_PATIENCE)
        if not ready:
            raise HandshakeError("nothing comes any more")
        manager = self.manager.socket.fileno()
        taken = self.manager.take() if any(fileno == manager for fileno, _ in ready) else 0
        return taken, [self._places[fileno] for fileno, _ in ready if fileno != manager]

    def close(self) -> None:
        """
        Go.
        """
        self._poll.close()
        self.manager.socket.close()
        for device in self.devices:
            device.socket.close()


class Clock:
    """
    Of what is counted, the rate and what it costs, after a warm-up.
    """

    def __init__(self, running: Running, seconds: float) -> None:
        self._pid = running.pid
        self._seconds = seconds
        self._deadline = time.perf_counter() + _WARM_UP
        self._watch: Watch | None = None
        self._count = 0

    def goesOn(self, count: int) -> bool:
        """
        Whether there is time left.

        @param count: of all so far.
        """
        now = time.perf_counter()
        if now < self._deadline:
            return True
        if self._watch is None:
            self._watch, self._count = Watch(self._pid), count
            self._deadline = now + self._seconds
            return True
        self.figures = self._watch.figures(count - self._count)
        return False


def requests(floor: Floor, send: Callable[[Device], None], code: int, seconds: float) -> Figures:
    """
    Each device asks, and asks again when it is answered.
    """
    clock = Clock(floor.running, seconds)
    count = 0
    for device in floor.devices:
        send(device)
    while clock.goesOn(count):
        for device in floor.ready()[1]:
            if device.hear().code != code:
                raise HandshakeError("it was refused")
            count += 1
            send(device)
    return clock.figures


def commands(floor: Floor, seconds: float) -> Figures:
    """
    Each device is given a command, and the next when the answer to one has arrived.
    """
    clock = Clock(floor.running, seconds)
    count = 0
    for device in floor.devices:
        floor.manager.ask(device, "read")
    while clock.goesOn(count):
        taken, devices = floor.ready()
        count += taken
        for device in devices:
            device.serve()
        for number in range(count - taken, count):
            floor.manager.ask(floor.devices[number % _DEVICES], "read")
    return clock.figures


def notifications(floor: Floor, seconds: float) -> Figures:
    """
    Each device notifies, and notifies again when all of a round have arrived.
    """
    for device in floor.devices:
        floor.manager.ask(device, "observe")
    floor.until(_DEVICES, Device.serve)
    clock = Clock(floor.running, seconds)
    count = 0
    while clock.goesOn(count):
        for device in floor.devices:
            device.sendNotification()
        floor.until(_DEVICES, Device.hear)
        count += _DEVICES
    return clock.figures


def memory(running: Running, count: int) -> Figures:
    """
    Bytes for a device with five objects.
    """
    devices = [Device(running, f"first{number}") for number in range(10)]
    try:
        for device in devices:
            device.register()
        before = residentBytes(running.pid)
        for number in range(count):
            devices.append(Device(running, f"idle{number}"))
            devices[-1].register()
        return Figures((residentBytes(running.pid) - before) / count)
    finally:
        for device in devices:
            device.socket.close()


def _onFloor(measure: Callable[[Floor, float], Figures]) -> Callable[[Running, float], Figures]:
    def measured(running: Running, seconds: float) -> Figures:
        floor = Floor(running)
        try:
            return measure(floor, seconds)
        finally:
            floor.close()

    return measured


CONTEST: Final = Contest(
    "LwM2M, 50 devices (broker CPU us)",
    ours(Running),
    (
        Row(
            "register",
            "registrations/s, each told",
            _onFloor(lambda floor, seconds: requests(floor, Device.sendRegister, CREATED, seconds)),
        ),
        Row(
            "update",
            "updates/s",
            _onFloor(lambda floor, seconds: requests(floor, Device.sendUpdate, CHANGED, seconds)),
        ),
        Row("read", "reads/s, from command to answer", _onFloor(commands)),
        Row("notify", "notifications/s", _onFloor(notifications)),
        Row("memory", "memory of a device, of 10,000: bytes", lambda running, _: memory(running, 10_000)),
    ),
)
