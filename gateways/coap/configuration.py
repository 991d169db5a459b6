"""
The configuration of a topic of C{/ps}, and its CBOR (draft-ietf-core-coap-pubsub 3.2 and 6). Pure.

Drafts 15 to 18 and drafts from 19 on give other meanings to labels 8 and 9 and write dates in another way. The type of
a value tells them apart, so clients of both are understood: each has its dates back as it wrote them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from gateways.cbor import ARRAY, BYTES, MAP, SIMPLE, TAG, UNSIGNED, CBORError, CBORReader, encodeHead, encodeScalar

TOPIC_NAME: Final = 0
TOPIC_DATA: Final = 1
RESOURCE_TYPE: Final = 2
CONTENT_FORMAT: Final = 3
TOPIC_TYPE: Final = 4
EXPIRATION_DATE: Final = 5
MAX_SUBSCRIBERS: Final = 6
OBSERVER_CHECK: Final = 7
# A whole number to drafts 15 to 18. Old values are not kept: no draft has a request for them.
TOPIC_HISTORY: Final = 8

# The same labels have several meanings, which the type tells apart: a byte string at 8 and a boolean at 9 are the first
# value of a topic, an array at 9 or 10 is a list of labels.
_INITIALIZE: Final = (8, 9)
_CONF_FILTER: Final = (9, 10)

NAMES: Final[dict[str, int]] = {
    "topic-name": TOPIC_NAME,
    "topic-data": TOPIC_DATA,
    "resource-type": RESOURCE_TYPE,
    "topic-content-format": CONTENT_FORMAT,
    "media-type": CONTENT_FORMAT,  # as drafts up to 13 called it, and an example of 18 still does
    "topic-type": TOPIC_TYPE,
    "expiration-date": EXPIRATION_DATE,
    "max-subscribers": MAX_SUBSCRIBERS,
    "observer-check": OBSERVER_CHECK,
    "topic-history": TOPIC_HISTORY,
}
"""
The labels by the names that texts of the draft, and filters of drafts 15 to 18, use.
"""

# Where the value of a topic is.
_DATA: Final = "/ps/"
DATA_TYPE: Final = "core.ps.data"

_MOST_PROPERTIES: Final = 16
_LONGEST_TEXT: Final = 255
_LONGEST_SEGMENT: Final = 255
_LARGEST_FORMAT: Final = 0xFFFF
_LARGEST_NUMBER: Final = 0xFFFFFFFF
# The end of the year 9999, which is the last that a text can say.
_LAST_DATE: Final = 253402300799

Value: TypeAlias = int | float | str


class TopicConfiguration(Struct, frozen=True, array_like=True):
    """
    A topic's configuration, as the store keeps it. Fields that are added later come last and have a default.

    @ivar name: its topic-name.
    @ivar topic: the topic whose retained message is its value, without the mount point.
    @ivar mountpoint: of the client that made it; together with C{topicTree} it says who sees it.
    @ivar values: its other properties by label, as they were written.
    @ivar initialized: whether it has an empty value, which no retained message can be.
    """

    name: str
    topic: str
    mountpoint: str
    topicTree: str
    values: dict[int, Value]
    initialized: bool = False

    @property
    def format(self) -> int | None:
        """
        The content format of its values, L{None} for any.
        """
        return self._whole(CONTENT_FORMAT)

    @property
    def maxSubscribers(self) -> int | None:
        """
        How many clients may observe it, L{None} for any number.
        """
        return self._whole(MAX_SUBSCRIBERS)

    @property
    def observerCheck(self) -> int | None:
        """
        After how many seconds an observer has to show that it is there, L{None} where that is not said.
        """
        return self._whole(OBSERVER_CHECK)

    @property
    def expiresAt(self) -> float:
        """
        The date when it is removed, in seconds since the epoch; 0 for never.
        """
        date = self.values.get(EXPIRATION_DATE)
        return 0.0 if date is None else _secondsOf(date)

    def property(self, label: int) -> Value | None:
        """
        The value of a property, L{None} where it has none.
        """
        if label == TOPIC_NAME:
            return self.name
        if label == TOPIC_DATA:
            return dataPath(self.topic)
        return self.values.get(label)

    def matches(self, wanted: dict[int, Value]) -> bool:
        """
        Whether it has each of some properties with this value.
        """
        for label, value in wanted.items():
            own = self.property(label)
            if label == EXPIRATION_DATE and own is not None:
                if _secondsOf(own) != _secondsOf(value):
                    return False
            elif own != value:
                return False
        return True

    def encode(self, labels: list[int] | None = None) -> bytes:
        """
        Return its CBOR.

        @param labels: of the properties that are wanted; L{None} for all.
        """
        wanted = range(TOPIC_HISTORY + 1) if labels is None else sorted(set(labels))
        return encodeProperties(
            {label: value for label in wanted if (value := self.property(label)) is not None},
        )

    def _whole(self, label: int) -> int | None:
        value = self.values.get(label)
        return value if isinstance(value, int) else None


class Submitted(Struct, frozen=True):
    """
    The properties in a client's request.

    @ivar values: properties by label.
    @ivar initial: the first value of the topic; L{None} where there is none yet.
    @ivar filter: the labels of what is wanted; L{None} where that is not said.
    """

    values: dict[int, Value]
    initial: bytes | None = None
    filter: list[int] | None = None


def dataPath(topic: str) -> str:
    """
    The path below which the value of a topic is.
    """
    return _DATA + quote(topic, safe="/")


def topicOf(reference: str) -> str:
    """
    The topic whose value is at a place that a client has chosen.

    @raise CBORError: it is not below C{/ps/} of this server.
    """
    try:
        path = unquote_to_bytes(reference.removeprefix("/")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CBORError("topic-data is not UTF-8") from error
    topic = path.removeprefix(_DATA[1:])
    if topic == path or "?" in reference or "#" in reference:
        raise CBORError(f"topic-data is a path below {_DATA}")
    return topic


def checkSegments(topic: str) -> None:
    """
    Refuse a topic whose path no client could ask for.

    @raise CBORError: a level is longer than an option may be, or would be taken for a step up or none.
    """
    for segment in topic.split("/"):
        if segment in (".", ".."):
            raise CBORError("a level of a topic can't be . or ..")
        if len(segment.encode("utf-8")) > _LONGEST_SEGMENT:
            raise CBORError(f"a level of a topic has at most {_LONGEST_SEGMENT} bytes")


def decodeProperties(payload: bytes) -> Submitted:
    """
    Read what a client has sent.

    @raise CBORError: it is not a map of properties, or one has a value that it can't have.
    """
    reader = CBORReader(payload)
    count = reader.container(MAP)
    values: dict[int, Value] = {}
    initial: bytes | None = None
    labels: list[int] | None = None
    read = 0
    while not reader.isBreak() if count is None else read < count:
        read += 1
        if read > _MOST_PROPERTIES:
            raise CBORError(f"more than {_MOST_PROPERTIES} properties")
        label = _label(reader)
        major = reader.major()
        if label in _INITIALIZE and major in (BYTES, SIMPLE) and (label == 8) == (major == BYTES):
            first = reader.scalar()
            initial = first if isinstance(first, bytes) else b"" if first is True else None
        elif label in _CONF_FILTER and major == ARRAY:
            labels = _labels(reader)
        elif label in values:
            raise CBORError(f"property {label} for the second time")
        else:
            values[label] = _value(label, reader)
    if not reader.atEnd:
        raise CBORError("something after the map")
    return Submitted(values, initial, labels)


def encodeProperties(values: dict[int, Value]) -> bytes:
    """
    Properties by label as a map of CBOR; a date that is a number has tag 1.
    """
    data = bytearray(encodeHead(MAP, len(values)))
    for label, value in values.items():
        data += encodeHead(UNSIGNED, label)
        if label == EXPIRATION_DATE and not isinstance(value, str):
            data += encodeHead(TAG, 1)
        data += encodeScalar(value)
    return bytes(data)


def _label(reader: CBORReader) -> int:
    label = reader.scalar()
    if isinstance(label, str) and label in NAMES:
        return NAMES[label]
    if not isinstance(label, int) or isinstance(label, bool):
        raise CBORError("a property whose label is not a whole number")
    return label


def _labels(reader: CBORReader) -> list[int]:
    """
    The labels that a filter asks for; those that mean nothing here are of no topic.
    """
    count = reader.container(ARRAY)
    labels: list[int] = []
    read = 0
    while not reader.isBreak() if count is None else read < count:
        read += 1
        if read > _MOST_PROPERTIES:
            raise CBORError(f"a filter of more than {_MOST_PROPERTIES} properties")
        label = reader.scalar()
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise CBORError("a filter holds labels of properties")
        number = NAMES.get(label, -1) if isinstance(label, str) else label
        if TOPIC_NAME <= number <= TOPIC_HISTORY:
            labels.append(number)
    return labels


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8")) <= _LONGEST_TEXT:
        raise CBORError(f"a text of 1 to {_LONGEST_TEXT} bytes")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise CBORError("a text")
    return value


def _format(value: object) -> int:
    return _number(value, 0, _LARGEST_FORMAT)


def _count(value: object) -> int:
    return _number(value, 0, _LARGEST_NUMBER)


def _seconds(value: object) -> int:
    return _number(value, 1, _LARGEST_NUMBER)


def _number(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise CBORError(f"a whole number from {least} to {most}")
    return value


def _date(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise CBORError("a date")
    if isinstance(value, float) and not isfinite(value):
        raise CBORError("a date")
    if not 0 <= _secondsOf(value) <= _LAST_DATE:
        raise CBORError("a date from 1970 to 9999")
    return value


_KINDS: Final[dict[int, tuple[str, Callable[[object], Value]]]] = {
    TOPIC_NAME: ("topic-name", _name),
    TOPIC_DATA: ("topic-data", _name),
    RESOURCE_TYPE: ("resource-type", _text),
    CONTENT_FORMAT: ("topic-content-format", _format),
    TOPIC_TYPE: ("topic-type", _text),
    EXPIRATION_DATE: ("expiration-date", _date),
    MAX_SUBSCRIBERS: ("max-subscribers", _count),
    OBSERVER_CHECK: ("observer-check", _seconds),
    TOPIC_HISTORY: ("topic-history", _count),
}


def _value(label: int, reader: CBORReader) -> Value:
    kind = _KINDS.get(label)
    if kind is None:
        raise CBORError(f"a property {label} is not known")
    name, check = kind
    value = reader.scalar()
    try:
        return check(value)
    except CBORError as error:
        raise CBORError(f"{name} is {error}") from error


def _secondsOf(date: Value) -> float:
    """
    A date as seconds since the epoch.

    @raise CBORError: a text is not a date with a time and a zone (RFC 3339).
    """
    if not isinstance(date, str):
        return date
    try:
        moment = datetime.fromisoformat(date)
        if moment.tzinfo is None or "T" not in date.upper():
            raise ValueError
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise CBORError("a date such as 2030-12-31T23:59:59Z") from error
