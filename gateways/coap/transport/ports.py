"""
The UDP ports of a gateway, plain and with DTLS: how they are opened, named in the log and closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from gateways.coap.transport.dtls import DTLSProtocol
from gateways.coap.transport.dtlscontext import DTLSContext
from twisted_mqtt.net.datagrams import openDatagrams

if TYPE_CHECKING:
    from twisted_mqtt.config.values import Bind

_log = Logger()

# Large enough for what comes while one turn is at work; the kernel gives what it allows.
_RECEIVE_BUFFER: Final = 4 << 20


class Ports:
    """
    The ports that are open.

    @ivar opened: by name, such as C{"udp"} and C{"dtls"}.
    """

    def __init__(
        self,
        gateway: str,
        reactor: Any,
        wheel: Any,
        receiveBuffer: int = _RECEIVE_BUFFER,
        sendBuffer: int | None = None,
    ) -> None:
        """
        @param gateway: what the log calls them.
        @param wheel: a L{TimerWheel<twisted_mqtt.base.timerwheel.TimerWheel>}.
        @param receiveBuffer: the size of the kernel's, in bytes.
        @param sendBuffer: likewise; L{None} for its own choice.
        """
        self.opened: dict[str, Any] = {}
        self._protocols: list[Any] = []
        self._layers: list[DTLSProtocol] = []
        self._gateway = gateway
        self._reactor = reactor
        self._wheel = wheel
        self._receiveBuffer = receiveBuffer
        self._sendBuffer = sendBuffer

    def openPlain(self, name: str, bind: Bind, protocol: Any, key: str, shared: bool = False) -> None:
        """
        Open a port.

        @param key: of the configuration, where its address stands.
        @param shared: see L{openDatagrams}.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        protocol.port = self._open(name, bind, protocol, key, "udp", shared)

    def openSecure(self, name: str, bind: Bind, protocol: Any, key: str, context: DTLSContext, most: int) -> None:
        """
        Open a port with DTLS between it and the protocol.

        @param most: how many associations there may be.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        layer = DTLSProtocol(protocol, context, self._reactor, self._wheel, most)
        protocol.port = self._open(name, bind, layer, key, "dtls")
        self._layers.append(layer)

    def refresh(self) -> None:
        """
        Read the certificates of DTLS again.

        @raise twisted_mqtt.net.tls.options.TLSProblem: they can't be used; what was read before is used on.
        """
        for layer in self._layers:
            layer.reload()

    def close(self) -> Deferred[None]:
        """
        Close them all.

        @return: fires when they are.
        """
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        ports, self.opened = self.opened, {}
        protocols, self._protocols = self._protocols, []
        self._layers.clear()
        # Whoever has an association with one of them is told that it is over.
        for protocol in protocols:
            protocol.doStop()
        for port in ports.values():
            await maybeDeferred(port.stopListening)

    def _open(self, name: str, bind: Bind, protocol: Any, key: str, kind: str, shared: bool = False) -> int:
        port = openDatagrams(self._reactor, bind, protocol, self._receiveBuffer, self._sendBuffer, shared=shared)
        self._protocols.append(protocol)
        protocol.makeConnection(port)
        host, number = port.getHost()
        self.add(name, port, key, kind, host, number)
        return number

    def add(self, name: str, port: Any, key: str, kind: str, host: str, number: int) -> None:
        """
        Say of a port that it is open, and close it with the others.

        @param kind: what the log calls it: C{"udp"}, C{"dtls"} or C{"tcp"}.
        @param host: where it listens, as is C{number}.
        """
        self.opened[name] = port
        _log.info(
            "listening: {gateway}:{kind} on {host}:{port} ({key})",
            gateway=self._gateway,
            kind=kind,
            host=f"[{host}]" if ":" in host else host,
            port=number,
            key=key,
        )
