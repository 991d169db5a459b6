"""
How the tests' LwM2M device answers, in the loop that it lives in.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, NamedTuple

from aiocoap import Message
from aiocoap.numbers.codes import Code

from tests.system.lwm2m import formats
from tests.system.lwm2m.formats import SENML_CBOR, SENML_JSON, TEXT, TLV, Entry, Malformed, Path, pathOf, textOf
from tests.system.lwm2m.objects import KINDS, Objects, Refused

ALL_FORMATS = frozenset((TEXT, formats.OPAQUE, SENML_JSON, SENML_CBOR, TLV, formats.JSON))

CHANGED, CONTENT, CREATED, DELETED = (Code.CHANGED, Code.CONTENT, Code.CREATED, Code.DELETED)


class Asked(NamedTuple):
    """
    A request of the server, as it came.
    """

    method: str
    path: str
    query: tuple[str, ...] = ()
    accept: int | None = None
    format: int | None = None
    observe: int | None = None
    payload: bytes = b""


class Answering:
    """
    The part of a device that answers.

    @ivar objects: what it holds.
    @ivar asked: what it was asked, oldest first.
    @ivar location: where it is registered, as the server said.
    @ivar refusals: codes to answer with instead, by path.
    @ivar garbage: what to answer reads with instead of values, as if it were some.
    @ivar aliases: other paths of values.
    @ivar forms: content formats that it speaks.
    @ivar form: what it answers in where nothing is asked for, or whatever is asked for if C{stubborn}.
    @ivar package: the firmware that was written last.
    @ivar bootstrapped: set when a bootstrap server has finished.
    """

    def __init__(self, root: str, form: int, stubborn: bool, forms: frozenset[int]) -> None:
        """
        @param root: the alternate path below which its objects are.
        """
        self.root = root
        self.objects = Objects()
        self.form = form
        self.stubborn = stubborn
        self.forms = forms
        self.asked: queue.Queue[Asked] = queue.Queue()
        self.location: tuple[str, ...] = ()
        self.refusals: dict[str, str] = {}
        self.garbage = b""
        self.aliases: dict[str, str] = {}
        self.package = b""
        self.bootstrapped = threading.Event()

    def inside(self, request: Any) -> Path:
        """
        The path of a request below the alternate path; raises an answer if it is not below that, or no path.
        """
        steps = "/" + "/".join(request.opt.uri_path)
        if not steps.startswith(self.root):
            return (-1,)
        try:
            path = steps[len(self.root) :]
            return pathOf(self.aliases.get(path, path))
        except ValueError:
            return (-1,)

    def pathsOf(self, request: Any) -> list[Path]:
        """
        The path of a read.
        """
        if request.code != Code.FETCH:
            return [self.inside(request)]
        return [path for path, _ in formats.records(request.payload, request.opt.content_format)]

    def note(self, request: Any) -> None:
        """
        Take down what came.
        """
        options = request.opt
        path = "/" + "/".join(options.uri_path)
        method = request.code.name
        self.asked.put(
            Asked(
                method,
                path,
                tuple(options.uri_query),
                None if options.accept is None else int(options.accept),
                None if options.content_format is None else int(options.content_format),
                options.observe,
                request.payload,
            )
        )

    def answer(self, request: Any) -> Any:
        """
        Do what is asked.
        """
        path = self.inside(request)
        try:
            refusal = self.refusals.get(textOf(path))
            if refusal is not None:
                raise Refused(refusal)
            if tuple(request.opt.uri_path) == ("bs",):
                self.bootstrapped.set()
                return Message(code=CHANGED)
            return getattr(self, "_" + request.code.name)(path, request)
        except Refused as error:
            major, minor = str(error).split(".")
            return Message(code=Code(int(major) << 5 | int(minor)))
        except Malformed as error:
            return Message(code=Code.BAD_REQUEST, payload=str(error).encode())

    def _GET(self, path: Path, request: Any) -> Any:
        if request.opt.accept == formats.LINKS:
            text = self.objects.describe(path, self.root)
            return Message(code=CONTENT, payload=text.encode(), content_format=formats.LINKS)
        return self._content(path, self.objects.read(path), request)

    def _FETCH(self, path: Path, request: Any) -> Any:
        entries: list[Entry] = []
        for each in self.pathsOf(request):
            entries += self.objects.read(each)
        return self._content((), entries, request)

    def _iPATCH(self, path: Path, request: Any) -> Any:
        entries = formats.fromSenML(request.payload, request.opt.content_format, KINDS)
        for at, value in entries:
            self.objects.write(at[:3], [(at, value)], False)
        return Message(code=CHANGED)

    def _PUT(self, path: Path, request: Any) -> Any:
        if request.opt.uri_query and not request.payload:
            self.objects.annotate(path, tuple(request.opt.uri_query))
            return Message(code=CHANGED)
        entries = self._entries(path, request)
        if path and path[0] in (0, 1) and not self.location:
            self.objects.provision(entries)
        else:
            self._write(path, entries, True)
        return Message(code=CHANGED)

    def _POST(self, path: Path, request: Any) -> Any:
        if len(path) == 1:
            entries = self._entries(path, request, self.objects.spare(path[0]))
            self.objects.create(entries)
            return Message(code=CREATED, location_path=[str(step) for step in entries[0][0][:2]])
        if len(path) == 3 and request.opt.content_format in (None, TEXT):
            self.objects.execute(path, request.payload.decode())
            return Message(code=CHANGED)
        self._write(path, self._entries(path, request), False)
        return Message(code=CHANGED)

    def _DELETE(self, path: Path, request: Any) -> Any:
        if not path:
            self.objects.values = {at: value for at, value in self.objects.values.items() if at[0] not in (0, 1)}
        else:
            self.objects.delete(path)
        return Message(code=DELETED)

    def _write(self, path: Path, entries: list[Entry], replace: bool) -> None:
        self.objects.write(path, entries, replace)
        for at, value in entries:
            if at == (5, 0, 0):
                self.package = self.objects.values.pop(at)
                self.objects.values[5, 0, 3] = 2 if value else 0

    def _entries(self, path: Path, request: Any, spare: int = 0) -> list[Entry]:
        form = request.opt.content_format
        form = TEXT if form is None else int(form)
        if form not in self.forms:
            raise Refused("4.15")
        if form == TLV:
            return formats.fromTLV(path, request.payload, KINDS, spare)
        if form in (SENML_JSON, SENML_CBOR):
            return formats.fromSenML(request.payload, form, KINDS)
        if form == formats.OPAQUE and KINDS(path) == "opaque":
            return [(path, request.payload)]
        if form == TEXT:
            return [(path, formats.fromText(KINDS(path), request.payload))]
        raise Refused("4.15")

    def _content(self, path: Path, entries: list[Entry], request: Any) -> Any:
        form = self.form
        if request.opt.accept is not None and not self.stubborn:
            form = int(request.opt.accept)
            if form not in self.forms:
                raise Refused("4.06")
        payload = self.garbage or self.pack(path, entries, form)
        return Message(code=CONTENT, payload=payload, content_format=form)

    def pack(self, path: Path, entries: list[Entry], form: int) -> bytes:
        """
        Values in a content format; raises an answer if it can't say them.
        """
        if form == TLV:
            return formats.toTLV(path, entries, KINDS)
        if form == SENML_JSON:
            return formats.toSenMLJSON(path, entries, KINDS)
        if form == SENML_CBOR:
            return formats.toSenMLCBOR(path, entries, KINDS)
        if form == formats.JSON:
            return formats.toJSON(path, entries, KINDS)
        if len(entries) == 1 and entries[0][0] == path:
            kind, value = KINDS(path), entries[0][1]
            if form == TEXT:
                return formats.toText(kind, value)
            if form == formats.OPAQUE and kind == "opaque":
                return bytes(value)
        raise Refused("4.06")
