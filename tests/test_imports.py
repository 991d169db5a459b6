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
# The rooms of twisted_mqtt, from the bottom up. A module may import its own room and those below.
ROOMS = (
    "core",
    "config",
    "base",
    "net",
    "net.tls",
    "net.websocket",
    "interfaces",
    "operations",
    "hooks",
    "stores",
    "broker",
    "process",
    "mqtt",
    "listeners",
    "extensions",
    "node",
    "testing",
    "tap",
    "convert",
    "ctl",
)

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
SEEN_BY_EXTENSIONS = {"core", "interfaces", "config", "base", "hooks", "operations", "extensions", "connectors"}

# Records that the broker hands out, of which they name the types.
NAMED_BY_EXTENSIONS = {"twisted_mqtt.broker.alarms", "twisted_mqtt.broker.banrecord"}

# Names everything for its types; what it describes stands in rooms above it.
NAMES_TYPES = {"interfaces"}

SEEN_BY_GATEWAYS = {
    "twisted_mqtt.interfaces",
    *(f"twisted_mqtt.core.{name}" for name in ("message", "packets", "properties", "reasons")),
    *(f"twisted_mqtt.core.{name}" for name in ("subscription", "templates", "topics")),
    # Where they listen and what their tables say; waiting, and lines of the log that strangers can cause.
    "twisted_mqtt.config",
    "twisted_mqtt.base",
    "twisted_mqtt.broker.listenerprofile",
    # The answer of a gateway that authenticates in its own way at client.authenticate.
    "twisted_mqtt.hooks.verdicts",
    # Ports, and layers between a port and a protocol, which serve any protocol.
    *(
        f"twisted_mqtt.net.{name}"
        for name in (
            "addressrules",
            "datagrams",
            "endpoints",
            "httpserver",
            "names",
            "peeridentity",
            "portoptions",
            "proxyprotocol",
            "roles",
        )
    ),
    "twisted_mqtt.net.roles",
    "twisted_mqtt.net.tls",
    "twisted_mqtt.net.websocket",
}
# The one module that joins a gateway's client to the broker sees what that takes.
SEEN_BY_GATEWAY_CLIENT = {
    "twisted_mqtt.broker.client",
    *(f"twisted_mqtt.core.{name}" for name in ("acknowledging", "exactlyonce", "link")),
    "twisted_mqtt.hooks.packets",
}
# The objects that it hands on to the gateways; all of them name the types.
NAMED_BY_GATEWAYS = {
    *(f"twisted_mqtt.broker.{name}" for name in ("admission", "client", "subscribing")),
    *(f"twisted_mqtt.core.{name}" for name in ("link", "session")),
}
SEEN_BY_ONE_GATEWAY = {"lwm2m": {"coap"}}

# The modules that may look at the wall clock, for dates: the source of the broker's dates, and certificates, which are
# valid by date.
SEES_DATES = {"twisted_mqtt.net.reactorprivate", "twisted_mqtt.net.tls.credentials"}
# Functions that tell the date when they are called without one.
TELLS_DATES = {
    "time": {"time", "time_ns"},
    "datetime": {"now", "today", "utcnow"},
    "date": {"today"},
    "runtime": {"seconds"},
    "platform": {"seconds"},
}

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


def imported(module: str) -> Iterator[tuple[str, bool]]:
    """
    Every module, or name in a module, that C{module} imports, wherever in the file that stands; and whether for types
    alone.
    """
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", id(node) in typing) for alias in node.names)


def roomOf(module: str) -> str:
    """
    The room of a module of C{twisted_mqtt}, or of a name in it.

    @raise AssertionError: it stands in no room.
    """
    parts = module.split(".")[1:]
    for room in (".".join(parts[:2]), parts[0]):
        if room in ROOMS or room in EXTENSIONS:
            return room
    raise AssertionError(f"twisted_mqtt.{parts[0]} is no room: say in {Path(__file__).name} where it belongs")


