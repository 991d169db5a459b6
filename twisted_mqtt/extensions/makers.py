"""
Makers: the description of an extension in a Twisted plugin. A maker imports the extension only when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_mqtt.base.about import releaseOf
from twisted_mqtt.interfaces import IExtensionMaker

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtension
    from twisted_mqtt.operations.operation import Operation


@implementer(IExtensionMaker, IPlugin)
class ExtensionMaker:
    """
    One of these in a module of C{twisted.plugins} makes an extension known::

        greeter = ExtensionMaker(
            "greeter", "greeter.extension:Greeter", "Greets clients",
            table="greeter", settings="greeter.extension:GreeterSettings",
        )

    @ivar name: what the extension is called, without a prefix.
    @ivar description: what it does, in a few words.
    @ivar table: where its keys stand in the configuration, with dots; C{""} if it has none.
    @ivar aliases: other names for it.
    @ivar short: the key for which a single value stands in place of the table.
    @ivar distribution: the distribution that it comes in; its version is the extension's.
    @ivar requires: the extensions that must run while this one does.
    @ivar necessary: whether the broker must not run without it: where one of those does not start, the broker does not.
    @ivar always: whether it starts with every broker, before all others.
    @ivar gateway: whether it lets clients in: then it starts after those that do not, and stops before them.
    """

    def __init__(
        self,
        name: str,
        target: str,
        description: str,
        *,
        table: str = "",
        settings: str = "",
        aliases: tuple[str, ...] = (),
        short: str | None = None,
        distribution: str = "",
        requires: tuple[str, ...] = (),
        necessary: bool = False,
        always: bool = False,
        gateway: bool = False,
        operations: str = "",
    ) -> None:
        """
        @param target: the class of the extension, C{"package.module:Class"}. It is called with the extension's
            settings, or with nothing if it has no table.
        @param settings: the structure of its table, C{"package.module:Struct"}, which is imported only where the
            configuration names the extension or its table.
        @param distribution: without one, that of the package in C{target}.
        @param operations: what lists the operations that the extension registers, C{"package.module:function"}: help
            and the reference of management know them without a broker.

        @raise ValueError: there is a table without settings, or settings without a table.
        """
        if bool(table) != bool(settings):
            raise ValueError(f"{name}: a table and the structure of its settings go together")
        self.name = name
        self.description = description
        self.table = table
        self.aliases = aliases
        self.short = short
        self.distribution = distribution or target.partition(":")[0].partition(".")[0]
        self.requires = requires
        self.necessary = necessary
        self.always = always
        self.gateway = gateway
        self._operations = operations
        self._target = target
        self._settings = settings

    @property
    def version(self) -> str:
        """
        The version, as in C{1.0}.
        """
        return releaseOf(self.distribution)

    def loadSettings(self) -> type[Struct] | None:
        """
        See L{IDeclaration<twisted_mqtt.config.registry.IDeclaration>}.
        """
        if not self._settings:
            return None
        structure: type[Struct] = _named(self._settings)
        return structure

    def declareOperations(self) -> tuple[Operation, ...]:
        """
        The operations that the extension registers, to be described and not called.
        """
        return _named(self._operations)() if self._operations else ()

    def makeExtension(self, settings: Struct | None) -> IExtension:
        """
        Make the extension.

        @param settings: the extension's table of the configuration; C{None} if it has none.
        """
        kind = _named(self._target)
        extension: IExtension = kind() if settings is None else kind(settings)
        return extension


def _named(target: str) -> Any:
    """
    Import the object that C{"package.module:name"} names. Only the caller knows its type.
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
