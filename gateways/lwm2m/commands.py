"""
Commands: the JSON that MQTT clients send to a device, and the CoAP request that each becomes. Pure.

What happens to a payload from the command topic::

    try:
        command = parseCommand(payload, dialect.models)
        request = command.request(dialect)         # when its turn comes: the dialect may have changed
    except NotJSON:                                # logged, nothing is answered
    except CommandError as error:                  # answers.refused(error) is the answer: 4.00
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Final, NamedTuple, TypeAlias

import msgspec

from gateways.coap.codes import DELETE as REMOVE
from gateways.coap.codes import FETCH, GET, IPATCH, POST, PUT
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import LINKS, TEXT, Dialect, encode, encodePaths, writtenFormats
from gateways.lwm2m.formats.entries import ResourceValue, countEntries
from gateways.lwm2m.formats.jsontext import Scalar, decodeJSON
from gateways.lwm2m.formats.values import FLOAT, INTEGER, STRING, TIME, UNSIGNED, fromJSON, typeNamed
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import Path, joinPath, observedPath, parsePath, pathText, shown, uriPath

READ: Final = "read"
DISCOVER: Final = "discover"
WRITE: Final = "write"
WRITE_ATTR: Final = "write-attr"
EXECUTE: Final = "execute"
CREATE: Final = "create"
DELETE: Final = "delete"
OBSERVE: Final = "observe"
CANCEL_OBSERVE: Final = "cancel-observe"
# LwM2M 1.1.
READ_COMPOSITE: Final = "read-composite"
OBSERVE_COMPOSITE: Final = "observe-composite"
CANCEL_OBSERVE_COMPOSITE: Final = "cancel-observe-composite"
WRITE_COMPOSITE: Final = "write-composite"

COMPOSITES: Final = (READ_COMPOSITE, OBSERVE_COMPOSITE, CANCEL_OBSERVE_COMPOSITE, WRITE_COMPOSITE)

# More is a mistake, or worse: a command is kept until it is answered, an observation for as long as it lasts.
_MOST_PATHS: Final = 1000
_MOST_KEYS: Final = 16
_LONGEST_KEY: Final = 64
_LONGEST_CORRELATION: Final = 1024
# The part of a path, right or wrong, that goes into an answer, in characters.
_LONGEST_ABOUT: Final = 64
# Of a Uri-Query option (RFC 7252 5.10).
_LONGEST_QUERY: Final = 255

_DECODER: Final = msgspec.json.Decoder(dict[str, object])

_NUMBERS: Final = (FLOAT, TIME, UNSIGNED)

# The attributes of notifications (LwM2M 1.1.1 core 5.1.2): these are times in seconds, or whole numbers of them ...
_PERIODS: Final = ("pmin", "pmax", "epmin", "epmax")
# ... and these are compared with values.
_THRESHOLDS: Final = ("gt", "lt", "st")


class NotJSON(Exception):
    """
    A payload is no JSON object: there is nothing that an answer could be tied to.
    """


class CommandError(Exception):
    """
    A command can't be obeyed.

    @ivar correlation: what its answer repeats.
    @ivar about: C{reqPath} or C{reqPaths} of its answer, as far as they could be made out.
    """

    def __init__(self, reason: str, correlation: Mapping[str, Scalar], about: Mapping[str, object]) -> None:
        Exception.__init__(self, reason)
        self.correlation = correlation
        self.about = about


class DeviceRequest(NamedTuple):
    """
    A CoAP request as plain data.

    @ivar code: see L{gateways.coap.codes}.
    @ivar path: the Uri-Path options, the alternate path among them.
    @ivar queries: the Uri-Query options.
    @ivar contentFormat: of the payload; L{None} for no such option.
    @ivar accept: likewise.
    @ivar observe: 0 to begin, 1 to end; L{None} for no such option.
    """

    code: int
    path: list[str]
    queries: list[str] = []
    contentFormat: int | None = None
    accept: int | None = None
    payload: bytes = b""
    observe: int | None = None


class Command:
    """
    A command that has been understood.

    @ivar type: the C{msgType}: L{READ} and the others.
    @ivar correlation: every key of its JSON but C{data}, with C{msgType} among them; in every answer.
    @ivar about: C{{"reqPath": ...}}, or C{{"reqPaths": [...]}} of a composite; in every answer, as the client wrote it.
    @ivar paths: where it leads; several for a composite. An observation is known by this.
    @ivar entries: what it writes.
    @ivar queries: what attributes it writes.
    @ivar arguments: of what it executes.
    """

    __slots__ = ("type", "correlation", "about", "paths", "entries", "queries", "arguments")

    def __init__(
        self,
        type: str,
        correlation: Mapping[str, Scalar],
        about: Mapping[str, object],
        paths: tuple[Path, ...],
        entries: tuple[ResourceValue, ...] = (),
        queries: tuple[str, ...] = (),
        arguments: str = "",
    ) -> None:
        self.type = type
        self.correlation = correlation
        self.about = about
        self.paths = paths
        self.entries = entries
        self.queries = queries
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"<{self.type} {' '.join(map(pathText, self.paths))}>"

    def formats(self, dialect: Dialect) -> tuple[int, ...]:
        """
        The content formats of its request to a device, the best first; none where it has no content, or the device has
        no such operation.
        """
        if self.type in COMPOSITES:
            return dialect.composites
        if self.type == WRITE:
            return writtenFormats(dialect, self.paths[0], self.entries)
        return dialect.writes if self.type == CREATE else ()

    def request(self, dialect: Dialect, contentFormat: int | None = None) -> DeviceRequest:
        """
        The request that it is for a device.

        @param contentFormat: one of L{formats}; L{None} for the best.

        @raise CommandError: the device has no such operation, or the format can't say this.
        """
        if contentFormat is None:
            contentFormat = next(iter(self.formats(dialect)), None)
        try:
            if self.type in COMPOSITES:
                return self._composite(dialect, contentFormat)
            return self._single(dialect, self.paths[0], contentFormat)
        except ContentError as error:
            raise CommandError(str(error), self.correlation, self.about) from error

    def _single(self, dialect: Dialect, path: Path, form: int | None) -> DeviceRequest:
        """
        A request to one object, instance or resource.
        """
        code = _METHODS[self.type]
        uri = uriPath(path, dialect.prefix)
        if form is not None:
            # Resources are added to an instance, or exchanged in it; a resource is replaced (spec 5.5).
            if self.type == WRITE and len(path) > 2:
                code = PUT
            payload = encode(form, path, self.entries, dialect.prefix)
            return DeviceRequest(code, uri, contentFormat=form, payload=payload)
        if self.type == EXECUTE and self.arguments:
            return DeviceRequest(code, uri, contentFormat=TEXT, payload=self.arguments.encode("utf-8"))
        accept = LINKS if self.type == DISCOVER else None
        return DeviceRequest(code, uri, list(self.queries), accept=accept, observe=_OBSERVE.get(self.type))

    def _composite(self, dialect: Dialect, form: int | None) -> DeviceRequest:
        """
        A request to the device as a whole (LwM2M 1.1).
        """
        if form is None:
            raise ContentError(f"{self.type} is not for a device of LwM2M 1.0")
        uri = uriPath((), dialect.prefix)
        if self.type == WRITE_COMPOSITE:
            return DeviceRequest(
                IPATCH, uri, contentFormat=form, payload=encode(form, (), self.entries, dialect.prefix)
            )
        payload = encodePaths(form, self.paths, dialect.prefix)
        observe = _OBSERVE.get(self.type)
        return DeviceRequest(FETCH, uri, contentFormat=form, accept=form, payload=payload, observe=observe)


def observing(path: Path) -> Command:
    """
    The C{observe} that the gateway makes of itself (C{lwm2m.auto_observe}).

    @param path: of an object or instance that a device has told.
    """
    path = observedPath(path)
    return Command(OBSERVE, {"msgType": OBSERVE}, {"reqPath": pathText(path)}, (path,))


def parseCommand(payload: bytes, models: Models) -> Command:
    """
    The command that a payload is.

    @param models: for the types of values, and to tell which objects are known.

    @raise NotJSON: it is not even JSON.
    @raise CommandError: it is none, or about an object without a definition.
    """
    try:
        said = decodeJSON(_DECODER, payload)
    except ContentError as error:
        raise NotJSON(str(error)) from error
    correlation, strange = _correlation(said)
    data = said.get("data")
    about = _about(data) if isinstance(data, dict) else {}
    try:
        if strange:
            raise ContentError(strange)
        type = correlation.get("msgType")
        read = _READERS.get(type) if isinstance(type, str) else None
        if not isinstance(type, str) or read is None:
            raise ContentError("no msgType" if type is None else f"there is no msgType {_shown(type)}")
        if not isinstance(data, dict):
            raise ContentError("no data")
        encoding = correlation.get("encoding", "plain")
        if encoding not in ("plain", "hex"):
            raise ContentError(f"there is no encoding {_shown(encoding)}")
        command = Command(type, correlation, about, ())
        read(command, data, _Types(models, str(encoding)))
        if type not in _WITHOUT_VALUES:
            for path in command.paths:
                if path and models.object(path[0]) is None:
                    raise ContentError(f"there is no definition of the object {path[0]}")
        return command
    except ContentError as error:
        raise CommandError(str(error), correlation, about) from error


def _correlation(said: Mapping[str, object]) -> tuple[dict[str, Scalar], str]:
    """
    The keys of a command that an answer repeats, and the error in the command.
    """
    kept: dict[str, Scalar] = {}
    strange = ""
    size = 0
    for key, value in said.items():
        if key == "data":
            continue
        size += len(value) if isinstance(value, str) else 0
        if value is not None and not isinstance(value, str | int | float):
            strange = f"{shown(key)} is neither a text nor a number"
        elif len(kept) == _MOST_KEYS or len(key) > _LONGEST_KEY or size > _LONGEST_CORRELATION:
            strange = "too much beside the data"
        elif isinstance(value, int) and value.bit_length() > 64:
            strange = f"{shown(key)} is out of range"
        else:
            kept[key] = value
    return kept, strange


def _about(data: Mapping[str, object]) -> dict[str, object]:
    """
    The paths that an answer names.
    """
    for key in ("path", "basePath"):
        path = data.get(key)
        if isinstance(path, str):
            return {"reqPath": path[:_LONGEST_ABOUT]}
    paths = data.get("paths")
    if isinstance(paths, list) and len(paths) <= _MOST_PATHS:
        return {"reqPaths": [path[:_LONGEST_ABOUT] for path in paths if isinstance(path, str)]}
    return {}


class _Types:
    """
    Reads the values of one command.
    """

    __slots__ = ("_models", "_encoding")

    def __init__(self, models: Models, encoding: str) -> None:
        self._models = models
        self._encoding = encoding

    def entry(self, path: Path, said: Mapping[str, object]) -> ResourceValue:
        """
        @param said: C{value} and C{type}; without a type that of the definition holds.

        @raise ContentError: there is no value of such a type.
        """
        if len(path) < 3:
            raise ContentError(f"{pathText(path)} is not the path of a resource")
        try:
            type = self._type(path, said.get("type"))
            if said.get("value") is None:
                raise ContentError("no value")
            return ResourceValue(path, type, fromJSON(type, said["value"], self._encoding))
        except ContentError as error:
            raise ContentError(f"{pathText(path)}: {error}") from error

    def _type(self, path: Path, name: object) -> str:
        defined = self._models.typeOf(path)
        if name is None:
            if not defined:
                raise ContentError("no type, and there is no definition that has one")
            return defined
        if not isinstance(name, str):
            raise ContentError(f"there is no type {_shown(name)}")
        type = typeNamed(name)
        # A client that writes 20 for a float says Integer but means 20.0, which has other bytes.
        return defined if type == INTEGER and defined in _NUMBERS else type

    def entries(self, base: Path, data: Mapping[str, object], empty: bool = False) -> tuple[ResourceValue, ...]:
        """
        The C{content} of a command; the paths in it are below C{base}.

        @param empty: whether it may be.
        """
        content = data.get("content")
        if not isinstance(content, list):
            raise ContentError("content is not a list")
        if not content and not empty:
            raise ContentError("content is empty")
        countEntries(len(content))
        entries: dict[Path, ResourceValue] = {}
        for said in content:
            if not isinstance(said, dict):
                raise ContentError("content has something else than objects")
            path = joinPath(base, _text(said, "path", ""))
            if path in entries:
                raise ContentError(f"{pathText(path)} for the second time")
            entries[path] = self.entry(path, said)
        return tuple(entries.values())


def _text(data: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = data.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise ContentError(f"no {key}" if value is None else f"{key} is not text")
    return value


def _shown(value: object) -> str:
    return shown(value) if isinstance(value, str) else f"of the kind {value.__class__.__name__}"


_Reader: TypeAlias = Callable[[Command, Mapping[str, object], _Types], None]


def _onePath(least: int, most: int) -> _Reader:
    """
    Make the reader of a command whose only argument is a path of so many segments.
    """

    def read(command: Command, data: Mapping[str, object], types: _Types) -> None:
        command.paths = (parsePath(_text(data, "path"), least, most),)

    return read


def _readWrite(command: Command, data: Mapping[str, object], types: _Types) -> None:
    if "path" in data:
        path = parsePath(_text(data, "path"), 3, 4)
        command.entries = (types.entry(path, data),)
    else:
        path = parsePath(_text(data, "basePath"), 2, 3)
        command.entries = types.entries(path, data)
    command.paths = (path,)


def _readCreate(command: Command, data: Mapping[str, object], types: _Types) -> None:
    base = parsePath(_text(data, "basePath"), 1, 2)
    command.entries = types.entries(base, data, empty=len(base) == 1)
    # The instance is in what is sent, not in the path that it is sent to (LwM2M 1.1.1 core 6.3.8).
    command.paths = (base[:1],)


def _readAttributes(command: Command, data: Mapping[str, object], types: _Types) -> None:
    command.paths = (parsePath(_text(data, "path"), 1, 4),)
    queries: list[str] = []
    for key, value in data.items():
        if key == "path" or value is None:
            continue
        try:
            if key in _PERIODS:
                number = str(fromJSON(UNSIGNED, value))
            elif key in _THRESHOLDS:
                # No exponents: they are written as digits (LwM2M 1.1.1 core 5.1.1).
                number = f"{Decimal(str(fromJSON(FLOAT, value))).normalize():f}"
            else:
                raise ContentError("there is no such attribute")
        except ContentError as error:
            raise ContentError(f"{shown(key)}: {error}") from error
        query = f"{key}={number}"
        if len(query) > _LONGEST_QUERY or not isfinite(float(number)):
            raise ContentError(f"{key}: the number is out of range")
        queries.append(query)
    if not queries:
        raise ContentError("no attribute")
    command.queries = tuple(queries)


def _readExecute(command: Command, data: Mapping[str, object], types: _Types) -> None:
    command.paths = (parsePath(_text(data, "path"), 3, 3),)
    arguments = fromJSON(STRING, _text(data, "args", ""))
    command.arguments = str(arguments)


def _readPaths(command: Command, data: Mapping[str, object], types: _Types) -> None:
    paths = data.get("paths")
    if not isinstance(paths, list) or not paths or len(paths) > _MOST_PATHS:
        raise ContentError(f"paths is not a list of 1 to {_MOST_PATHS} paths")
    found: dict[Path, None] = {}
    for path in paths:
        if not isinstance(path, str):
            raise ContentError("a path is not text")
        found[parsePath(path)] = None
    command.paths = tuple(found)


def _readWriteComposite(command: Command, data: Mapping[str, object], types: _Types) -> None:
    base = joinPath((), _text(data, "basePath", "/"))
    command.entries = types.entries(base, data)
    command.paths = tuple(entry.path for entry in command.entries)
    command.about = {"reqPaths": [pathText(path) for path in command.paths]}


_READERS: Final[dict[str, _Reader]] = {
    READ: _onePath(1, 4),
    DISCOVER: _onePath(1, 3),
    WRITE: _readWrite,
    WRITE_ATTR: _readAttributes,
    EXECUTE: _readExecute,
    CREATE: _readCreate,
    DELETE: _onePath(2, 2),
    OBSERVE: _onePath(1, 4),
    CANCEL_OBSERVE: _onePath(1, 4),
    READ_COMPOSITE: _readPaths,
    OBSERVE_COMPOSITE: _readPaths,
    CANCEL_OBSERVE_COMPOSITE: _readPaths,
    WRITE_COMPOSITE: _readWriteComposite,
}

# These need no definition of their object.
_WITHOUT_VALUES: Final = (DISCOVER, WRITE_ATTR, EXECUTE, DELETE)

_METHODS: Final = {
    READ: GET,
    DISCOVER: GET,
    WRITE: POST,
    WRITE_ATTR: PUT,
    EXECUTE: POST,
    CREATE: POST,
    DELETE: REMOVE,
    OBSERVE: GET,
    CANCEL_OBSERVE: GET,
}
_OBSERVE: Final = {OBSERVE: 0, CANCEL_OBSERVE: 1, OBSERVE_COMPOSITE: 0, CANCEL_OBSERVE_COMPOSITE: 1}