def allowed(module: str, name: str, forTypes: bool = False) -> bool:
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
        seen |= NAMED_BY_GATEWAYS if forTypes else set()
        return any(name == part or name.startswith(part + ".") for part in seen)
    if ours[1] == "__version__":
        return True
    importer, target = roomOf(module), roomOf(name)
    if importer == target or (forTypes and importer in NAMES_TYPES):
        return True
    if importer in EXTENSIONS:
        return target in SEEN_BY_EXTENSIONS or (forTypes and name.rpartition(".")[0] in NAMED_BY_EXTENSIONS)
    if target in EXTENSIONS:
        return importer in ("node", "tap", "convert", "ctl")
    return ROOMS.index(target) <= ROOMS.index(importer)


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
            roomOf(module)
        assert [name for name, forTypes in imported(module) if not allowed(module, name, forTypes)] == []
    else:
        assert list(imported(module)) == [], "a package's __init__ holds its docstring"


@pytest.mark.parametrize("module", sources("twisted_mqtt/core"))
def test_coreIsPure(module: str) -> None:
    """
    The core stands on the pure part of the standard library alone.
    """
    roots = {name.split(".")[0] for name, forTypes in imported(module)} - {"twisted_mqtt"}
    assert sorted(roots - sys.stdlib_module_names) == []
    assert sorted(roots & IMPURE) == []


@pytest.mark.parametrize("module", sources("twisted_mqtt") + sources("gateways"))
def test_reactorIsAnArgument(module: str) -> None:
    """
    Only C{tap} imports the reactor, which installs one; everything else is given it.
    """
    if module != "twisted_mqtt.tap":
        assert "twisted.internet.reactor" not in {name for name, forTypes in imported(module)}


def wallClocksIn(source: str) -> list[int]:
    """
    The lines of a module that look at the wall clock; and those that make a duration of dates: dates jump when somebody
    sets the clock, and a difference of two is no duration.
    """
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            wrong = node.attr in TELLS_DATES.get(owner, ())
        elif isinstance(node, ast.ImportFrom):
            owner = (node.module or "").rpartition(".")[2]
            wrong = owner != "datetime" and any(alias.name in TELLS_DATES.get(owner, ()) for alias in node.names)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            wrong = any(ast.unparse(side).endswith("dates.now()") for side in (node.left, node.right))
        else:
            continue
        if wrong:
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("module", sources("twisted_mqtt") + sources("gateways"))
def test_noDurationByTheWallClock(module: str) -> None:
    """
    Durations are counted by the reactor's clock, which nobody sets; dates come from C{broker.dates}.
    """
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    lines = wallClocksIn(source.read_text(encoding="utf-8"))
    assert bool(lines) is (module in SEES_DATES), f"{module}: lines {lines}"


@pytest.mark.parametrize(
    "source, wrong",
    [
        ("from time import monotonic, perf_counter", False),
        ("from time import time", True),
        ("import time\ntime.time()", True),
        ("import time\ntime.time_ns()", True),
        ("import time\ntime.monotonic()", False),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", True),
        ("import datetime\ndatetime.datetime.utcnow()", True),
        ("from datetime import UTC, datetime\ndatetime.fromisoformat(text)", False),
        ("from twisted.python.runtime import seconds", True),
        ("from twisted.python import runtime\nruntime.seconds()", True),
        ("reactor.seconds()", False),
        ("broker.dates.now()", False),
        ("until - self._broker.dates.now()", True),
        ("broker.dates.now() - began", True),
    ],
)
def test_wallClock(source: str, wrong: bool) -> None:
    """
    A look at the wall clock is found.
    """
    assert bool(wallClocksIn(source)) is wrong


@pytest.mark.parametrize("package", ["gateways"])
def test_classNames(package: str) -> None:
    """
    No name is that of two classes of one package, whether it begins with an underscore or not.
    """
    names = [
        node.name.lstrip("_")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize(
    "module, name, verdict",
    [
        ("twisted_mqtt.core.codec", "twisted_mqtt.core.packets", True),
        ("twisted_mqtt.core.codec", "twisted_mqtt.interfaces.IBroker", False),
        ("twisted_mqtt.broker.broker", "twisted_mqtt.hooks.points.Hooks", True),
        ("twisted_mqtt.broker.broker", "twisted_mqtt.mqtt.protocol.MQTTProtocol", False),
        ("twisted_mqtt.hooks.points", "twisted_mqtt.broker.broker.Broker", False),
        ("twisted_mqtt.node.service", "twisted_mqtt.monitoring.systopics", True),
        ("twisted_mqtt.broker.broker", "twisted_mqtt.auth.acl", False),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.connectors.mysql", True),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.rules.sql", False),
        ("twisted_mqtt.auth.mysql", "twisted_mqtt.broker.broker.Broker", False),
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
