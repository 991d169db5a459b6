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


class ShowPlugins(Struct, kw_only=True):
    """
    Which of the extensions that run are shown.
    """

    plugin: Annotated[str, Meta(description="Only this one")] = ""
    hook: Annotated[str, Meta(description="Only those that have this hook, such as client.check_acl")] = ""
    internal: Annotated[bool, Meta(description="Those that come with the broker too; they are always shown")] = False


class NamedPlugin(Struct, kw_only=True):
    """
    An extension.
    """

    name: Annotated[str, Meta(description="Name of an extension")]


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


def _checked(node: INode, given: str) -> str:
    """
    The plain name of the extension.

    @raise NotFound: there is none of this name.
    """
    extensions = node.extensions
    name = extensions.plainName(given)
    if extensions.status(name) is None:
        known = ", ".join(found.name for found in extensions.installed())
        raise NotFound(f"plugin: there is no extension {given[:80]!r}; there are {known}")
    return name


async def _load(node: INode, given: str) -> str:
    """
    Load an extension, for good; returns its plain name.
    """
    name = _checked(node, given)
    if node.extensions.isActive(name):
        raise Refused(ALREADY_LOADED, "already_started", 500)
    try:
        await node.extensions.load(name, keep=True)
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
    return name


async def _unload(node: INode, given: str) -> str:
    """
    Unload an extension, for good; returns its plain name.
    """
    name = _checked(node, given)
    if not node.extensions.isActive(name):
        raise Refused(ALREADY_UNLOADED, "not_started", 500)
    try:
        await node.extensions.unload(name, keep=True)
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
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


@operation("show_plugins", "List the extensions", "plugins list", text=_lines, role="read")
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
    checkNode(call.node, call.request.node)
    return _named(call, await _load(call.node, call.request.plugin))


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
    checkNode(call.node, call.request.node)
    return _named(call, await _unload(call.node, call.request.plugin))


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
    checkNode(call.node, call.request.node)
    extensions = call.node.extensions
    name = _checked(call.node, call.request.plugin)
    try:
        await (extensions.reload(name) if extensions.isActive(name) else extensions.load(name))
    except ExtensionError as error:
        raise Refused(UNKNOWN, str(error), 500) from None
    return _named(call, name)


@operation("plugin_show", "Show the extensions that run, with their hooks", "plugin show", role="read")
def pluginShow(call: Call[ShowPlugins]) -> list[dict[str, str]]:
    """
    A row for each; what it has several of stands in one cell, a line for each.
    """
    request, extensions = call.request, call.node.extensions
    rows = []
    for found in extensions.installed():
        if not found.active or request.plugin not in ("", found.name):
            continue
        extension = extensions.find(found.name)
        own = [(point.name, one) for point in call.broker.hooks for one in point if one.owner is extension]
        if request.hook and all(name != request.hook for name, _ in own):
            continue
        rows.append(
            {
                "Plugin": found.name,
                "Type": "gateway" if found.gateway else "application",
                "Hook(s)": "\n".join(name for name, _ in own),
                "M:F/A": "\n".join(_placeOf(one.action) for _, one in own),
            }
        )
    return rows


def _placeOf(action: object) -> str:
    return f"{getattr(action, '__module__', '')}:{getattr(action, '__qualname__', type(action).__qualname__)}"


@operation(
    "plugin_enable",
    "Load an extension, as plugins load does",
    "plugin enable",
    text=lambda _: ("Done",),
    role="admin",
    example="--name=rewrite",
    keyed=True,
)
async def pluginEnable(call: Call[NamedPlugin]) -> None:
    """
    One that runs is refused.
    """
    await _load(call.node, call.request.name)


@operation(
    "plugin_disable",
    "Unload an extension, as plugins unload does",
    "plugin disable",
    text=lambda _: ("Done",),
    role="admin",
    example="--name=rewrite",
    keyed=True,
)
async def pluginDisable(call: Call[NamedPlugin]) -> None:
    """
    One that does not run is refused.
    """
    await _unload(call.node, call.request.name)


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
    pluginShow,
    pluginEnable,
    pluginDisable,
)
