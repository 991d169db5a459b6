"""
All settings of a broker, as one frozen structure whose attributes are named like the keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Struct

from twisted_mqtt.config.keys import NEXT_CONNECTION, NOW, Duration, File, Flag, Flapping, NoEffect, Whole
from twisted_mqtt.config.origin import Origin
from twisted_mqtt.config.registry import DeclarationError, structureOf
from twisted_mqtt.config.schema_cluster import RPC, Cluster
from twisted_mqtt.config.schema_listeners import AnyListener, ListenerTables
from twisted_mqtt.config.schema_mqtt import MQTT, Zone
from twisted_mqtt.config.schema_node import (
    ONE_NODE,
    BrokerSettings,
    Log,
    Node,
    OSMonitor,
    Persistence,
    Plugins,
    SystemMonitor,
    VMMonitor,
)
from twisted_mqtt.config.values import FlappingPolicy

S = TypeVar("S", bound=Struct)


class Settings(Struct, frozen=True, kw_only=True):
    """
    The settings of a broker.

    @ivar extensions: the tables of extensions by extension name.
    @ivar startingExtensions: the names of the extensions that start with the broker, in order, in their short form.
    @ivar origin: what they were read from.
    @ivar warnings: what whoever reads the settings should tell the person who wrote them.
    """

    extensions: dict[str, Any] = {}
    startingExtensions: tuple[str, ...] = ()
    warnings: list[str] = []
    origin: Origin = Origin(name="the defaults")

    allow_anonymous: Annotated[
        Flag | None,
        NEXT_CONNECTION,
        "Whether clients without credentials are let in. If nothing is said, they are on listeners bound to a loopback "
        "address and nowhere else; a zone may say otherwise",
    ] = None
    acl_nomatch: Annotated[
        Literal["allow", "deny"], NOW, "Whether a message or subscription is allowed that no access rule names"
    ] = "allow"
    acl_file: Annotated[File | None, NOW, "File of the access rules; `none` for the built-in rules"] = None
    enable_acl_cache: Annotated[Flag, NOW, "Whether each client's last access decisions are remembered"] = True
    acl_cache_max_size: Annotated[Whole, NOW, "How many decisions are remembered for a client"] = 32
    acl_cache_ttl: Annotated[Duration, NOW, "How long a decision is remembered"] = 60.0
    flapping_detect_policy: Annotated[
        Flapping,
        NOW,
        "Connections, time, ban: a client that connects more often within the time is banned for the last one, in "
        "zones with `enable_flapping_detect`",
    ] = FlappingPolicy(30, 60.0, 300.0)
    mqtt: Annotated[MQTT, NEXT_CONNECTION, "The protocol, in every zone that does not say otherwise"] = MQTT()
    zone: Annotated[
        dict[str, Zone], NEXT_CONNECTION, "Session and protocol options of the listeners that name the zone"
    ] = {}
    listener: Annotated[ListenerTables, NEXT_CONNECTION, "Where clients connect"] = ListenerTables()
    broker: Annotated[BrokerSettings, "The broker"] = BrokerSettings()
    persistence: Annotated[Persistence, "The store, which survives a restart"] = Persistence()
    node: Annotated[Node, "The process"] = Node()
    log: Annotated[Log, NOW, "Log messages"] = Log()
    plugins: Annotated[Plugins, NOW, "Extensions and gateways"] = Plugins()
    sysmon: Annotated[SystemMonitor, "Reports about the process"] = SystemMonitor()
    os_mon: Annotated[OSMonitor, "Alarms about the machine"] = OSMonitor()
    vm_mon: Annotated[VMMonitor, "Alarms about connections"] = VMMonitor()
    cluster: Annotated[Cluster, NoEffect(ONE_NODE), "How nodes find each other"] = Cluster()
    rpc: Annotated[RPC, NoEffect(ONE_NODE), "How nodes forward messages"] = RPC()

    def resolveZone(self, name: str) -> Zone:
        """
        The options of a zone: what the zone says, else what holds for all, else the default.

        @raise KeyError: there is no such zone.
        """
        try:
            return self.zone[name]
        except KeyError:
            raise KeyError(f"there is no zone {name!r}; there are {', '.join(sorted(self.zone))}") from None

    def zoneOf(self, listener: AnyListener) -> Zone:
        """
        The options of a listener's zone.
        """
        return self.resolveZone(listener.zone)

    def allowsAnonymous(self, listener: AnyListener) -> bool:
        """
        Whether clients without credentials come in at a listener.
        """
        return self.zoneOf(listener).allowsAnonymous(listener.bind.isLoopback)

    def extensionTables(self) -> Iterator[tuple[str, Struct]]:
        """
        The tables of the extensions that are installed, running or not, by where they stand. One that has to be given
        and is not, or cannot be imported, is left out.
        """
        for declaration in self.origin.found or ():
            table = self.extensions.get(declaration.name)
            if table is None:
                try:
                    structure = structureOf(declaration)
                    table = None if structure is None else structure()
                except (DeclarationError, TypeError):
                    continue
            if table is not None:
                yield declaration.table, table

    def extension(self, name: str, structure: type[S]) -> S:
        """
        The table of an extension, with its defaults if the file has none.

        @param name: the extension's name, in its short form.
        @param structure: what it is known to be; another structure raises L{TypeError}.
        """
        table = self.extensions.get(name)
        if table is None:
            return structure()
        if not isinstance(table, structure):
            raise TypeError(f"the table of {name} is a {type(table).__name__}, not a {structure.__name__}")
        return table
