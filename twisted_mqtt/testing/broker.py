"""
A test kit: a broker without a network, for the tests of extensions and of the broker itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.mqtt.implements import MQTTFactory, MQTTProtocol
from twisted_mqtt.stores.memory import MemoryStore

if TYPE_CHECKING:
    from twisted.internet.task import Clock


def makeBroker(clock: Clock, **zoneKeys: Any) -> tuple[Broker, MQTTFactory]:
    """
    A running broker and a factory of its clients' protocols. Output leaves with C{clock.advance(0)}.

    @param zoneKeys: keys of the zone that the clients are in.
    """
    settings = settingsFrom({"zone": {"external": zoneKeys}})
    broker = Broker(settings, clock, MemoryStore(), chance=lambda: 0.0)
    broker.startService()
    profile = ListenerProfile("tcp.external", settings.resolveZone("external"))
    return broker, MQTTFactory(broker, profile)


def connectTransport(factory: MQTTFactory) -> tuple[MQTTProtocol, StringTransport]:
    """
    A protocol of the factory and the transport that it writes to.
    """
    address = IPv4Address("TCP", "127.0.0.1", 54321)
    protocol = factory.buildProtocol(address)
    if protocol is None:
        raise RuntimeError("the broker is stopping")
    transport = StringTransport(hostAddress=IPv4Address("TCP", "127.0.0.1", 1883), peerAddress=address)
    protocol.makeConnection(transport)
    return protocol, transport
