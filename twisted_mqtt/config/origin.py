"""
The origin of settings: needed to read them again and to trace each value.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from twisted_mqtt.config.registry import IDeclaration, Registry

#: The sources of a value, from the weakest to the strongest.
Kind = Literal["default", "file", "override", "environment"]


class Place(Struct, frozen=True):
    """
    Where one value stands.

    @ivar kind: C{"file"} (or the tables of a program), C{"override"} or C{"environment"}.
    @ivar name: the file or the variable, for a person.
    @ivar line: the line of the file, where known.
    """

    kind: Kind
    name: str
    line: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


class Origin(Struct, frozen=True, eq=False, kw_only=True):
    """
    The source of settings.

    @ivar name: what to call it in messages.
    @ivar path: the file, absolute; C{None} where there is none.
    @ivar tables: what stands in place of a file, for settings that a program made.
    @ivar environ: the variables of the environment that may say something.
    @ivar registry: the extensions there are; C{None} for those that are installed.
    @ivar found: those that there were when the settings were read.
    @ivar overrides: the file of the changes that were made at run time, absolute; C{None} where none are kept.
    @ivar sections: the tables and keys at the top of the file.
    @ivar places: where each value comes from that is no default, by its key.
    """

    name: str
    path: str | None = None
    tables: dict[str, Any] | None = None
    environ: dict[str, str] = field(default_factory=dict)
    registry: Registry[IDeclaration] | None = None
    found: Registry[IDeclaration] | None = None
    overrides: str | None = None
    sections: tuple[str, ...] = ()
    places: dict[str, Place] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        # The same settings are the same wherever they stood.
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return hash(Origin)
