"""
What stands between a port and the MQTT protocol.

Each layer that a listener's table asks for is a protocol factory that wraps the next one, in a module of its own which
knows nothing of the others; L{LAYERS} puts them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from twisted_mqtt.config.schema_listeners import (
    SecureWebSocketListener,
    TLSListener,
    WebSocketListener,
)
from twisted_mqtt.config.values import AccessRule
from twisted_mqtt.net.addressrules import AccessFactory
from twisted_mqtt.net.proxyprotocol import ProxyFactory
from twisted_mqtt.net.tls.layer import TLSFactory
from twisted_mqtt.net.tls.options import optionsOf
from twisted_mqtt.net.websocket.factory import WebSocketFactory

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.config.schema_listeners import AnyListener

_log = Logger()


@dataclass(frozen=True)
class Site:
    """
    What a layer may want to know of where it stands.
    """

    listener: AnyListener
    profile: ListenerProfile
    broker: Broker
    reactor: Any


Layer = Callable[[Any, Site], Any]


def proxied(factory: Any, site: Site) -> Any:
    """
    The layer of PROXY headers.
    """
    listener, broker = site.listener, site.broker
    if not listener.proxy_protocol:
        return factory
    return ProxyFactory(factory, listener.path, listener.proxy_protocol_timeout, broker.wheel, broker.clock.seconds)


def admitted(factory: Any, site: Site) -> Any:
    """
    The layer of access rules, which go by the address that a PROXY header tells.
    """
    listener, broker = site.listener, site.broker
    if listener.access == (AccessRule(True),):
        return factory
    return AccessFactory(factory, listener.path, listener.access, broker.counters, broker.clock.seconds)


def secured(factory: Any, site: Site) -> Any:
    """
    The layer of TLS.
    """
    listener, broker = site.listener, site.broker
    if not isinstance(listener, TLSListener | SecureWebSocketListener):
        return factory
    protocol = b"mqtt" if isinstance(listener, TLSListener) else b"http/1.1"
    if listener.psk_ciphers and not broker.preSharedKeys:
        _log.warn("{path}.psk_ciphers: nobody has keys; load psk_file, or no client comes in", path=listener.path)
    options = optionsOf(listener, listener.path, (protocol,))
    return TLSFactory(factory, options, broker.preSharedKeys, broker.wheel, broker.clock.seconds)


def framed(factory: Any, site: Site) -> Any:
    """
    The layer of WebSocket.
    """
    listener, broker = site.listener, site.broker
    if not isinstance(listener, WebSocketListener | SecureWebSocketListener):
        return factory
    running = f"Node {broker.nodeName} is started"
    return WebSocketFactory(
        factory,
        listener,
        broker.wheel,
        broker.clock,
        site.profile.zone.idle_timeout,
        lambda: None if broker.stopping else running,
    )


LAYERS: tuple[Layer, ...] = (proxied, admitted, secured, framed)
"""
From the socket inwards. Each is called with the factory further in, and returns one around it, or that factory itself
where the listener's table does not ask for the layer. It raises where it can't do what the table asks for.
"""


def layered(factory: Any, site: Site) -> list[Any]:
    """
    Put the layers of a listener around a factory.

    @return: all its factories, from the socket inwards; each provides C{IProtocolFactory}.
    """
    factories: list[Any] = [factory]
    for layer in reversed(LAYERS):
        outer = layer(factories[0], site)
        if outer is not factories[0]:
            factories.insert(0, outer)
    return factories
