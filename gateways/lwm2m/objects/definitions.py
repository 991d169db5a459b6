"""
The definitions of objects as files, in the form of the OMA's registry (LWM2M.xsd).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Final
from xml.parsers import expat

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.values import typeNamed
from gateways.lwm2m.objects.models import Models, ObjectModel, ResourceModel
from gateways.lwm2m.objects.paths import HIGHEST, shown

# The largest of the registry's has 150 KB.
_LARGEST: Final = 1 << 20
_DEEPEST: Final = 16

_NUMBER: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_MULTIPLE: Final = {"single": False, "multiple": True}
_MANDATORY: Final = {"optional": False, "mandatory": True}
_OPERATIONS: Final = ("", "R", "W", "RW", "E")


def loadModels(folder: str = "") -> tuple[Models, list[str]]:
    """
    The standard objects 0 to 7, and those of a folder, which add to them and override them. Blocks: for the start.

    @param folder: C{lwm2m.xml_dir}; of every C{*.xml} in it, by their names. Nothing for none.

    @return: what is known, and what is wrong with files that could not be used: with the name and the line.
    """
    models: list[ObjectModel] = []
    problems: list[str] = []
    for name, data in _standard():
        models += parseDefinitions(data, name)
    if folder:
        try:
            found = sorted(each for each in FilePath(folder).iterdir() if each.suffix.lower() == ".xml")
        except OSError as error:
            return Models(models), [f"{folder}: {error.strerror}"]
        for file in found:
            try:
                with file.open("rb") as opened:
                    models += parseDefinitions(opened.read(_LARGEST + 1), str(file))
            except ContentError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{file}: {error.strerror}")
    return Models(models), problems


def _standard() -> Iterator[tuple[str, bytes]]:
    for file in sorted(files("gateways.lwm2m").joinpath("objects").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".xml"):
            yield file.name, file.read_bytes()


def parseDefinitions(data: bytes, name: str) -> list[ObjectModel]:
    """
    The objects that a file defines.

    @param name: of the file, for errors.

    @raise ContentError: it is no XML, has a document type, or is not a definition; with the name and the line.
    """
    if len(data) > _LARGEST:
        raise ContentError(f"{name}: more than {_LARGEST} bytes")
    root = _DefinitionReader(name).read(data)
    if root.tag != "LWM2M":
        raise root.wrong(f"<{root.tag}> where <LWM2M> is wanted")
    models = [_object(element) for element in root.all("Object")]
    if not models:
        raise root.wrong("no <Object>")
    return models


class _XMLElement:
    """
    An element of a file.
    """

    __slots__ = ("tag", "attributes", "text", "inner", "place")

    def __init__(self, tag: str, attributes: dict[str, str], place: str) -> None:
        self.tag = tag
        self.attributes = attributes
        self.place = place
        self.text: list[str] = []
        self.inner: list[_XMLElement] = []

    def all(self, tag: str) -> Iterator[_XMLElement]:
        return (element for element in self.inner if element.tag == tag)

    def wrong(self, text: str) -> ContentError:
        return ContentError(f"{self.place}: {text}")

    def find(self, tag: str) -> _XMLElement | None:
        return next(self.all(tag), None)

    def say(self, tag: str, default: str | None = None) -> str:
        """
        The text of an element below this one.

        @raise ContentError: there is none, and no default.
        """
        found = self.find(tag)
        if found is not None:
            text = " ".join("".join(found.text).split())
            if text or default is None:
                return text
        if default is None:
            raise self.wrong(f"<{self.tag}> has no <{tag}>")
        return default

    def number(self, text: str, what: str) -> int:
        if _NUMBER.fullmatch(text) is None or int(text) > HIGHEST:
            raise self.wrong(f"{what}: {shown(text)} is not a number from 0 to {HIGHEST}")
        return int(text)

    def either(self, tag: str, choices: dict[str, bool], default: str | None = None) -> bool:
        text = self.say(tag, default)
        if text.lower() not in choices:
            raise self.wrong(f"<{tag}>: {shown(text)} where {' or '.join(choices)} is wanted")
        return choices[text.lower()]


class _DefinitionReader:
    """
    Reads one file. Document types are refused, and with them all entities but those of XML itself.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._say
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._open: list[_XMLElement] = []
        self._root: _XMLElement | None = None

    def read(self, data: bytes) -> _XMLElement:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise self._wrong(expat.ErrorString(error.code)) from error
        except (LookupError, ValueError) as error:  # of an encoding
            raise self._wrong(str(error)) from error
        if self._root is None:  # what expat does not let through
            raise self._wrong("no element")
        return self._root

    def _place(self) -> str:
        return f"{self._name}, line {self._parser.CurrentLineNumber}"

    def _wrong(self, text: str) -> ContentError:
        return ContentError(f"{self._place()}: {text}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) == _DEEPEST:
            raise self._wrong(f"elements in more than {_DEEPEST} others")
        element = _XMLElement(tag, attributes, self._place())
        if self._open:
            self._open[-1].inner.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, tag: str) -> None:
        self._open.pop()

    def _say(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)

    def _refuse(self, *args: object) -> None:
        raise self._wrong("a document type")


def _object(element: _XMLElement) -> ObjectModel:
    number = element.number(element.say("ObjectID"), "<ObjectID>")
    urn = element.say("ObjectURN", "")
    # "urn:oma:lwm2m:oma:3:1.1" says the version too, where the definition is an old one that does not.
    last = urn.rpartition(":")[2]
    version = element.say("ObjectVersion", last if "." in last else "1.0")
    if _VERSION.fullmatch(version) is None:
        raise element.wrong(f"<ObjectVersion>: {shown(version)} is not a version")
    resources: dict[int, ResourceModel] = {}
    within = element.find("Resources")
    for item in within.all("Item") if within is not None else ():
        resource = _resource(item)
        if resource.id in resources:
            raise item.wrong(f"resource {resource.id} for the second time")
        resources[resource.id] = resource
    return ObjectModel(
        number,
        element.say("Name"),
        version,
        urn,
        element.either("MultipleInstances", _MULTIPLE),
        element.either("Mandatory", _MANDATORY, "Optional"),
        resources,
    )


def _resource(item: _XMLElement) -> ResourceModel:
    operations = item.say("Operations", "").upper()
    if operations not in _OPERATIONS:
        raise item.wrong(f"<Operations>: {shown(operations)}")
    type = item.say("Type", "")
    try:
        # An old way to write that there is none.
        type = "" if type.lower() in ("", "none") else typeNamed(type)
    except ContentError as error:
        raise item.wrong(f"<Type>: {error}") from error
    return ResourceModel(
        item.number(item.attributes.get("ID", ""), "ID"),
        item.say("Name"),
        operations,
        item.either("MultipleInstances", _MULTIPLE, "Single"),
        item.either("Mandatory", _MANDATORY, "Optional"),
        type,
        item.say("RangeEnumeration", ""),
        item.say("Units", ""),
    )
