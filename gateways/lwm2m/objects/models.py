"""
The definitions of objects: names, types, and the version of an object that holds for a device. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateways.lwm2m.objects.paths import Path


class ResourceModel(NamedTuple):
    """
    The definition of a resource.

    @ivar operations: C{""}, C{"R"}, C{"W"}, C{"RW"} or C{"E"}.
    @ivar type: see L{gateways.lwm2m.formats.values}; C{""} for one that is only executed.
    @ivar range: of its values, in the words of the definition.
    """

    id: int
    name: str
    operations: str
    multiple: bool
    mandatory: bool
    type: str
    range: str
    units: str


class ObjectModel(NamedTuple):
    """
    The definition of an object.

    @ivar version: such as C{"1.0"}.
    """

    id: int
    name: str
    version: str
    urn: str
    multiple: bool
    mandatory: bool
    resources: Mapping[int, ResourceModel]


class Models:
    """
    The objects that are known, in all their versions; and for each the one that holds.
    """

    __slots__ = ("_known", "_chosen")

    def __init__(self, known: Iterable[ObjectModel]) -> None:
        """
        @param known: of two with one identifier and version, the later one holds. Until a device tells a version, the
            newest like 1.0 holds, which is what it means to tell none (LwM2M 1.1.1 core 7.2.2), else the newest.
        """
        self._known: dict[int, dict[str, ObjectModel]] = {}
        for model in known:
            self._known.setdefault(model.id, {})[model.version] = model
        self._chosen = {number: _nearest(versions, "1") for number, versions in self._known.items()}

    def choose(self, versions: Mapping[int, str]) -> Models:
        """
        The same for a device that has told versions. Where there is no definition of such a version the newest of its
        major version holds, else the newest.
        """
        others: dict[int, ObjectModel] = {}
        for number, version in versions.items():
            if number in self._known:
                chosen = _nearest(self._known[number], version)
                if chosen is not self._chosen[number]:
                    others[number] = chosen
        if not others:  # as nearly always: devices share one
            return self
        models = Models(())
        models._known = self._known
        models._chosen = self._chosen | others
        return models

    def object(self, number: int) -> ObjectModel | None:
        """
        An object, L{None} where there is no definition.
        """
        return self._chosen.get(number)

    def resource(self, path: Path) -> ResourceModel | None:
        """
        The resource that a path of three or four segments leads to, L{None} where there is no definition; a shorter one
        leads to none.
        """
        model = self._chosen.get(path[0])
        return None if model is None or len(path) < 3 else model.resources.get(path[2])

    def typeOf(self, path: Path) -> str:
        """
        The type of that resource; nothing where there is no definition, or it has none.
        """
        model = self.resource(path)
        return "" if model is None else model.type

    def __len__(self) -> int:
        return len(self._known)


def _nearest(known: Mapping[str, ObjectModel], version: str) -> ObjectModel:
    """
    That of a version; if there is none, the newest of its major version, or else the newest.
    """
    if version in known:
        return known[version]
    major = version.partition(".")[0]
    like = [model for model in known.values() if model.version.partition(".")[0] == major]
    return max(like or known.values(), key=_order)


def _order(model: ObjectModel) -> tuple[int, ...]:
    return tuple(map(int, model.version.split(".")))
