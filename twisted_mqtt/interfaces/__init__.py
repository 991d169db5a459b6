"""
The interfaces of the broker: what its parts, extensions and gateways know of each other.

The classes of the core are compiled, and a compiled class cannot be decorated: which interface one provides is said
where the interface is.
"""

from twisted_mqtt.interfaces.broker import IBroker, IDirectory, IWatch
from twisted_mqtt.interfaces.clients import IClient, IClientShell, ISession, ISubscriber
from twisted_mqtt.interfaces.extensions import (
    IExtension,
    IExtensionContext,
    IExtensionMaker,
    IHeld,
    IKeySources,
    IPreflight,
)
from twisted_mqtt.interfaces.log import ILog, LogDestination
from twisted_mqtt.interfaces.node import IHTTPServices, IListening, IMount, INode, IRuntimeSettings
from twisted_mqtt.interfaces.stores import IProgress, IStore, IStoreOwner, ITable
from twisted_mqtt.interfaces.tracing import ITap, ITracer

__all__ = [
    "IBroker",
    "IClient",
    "IClientShell",
    "IDirectory",
    "IExtension",
    "IExtensionContext",
    "IExtensionMaker",
    "IHTTPServices",
    "IHeld",
    "IKeySources",
    "IListening",
    "ILog",
    "IMount",
    "INode",
    "IPreflight",
    "IProgress",
    "IRuntimeSettings",
    "ISession",
    "IStore",
    "IStoreOwner",
    "ISubscriber",
    "ITable",
    "ITap",
    "ITracer",
    "IWatch",
    "LogDestination",
]
