"""
A node: ports, HTTP services, settings, extensions.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from zope.interface import Attribute, Interface

NodeState: TypeAlias = Literal["starting", "serving", "stopping"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.web.resource import IResource

    from twisted_mqtt.config.entries import SettingEntry
    from twisted_mqtt.config.reloadreport import ReloadReport
    from twisted_mqtt.config.schema_http import AnyHTTPSettings
    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.extensions.running import Extensions
    from twisted_mqtt.interfaces.broker import IBroker
    from twisted_mqtt.interfaces.log import ILog
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.operations.registry import Operations


class IListening(Interface):
    """
    A port, from before it is open until it is closed for good.
    """

    name: str = Attribute("Its name, unlike that of any other port of the node, such as 'tcp.external' or 'stomp.ssl'.")
    protocol: str = Attribute("What is spoken: 'mqtt', 'stomp', 'coap', 'http', ...")
    kind: str = Attribute("How it comes: 'tcp', 'ssl', 'ws', 'wss', 'unix', 'udp', 'dtls'.")
    path: str = Attribute("The table of the configuration that it goes by, such as 'listener.tcp.external'.")
    address: Bind = Attribute("Where it listens, or would listen.")
    isOpen: bool = Attribute("Whether it listens.")
    connections: int = Attribute("How many connections it has; they may outlive it.")
    certificate: str | None = Attribute("The file with its certificate; None where it has none.")

    def figures() -> dict[str, int]:
        """
        Its counts since it was made, and its limits, by name.
        """

    def start() -> Deferred[None]:
        """
        Listen, if it does not.

        @return: fires when it does; fails with L{CannotListenError<twisted.internet.error.CannotListenError>} where the
            address is taken, forbidden, or not ours.
        """

    def stop() -> Deferred[None]:
        """
        Listen no more, until L{start}. Open connections stay.

        @return: fires when the port is closed. It does not fail.
        """

    def close() -> Deferred[None]:
        """
        Listen no more, for good: the node forgets it. Open connections stay.

        @return: fires when the port is closed. It does not fail.
        """

    def reloadCertificates() -> bool | None:
        """
        Read the files of TLS again, without waiting until it is seen that they have changed. What is wrong with them is
        logged, and those that were read before are used on.

        @return: whether they can be used; L{None} where there are none.
        """


class IMount(Interface):
    """
    A resource that is mounted in an HTTP service.
    """

    service: str = Attribute("The name of the service.")
    path: str = Attribute("The path, such as '/api/v4'.")

    def close() -> Deferred[None]:
        """
        Take it out. Requests that it is answering go on.

        @return: fires when the ports of the service are closed, if it was the last. It does not fail.
        """


class IHTTPServices(Interface):
    """
    The HTTP services of a node, by name, such as 'management' and 'dashboard'. The ports of a service open when its
    tables are there and somebody has mounted something.
    """

    def declare(service: str, tables: Mapping[str, AnyHTTPSettings], path: str = "") -> Deferred[None]:
        """
        Say which ports a service has. Those that were declared before and are not among them, or have another table,
        are closed; their connections stay.

        @param tables: a table for each port: L{HTTPSettings<twisted_mqtt.config.schema_http.HTTPSettings>} or
            L{HTTPSSettings<twisted_mqtt.config.schema_http.HTTPSSettings>}, by a name such as 'http'. One without
            C{bind} is left out.
        @param path: where these tables stand, such as 'management.listener', for messages; the service by default.

        @return: fires when the ports are as they should be; fails as L{INode.listen} does with the first that can't be.
        """

    def mount(service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        Have a resource answer requests for a path and what is below it, unless somebody has a longer one. It is asked
        with that path in C{request.prepath} and the rest in C{request.postpath}. A request that it has no answer to,
        or that is more than the port allows, is answered in JSON.

        @param resource: one of C{twisted.web}'s. C{request.content} holds the whole body; forms are not read from it.

        @return: fires when the ports of the service are open; fails as L{INode.listen} does where they can't be, and
            nothing is mounted then.

        @raise ValueError: something is mounted there already, or it is no path.
        """

    def mounts(service: str) -> list[IMount]:
        """
        The resources that are mounted in a service.
        """


