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

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from gateways.lwm2m.content import Dialect
from gateways.lwm2m.entries import Entry
from gateways.lwm2m.models import Models
from gateways.lwm2m.paths import Path

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

Scalar: TypeAlias = str | int | float | bool | None


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


class Request(NamedTuple):
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
    queries: list[str]
    contentFormat: int | None
    accept: int | None
    payload: bytes
    observe: int | None


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
        entries: tuple[Entry, ...] = (),
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

    def request(self, dialect: Dialect) -> Request:
        """
        The request that it is for a device.

        @raise CommandError: the device has no such operation, or its format can't say this.
        """
        raise NotImplementedError


def observing(path: Path) -> Command:
    """
    The C{observe} that the gateway makes of itself (C{lwm2m.auto_observe}).
    """
    raise NotImplementedError


def parseCommand(payload: bytes, models: Models) -> Command:
    """
    The command that a payload is.

    @param models: for the types of values, and to tell which objects are known.

    @raise NotJSON: it is not even JSON.
    @raise CommandError: it is none, or about an object without a definition.
    """
    raise NotImplementedError
