"""
Which extensions there are, and the table of each: an extension owns its keys, the reader checks them.

An extension declares a structure written like those of L{twisted_mqtt.config.schema_extensions}:

    registry.declare(Declaration("greeter", "greeter", Greeter))

The structure may be named by C{"module:Class"}; it is imported only if the configuration mentions the extension.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from msgspec import Struct

_PREFIXES = ("emqx_mod_", "emqx_", "emq_mod_", "emq_")

#: Where the tables of well-known extensions stand, so that a table of one that is missing can be named.
WELL_KNOWN_TABLES = {
    "auth.client": "auth_clientid",
    "auth.http": "auth_http",
    "auth.jwt": "auth_jwt",
    "auth.ldap": "auth_ldap",
    "auth.mongo": "auth_mongo",
    "auth.mysql": "auth_mysql",
    "auth.pgsql": "auth_pgsql",
    "auth.redis": "auth_redis",
    "auth.user": "auth_username",
    "bridge.mqtt": "bridge_mqtt",
    "dashboard": "dashboard",
    "management": "management",
    "prometheus": "prometheus",
    "recon": "recon",
    "reloader": "reloader",
    "web.hook": "web_hook",
}


class Declaration(Struct, frozen=True):
    """
    What the reader must know about an extension.

    @ivar name: Its name in C{plugins.load}.
    @ivar table: Where its keys stand, with dots; C{""} if it has none.
    @ivar structure: Its table, or C{"module:Class"}.
    @ivar aliases: Other names for it, without the C{emqx_} that every name may have.
    @ivar short: The key for which a single value instead of the table stands.
    """

    name: str
    table: str
    structure: type[Struct] | str
    aliases: tuple[str, ...] = ()
    short: str | None = None

    def load(self) -> type[Struct]:
        """
        The structure, imported if need be.
        """
        if not isinstance(self.structure, str):
            return self.structure
        module, _, name = self.structure.partition(":")
        structure: type[Struct] = getattr(importlib.import_module(module), name)
        return structure


class Registry:
    """
    The extensions that are installed.
    """

    def __init__(self, declarations: Iterable[Declaration] = ()) -> None:
        self._declarations: dict[str, Declaration] = {}
        self._names: dict[str, str] = {}
        for declaration in declarations:
            self.declare(declaration)

    def declare(self, declaration: Declaration) -> None:
        """
        Add an extension, in place of one with the same name.
        """
        self._declarations[declaration.name] = declaration
        for name in (declaration.name, *declaration.aliases):
            self._names[name] = declaration.name

    def find(self, name: str) -> Declaration | None:
        """
        The extension with this name, or one of its other names.
        """
        for prefix in ("", *_PREFIXES):
            if name.startswith(prefix) and (canonical := self._names.get(name[len(prefix) :])):
                return self._declarations[canonical]
        return None

    def __iter__(self) -> Iterator[Declaration]:
        # The longest table first, so that [mqtt.sn] is taken out of [mqtt] before [mqtt] is read.
        return iter(sorted(self._declarations.values(), key=lambda declaration: -declaration.table.count(".")))

    def names(self) -> list[str]:
        """
        The extensions by name.
        """
        return sorted(self._declarations)

    def copy(self) -> Registry:
        """
        Another registry with the same extensions, to declare more without changing this one.
        """
        return Registry(self._declarations.values())


_SCHEMA = "twisted_mqtt.config.schema_extensions"

#: The extensions and gateways that come with the broker.
BUILT_IN = Registry(
    [
        Declaration("retainer", "retainer", f"{_SCHEMA}:Retainer"),
        Declaration("delayed_publish", "delayed_publish", f"{_SCHEMA}:DelayedPublish"),
        Declaration("presence", "module.presence", f"{_SCHEMA}:Presence", short="enable"),
        Declaration("subscription", "module.subscription", f"{_SCHEMA}:Subscription", short="enable"),
        Declaration("rewrite", "module.rewrite", f"{_SCHEMA}:Rewrite", short="enable"),
        Declaration("psk_file", "psk", f"{_SCHEMA}:PSK"),
        Declaration("stomp", "stomp", "twisted_mqtt.config.schema_stomp:Stomp"),
        Declaration("mqttsn", "mqtt.sn", "twisted_mqtt.config.schema_mqttsn:MQTTSN", aliases=("sn", "mqtt_sn")),
        Declaration("coap", "coap", f"{_SCHEMA}:CoAP"),
        Declaration("lwm2m", "lwm2m", "twisted_mqtt.config.schema_lwm2m:LwM2M"),
    ]
)
