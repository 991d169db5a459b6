"""
What is known of objects: the definitions of the OMA's registry (LWM2M.xsd), read at the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateways.lwm2m.paths import Path


class ResourceModel(NamedTuple):
    """
    What is known of a resource.

    @ivar operations: C{""}, C{"R"}, C{"W"}, C{"RW"} or C{"E"}.
    @ivar type: see L{gateways.lwm2m.values}; C{""} for one that is only executed.
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
    What is known of an object.

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

    def __init__(self, known: Sequence[ObjectModel]) -> None:
        """
        @param known: of two with one identifier and version, the later one holds.
        """
        raise NotImplementedError

    def choose(self, versions: Mapping[int, str]) -> Models:
        """
        The same for a device that has told versions. Where there is no definition of such a version the newest of its
        major version holds, else the newest.
        """
        raise NotImplementedError

    def object(self, number: int) -> ObjectModel | None:
        """
        An object, L{None} where there is no definition.
        """
        raise NotImplementedError

    def resource(self, path: Path) -> ResourceModel | None:
        """
        The resource that a path of three or four segments leads to, L{None} where there is no definition.
        """
        raise NotImplementedError


def loadModels(folder: str = "") -> tuple[Models, list[str]]:
    """
    The standard objects 0 to 7, and those of a folder, which override them. Blocks: for the start.

    @param folder: C{lwm2m.xml_dir}; of every C{*.xml} in it.

    @return: what is known, and what is wrong with files that could not be used: with the name and the line.
    """
    raise NotImplementedError
