"""
The form of messages and entries in the store: many in one value, column by column.

With one row for each message, a batch would make, write and read a thousand rows; a column of a thousand values is one
call. It is compiled like the core. The bytes are little-endian on every machine; C{FORMAT} comes before each pack, so
that a later release can recognise it.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from itertools import accumulate
from typing import Final

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, decodeProperties, encodeProperties
from twisted_mqtt.core.topics import scoped, unscoped

# Format, what there is beside the columns that are always there, messages, words.
_HEADER: Final = struct.Struct("<BBII")
FORMAT: Final = 1
_HAS_EXPIRY: Final = 1
_HAS_PROPERTIES: Final = 2

# An entry is one number: how far it is from the first of its run; packet identifier; flags; whether its message is in a
# parcel, and where in that. The limits keep the number in what the compiler takes as a machine word.
_OFFSET: Final = 39
_PACKET: Final = 23
_FLAGS: Final = 19
_SHARED: Final = 1 << 18
_PLACE: Final = _SHARED - 1
#: How far from the first of its run an entry may be.
FAR: Final = 1 << 22

_BIG: Final = sys.byteorder == "big"


class PackError(ValueError):
    """
    The bytes that were read are not a valid pack.
    """


def columnOf(typecode: str, items: list[int] | list[float]) -> bytes:
    """
    A column of numbers.
    """
    made = array(typecode, items)
    if _BIG:
        made.byteswap()
    return made.tobytes()


def numbersOf(typecode: str, data: bytes) -> list[int]:
    """
    The whole numbers of a column.
    """
    made = array(typecode)
    made.frombytes(data)
    if _BIG:
        made.byteswap()
    found: list[int] = made.tolist()
    return found


def _floatsOf(data: bytes) -> list[float]:
    made = array("d")
    made.frombytes(data)
    if _BIG:
        made.byteswap()
    found: list[float] = made.tolist()
    return found


def recordOf(offset: int, packetID: int, flags: int, place: int) -> int:
    """
    An entry as one number.

    @param flags: QoS, 4 retain, 8 released.
    @param place: of the message in a parcel; -1 where it is with the run.
    """
    record = offset << _OFFSET | packetID << _PACKET | flags << _FLAGS
    return record if place < 0 else record | _SHARED | place


class Packer:
    """
    Makes a pack of messages.

    @ivar count: how many there are.
    @ivar size: how many bytes of payload and properties they have.
    """

    __slots__ = (
        "count",
        "size",
        "_kinds",
        "_flags",
        "_times",
        "_expiries",
        "_topics",
        "_origins",
        "_lengths",
        "_payloads",
        "_encodedLengths",
        "_encoded",
        "_words",
        "_known",
        "_clientID",
        "_username",
        "_host",
        "_protocol",
        "_origin",
        "_skew",
    )

    def __init__(self, skew: float = 0.0) -> None:
        """
        @param skew: what is added to a moment to make it a date.
        """
        self.count: int = 0
        self.size: int = 0
        self._kinds: int = 0
        self._flags: list[int] = []
        self._times: list[float] = []
        self._expiries: list[float] = []
        self._topics: list[int] = []
        self._origins: list[int] = []
        self._lengths: list[int] = []
        self._payloads: list[bytes] = []
        self._encodedLengths: list[int] = []
        self._encoded: list[bytes] = []
        # Each text once: topics, and who published.
        self._words: dict[str, int] = {}
        self._known: dict[tuple[str, str | None, str | None, str], int] = {}
        self._clientID: str = ""
        self._username: str | None = None
        self._host: str | None = None
        self._protocol: str = ""
        self._origin: int = -1
        self._skew: float = skew

    def add(self, message: Message) -> int:
        """
        Add a message; returns its place.
        """
        place = self.count
        self.count = place + 1
        self._flags.append(message.qos | (4 if message.retain else 0) | (8 if message.system else 0))
        self._times.append(message.timestamp + self._skew)
        expiresAt = message.expiresAt
        if expiresAt != 0.0:
            self._kinds |= _HAS_EXPIRY
            expiresAt += self._skew
        self._expiries.append(expiresAt)
        words = self._words
        self._topics.append(words.setdefault(scoped(message.topicTree, message.topic), len(words)))
        if (
            self._origin < 0
            or message.clientID != self._clientID
            or message.peerHost != self._host
            or message.username != self._username
            or message.protocol != self._protocol
        ):
            self._clientID = message.clientID
            self._username = message.username
            self._host = message.peerHost
            self._protocol = message.protocol
            origin = (self._clientID, self._username, self._host, self._protocol)
            known = self._known.get(origin)
            if known is None:
                known = self._known[origin] = words.setdefault(json.dumps(origin), len(words))
            self._origin = known
        self._origins.append(self._origin)
        payload = message.payload
        self._payloads.append(payload)
        self._lengths.append(len(payload))
        self.size += len(payload)
        properties = message.properties
        if properties is None:
            self._encodedLengths.append(0)
        else:
            encoded = encodeProperties(properties, IN_PUBLISH)
            self._kinds |= _HAS_PROPERTIES
            self._encoded.append(encoded)
            self._encodedLengths.append(len(encoded))
            self.size += len(encoded)
        return place

    def pack(self) -> bytes:
        """
        The pack of all that was added; empty for none.
        """
        if self.count == 0:
            return b""
        kinds = self._kinds
        words = [word.encode("utf-8", "surrogatepass") for word in self._words]
        pieces = [
            _HEADER.pack(FORMAT, kinds, self.count, len(words)),
            columnOf("I", [len(word) for word in words]),
            bytes(self._flags),
            columnOf("d", self._times),
            columnOf("I", self._topics),
            columnOf("I", self._origins),
            columnOf("I", self._lengths),
        ]
        if kinds & _HAS_EXPIRY:
            pieces.append(columnOf("d", self._expiries))
        if kinds & _HAS_PROPERTIES:
            pieces.append(columnOf("I", self._encodedLengths))
        pieces.extend(words)
        pieces.extend(self._encoded)
        pieces.extend(self._payloads)
        return b"".join(pieces)


class Pack:
    """
    A pack that was read.

    @ivar count: how many messages there are.
    """

    __slots__ = (
        "count",
        "_data",
        "_flags",
        "_times",
        "_expiries",
        "_topics",
        "_origins",
        "_words",
        "_payloads",
        "_encoded",
        "_who",
    )

    def __init__(self, data: bytes) -> None:
        """
        @raise PackError: it is none.
        """
        if len(data) < _HEADER.size:
            raise PackError("a pack of messages is cut off")
        version, kinds, count, wordCount = _HEADER.unpack_from(data)
        if version != FORMAT:
            raise PackError(f"a pack of messages has the format {version}; this release knows {FORMAT}")
        width = 4 * wordCount + 21 * count
        width += (8 * count if kinds & _HAS_EXPIRY else 0) + (4 * count if kinds & _HAS_PROPERTIES else 0)
        at = _HEADER.size
        if at + width > len(data):
            raise PackError("a pack of messages is cut off")
        self.count: int = count
        self._data: bytes = data
        lengths = numbersOf("I", data[at : at + 4 * wordCount])
        at += 4 * wordCount
        self._flags: bytes = data[at : at + count]
        at += count
        self._times: list[float] = _floatsOf(data[at : at + 8 * count])
        at += 8 * count
        self._topics: list[int] = numbersOf("I", data[at : at + 4 * count])
        at += 4 * count
        self._origins: list[int] = numbersOf("I", data[at : at + 4 * count])
        at += 4 * count
        sizes = numbersOf("I", data[at : at + 4 * count])
        at += 4 * count
        self._expiries: list[float] | None = None
        if kinds & _HAS_EXPIRY:
            self._expiries = _floatsOf(data[at : at + 8 * count])
            at += 8 * count
        encodedSizes: list[int] = []
        if kinds & _HAS_PROPERTIES:
            encodedSizes = numbersOf("I", data[at : at + 4 * count])
            at += 4 * count
        self._words: list[str] = []
        for length in lengths:
            try:
                self._words.append(data[at : at + length].decode("utf-8", "surrogatepass"))
            except UnicodeDecodeError as error:
                raise PackError(f"a pack of messages has a word that is none: {error}") from error
            at += length
        # Where each begins, and where the last ends.
        self._encoded: list[int] | None = None
        if encodedSizes:
            self._encoded = list(accumulate(encodedSizes, initial=at))
            at = self._encoded[-1]
        self._payloads: list[int] = list(accumulate(sizes, initial=at))
        if self._payloads[-1] != len(data):
            raise PackError("a pack of messages is cut off")
        self._who: dict[int, list[str | None]] = {}

    def message(self, place: int) -> Message:
        """
        One of the messages.

        @raise PackError: there is none, or it is damaged.
        """
        if place < 0 or place >= self.count:
            raise PackError("a pack of messages lacks one that is wanted")
        topicAt, origin = self._topics[place], self._origins[place]
        if topicAt >= len(self._words) or origin >= len(self._words):
            raise PackError("a pack of messages lacks a word")
        who = self._who.get(origin)
        if who is None:
            who = self._who[origin] = _whoOf(self._words[origin])
        data = self._data
        flags = self._flags[place]
        properties = None
        bounds = self._encoded
        if bounds is not None and bounds[place + 1] > bounds[place]:
            encoded = data[bounds[place] : bounds[place + 1]]
            try:
                properties = decodeProperties(encoded, 0, len(encoded), IN_PUBLISH)[0]
            except Exception as error:
                raise PackError(f"a pack of messages has properties that are none: {error!r}") from error
        payload = data[self._payloads[place] : self._payloads[place + 1]]
        topicTree, topic = unscoped(self._words[topicAt])
        message = Message(
            topic,
            payload,
            flags & 3,
            flags & 4 != 0,
            properties,
            who[0] or "",
            self._times[place],
            0.0 if self._expiries is None else self._expiries[place],
            flags & 8 != 0,
        )
        message.topicTree = topicTree
        message.username = who[1]
        message.peerHost = who[2]
        message.protocol = who[3] or ""
        return message


def _whoOf(text: str) -> list[str | None]:
    """
    The publisher: client, user name, host, protocol.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or len(found) != 4:
        raise PackError("a pack of messages does not say who published")
    for each in found:
        if each is not None and not isinstance(each, str):
            raise PackError("a pack of messages does not say who published")
    return found