class IRuntimeSettings(Interface):
    """
    The settings of a node, read and changed key by key while it runs.
    """

    current: Settings = Attribute("The settings by which the node goes at present.")

    def get(key: str) -> object:
        """
        The value of a key, in Python: a time is a number of seconds, a size a number of bytes; or a whole table, as a
        frozen structure.

        @raise KeyError: there is no such key; the text names the nearest.
        """

    def entry(key: str) -> SettingEntry:
        """
        A key with its value as text, where that comes from, and from when on a change of it holds.

        @raise KeyError: there is no such key; the text names the nearest.
        """

    def entries(prefix: str = "") -> Iterator[SettingEntry]:
        """
        All keys, or those of a table such as C{"zone.external"}.
        """

    def waiting() -> dict[str, SettingEntry]:
        """
        The keys that were changed and wait for a restart, by name, with what they will be.
        """

    def overridden() -> dict[str, object]:
        """
        The keys that were changed at run time, with their values as text; secrets are not shown.
        """

    def change(values: Mapping[str, object], keep: bool = True) -> Deferred[ReloadReport]:
        """
        Change keys, all of them or none.

        @param values: by key in full, as text or as in the file; None is "none".
        @param keep: whether they hold after a restart as well.

        @return: fires with what was done and what waits for a restart. It fails with
            L{ConfigurationError<twisted_mqtt.config.problems.ConfigurationError>} where a value does not pass, and with
            C{OSError} where the change can't be kept: then nothing has changed.
        """

    def reset(keys: Iterable[str]) -> Deferred[ReloadReport]:
        """
        Take back what was changed at run time: the keys are again what the file says.

        @return: as L{change}; it fails for a key that was not changed.
        """


class INode(Interface):
    """
    The node: the process around the broker, as extensions see it.
    """

    broker: IBroker = Attribute("The broker.")
    settings: IRuntimeSettings = Attribute("The settings, read and changed key by key.")
    log: ILog | None = Attribute("The log of the process; None where another program has the process, and its log.")
    extensions: Extensions = Attribute("The extensions: what is installed, what runs; loading and unloading.")
    operations: Operations = Attribute("What can be asked of the node, by REST and the command line.")
    http: IHTTPServices = Attribute("Where resources of C{twisted.web} are mounted.")
    state: NodeState = Attribute("Whether it is about to serve clients, serves them, or is about to end.")
    ports: Mapping[str, IListening] = Attribute("Its ports by name: those of MQTT's listeners, and of extensions.")

    def end(restart: bool = False, soon: float = 0.0) -> str:
        """
        End the process in an orderly way, as SIGTERM does.

        @param restart: whether it begins again, with the same command line.
        @param soon: seconds until then.

        @return: why that can't be, and nothing happens; C{""} where it is done.
        """

    def listen(
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = 1048576,
    ) -> Deferred[IListening]:
        """
        Open a port that takes connections: with access rules, limits, PROXY headers and TLS as its table says.

        @param settings: its table.
        @param factory: makes the protocols of its clients. Their transports have C{peerIdentity}, who the client is by
            its certificate or key, where there is TLS.
        @param name: unlike that of any other port; what comes before the first dot is the protocol: C{"stomp.ws"}.
        @param path: the name of the table, for messages; C{""} where it is C{name}.
        @param bind: where to listen, if not where the table says.
        @param kind: see L{IListening}; C{""} for "tcp", or "ssl" with TLS.
        @param protocols: what ALPN may agree on.
        @param tls: what TLS does, if not what the table says: one with keys of TLS, a
            L{TLSPortSettings<twisted_mqtt.config.schema_ports.TLSPortSettings>}, says it.
        @param pending: how many bytes may wait for a connection before its producer is paused.

        @return: fires with the port, which listens. It fails with
            L{CannotListenError<twisted.internet.error.CannotListenError>} where the address can't be had,
            L{TLSProblem<twisted_mqtt.net.tls.options.TLSProblem>} where keys or files of TLS can't be used, and
            C{ValueError} where the name is taken or nothing says where to listen.
        """

    def listenDatagrams(
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes datagrams, with access rules as its table says. See L{listen}.

        @param protocol: takes what comes; one of Twisted's, or the layer of DTLS.
        @param group: a multicast group that is heard too.
        @param shared: whether other sockets will be opened for groups at the same port.
        @param count: says how many clients there are, for C{connections}.
        """
