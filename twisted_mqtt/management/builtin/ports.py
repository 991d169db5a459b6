"""
Ports as VerneMQ shows, opens and closes them (spec/vernemq.md 20, ADM-20 to 25, 20.2).

What is opened here is a table of the configuration that is in no file: it is checked and gone by like any other, and
is over with the process.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct
from twisted.internet.error import CannotListenError

from twisted_mqtt.config.problems import ConfigurationError
from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION
from twisted_mqtt.operations.operation import (
    INVALID,
    UNKNOWN,
    Call,
    NotFound,
    Nothing,
    Operation,
    Refused,
    operation,
    short,
)

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IListening, INode


class OnePort(Struct, kw_only=True):
    """
    A port.
    """

    address: Annotated[str, Meta(description="Where it listens, such as 127.0.0.1")]
    port: Annotated[int, Meta(ge=0, le=65535, description="The number of the port")]


class StopPort(OnePort, kw_only=True):
    """
    A port that is to listen no more.
    """

    kill_sessions: Annotated[bool, short("k", "Whether its clients are sent away too")] = False


class StartPort(OnePort, kw_only=True):
    """
    A port that is to listen, for clients of MQTT.
    """

    websocket: Annotated[bool, short("ws", "Whether clients come by WebSocket")] = False
    ssl: Annotated[bool, Meta(description="Whether clients come by TLS")] = False
    http: Annotated[bool, Meta(description="Not here: ports of HTTP are tables such as management.listener.http")] = (
        False
    )
    zone: Annotated[str, Meta(description="The zone of its clients")] = ""
    mountpoint: Annotated[str, short("m", "The topic tree of its clients")] = ""
    max_connections: Annotated[str, Meta(description="Most connections at once, or infinity")] = ""
    nr_of_acceptors: Annotated[str, Meta(description="Connections that are accepted in a turn")] = ""
    allowed_protocol_versions: Annotated[str, Meta(description="Versions of MQTT, such as 3,4,5")] = ""
    protocol_versions: Annotated[str, Meta(description="The same")] = ""
    proxy_protocol: Annotated[bool, Meta(description="Whether a PROXY header comes first")] = False
    proxy_protocol_use_cn_as_username: Annotated[
        bool, Meta(description="Whether the common name in the PROXY header is the user name")
    ] = False
    cafile: Annotated[str, Meta(description="With --ssl: the authorities of clients' certificates")] = ""
    certfile: Annotated[str, Meta(description="With --ssl: the certificate")] = ""
    keyfile: Annotated[str, Meta(description="With --ssl: its key")] = ""
    ciphers: Annotated[str, Meta(description="With --ssl: the ciphers")] = ""
    crlfile: Annotated[str, Meta(description="With --ssl: certificates that were revoked")] = ""
    tls_version: Annotated[str, Meta(description="With --ssl: versions of TLS, such as tlsv1.2,tlsv1.3")] = ""
    require_certificate: Annotated[bool, Meta(description="With --ssl: whether clients need a certificate")] = False
    use_identity_as_username: Annotated[
        bool, Meta(description="With --ssl: whether the common name of the certificate is the user name")
    ] = False


class PortRow(Struct, kw_only=True):
    """
    A port.
    """

    type: str
    status: str
    ip: str
    port: int | str
    mountpoint: str
    max_conns: int


#: What VerneMQ calls the kinds of MQTT's listeners.
_TYPES: Final = {"tcp": "mqtt", "ssl": "mqtts", "ws": "mqttws", "wss": "mqttwss", "unix": "mqttunix"}
#: No limit is a number that is none: descriptors end before.
_INFINITY: Final = str((1 << 31) - 1)
#: What a run-time listener is called: its name says where it listens.
_NAMED: Final = "run_"
_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9]+")

#: Flags that are texts, by the key that they are.
_TEXTS: Final = {
    "zone": "zone",
    "mountpoint": "topic_tree",
    "nr_of_acceptors": "acceptors",
    "allowed_protocol_versions": "allowed_protocol_versions",
    "protocol_versions": "allowed_protocol_versions",
}
_TLS_TEXTS: Final = {
    "cafile": "cacertfile",
    "certfile": "certfile",
    "keyfile": "keyfile",
    "ciphers": "ciphers",
    "crlfile": "crlfile",
    "tls_version": "tls_versions",
}


def _find(node: INode, request: OnePort) -> IListening | None:
    for listening in node.ports.values():
        address = listening.address
        if not address.path and (address.host, address.port) == (request.address.strip("[]"), request.port):
            return listening
    return None


def _found(node: INode, request: OnePort) -> IListening:
    """
    @raise NotFound: nobody listens there, or would.
    """
    listening = _find(node, request)
    if listening is None:
        known = ", ".join(str(one.address) for one in node.ports.values() if not one.address.path)
        raise NotFound(f"port: there is no listener at {request.address[:80]}:{request.port}; there are {known}")
    return listening


def _typeOf(listening: IListening) -> str:
    if listening.protocol == "mqtt":
        return _TYPES.get(listening.kind, listening.kind)
    if listening.kind in ("http", "https"):
        return listening.kind
    return f"{listening.protocol}:{listening.kind}"


def portsOf(node: INode) -> list[PortRow]:
    """
    All ports of a node, those of extensions too.
    """
    trees = {listener.path: listener.topic_tree for listener in node.settings.current.listener}
    return [
        PortRow(
            type=_typeOf(listening),
            status="running" if listening.isOpen else "stopped",
            ip=listening.address.path or listening.address.host,
            port="" if listening.address.path else listening.address.port,
            mountpoint=trees.get(listening.path, ""),
            max_conns=listening.figures().get("max_connections", 0),
        )
        for listening in node.ports.values()
    ]


@operation(
    "show_ports",
    "Show the ports, whether they listen, and how many connections they take",
    "listener show",
    role="read",
)
def showPorts(call: Call[Nothing]) -> list[PortRow]:
    """
    All of them, those of extensions too.
    """
    return portsOf(call.node)


@operation(
    "start_port",
    "Listen on another port, until the broker ends",
    "listener start",
    text=lambda _: ("Done",),
    role="admin",
    example="address=192.168.1.50 port=1884 --max_connections=1000",
    keyed=True,
)
async def startPort(call: Call[StartPort]) -> None:
    """
    One that was stopped listens again, as it is.
    """
    request, node = call.request, call.node
    known = _find(node, request)
    if known is not None:
        if known.isOpen:
            raise Refused(INVALID, f"port: {known.name} listens at {known.address} already")
        await _open(known)
        return
    if request.http:
        raise Refused(
            INVALID, "http: ports of HTTP are tables: config set management.listener.http.bind, or .https.bind"
        )
    kind = {(False, False): "tcp", (False, True): "ssl", (True, False): "ws", (True, True): "wss"}
    address = request.address.strip("[]")
    name = _NAMED + _UNNAMEABLE.sub("_", f"{address}_{request.port}").strip("_")
    path = f"listener.{kind[request.websocket, request.ssl]}.{name}"
    keys = {f"{path}.{key}": value for key, value in _keysOf(request, address).items()}
    try:
        report = await node.settings.change(keys, keep=False)
    except ConfigurationError as error:
        raise Refused(INVALID, "; ".join(_withoutTable(str(one), path) for one in error.problems)) from None
    opened = node.ports.get(path.removeprefix("listener."))
    if opened is None or not opened.isOpen:
        await node.settings.reset(keys)
        reasons = [problem for problem in report.problems if path in problem]
        raise Refused(UNKNOWN, "; ".join(reasons) or "port: it can't be opened; the log says why", 500)


def _keysOf(request: StartPort, address: str) -> dict[str, object]:
    """
    The keys of the table that the flags are.
    """
    host = f"[{address}]" if ":" in address else address
    keys: dict[str, object] = {"bind": f"{host}:{request.port}"}
    texts = {**_TEXTS, **(_TLS_TEXTS if request.ssl else {})}
    keys.update((key, getattr(request, flag)) for flag, key in texts.items() if getattr(request, flag))
    if request.max_connections:
        keys["max_connections"] = _INFINITY if request.max_connections == "infinity" else request.max_connections
    if request.proxy_protocol or request.proxy_protocol_use_cn_as_username:
        keys["proxy_protocol"] = True
    if request.proxy_protocol_use_cn_as_username or (request.ssl and request.use_identity_as_username):
        keys["peer_cert_as_username"] = "cn"
    if request.ssl and (request.require_certificate or request.use_identity_as_username):
        keys["verify"] = "verify_peer"
        keys["fail_if_no_peer_cert"] = request.require_certificate
    return keys


def _withoutTable(problem: str, path: str) -> str:
    """
    A problem as the person sees it who has typed flags and no table.
    """
    return problem.partition(f"{path}.")[2] or problem


async def _open(listening: IListening) -> None:
    try:
        await listening.start()
    except CannotListenError as error:
        raise Refused(UNKNOWN, str(error), 500) from None


@operation(
    "stop_port",
    "Listen no more on a port; with --kill_sessions its clients are sent away",
    "listener stop",
    text=lambda _: ("Done",),
    role="admin",
    example="address=127.0.0.1 port=1884 --kill_sessions",
    keyed=True,
)
async def stopPort(call: Call[StopPort]) -> None:
    """
    Without it, open connections stay.
    """
    listening = _found(call.node, call.request)
    await listening.stop()
    if call.request.kill_sessions:
        broker = call.broker
        name = listening.name
        async for session in broker.directory.sessions(lambda one: one.online and one.info.listener == name):
            broker.kick(session.clientID, ADMINISTRATIVE_ACTION, "", session.topicTree)


@operation(
    "restart_port",
    "Listen again on a port that was stopped",
    "listener restart",
    text=lambda _: ("Done",),
    role="admin",
    example="address=127.0.0.1 port=1884",
    keyed=True,
)
async def restartPort(call: Call[OnePort]) -> None:
    """
    One that listens is closed and opened; open connections stay.
    """
    listening = _found(call.node, call.request)
    await listening.stop()
    await _open(listening)


@operation(
    "delete_port",
    "Forget a port that was opened by listener start, and stopped",
    "listener delete",
    text=lambda _: ("Done",),
    role="admin",
    example="address=127.0.0.1 port=1884",
    keyed=True,
)
async def deletePort(call: Call[OnePort]) -> None:
    """
    One of the configuration stays stopped until the broker starts again; it is deleted there.
    """
    listening = _found(call.node, call.request)
    if listening.isOpen:
        raise Refused(INVALID, f"port: {listening.name} listens: stop it first")
    if not listening.name.partition(".")[2].startswith(_NAMED):
        raise Refused(INVALID, f"port: {listening.name} is of the configuration: delete [{listening.path}] there")
    settings = call.node.settings
    await settings.reset([key for key in settings.overridden() if key.startswith(f"{listening.path}.")])


OPERATIONS: tuple[Operation, ...] = (showPorts, startPort, stopPort, restartPort, deletePort)