class Found:
    """
    An entry that was read.

    @ivar number: the entry's.
    @ivar packetID: 0 while it waits.
    @ivar flags: QoS, 4 retain, 8 released.
    @ivar shared: whether its message is in a parcel.
    @ivar place: of its message, in the parcel or in the pack of its run.
    @ivar position: in the run.
    @ivar flies: whether there is a row for what has become of it since it was written.
    """

    __slots__ = ("number", "packetID", "flags", "shared", "place", "position", "flies")

    def __init__(
        self, number: int, packetID: int, flags: int, shared: bool, place: int, position: int, flies: bool
    ) -> None:
        self.number: int = number
        self.packetID: int = packetID
        self.flags: int = flags
        self.shared: bool = shared
        self.place: int = place
        self.position: int = position
        self.flies: bool = flies


def entriesOf(first: int, records: bytes, gone: bytes, flights: dict[int, tuple[int, int]], after: int) -> list[Found]:
    """
    The entries of a run that are not settled.

    @param first: the number of the first.
    @param gone: how far from the first those are that are settled.
    @param flights: by number, the packet identifier and further flags of those that were sent since.
    @param after: only those with a greater number.
    """
    settled = set(numbersOf("I", gone)) if gone else None
    found: list[Found] = []
    inline = 0
    position = -1
    for record in numbersOf("Q", records):
        position += 1
        shared = record & _SHARED != 0
        place = record & _PLACE if shared else inline
        if not shared:
            inline += 1
        offset = record >> _OFFSET
        if settled is not None and offset in settled:
            continue
        number = first + offset
        if number <= after:
            continue
        packetID = record >> _PACKET & 0xFFFF
        flags = record >> _FLAGS & 0xF
        flight = flights.get(number) if flights else None
        if flight is not None:
            packetID = flight[0]
            flags |= flight[1]
        found.append(Found(number, packetID, flags, shared, place, position, flight is not None))
    return found
