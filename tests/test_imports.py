"""
The direction of imports: one table of who may import whom, held against every source file.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom up. A module may import its own layer and those below.
LAYERS = [
    {"core"},
    # Building blocks that know nothing of a broker: waiting, timing, settings, and a stream transport.
    {"config", "limiting", "openfiles", "reloadreport", "systemd", "verdicts", "waiting", "wheel"}
    | {"transportroles", "portoptions", "pending", "rawsocket", "sockets", "streamsocket", "shell", "poller", "port"}
    | {"reactorprivate", "transport", "endpoints"}
    # What stands between a port and a protocol, and knows of neither.
    | {"access", "filewatch", "gate", "opensslprivate", "peeridentity", "proxyheader", "proxyprotocol", "psk"}
    | {"sparinglog", "tls", "tlscontext", "websocket", "websocketconnection", "websocketdeflate", "websocketframes"}
    | {"websockethttp", "websockettransport"},
    {"bans", "interfaces", "listening"},
    {"client", "alarms", "extensions", "gatewaymakers", "hookchain", "hooks", "inheritance"}
    | {"retained", "stores"},
    {"admission", "broker", "flapping", "overload", "permissions", "reauthentication"}
    | {"sessions", "subscribing", "wills"},
    {"connectionshell", "protocol", "roles", "layers", "openlistener", "listeners", "departure"},
    {"logs", "reload", "tap", "testing"},
]

# These see the broker through its interface and its hooks only, and never each other.
EXTENSIONS = {
    "auth",
    "modules",
    "persistence",
    "rules",
    "bridges",
    "monitoring",
    "management",
    "cluster",
    "connectors",
}
SEEN_BY_EXTENSIONS = {"core", "interfaces", "config", "hooks", "extensions", "connectors"}

SEEN_BY_GATEWAYS = {
    "twisted_mqtt.interfaces",
    *(f"twisted_mqtt.core.{name}" for name in ("message", "packets", "properties", "reasons")),
    *(f"twisted_mqtt.core.{name}" for name in ("subscription", "topics")),
    # Where they listen and what their tables say; and how to go on with what may have to wait.
    "twisted_mqtt.config",
    "twisted_mqtt.endpoints",
    "twisted_mqtt.listening",
    "twisted_mqtt.portoptions",
    "twisted_mqtt.waiting",
    # Lines of the log that strangers can cause.
    "twisted_mqtt.sparinglog",
    # What a gateway that authenticates in a way of its own answers at client.authenticate.
    "twisted_mqtt.verdicts",
    # Layers between a port and a protocol, which serve any protocol.
    *(f"twisted_mqtt.{name}" for name in ("filewatch", "opensslprivate", "peeridentity", "proxyprotocol", "psk")),
    *(f"twisted_mqtt.{name}" for name in ("tls", "tlscontext", "websocket")),
}
# The one module that joins a gateway's client to the broker sees what that takes.
SEEN_BY_GATEWAY_CLIENT = {"twisted_mqtt.client", "twisted_mqtt.core.link", "twisted_mqtt.limiting"}
SEEN_BY_ONE_GATEWAY = {"lwm2m": {"coap"}}

# Part of the standard library, and still not for a core that does no I/O and keeps no time.
IMPURE = {
    "asyncio",
    "concurrent",
    "datetime",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}


def sources(package: str) -> list[str]:
    """
    The dotted names of the modules of C{package}.
    """
    paths = sorted((ROOT / package).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def imported(module: str) -> Iterator[str]:
    """
    Every module, or name in a module, that C{module} imports, wherever in the file that stands.
    """
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(part: str) -> int:
    """
    The height of a part of C{twisted_mqtt}; extensions stand above the listeners.
    """
    if part in EXTENSIONS:
        return len(LAYERS) - 1
    for height, parts in enumerate(LAYERS):
        if part in parts:
            return height
    raise AssertionError(f"twisted_mqtt.{part} stands in no layer: say in {Path(__file__).name} where it belongs")


def allowed(module: str, name: str) -> bool:
    """
    Whether C{module} may import C{name}.
    """
    ours = name.split(".")
    if ours[0] == "gateways":
        return module.startswith("gateways.") and gatewayAllowed(module.split(".")[1], ours[1:])
    if ours[0] != "twisted_mqtt":
        return True
    if module.split(".")[0] == "gateways":
        seen = SEEN_BY_GATEWAYS | (SEEN_BY_GATEWAY_CLIENT if module == "gateways.client" else set())
        return any(name == part or name.startswith(part + ".") for part in seen)
    importer, target = module.split(".")[1], ours[1]
    if importer == target or target == "__version__":
        return True
    if importer in EXTENSIONS:
        return target in SEEN_BY_EXTENSIONS
    if target in EXTENSIONS:
        return importer in LAYERS[-1]
    return layer(target) <= layer(importer)


def gatewayAllowed(importer: str, target: list[str]) -> bool:
    """
    Whether the gateway C{importer} may import C{target} of the package C{gateways}.
    """
    shared = not (ROOT / "gateways" / target[0]).is_dir()
    return shared or target[0] == importer or target[0] in SEEN_BY_ONE_GATEWAY.get(importer, ())


@pytest.mark.parametrize("module", sources("twisted_mqtt") + sources("gateways"))
def test_direction(module: str) -> None:
    """
    Nothing imports upward, no extension another, no gateway another.
    """
    if "." in module:
        if module.startswith("twisted_mqtt."):
            layer(module.split(".")[1])
        assert [name for name in imported(module) if not allowed(module, name)] == []
    else:
        assert list(imported(module)) == [], "a package's __init__ holds its docstring"


@pytest.mark.parametrize("module", sources("twisted_mqtt/core"))
def test_coreIsPure(module: str) -> None:
    """
    The core stands on the pure part of the standard library alone.
    """
    roots = {name.split(".")[0] for name in imported(module)} - {"twisted_mqtt"}
    assert sorted(roots - sys.stdlib_module_names) == []
    assert sorted(roots & IMPURE) == []


@pytest.mark.parametrize("module", sources("twisted_mqtt") + sources("gateways"))
def test_reactorIsAnArgument(module: str) -> None:
    """
    Only C{tap} imports the reactor, which installs one; everything else is given it.
    """
    if module != "twisted_mqtt.tap":
        assert "twisted.internet.reactor" not in set(imported(module))


@pytest.mark.parametrize(
    "module, name, verdict",
    [
        ("twisted_mqtt.core.codec", "twisted_mqtt.core.packets", True),
        ("twisted_mqtt.core.codec", "twisted_mqtt.interfaces.IBroker", False),
        ("twisted_mqtt.broker", "twisted_mqtt.hooks.Hooks", True),
        ("twisted_mqtt.broker", "twisted_mqtt.protocol.MQTTProtocol", False),
        ("twisted_mqtt.hooks", "twisted_mqtt.broker.Broker", False),
        ("twisted_mqtt.tap", "twisted_mqtt.monitoring.systopics", True),
        ("twisted_mqtt.broker", "twisted_mqtt.auth.acl", False),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.connectors.mysql", True),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.rules.sql", False),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.broker.Broker", False),
        ("twisted_mqtt.tap", "gateways.stomp.protocol", False),
        ("gateways.stomp.session", "gateways.client.GatewayClient", True),
        ("gateways.stomp.session", "twisted_mqtt.core.message.Message", True),
        ("gateways.stomp.session", "twisted_mqtt.core.session.Session", False),
    ],
)
def test_table(module: str, name: str, verdict: bool) -> None:
    """
    The table says what the design says.
    """
    assert allowed(module, name) is verdict
