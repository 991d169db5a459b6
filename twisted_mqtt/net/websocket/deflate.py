"""
Compressed WebSocket messages (permessage-deflate, RFC 7692): what is agreed upon, and the compression of output.

Autobahn speaks the handshake and decompresses. Compression is ours, because a listener may set the effort of zlib, and
because clients that share a message can share its compressed form.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept

from twisted_mqtt.net.websocket.frames import BINARY, COMPRESSED, frameHeader

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_listeners import Deflate

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

# What a synchronizing flush ends with, and the receiver adds again (RFC 7692 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"


class DeflateOptions:
    """
    How the messages of a listener are compressed.

    @ivar worthwhile: how long a message must be to be compressed.
    """

    def __init__(self, options: Deflate) -> None:
        self._options = options
        self._level = _LEVELS[options.level] if options.level in _LEVELS else int(options.level)
        self._strategy = _STRATEGIES[options.strategy]
        self.worthwhile = WORTHWHILE
        # The last message and its frame, by the size of the window: who is sent the same is sent the same bytes.
        self.last: dict[int, tuple[bytes, bytes]] = {}

    def accept(self, offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
        """
        Choose among the offers of a client: the first that it prefers.
        """
        options = self._options
        for offer in offers:
            if not isinstance(offer, PerMessageDeflateOffer):
                continue
            bits = options.server_max_window_bits
            if offer.request_max_window_bits:
                bits = min(bits, offer.request_max_window_bits)
            theirs = options.client_max_window_bits
            forget = options.client_context_takeover == "no_takeover"
            return PerMessageDeflateOfferAccept(
                offer,
                request_no_context_takeover=forget and offer.accept_no_context_takeover,
                request_max_window_bits=theirs if theirs < zlib.MAX_WBITS and offer.accept_max_window_bits else 0,
                no_context_takeover=options.server_context_takeover == "no_takeover"
                or offer.request_no_context_takeover,
                window_bits=bits,
                mem_level=options.mem_level,
            )
        return None

    def compressor(self, windowBits: int) -> Any:
        """
        A new compressor.
        """
        return zlib.compressobj(self._level, zlib.DEFLATED, -windowBits, self._options.mem_level, self._strategy)


def framer(options: DeflateOptions, windowBits: int, forgets: bool) -> Callable[[int, bytes], bytes]:
    """
    Make what turns messages into frames for one connection.

    @param forgets: whether each message is compressed by itself.
    @return: called with the first byte of the frame and the message.
    """
    return _separately(options, windowBits) if forgets else _continuously(options, options.compressor(windowBits))


def _compress(compressor: Any, first: int, data: bytes) -> bytes:
    compressed: bytes = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = compressed.removesuffix(_TAIL)
    return frameHeader(first | COMPRESSED, len(payload)) + payload


def _continuously(options: DeflateOptions, compressor: Any) -> Callable[[int, bytes], bytes]:
    worthwhile = options.worthwhile

    def frame(first: int, data: bytes) -> bytes:
        if len(data) < worthwhile:
            return frameHeader(first, len(data)) + data
        return _compress(compressor, first, data)

    return frame


def _separately(options: DeflateOptions, windowBits: int) -> Callable[[int, bytes], bytes]:
    last, worthwhile = options.last, options.worthwhile

    def frame(first: int, data: bytes) -> bytes:
        if len(data) < worthwhile:
            return frameHeader(first, len(data)) + data
        if first != BINARY:
            return _compress(options.compressor(windowBits), first, data)
        known = last.get(windowBits)
        # Comparing 5,000 bytes takes 0.2 us, compressing them 45.
        if known is not None and known[0] == data:
            return known[1]
        made = _compress(options.compressor(windowBits), first, data)
        last[windowBits] = (data, made)
        return made

    return frame
