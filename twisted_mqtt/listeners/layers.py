"""
The layers between a port and its protocol, for every kind of protocol.

Each layer is a protocol factory that wraps the next one; a port's table says which layers it has. Each layer has its
own module, which knows nothing of the other layers; L{LAYERS} sets their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from twisted_mqtt.net.addressrules import EVERYBODY, AccessFactory
from twisted_mqtt.net.proxyprotocol import ProxyFactory
from twisted_mqtt.net.tls.layer import TLSFactory

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_ports import PortSettings
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.tls.options import TLSOptions

_log = Logger()


@dataclass(frozen=True)
class PortSite:
    """
    The data that a layer gets about its port.

    @ivar settings: the port's table.
    @ivar path: the name of that table, such as C{"listener.tcp.external"}.
    @ivar tls: L{None} for a port without TLS.
    """

    settings: PortSettings
    path: str
    tls: TLSOptions | None
    broker: IBroker


Layer = Callable[[IProtocolFactory, PortSite], IProtocolFactory]


def proxied(factory: IProtocolFactory, site: PortSite) -> IProtocolFactory:
    """
    The layer of PROXY headers.
    """
    settings, broker = site.settings, site.broker
    if not settings.proxy_protocol:
        return factory
    return ProxyFactory(factory, site.path, settings.proxy_protocol_timeout, broker.wheel, broker.clock.seconds)


def admitted(factory: IProtocolFactory, site: PortSite) -> IProtocolFactory:
    """
    The layer of access rules, which go by the address that a PROXY header tells.
    """
    settings, broker = site.settings, site.broker
    if settings.access == EVERYBODY:
        return factory
    return AccessFactory(factory, site.path, settings.access, broker.counters, broker.clock.seconds)


def secured(factory: IProtocolFactory, site: PortSite) -> IProtocolFactory:
    """
    The layer of TLS.
    """
    options, broker = site.tls, site.broker
    if options is None:
        return factory
    if options.pskCiphers and not broker.preSharedKeys:
        _log.warn(
            "{path}.psk_ciphers: there is no source of keys; load psk_file, or no client can connect", path=site.path
        )
    return TLSFactory(factory, options, broker.preSharedKeys, broker.wheel, broker.clock.seconds)


LAYERS: tuple[Layer, ...] = (proxied, admitted, secured)
"""
From the socket inwards. Each is called with the factory further in, and returns one around it, or that factory itself
where the port's table does not ask for the layer. It raises where it can't do what the table asks for.
"""


def layered(factory: IProtocolFactory, site: PortSite) -> list[IProtocolFactory]:
    """
    Put the layers of a port around a factory.

    @return: all its factories, from the socket inwards.
    """
    factories = [factory]
    for layer in reversed(LAYERS):
        outer = layer(factories[0], site)
        if outer is not factories[0]:
            factories.insert(0, outer)
    return factories
