"""
The UDP ports of a gateway, plain and with DTLS: how they are opened, named in the log and closed.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from gateways.coap.dtls import DTLSContext, DTLSProtocol

if TYPE_CHECKING:
    from twisted_mqtt.config.values import Bind

_log = Logger()

# Large enough for what comes while one turn is at work; the kernel gives what it allows.
_RECEIVE_BUFFER: Final = 4 << 20
_LARGEST_DATAGRAM: Final = 65535


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
        @param wheel: a L{DeadlineWheel<twisted_mqtt.wheel.DeadlineWheel>}.
        @param receiveBuffer: the size of the kernel's, in bytes.
        @param sendBuffer: likewise; L{None} for its own choice.
        """
        self.opened: dict[str, Any] = {}
        self._gateway = gateway
        self._reactor = reactor
        self._wheel = wheel
        self._receiveBuffer = receiveBuffer
        self._sendBuffer = sendBuffer

    def openPlain(self, name: str, bind: Bind, protocol: Any, key: str) -> None:
        """
        Open a port.

        @param key: of the configuration, where its address stands.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        self._open(name, bind, protocol, key, "udp")

    def openSecure(self, name: str, bind: Bind, protocol: Any, key: str, context: DTLSContext, most: int) -> None:
        """
        Open a port with DTLS between it and the protocol.

        @param most: how many associations there may be.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        self._open(name, bind, DTLSProtocol(protocol, context, self._reactor, self._wheel, most), key, "dtls")

    def close(self) -> Deferred[None]:
        """
        Close them all.

        @return: fires when they are.
        """
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        ports = list(self.opened.values())
        self.opened.clear()
        for port in ports:
            await maybeDeferred(port.stopListening)

    def _open(self, name: str, bind: Bind, protocol: Any, key: str, kind: str) -> None:
        port = self._reactor.listenUDP(bind.port, protocol, bind.host, _LARGEST_DATAGRAM)
        self.opened[name] = port
        handle = getattr(port, "socket", None)
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receiveBuffer)
            if self._sendBuffer is not None:
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._sendBuffer)
        host = port.getHost()
        _log.info(
            "listening: {gateway}:{kind} on {host}:{port} ({key})",
            gateway=self._gateway,
            kind=kind,
            host=f"[{host.host}]" if ":" in host.host else host.host,
            port=host.port,
            key=key,
        )
