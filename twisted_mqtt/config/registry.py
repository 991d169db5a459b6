"""
The installed extensions and the table of each: an extension owns its keys, and the reader checks them.

A Twisted plugin tells the reader about an extension, without importing the extension. The reader finds all plugins
before it reads the file, so the keys of an extension from another package are checked like the broker's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from msgspec import Struct
from twisted.plugin import getPlugins
from zope.interface import Attribute, Interface

from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.problems import nearest

#: EMQ X and EMQ put these before the names of their plugins; they may stand before ours too.
PREFIXES: Final = ("emqx_mod_", "emqx_", "emq_mod_", "emq_")

#: Where the tables of well-known extensions stand, so that a table of one that is missing can be named.
WELL_KNOWN_TABLES: Final = {
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


class IDeclaration(Interface):
    """
    The data about an extension that the reader of a configuration needs.
    """

    name: str = Attribute("Its name in C{plugins.load}.")
    table: str = Attribute("Where its keys stand, with dots; '' if it has none.")
    aliases: tuple[str, ...] = Attribute("Other names for it, without the C{emqx_} that every name may have.")
    short: str | None = Attribute(
        "The key for which a single value stands in place of the table. One that is called C{enable} says whether the"
        " extension starts although C{plugins.load} does not name it."
    )
    distribution: str = Attribute("The distribution that it comes in.")

    def loadSettings() -> type[Struct] | None:
        """
        Import the structure of its table; None if it has no table.
        """


class DeclarationError(Exception):
    """
    The declaration of an extension can't be used; the text says why.
    """


D = TypeVar("D", bound=IDeclaration)


class Registry(Generic[D]):
    """
    The extensions that are installed, by name.
    """

    def __init__(self, declarations: Iterable[D] = ()) -> None:
        """
        @raise DeclarationError: two extensions have the same name, or the same table.
        """
        self._declarations: dict[str, D] = {}
        self._names: dict[str, str] = {}
        for declaration in declarations:
            self.declare(declaration)

    def declare(self, declaration: D) -> None:
        """
        Add an extension.

        @raise DeclarationError: there is one with the same name, or the same table.
        """
        names = (declaration.name, *declaration.aliases)
        for name in names:
            if other := self._names.get(name):
                raise DeclarationError(_twice("name", name, declaration, self._declarations[other]))
        for known in self._declarations.values():
            if declaration.table and known.table == declaration.table:
                raise DeclarationError(_twice("table", declaration.table, declaration, known))
        self._declarations[declaration.name] = declaration
        for name in names:
            self._names[name] = declaration.name

    def find(self, name: str) -> D | None:
        """
        The extension with this name, or one of its other names.
        """
        for prefix in ("", *PREFIXES):
            if name.startswith(prefix) and (canonical := self._names.get(name[len(prefix) :])):
                return self._declarations[canonical]
        return None

    def plainName(self, name: str) -> str:
        """
        The name that an extension has here, for one of its other names; a name that none has stays.
        """
        found = self.find(name)
        return name if found is None else found.name

    def __iter__(self) -> Iterator[D]:
        # The longest table first, so that [mqtt.sn] is taken out of [mqtt] before [mqtt] is read.
        return iter(sorted(self._declarations.values(), key=lambda declaration: -declaration.table.count(".")))

    def names(self) -> list[str]:
        """
        The names of the extensions, sorted.
        """
        return sorted(self._declarations)

    def advice(self, name: str) -> str:
        """
        The advice for a name that no extension has.
        """
        close = nearest(name, self.names())
        hint = f'the nearest is "{close}"' if close else f"there are {', '.join(self.names())}"
        return f'no extension "{name}" is installed; {hint}'


def installed() -> Registry[IDeclaration]:
    """
    Find what is installed, afresh each time.

    @raise DeclarationError: two extensions have the same name, or the same table.
    """
    return Registry(getPlugins(IDeclaration))


def structureOf(declaration: IDeclaration) -> type[Struct] | None:
    """
    The structure of an extension's table, with keys that can be read; None if it has no table.

    @raise DeclarationError: it cannot be imported, or is no structure whose fields say how they are written.
    """
    try:
        structure = declaration.loadSettings()
        if structure is not None:
            keysOf(structure)
    except Exception as error:
        text = f"the settings of the extension {declaration.name} cannot be used: {type(error).__name__}: {error}"
        raise DeclarationError(text) from error
    return structure


def _twice(what: str, name: str, one: IDeclaration, other: IDeclaration) -> str:
    places = f"{one.name} ({one.distribution}) and {other.name} ({other.distribution})"
    return f'two extensions have the {what} "{name}": {places}; uninstall one of them'
