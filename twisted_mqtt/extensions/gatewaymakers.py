"""
The gateways that are installed: makers that Twisted's plugins find, as extensions are found.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from twisted.plugin import IPlugin, getPlugins
from zope.interface import implementer

from twisted_mqtt.interfaces import IGatewayMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.application.service import IService

    from twisted_mqtt.interfaces import IBroker


@implementer(IGatewayMaker, IPlugin)
class GatewayMaker:
    """
    A maker that imports the gateway when it is first wanted, and not before.

    @ivar name: What the gateway is called.
    """

    short = None
    distribution = "twisted-mqtt"

    def __init__(self, name: str, target: str, table: str, settings: str, aliases: tuple[str, ...] = ()) -> None:
        """
        @param target: A function, C{"package.module:function"}, that is called as L{IGatewayMaker.makeService} is.
        """
        self.name = name
        self.table = table
        self.aliases = aliases
        self._settings = settings
        self._module, _, self._function = target.partition(":")

    def loadSettings(self) -> type[Struct]:
        """
        See L{IGatewayMaker}.
        """
        module, _, name = self._settings.partition(":")
        structure: type[Struct] = getattr(import_module(module), name)
        return structure

    def makeService(self, broker: IBroker, settings: object, reactor: object) -> IService:
        """
        See L{IGatewayMaker}.
        """
        make: Callable[..., IService] = getattr(import_module(self._module), self._function)
        return make(broker, settings, reactor)


def gatewayMakers(
    makers: Callable[[], Iterable[Any]] = lambda: getPlugins(IGatewayMaker),
) -> dict[str, Any]:
    """
    The makers of all gateways that are installed, by name.
    """
    return {maker.name: maker for maker in makers()}
