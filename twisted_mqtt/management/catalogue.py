"""
The operations that every broker with management has.

The command line imports this for its help, so nothing here imports a reactor, HTTP or a driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.plugin import getPlugins

from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.interfaces import IExtensionMaker
from twisted_mqtt.management.builtin import (
    alarms,
    banned,
    clients,
    configfile,
    configuration,
    ending,
    figures,
    hotsettings,
    index,
    listeners,
    log,
    messages,
    nodes,
    permissions,
    plugins,
    ports,
    rates,
    retaining,
    sessions,
    subscriptions,
    topictree,
    verneconfiguration,
    vm,
)
from twisted_mqtt.management.builtin.applications import ApplicationOperations
from twisted_mqtt.management.builtin.looking import eventOperation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_mqtt.operations.operation import Operation

#: The distribution whose extensions every broker can have.
OURS: Final = "twisted-mqtt"

_MODULES: Final = (
    index,
    nodes,
    clients,
    permissions,
    subscriptions,
    sessions,
    retaining,
    messages,
    plugins,
    listeners,
    ports,
    log,
    alarms,
    banned,
    topictree,
    configuration,
    configfile,
    verneconfiguration,
    figures,
    hotsettings,
    ending,
    vm,
    rates,
)


def builtin() -> Iterator[Operation]:
    """
    The operations, without those that are made with what they need: L{ApplicationOperations
    <twisted_mqtt.management.builtin.applications.ApplicationOperations>}.
    """
    for module in _MODULES:
        yield from module.OPERATIONS


def declared() -> Iterator[Operation]:
    """
    All operations, those too that are made with what they need. They are to be described and not called.
    """
    yield from builtin()
    yield from ApplicationOperations.declared()
    for maker in getPlugins(IExtensionMaker):
        if isinstance(maker, ExtensionMaker) and maker.distribution == OURS:
            yield from maker.declareOperations()
    yield eventOperation(None)  # type: ignore[arg-type]  # nobody calls it


def ofOthers() -> Iterator[tuple[str, Operation]]:
    """
    The operations of installed extensions that do not come with the broker, each with the name of its extension. They
    are to be described and not called. An extension that can't be imported has none.
    """
    for maker in getPlugins(IExtensionMaker):
        if isinstance(maker, ExtensionMaker) and maker.distribution != OURS:
            try:
                operations = maker.declareOperations()
            except Exception:
                # It says so when it is loaded; the help has the rest.
                continue
            for operation in operations:
                yield maker.name, operation
