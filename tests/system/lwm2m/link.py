"""
The socket of an LwM2M device, below aiocoap: it can be closed, opened on another port, lose datagrams, and speak DTLS.

DTLS is OpenSSL's client by way of pyOpenSSL's memory buffers; the key goes in through the binding below pyOpenSSL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiocoap import Message, error, interfaces
from OpenSSL import SSL
from OpenSSL._util import ffi, lib

HEADER = 13


class Link(interfaces.MessageInterface, interfaces.EndpointAddress, asyncio.DatagramProtocol):
    """
    A socket that speaks with one server: as aiocoap sees it, transport and address in one.

    @ivar lost: datagrams that came while the device did not listen.
    @ivar maximum_block_size_exp: what aiocoap takes for the size of blocks: 0 to 6 for 16 to 1,024 bytes.
    @ivar hold: what decides of each datagram whether it is lost on its way; C{None} if none is.
    """

    is_multicast = False
    is_multicast_locally = False
    scheme = "coap"
    maximum_block_size_exp = 6
    hold: Callable[[bytes], bool] | None = None

    def __init__(self, manager: Any, server: tuple[str, int], security: Security | None = None) -> None:
        """
        @param manager: aiocoap's message manager.
        """
        self._manager = manager
        self._server = server
        self._security = security
        self._transport: asyncio.DatagramTransport | None = None
        self._secured: Secured | None = None
        self.listening = True
        self.lost = 0

    async def open(self, port: int = 0) -> int:
        """
        Open a socket, in place of one that is open, and make the handshake if there is one to make.

        @return: its port.

        @raise ConnectionError: if the handshake fails.
        """
        self.close()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=self._server, local_addr=("127.0.0.1", port)
        )
        self._transport = transport
        if self._security is not None:
            self._secured = Secured(self._security, self._send)
            await self._secured.handshake(self._security.patience)
        name = transport.get_extra_info("sockname")
        return int(name[1])

    def close(self) -> None:
        """
        Close the socket, without a word.
        """
        if self._secured is not None:
            self._secured.stop()
            self._secured = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def raw(self, data: bytes) -> None:
        """
        Send what is no message of aiocoap's making.
        """
        if self._secured is not None:
            self._secured.send(data)
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and (self.hold is None or not self.hold(data)):
            self._transport.sendto(data)

    # asyncio's side

    def datagram_received(self, data: bytes, address: Any) -> None:
        """
        Hand a message on, decrypted where that applies.
        """
        if not self.listening or (self.hold is not None and self.hold(data)):
            self.lost += 1
            return
        for plain in [data] if self._secured is None else self._secured.received(data):
            with contextlib.suppress(error.UnparsableMessage):
                self._manager.dispatch_message(Message.decode(plain, self))

    def error_received(self, problem: Exception) -> None:
        """
        Take no notice: the server may be on its way back.
        """

    # aiocoap's side

    def send(self, message: Any) -> None:
        """
        Send a message.
        """
        self.raw(message.encode())

    async def shutdown(self) -> None:
        """
        Close the socket for good.
        """
        self.close()

    async def recognize_remote(self, remote: object) -> bool:
        """
        Whether a message to this address goes here.
        """
        return remote is self

    async def determine_remote(self, message: object) -> None:
        """
        Make nothing of addresses written as text.
        """

    # The interface that aiocoap expects of an address; a device means the same server whatever its own port.

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def hostinfo(self) -> str:
        return "{}:{}".format(*self._server)

    @property
    def hostinfo_local(self) -> str:
        return "device"

    @property
    def uri_base(self) -> str:
        return f"coap://{self.hostinfo}"

    @property
    def uri_base_local(self) -> str:
        return "coap://device"

    @property
    def blockwise_key(self) -> object:
        return id(self)


class Security:
    """
    With what a device shows who it is: a key, or a certificate.

    @ivar patience: for how long it waits for a handshake.
    """

    patience = 10.0

    def __init__(
        self,
        identity: str = "",
        key: bytes = b"",
        authority: str | Path = "",
        certificate: str | Path = "",
        keyfile: str | Path = "",
        ciphers: str = "",
    ) -> None:
        """
        @param authority: with which the server's certificate is checked (PEM).
        """
        self.context = context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        self._callback: Any = None
        if identity:
            name = identity.encode() + b"\0"

            @ffi.callback("unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)")
            def give(ssl: Any, hint: Any, into: Any, most: int, secret: Any, longest: int) -> int:
                ffi.memmove(into, name, len(name))
                ffi.memmove(secret, key, len(key))
                return len(key)

            # OpenSSL keeps no reference to it.
            self._callback = give
            lib.SSL_CTX_set_psk_client_callback(context._context, give)
            context.set_cipher_list((ciphers or "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256").encode() + b":@SECLEVEL=0")
        if authority:
            context.load_verify_locations(str(authority))
            context.set_verify(SSL.VERIFY_PEER, lambda *words: bool(words[-1]))
        if certificate:
            context.use_certificate_file(str(certificate))
            context.use_privatekey_file(str(keyfile))


class Secured:
    """
    A DTLS connection above datagrams.
    """

    def __init__(self, security: Security, send: Callable[[bytes], None]) -> None:
        self._connection = SSL.Connection(security.context, None)
        self._connection.set_ciphertext_mtu(1200)
        self._connection.set_connect_state()
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def handshake(self, patience: float) -> None:
        """
        Make the handshake, repeating what is lost.

        @raise ConnectionError: if the server refuses, or does not answer in time.
        """
        self._step()
        try:
            await asyncio.wait_for(asyncio.shield(self._done), patience)
        except TimeoutError:
            raise ConnectionError("the handshake takes too long") from None
        finally:
            self._stopTimer()

    def _step(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._startTimer()
        except SSL.Error as problem:
            if not self._done.done():
                self._done.set_exception(ConnectionError(str(problem)))
        else:
            if not self._done.done():
                self._done.set_result(None)
        self._flush()

    def _startTimer(self) -> None:
        self._stopTimer()
        left = self._connection.DTLSv1_get_timeout()
        if left is not None:
            self._timer = self._loop.call_later(left, self._expired)

    def _stopTimer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self._connection.DTLSv1_handle_timeout()
        self._flush()
        self._startTimer()

    def _flush(self) -> None:
        try:
            data = self._connection.bio_read(65536)
        except SSL.WantReadError:
            return
        # One record in a datagram: what comes out of the buffer has no other joints.
        while data:
            length = HEADER + int.from_bytes(data[11:13], "big")
            self._send(data[:length])
            data = data[length:]

    def received(self, data: bytes) -> list[bytes]:
        """
        Get the content of a datagram, decrypted.
        """
        self._connection.bio_write(data)
        if not self._done.done():
            self._step()
        found = []
        if self._done.done() and self._done.exception() is None:
            with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError, SSL.Error):
                while True:
                    found.append(self._connection.recv(65536))
            self._flush()
        return found

    def send(self, data: bytes) -> None:
        """
        Encrypt and send.
        """
        self._connection.send(data)
        self._flush()

    def stop(self) -> None:
        """
        Forget it, without a word to the server.
        """
        self._stopTimer()
