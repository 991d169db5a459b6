"""
The counters of a broker, wherever they are counted; and their metrics by listener, by version of MQTT and by reason
code (spec/vernemq.md 18.1, 26.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.counters import ATTRIBUTES, SENT, Counters, Traffic
from twisted_mqtt.core.packets import AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL
from twisted_mqtt.core.reasons import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_mqtt.base.metrics import Metrics

#: A series of a metric: the values of its labels, and its value.
Series = tuple[tuple[str, ...], float]

#: What is shown of each listener, and what it is.
OF_LISTENERS: Final = {
    "bytes.received": "Bytes received",
    "bytes.sent": "Bytes sent",
    "connections.opened": "Connections made",
    "connections.closed": "Connections closed",
    "connections.connect_timeout": "Connections closed because no CONNECT came",
    "connections.error": "Connections that have broken",
    "messages.received": "Messages received",
    "messages.sent": "Messages sent",
    "packets.received": "Packets received",
    "packets.sent": "Packets sent",
    "packets.too_large": "Packets refused because they were too large",
    "packets.publish.dropped": "PUBLISH packets dropped",
    "packets.publish.error": "PUBLISH packets that failed",
    "client.keepalive_timeout": "Clients that were silent for too long",
}

#: The packets that are shown by version, as they are called in C{packets.<name>.<direction>}.
_RECEIVED: Final = (
    "connect",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "unsubscribe",
    "pingreq",
    "disconnect",
    "auth",
)
_SENT: Final = (
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "suback",
    "unsuback",
    "pingresp",
    "disconnect",
    "auth",
)
#: Those that have a reason code in MQTT 5, and their types.
_REASONED: Final = {
    "connack": CONNACK,
    "puback": PUBACK,
    "pubrec": PUBREC,
    "pubrel": PUBREL,
    "pubcomp": PUBCOMP,
    "disconnect": DISCONNECT,
    "auth": AUTH,
}
#: Those that MQTT 3 does not have.
_ONLY_5: Final = {"packets.auth.received", "packets.auth.sent", "packets.disconnect.sent"}

#: The return codes of CONNACK in MQTT 3.
_RETURN_CODES: Final = (
    "success",
    "unsupported_protocol_version",
    "client_identifier_not_valid",
    "server_unavailable",
    "bad_username_or_password",
    "not_authorized",
)
#: VerneMQ's names of reason codes, where they differ from ours.
_REASONS: Final = {
    **NAMES,
    0x04: "disconnect_with_will_msg",
    0x19: "reauthenticate",
    0x83: "impl_specific_error",
    0x8D: "keep_alive_timeout",
    0x91: "packet_id_in_use",
    0x92: "packet_id_not_found",
    0x93: "receive_max_exceeded",
    0x9E: "shared_subs_not_supported",
    0xA0: "max_connect_time",
    0xA1: "subscription_ids_not_supported",
    0xA2: "wildcard_subs_not_supported",
}
#: The versions of MQTT as people call them; 0 is before CONNECT, and what does not speak MQTT.
_VERSIONS: Final = {0: "", 3: "3.1", 4: "3.1.1", 5: "5.0"}


class AllTraffic:
    """
    All counters of a broker.

    @ivar own: of what belongs to no connection.
    """

    def __init__(self) -> None:
        self.own = Counters()
        self._parts: dict[tuple[str, str], Traffic] = {}
        self._all = [self.own]

    def of(self, listener: str, zone: str) -> Traffic:
        """
        The counters of the connections of a listener, whose clients are in a zone.
        """
        found = self._parts.get((listener, zone))
        if found is None:
            found = self._parts[listener, zone] = Traffic(listener, zone)
            self._all.extend(dict.fromkeys(found.byVersion))
        return found

    def total(self, attribute: str) -> int:
        """
        The sum of one counter.
        """
        return sum(getattr(each, attribute) for each in self._all)

    def read(self) -> dict[str, int]:
        """
        The sums of all counters, by name.
        """
        return {name: self.total(attribute) for name, attribute in ATTRIBUTES.items()}

    def byListener(self, attribute: str) -> Iterator[Series]:
        """
        One counter by listener, zone, and version; of those that have had a connection.
        """
        for traffic in self._parts.values():
            for version, name in _VERSIONS.items():
                counters = traffic.byVersion[version]
                if counters.bytes_received or counters.connections_opened:
                    yield (traffic.listener, traffic.zone, name), getattr(counters, attribute)

    def byVersion(self, attribute: str, version5: bool) -> int:
        """
        One counter of MQTT 5, or of 3.1 and 3.1.1 together, as VerneMQ counts.
        """
        return sum(getattr(counters, attribute) for counters in self._speaking(version5))

    def byReason(self, kind: int, version5: bool) -> dict[int, int]:
        """
        How many packets had each reason code other than 0.

        @param kind: see L{Counters.countReason}.
        """
        found: dict[int, int] = {}
        for counters in self._speaking(version5):
            for key, count in counters.reasons.items():
                if key >> 8 == kind:
                    found[key & 0xFF] = found.get(key & 0xFF, 0) + count
        return found

    def _speaking(self, version5: bool) -> Iterator[Counters]:
        for traffic in self._parts.values():
            yield from traffic.byVersion[5:] if version5 else traffic.byVersion[3:5]


def registerTraffic(metrics: Metrics, traffic: AllTraffic) -> None:
    """
    Register what is known by listener, by version and by reason code.
    """

    def listeners(name: str) -> None:
        attribute = name.replace(".", "_")
        metrics.counter(
            f"listener.{name}",
            f"{OF_LISTENERS[name]}, by listener, zone and version of MQTT",
            ("listener", "zone", "version"),
            series=lambda: traffic.byListener(attribute),
        )

    def packets(packet: str, direction: str) -> None:
        reasoned = packet in _REASONED
        labels = ("mqtt_version", "reason_code") if reasoned else ("mqtt_version",)
        if packet == "connack":
            labels = (*labels, "return_code")
        metrics.counter(
            f"mqtt.{packet}.{direction}",
            f"{packet.upper()} packets {direction}, by version of MQTT" + (" and reason code" if reasoned else ""),
            labels,
            series=lambda: packetSeries(traffic, packet, direction),
        )

    for name in OF_LISTENERS:
        listeners(name)
    for packet in _RECEIVED:
        packets(packet, "received")
    for packet in _SENT:
        packets(packet, "sent")


def packetSeries(traffic: AllTraffic, packet: str, direction: str) -> Iterator[Series]:
    """
    The counts of one kind of packet, as VerneMQ has them: version 4 stands for 3.1 too.
    """
    name = f"packets.{packet}.{direction}"
    attribute = name.replace(".", "_")
    kind = _REASONED.get(packet)
    if name not in _ONLY_5:
        count = traffic.byVersion(attribute, False)
        if packet == "connack":
            codes = traffic.byReason(CONNACK + SENT, False)
            codes[0] = count - sum(codes.values())
            for code, text in enumerate(_RETURN_CODES):
                yield ("4", "", text), codes.get(code, 0)
        else:
            yield ("4",) if kind is None else ("4", ""), count
    count = traffic.byVersion(attribute, True)
    if kind is None:
        yield ("5",), count
        return
    reasons = traffic.byReason(kind + SENT if direction == "sent" else kind, True)
    reasons[0] = count - sum(reasons.values())
    more = ("",) if packet == "connack" else ()
    for reason in sorted(reasons):
        text = (
            "normal_disconnect" if packet == "disconnect" and reason == 0 else _REASONS.get(reason, f"0x{reason:02x}")
        )
        yield ("5", text, *more), reasons[reason]
