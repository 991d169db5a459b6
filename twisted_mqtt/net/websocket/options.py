"""
The options of a WebSocket port, independent of the configuration.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from re import Pattern
from typing import TYPE_CHECKING, Final

from twisted_mqtt.net.websocket.origins import Origins

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocolFactory

    from twisted_mqtt.net.websocket.http import HTTPAnswer, Request
    from twisted_mqtt.net.websocket.transport import MessageFactory

_LEVELS: Final = {
    "default": zlib.Z_DEFAULT_COMPRESSION,
    "none": zlib.Z_NO_COMPRESSION,
    "best_speed": zlib.Z_BEST_SPEED,
    "best_compression": zlib.Z_BEST_COMPRESSION,
}

_STRATEGIES: Final = {
    "default": zlib.Z_DEFAULT_STRATEGY,
    "filtered": zlib.Z_FILTERED,
    "huffman_only": zlib.Z_HUFFMAN_ONLY,
    "rle": zlib.Z_RLE,
}

WORTHWHILE: Final = 32
"""
Shorter messages, most of them acknowledgements, go as they are: compressing 32 bytes saves next to nothing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateOptions:
    """
    How messages are compressed (permessage-deflate, RFC 7692).

    @ivar level: the effort of zlib, 0 to 9; -1 for its own choice.
    @ivar strategy: one of zlib's C{Z_...} strategies.
    @ivar memoryLevel: the memory of zlib, 1 to 9.
    @ivar serverWindowBits: how far back our messages refer, 9 to 15.
    @ivar clientWindowBits: how far back those of the client may refer, 9 to 15.
    @ivar serverForgets: whether each of our messages is compressed by itself.
    @ivar clientForgets: whether the client is asked to do the same.
    @ivar worthwhile: how long a message must be, in bytes, to be compressed.
    """

    level: int = zlib.Z_DEFAULT_COMPRESSION
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    memoryLevel: int = 8
    serverWindowBits: int = zlib.MAX_WBITS
    clientWindowBits: int = zlib.MAX_WBITS
    serverForgets: bool = False
    clientForgets: bool = False
    worthwhile: int = WORTHWHILE

    @classmethod
    def named(
        cls,
        level: str,
        strategy: str,
        memoryLevel: int,
        serverTakeover: str,
        clientTakeover: str,
        serverWindowBits: int,
        clientWindowBits: int,
    ) -> DeflateOptions:
        """
        The same, where people write it in words.

        @param level: C{"default"}, C{"none"}, C{"best_speed"}, C{"best_compression"}, or a digit.
        @param strategy: C{"default"}, C{"filtered"}, C{"huffman_only"} or C{"rle"}.
        @param serverTakeover: C{"takeover"} or C{"no_takeover"}.
        @param clientTakeover: the same.
        """
        return cls(
            level=_LEVELS[level] if level in _LEVELS else int(level),
            strategy=_STRATEGIES[strategy],
            memoryLevel=memoryLevel,
            serverForgets=serverTakeover == "no_takeover",
            clientForgets=clientTakeover == "no_takeover",
            serverWindowBits=serverWindowBits,
            clientWindowBits=clientWindowBits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """
    The options of the WebSockets of one path.

    @ivar path: of the URL, without a query; or a pattern that the whole path has to match.
    @ivar subProtocols: those that are spoken; of what a client offers it gets the first that is one of them.
    @ivar needsProtocol: whether a client that offers none of them is refused.
    @ivar largest: how many bytes a message may have, inflated; 0 for any number.
    @ivar largestFrame: how many bytes a frame may have; 0 for any number.
    @ivar deflate: how messages are compressed; L{None} for not at all.
    @ivar idleTimeout: seconds of silence after which a connection is closed; 0 for never.
    @ivar pingInterval: seconds of silence after which a client is sent a ping; 0 for never. A client that is there
        answers, which ends its silence.
    """

    path: str | Pattern[str]
    subProtocols: tuple[str, ...] = ()
    needsProtocol: bool = False
    largest: int = 0
    largestFrame: int = 0
    deflate: DeflateOptions | None = None
    idleTimeout: float = 0.0
    pingInterval: float = 0.0

    def isAt(self, path: str) -> bool:
        """
        Whether these options hold for a path.
        """
        return path == self.path if isinstance(self.path, str) else self.path.fullmatch(path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketPortOptions:
    """
    The options of a port, before it is known which protocol a client wants.

    @ivar name: what the log calls the port.
    @ivar handshakeTimeout: seconds in which a client must have finished its request.
    @ivar origins: the web pages that may connect.
    @ivar addressHeader: in which a proxy passes on the address of the client; L{None} where no header is believed.
    @ivar portHeader: the same for its port.
    """

    name: str
    handshakeTimeout: float = 15.0
    origins: Origins = field(default_factory=Origins)
    addressHeader: str | None = None
    portHeader: str | None = None


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """
    A path behind which protocols read a stream of bytes: messages are binary, and their borders mean nothing. What they
    write becomes binary messages.

    @ivar factory: makes the protocols.
    @ivar noText: what a client is told that sends text.
    """

    options: WebSocketOptions
    factory: IProtocolFactory
    noText: str = "messages are binary here"


@dataclass(frozen=True, slots=True)
class MessageEndpoint:
    """
    A path behind which protocols get each message, text or binary, and send such.

    A message is kept until it is complete, so that the options have to say how large it may be.

    @ivar factory: makes the protocols.
    """

    options: WebSocketOptions
    factory: MessageFactory

    def __post_init__(self) -> None:
        if not self.options.largest:
            raise ValueError("messages are kept until they are complete: how large may they be?")


Endpoint = StreamEndpoint | MessageEndpoint

Otherwise = Callable[["Request", "IAddress"], "IProtocolFactory | HTTPAnswer | None"]
"""
Asked for each request that becomes no WebSocket, and of the address that it has come to.

It returns the factory of protocols that take over the connection, from its first byte; or an answer, after which the
connection is closed; or L{None}, for the usual refusal.
"""
