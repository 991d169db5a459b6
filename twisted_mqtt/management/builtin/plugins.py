"""
Extensions: which there are, loading and unloading (spec/rest-api.md 2.9, cli.md 9).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta, Struct

from twisted_mqtt.extensions.running import ExtensionError
from twisted_mqtt.management.builtin.shared import NodeName, OfNode, checkNode
from twisted_mqtt.operations.dialects import COMMAND, EMQX, Fields
from twisted_mqtt.operations.operation import (
    ALREADY_LOADED,
    ALREADY_UNLOADED,
    UNKNOWN,
    Call,
    NotFound,
    Nothing,
    Operation,
    Refused,
    Route,
    operation,
)

if TYPE_CHECKING:
    from twisted_mqtt.extensions.running import Installed
    from twisted_mqtt.interfaces import INode


class OnePlugin(Struct, kw_only=True):
    """
    An extension.
    """

    plugin: Annotated[str, Meta(description="Name of an extension, with or without emqx_ before it")]
    node: NodeName = ""


class PluginRow(Struct, kw_only=True):
    """
    An extension.
    """

    dialects: ClassVar[Fields] = {EMQX: ("name", "version", "description", "active", "type")}

    name: str
    version: str
    description: str
    active: bool
    type: str
    state: str = ""
    error: str = ""


class NodePlugins(Struct, kw_only=True):
    """
    The extensions of a node.
    """

    node: str
    plugins: list[PluginRow]


def _typeOf(found: Installed) -> str:
    if found.gateway:
        return "protocol"
    kind = found.name.partition("_")[0]
    return {"auth": "auth", "acl": "auth", "psk": "auth", "bridge": "bridge"}.get(kind, "feature")


def _rowsOf(node: INode) -> list[PluginRow]:
    return [
        PluginRow(
            name=found.name,
            version=f"v{found.version}",
            description=found.description,
            active=found.active,
            type=_typeOf(found),
            state=found.state,
            error=found.error,
        )
        for found in node.extensions.installed()
    ]


def _lines(rows: list[PluginRow]) -> Iterator[str]:
    for row in rows:
        active = "true" if row.active else "false"
        yield f"Plugin({row.name}, version={row.version}, description={row.description}, active={active})"


def _checked(call: Call[OnePlugin]) -> str:
    """
    The plain name of the extension.

    @raise NotFound: there is none of this name.
    """
    checkNode(call.node, call.request.node)
    extensions = call.node.extensions
    name = extensions.plainName(call.request.plugin)
    if extensions.status(name) is None:
        known = ", ".join(found.name for found in extensions.installed())
        raise NotFound(f"plugin: there is no extension {call.request.plugin[:80]!r}; there are {known}")
    return name


@operation("list_all_plugins", "List the extensions of all nodes", "", Route("GET", "/plugins/"))
def allPlugins(call: Call[Nothing]) -> list[NodePlugins]:
    """
    By node.
    """
    return [NodePlugins(node=call.broker.nodeName, plugins=_rowsOf(call.node))]


@operation("list_node_plugins", "List the extensions of a node", "", Route("GET", "/nodes/:node/plugins/"))
def nodePlugins(call: Call[OfNode]) -> list[PluginRow]:
    """
    Those that run and those that do not.
    """
    checkNode(call.node, call.request.node)
    return _rowsOf(call.node)


@operation("show_plugins", "List the extensions", "plugins list", text=_lines)
def showPlugins(call: Call[Nothing]) -> list[PluginRow]:
    """
    For the command line.
    """
    return _rowsOf(call.node)


@operation(
    "load_node_plugin",
    "Load an extension",
    "plugins load",
    Route("PUT", "/nodes/:node/plugins/:plugin/load"),
    positional=("plugin",),
    text=lambda name: (f"Plugin {name['plugin']} loaded successfully.",),
    role="admin",
)
async def loadPlugin(call: Call[OnePlugin]) -> dict[str, str] | None:
    """
    It is loaded after a restart too.
    """
    name = _checked(call)
    if call.node.extensions.isActive(name):
        raise Refused(ALREADY_LOADED, "already_started", 500)
    try:
        await call.node.extensions.load(name, keep=True)
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
    return _named(call, name)


@operation(
    "unload_node_plugin",
    "Unload an extension",
    "plugins unload",
    Route("PUT", "/nodes/:node/plugins/:plugin/unload"),
    Route("PUT", "/plugins/:plugin/unload", "unload_plugin", "Unload an extension on all nodes"),
    positional=("plugin",),
    text=lambda name: (f"Plugin {name['plugin']} unloaded successfully.",),
    role="admin",
)
async def unloadPlugin(call: Call[OnePlugin]) -> dict[str, str] | None:
    """
    It is not loaded after a restart either.
    """
    name = _checked(call)
    if not call.node.extensions.isActive(name):
        raise Refused(ALREADY_UNLOADED, "not_started", 500)
    try:
        await call.node.extensions.unload(name, keep=True)
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
    return _named(call, name)


@operation(
    "reload_node_plugin",
    "Load an extension again, with its settings as they are in the file now",
    "plugins reload",
    Route("PUT", "/nodes/:node/plugins/:plugin/reload"),
    Route("PUT", "/plugins/:plugin/reload", "reload_plugin", "Load an extension again on all nodes"),
    positional=("plugin",),
    text=lambda name: (f"Plugin {name['plugin']} reloaded successfully.",),
    role="admin",
)
async def reloadPlugin(call: Call[OnePlugin]) -> dict[str, str] | None:
    """
    One that does not run is started.
    """
    name = _checked(call)
    extensions = call.node.extensions
    try:
        await (extensions.reload(name) if extensions.isActive(name) else extensions.load(name))
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
    return _named(call, name)


def _named(call: Call[OnePlugin], name: str) -> dict[str, str] | None:
    """
    The name, for the command line, which repeats it; REST answers nothing.
    """
    return {"plugin": name} if call.dialect == COMMAND else None


OPERATIONS: tuple[Operation, ...] = (
    allPlugins,
    nodePlugins,
    showPlugins,
    loadPlugin,
    unloadPlugin,
    reloadPlugin,
)
