"""
Makes events of what one traced client sends and is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.core.codec import Decoder
from twisted_mqtt.core.packets import AUTH, CONNACK, CONNECT, DISCONNECT, Ack, Connack, Connect, Publish, Suback
from twisted_mqtt.core.reasons import nameOf
from twisted_mqtt.interfaces import ITap
from twisted_mqtt.monitoring.trace.packettext import name, packetText

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.packets import Packet
    from twisted_mqtt.interfaces import IClient
    from twisted_mqtt.monitoring.trace.traces import Trace

_log = Logger()

_INFO = frozenset((CONNECT, CONNACK, DISCONNECT, AUTH))
# The lowest version in which a refusal of CONNECT is understood.
_OLD = 4


class Owner(Protocol):
    """
    Keeps the taps.
    """

    def tell(self, traces: tuple[Trace, ...], level: str, text: Callable[[int], str], isHook: bool = False) -> None:
        """
        Write an event.

        @param text: makes it, of the number of bytes of a payload that are shown.
        """

    def named(self, tap: ClientTap, clientID: str) -> None:
        """
        A client says who it is.
        """

    def left(self, tap: ClientTap) -> None:
        """
        A client is gone.
        """


@implementer(ITap)
class ClientTap:
    """
    The tap of one connection.

    @ivar client: whose it is.
    @ivar traces: who wants to know.
    @ivar clientIDs: by which it was known so far.
    """

    def __init__(self, owner: Owner, client: IClient, traces: tuple[Trace, ...]) -> None:
        self.client = client
        self.traces = traces
        self.clientIDs: set[str] = set()
        self._owner = owner
        self._in = Decoder()
        self._out = Decoder()
        self._aliasesIn: dict[int, str] = {}
        self._aliasesOut: dict[int, str] = {}
        self._version = 0
        self._broken = False

    def begin(self, version: int, partial: bytes) -> None:
        """
        See L{ITap}.
        """
        self._in = Decoder(version=version)
        self._out = Decoder(version=version)
        self._version = version or self._version
        if partial:
            self._in.feed(partial)

    def received(self, data: bytes) -> None:
        """
        See L{ITap}.
        """
        self._decode(self._in, data, "RECV", self._aliasesIn)

    def sent(self, data: bytes) -> None:
        """
        See L{ITap}.
        """
        out = self._out
        if not out.version:
            out.version = self._in.version or self._in.spoken or _OLD
        self._decode(out, data, "SEND", self._aliasesOut)

    def _decode(self, decoder: Decoder, data: bytes, direction: str, aliases: dict[int, str]) -> None:
        if self._broken:
            return
        before = decoder.error
        try:
            for packet in decoder.feed(data):
                self._show(direction, packet, aliases)
            error = decoder.error
            if error is not None and before is None:
                text = f"{nameOf(error.reason)}: {name(error.text)}, in {data[:64].hex()}"
                self._tell("error", lambda most: f"{direction}: {self.who} malformed: {text}")
        except Exception:
            # A trace must not harm the client; once is enough to know.
            self._broken = True
            _log.failure("A packet of {client} can't be traced", client=self.client)

    def gotPacket(self, packet: Packet) -> None:
        """
        See L{ITap}.
        """
        self._show("RECV", packet, self._aliasesIn)

    def sentPacket(self, packet: Packet) -> None:
        """
        See L{ITap}.
        """
        self._show("SEND", packet, self._aliasesOut)

    def _show(self, direction: str, packet: Packet, aliases: dict[int, str]) -> None:
        if isinstance(packet, Connect):
            self._version = packet.version
            self._owner.named(self, packet.clientID)
        shown = _resolved(packet, aliases) if isinstance(packet, Publish) else packet
        version = 5 if self.client.protocol != "mqtt" else self._version
        self._tell(_levelOf(packet), lambda most: f"{direction}: {self.who} {packetText(shown, version, most)}")

    @property
    def who(self) -> str:
        """
        The client, as an event names it.
        """
        mountpoint = self.client.mountpoint
        clientID = self.client.clientID or next(iter(self.clientIDs), "")
        return f'MP: "{name(mountpoint)}" CID: "{name(clientID)}"' if mountpoint else f'CID: "{name(clientID)}"'

    @property
    def peer(self) -> str:
        """
        Its address.
        """
        return peerOf(self.client)

    def note(self, level: str, text: str) -> None:
        """
        Say something about it.
        """
        self._owner.tell(self.traces, level, lambda most: f"{self.peer} {text}")

    def ended(self, reason: int | str) -> None:
        """
        See L{ITap}.
        """
        said = nameOf(reason) if isinstance(reason, int) else reason
        self.note("info", f"{self.who} is gone: {said}")
        self._owner.left(self)

    def _tell(self, level: str, text: Callable[[int], str]) -> None:
        protocol = self.client.protocol.upper()
        self._owner.tell(self.traces, level, lambda most: f"{self.peer} {protocol} {text(most)}")


def peerOf(client: IClient) -> str:
    """
    The address of a client, as an event begins with it.
    """
    return f"<{client.peerHost or 'local'}:{client.peerPort}>"


def _resolved(packet: Publish, aliases: dict[int, str]) -> Publish:
    """
    The packet with its topic in the place of an alias, where the one that has set that was seen.
    """
    properties = packet.properties
    alias = None if properties is None else properties.topicAlias
    if alias is None:
        return packet
    if packet.topic:
        aliases[alias] = packet.topic
        return packet
    topic = aliases.get(alias, f"(alias {alias})")
    return Publish(topic, packet.payload, packet.qos, packet.retain, packet.dup, packet.packetID, properties)


def _levelOf(packet: Packet) -> str:
    if isinstance(packet, Connack | Ack) and packet.reason >= (0x80 if isinstance(packet, Ack) else 1):
        return "warning"
    if isinstance(packet, Suback) and any(reason >= 0x80 for reason in packet.reasons):
        return "warning"
    return "info" if packet.type in _INFO else "debug"
