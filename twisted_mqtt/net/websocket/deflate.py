"""
Compressed WebSocket messages (permessage-deflate, RFC 7692): the negotiation, and the compression of output.

Autobahn does the handshake and decompresses. This module compresses, because a port may set the effort of zlib, and
because clients that share a message can share its compressed form.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept

from twisted_mqtt.net.websocket.frames import COMPRESSED, frameHeader

if TYPE_CHECKING:
    from twisted_mqtt.net.websocket.options import DeflateOptions
    from twisted_mqtt.net.websocket.transport import Framer

# The end of a synchronizing flush: the sender removes it, and the receiver adds it again (RFC 7692 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"


class _Compressor(Protocol):
    """
    The type of the objects that C{zlib.compressobj} returns.
    """

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, mode: int = ..., /) -> bytes: ...


class Deflate:
    """
    The compression of an endpoint: agrees with clients, and makes their frames.
    """

    def __init__(self, options: DeflateOptions) -> None:
        self.options = options
        # The result of the handshake that is going on: the window of our messages, and whether each is compressed by
        # itself.
        self._agreed: tuple[int, bool] | None = None
        # The last message of each kind and its frame, by the size of the window: who is sent the same is sent the same
        # bytes.
        self._last: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def accept(self, offers: Iterable[object]) -> PerMessageDeflateOfferAccept | None:
        """
        Choose among the offers of a client: the first that it prefers.
        """
        options = self.options
        for offer in offers:
            if not isinstance(offer, PerMessageDeflateOffer):
                continue
            bits = options.serverWindowBits
            if offer.request_max_window_bits:
                bits = min(bits, offer.request_max_window_bits)
            theirs = options.clientWindowBits
            forgets = bool(options.serverForgets or offer.request_no_context_takeover)
            self._agreed = (bits, forgets)
            return PerMessageDeflateOfferAccept(
                offer,
                request_no_context_takeover=options.clientForgets and offer.accept_no_context_takeover,
                request_max_window_bits=theirs if theirs < zlib.MAX_WBITS and offer.accept_max_window_bits else 0,
                no_context_takeover=forgets,
                window_bits=bits,
                mem_level=options.memoryLevel,
            )
        return None

    def agreed(self) -> Framer | None:
        """
        Make the compressor of the connection whose handshake has just ended; L{None} if it has none.
        """
        agreed, self._agreed = self._agreed, None
        return None if agreed is None else self.framer(*agreed)

    def framer(self, windowBits: int, forgets: bool) -> Framer:
        """
        Make the function that compresses the messages of one connection into frames. It is called with the first byte
        of the frame and the message.

        @param forgets: whether each message is compressed by itself.
        """
        return self._separately(windowBits) if forgets else self._continuously(self._compressor(windowBits))

    def _compressor(self, windowBits: int) -> _Compressor:
        options = self.options
        return zlib.compressobj(options.level, zlib.DEFLATED, -windowBits, options.memoryLevel, options.strategy)

    def _continuously(self, compressor: _Compressor) -> Framer:
        worthwhile = self.options.worthwhile

        def frame(first: int, data: bytes) -> bytes:
            if len(data) < worthwhile:
                return frameHeader(first, len(data)) + data
            return _compress(compressor, first, data)

        return frame

    def _separately(self, windowBits: int) -> Framer:
        last, worthwhile = self._last, self.options.worthwhile

        def frame(first: int, data: bytes) -> bytes:
            if len(data) < worthwhile:
                return frameHeader(first, len(data)) + data
            known = last.get((windowBits, first))
            # Comparing 5,000 bytes takes 0.2 us, compressing them 45.
            if known is not None and known[0] == data:
                return known[1]
            made = _compress(self._compressor(windowBits), first, data)
            last[windowBits, first] = (data, made)
            return made

        return frame


def _compress(compressor: _Compressor, first: int, data: bytes) -> bytes:
    compressed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = compressed.removesuffix(_TAIL)
    return frameHeader(first | COMPRESSED, len(payload)) + payload
