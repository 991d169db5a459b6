"""
Bodies that are larger than a message: put together from blocks, and divided into them (RFC 7959). Pure: this module
does not know who talks to whom, nor how messages travel.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from gateways.coap.codes import (
    BAD_OPTION,
    BAD_REQUEST,
    CONTINUE,
    FETCH,
    IPATCH,
    PATCH,
    POST,
    PUT,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    isSuccess,
)
from gateways.coap.generations import Generations
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    BLOCK1,
    BLOCK2,
    ETAG,
    OBSERVE,
    SIZE1,
    SIZE2,
    Option,
    encodeUint,
    isNoCacheKey,
    uintOf,
    uintOption,
    valueOf,
    without,
)

Key: TypeAlias = tuple[object, ...]

LARGEST: Final = 6
"""
The size exponent of the largest blocks, of 1024 bytes.
"""

_MOST_BLOCKS: Final = 1 << 20
_WITH_BODY: Final = (POST, PUT, FETCH, PATCH, IPATCH)


class Block(NamedTuple):
    """
    The value of Block1 and Block2 (RFC 7959 2.2).

    @ivar number: which block, counted in its own size.
    @ivar more: whether others follow.
    @ivar exponent: of the size, less 4; 7 is reserved, but on a stream: any number of 1024 bytes (RFC 8323 6).
    """

    number: int
    more: bool
    exponent: int

    @property
    def size(self) -> int:
        """
        How many bytes a block has, but for the last; or a multiple of them.
        """
        return 16 << min(self.exponent, LARGEST)

    @property
    def start(self) -> int:
        """
        Where in the body it begins.
        """
        return self.number << (min(self.exponent, LARGEST) + 4)

    def option(self, number: int) -> Option:
        """
        The option that says it.
        """
        return number, encodeUint(self.number << 4 | self.more << 3 | self.exponent)


def blockOf(options: Sequence[Option], number: int) -> Block | None:
    """
    The block that an option says, L{None} where it isn't there.
    """
    value = uintOf(options, number)
    return None if value is None else Block(value >> 4, bool(value & 8), value & 7)


def exponentFor(size: int) -> int:
    """
    The largest blocks that are not larger than C{size}, or else the smallest that there are.
    """
    return max(0, min(LARGEST, size.bit_length() - 5))


def diagnostic(code: int, text: str, options: Sequence[Option] = ()) -> CoAPMessage:
    """
    A response that says what was wrong (RFC 7252 5.5.2).
    """
    return CoAPMessage(code, options, text.encode("utf-8"))


def keyOf(request: CoAPMessage, address: object) -> Key:
    """
    Get the key that requests for blocks of one body share: all options but the block's number (RFC 7959 2.4, 2.5).
    """
    options = tuple(
        option for option in request.options if option[0] not in _NOT_OF_KEY and not isNoCacheKey(option[0])
    )
    return (address, request.code, options)


_NOT_OF_KEY: Final = (BLOCK1, BLOCK2, OBSERVE)


class _PartialBody:
    """
    The received part of a body.
    """

    __slots__ = ("body",)

    def __init__(self) -> None:
        self.body = bytearray()


class Assembler:
    """
    Puts together the bodies of requests. It forgets an incomplete body after a while.
    """

    def __init__(
        self, longest: int, lifetime: float, most: int = 1000, mostBytes: int = 32 << 20, streams: bool = False
    ) -> None:
        """
        @param longest: of a body, in bytes.
        @param lifetime: for how many seconds one without a new block is remembered.
        @param most: how many at once.
        @param mostBytes: of all of them together.
        @param streams: whether they come on streams, where several blocks may come as one.
        """
        self.longest = longest
        self._streams = streams
        self._parts: Generations[Key, _PartialBody] = Generations(lifetime, most, mostBytes)

    def take(self, request: CoAPMessage, address: object, now: float) -> CoAPMessage:
        """
        Take a request, which may carry a block.

        @return: a request with the whole body, or the response to this one: codes tell them apart.
        """
        block = blockOf(request.options, BLOCK1)
        if block is None or request.code not in _WITH_BODY:
            return request if len(request.payload) <= self.longest else self._tooLarge(None)
        several = block.exponent > LARGEST
        if several and not self._streams:
            return diagnostic(BAD_OPTION, "Block1: a reserved size")
        size, start = len(request.payload), block.start
        if several:
            wrong = block.more and size % block.size != 0
        else:
            wrong = size > block.size or (block.more and size != block.size)
        if wrong:
            return diagnostic(BAD_REQUEST, "Block1: the payload is not of that size")
        key = keyOf(request, address)
        if start == 0:
            announced = uintOf(request.options, SIZE1)
            if announced is not None and announced > self.longest:
                return self._tooLarge(block)
            if not block.more:
                return request
            part: _PartialBody | None = _PartialBody()
        else:
            part = self._parts.get(key)
        if part is None or start > len(part.body):
            self._parts.pop(key)
            return diagnostic(REQUEST_ENTITY_INCOMPLETE, "blocks before this one are missing")
        if start + size > self.longest:
            self._parts.pop(key)
            return self._tooLarge(block)
        # A block that comes again, as from a client that restarts in the middle, replaces what was there.
        del part.body[start:]
        part.body += request.payload
        if not block.more:
            self._parts.pop(key)
            return request.replace(payload=bytes(part.body))
        self._parts.put(key, part, now, len(part.body) if start == 0 else size)
        return CoAPMessage(CONTINUE, [block.option(BLOCK1)])

    def _tooLarge(self, block: Block | None) -> CoAPMessage:
        options = [uintOption(SIZE1, self.longest)]
        if block is not None:
            options.append(block.option(BLOCK1))
        return diagnostic(REQUEST_ENTITY_TOO_LARGE, f"at most {self.longest} bytes", options)


class _Body:
    """
    A response whose later blocks will be asked for.

    @ivar etag: of each of its blocks; empty where they have none.
    """

    __slots__ = ("response", "etag")

    def __init__(self, response: CoAPMessage, etag: bytes) -> None:
        self.response = response
        self.etag = etag


class Slicer:
    """
    Cuts the bodies of responses, and remembers those that were cut.
    """

    def __init__(self, lifetime: float, most: int = 1000, mostBytes: int = 32 << 20, streams: bool = False) -> None:
        """
        @param lifetime: for how many seconds a body is remembered.
        @param most: how many at once.
        @param mostBytes: of all of them together.
        @param streams: whether they go out on streams, where several blocks may be asked for as one. One comes, then.
        """
        self._streams = streams
        self._bodies: Generations[Key, _Body] = Generations(lifetime, most, mostBytes)

    def following(self, request: CoAPMessage, address: object, largest: int = 16 << LARGEST) -> CoAPMessage | None:
        """
        The block of a body that was begun before, L{None} where the request doesn't ask for one.

        @param largest: how many bytes of payload a message may have.
        """
        block = self._blockOf(request)
        if block is None or block.number == 0:
            return None
        if block.exponent > LARGEST:
            return diagnostic(BAD_OPTION, "Block2: a reserved size")
        body = self._bodies.get(keyOf(request, address))
        return None if body is None else _slice(body.response, _smaller(block, largest), body.etag)

    def cut(
        self, request: CoAPMessage, address: object, response: CoAPMessage, largest: int, now: float
    ) -> CoAPMessage:
        """
        Return the response to send: the response itself, or a block of it.

        @param largest: how many bytes of payload a message may have.
        """
        block = self._blockOf(request)
        if block is not None and block.exponent > LARGEST:
            return diagnostic(BAD_OPTION, "Block2: a reserved size")
        if block is None:
            if len(response.payload) <= largest:
                return response
            block = Block(0, False, exponentFor(largest))
        else:
            block = _smaller(block, largest)
        etag = valueOf(response.options, ETAG) or blake2b(response.payload, digest_size=4).digest()
        if len(response.payload) > block.start + block.size:
            self._bodies.put(keyOf(request, address), _Body(response, etag), now, len(response.payload))
        return _slice(response, block, etag)

    def leaveOutETag(self, request: CoAPMessage, address: object) -> None:
        """
        The first block of a body went out without its ETag, so the others do: a client compares them (RFC 7959 2.4).
        """
        body = self._bodies.get(keyOf(request, address))
        if body is not None:
            body.etag = b""

    def _blockOf(self, request: CoAPMessage) -> Block | None:
        block = blockOf(request.options, BLOCK2)
        if block is None or block.exponent <= LARGEST or not self._streams:
            return block
        return Block(block.number, block.more, LARGEST)


def _smaller(block: Block, largest: int) -> Block:
    """
    The block that begins where another one does, of at most so many bytes.
    """
    exponent = exponentFor(largest)
    return Block(block.start >> (exponent + 4), False, exponent) if block.exponent > exponent else block


def _slice(response: CoAPMessage, block: Block, etag: bytes) -> CoAPMessage:
    total = len(response.payload)
    if block.start >= total and (block.number or total):
        return diagnostic(BAD_REQUEST, "Block2: beyond the end")
    end = block.start + block.size
    block = Block(block.number, end < total, block.exponent)
    # Only the first is the notification (RFC 7959 2.6).
    dropped = (ETAG, OBSERVE) if block.number else (ETAG,)
    options = [*without(response.options, *dropped), block.option(BLOCK2)]
    if etag and isSuccess(response.code) and (block.more or block.number):
        options.append((ETAG, etag))
    if block.number == 0:
        options.append(uintOption(SIZE2, total))
    return CoAPMessage(response.code, options, response.payload[block.start : end], response.token, response.type)


class TransferError(Exception):
    """
    A peer's blocks do not fit together.
    """


class Transfer:
    """
    A request of ours with its response, each in as many blocks as it takes.

    L{first} is to be sent; each response goes to L{answered}, which says what to send next, until L{response} is there.

    @ivar response: the whole response, once it is there.
    """

    def __init__(self, request: CoAPMessage, longest: int, exponent: int = LARGEST) -> None:
        """
        @param longest: of the response's body, in bytes.
        @param exponent: of the blocks to begin with.
        """
        self._request = request
        self._longest = longest
        self._exponent = exponent
        self._sent = 0
        self._body = bytearray()
        self._head: CoAPMessage | None = None
        self._etag: bytes | None = None
        self.response: CoAPMessage | None = None

    def first(self) -> CoAPMessage:
        """
        The request to begin with.
        """
        return self._send(0)

    def answered(self, response: CoAPMessage) -> CoAPMessage | None:
        """
        Take the response to what was sent last.

        @return: what to send next; L{None} where C{response} is there.

        @raise TransferError: nothing that fits will come.
        """
        block = blockOf(response.options, BLOCK1)
        payload = self._request.payload
        if response.code == CONTINUE:
            if block is None or self._sent >= len(payload):
                raise TransferError("asked to go on where nothing is left")
            # The peer may want smaller blocks from here on (RFC 7959 2.3).
            self._exponent = min(self._exponent, block.exponent)
            return self._send(self._sent)
        smaller = block is not None and block.exponent < self._exponent
        if response.code == REQUEST_ENTITY_TOO_LARGE and block is not None and smaller:
            self._exponent = block.exponent
            return self._send(0)
        return self._gather(response)

    def _send(self, start: int) -> CoAPMessage:
        payload = self._request.payload
        size = 16 << self._exponent
        options = list(self._request.options)
        if len(payload) <= size and start == 0:
            self._sent = len(payload)
            return CoAPMessage(self._request.code, options, payload)
        end = min(start + size, len(payload))
        number = start >> (self._exponent + 4)
        if number >= _MOST_BLOCKS:
            raise TransferError("the body has too many blocks")
        options.append(Block(number, end < len(payload), self._exponent).option(BLOCK1))
        if start == 0:
            options.append(uintOption(SIZE1, len(payload)))
        self._sent = end
        return CoAPMessage(self._request.code, options, payload[start:end])

    def _gather(self, response: CoAPMessage) -> CoAPMessage | None:
        block = blockOf(response.options, BLOCK2)
        if block is None:
            if self._head is not None and isSuccess(response.code):
                raise TransferError("a block was asked for, and something else came")
            self.response = response
            return None
        etag = valueOf(response.options, ETAG)
        if block.start != len(self._body) or (self._head is not None and etag != self._etag):
            raise TransferError("blocks of different bodies")
        if block.exponent > LARGEST or (block.more and len(response.payload) != block.size):
            raise TransferError("a block is not of its size")
        self._body += response.payload
        if len(self._body) > self._longest:
            raise TransferError(f"a body of more than {self._longest} bytes")
        if self._head is None:
            self._head, self._etag = response, etag
        if block.more:
            following = Block(len(self._body) >> (block.exponent + 4), False, block.exponent)
            # The body that was sent is known there by its key (RFC 7959 2.7); it need not be sent again.
            options = without(self._request.options, OBSERVE, BLOCK2, BLOCK1)
            return CoAPMessage(self._request.code, [*options, following.option(BLOCK2)])
        whole = self._head.replace(without(self._head.options, BLOCK2, SIZE2), bytes(self._body))
        self.response = whole
        return None
