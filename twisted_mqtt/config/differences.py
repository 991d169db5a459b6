"""
The differences between two settings, by the names of the keys; and which of them take effect without a restart.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from twisted_mqtt.config.keys import Key, Since, keysOf

S = TypeVar("S", bound=Struct)


class Difference(Struct, frozen=True):
    """
    One key that differs.

    @ivar key: its name in full.
    @ivar since: from when on its new value holds.
    """

    key: str
    since: Since


def differences(old: Struct, new: Struct, path: str = "", since: Since = "restart") -> list[Difference]:
    """
    The keys whose values differ and that have an effect, in the order of the schema. A table that stands on one side
    alone counts as one key.

    @param path: where these tables stand.
    @param since: what holds for keys that say nothing of it themselves.
    """
    found: list[Difference] = []
    for name, key, before, after in _pairs(old, new):
        if before == after or key.noEffect is not None:
            continue
        where = f"{path}.{name}" if path else name
        holds = key.since or since
        if key.named:
            found.extend(_named(before, after, where, holds))
        elif key.table is not None and isinstance(before, Struct) and isinstance(after, Struct):
            found.extend(differences(before, after, where, holds))
        else:
            found.append(Difference(where, holds))
    return found


def withoutRestart(old: S, new: S, since: Since = "restart") -> S:
    """
    The new settings, but for what waits for a restart: that stays as it was. Named tables, such as listeners, are
    those of the new settings.

    @param since: what holds for keys that say nothing of it themselves.
    """
    kept: dict[str, Any] = {}
    for _, key, before, after in _pairs(old, new):
        if before == after or key.named:
            continue
        holds = key.since or since
        if key.table is not None and isinstance(before, Struct) and isinstance(after, Struct):
            kept[key.attribute] = withoutRestart(before, after, holds)
        elif holds == "restart":
            kept[key.attribute] = before
    return replace(new, **kept)


def _pairs(old: Struct, new: Struct) -> list[tuple[str, Key, Any, Any]]:
    keys = keysOf(type(new)).items()
    return [(name, key, getattr(old, key.attribute), getattr(new, key.attribute)) for name, key in keys]


def _named(before: dict[str, Any], after: dict[str, Any], path: str, since: Since) -> list[Difference]:
    """
    The same for tables whose names the user chooses.
    """
    found: list[Difference] = []
    for name in dict.fromkeys([*before, *after]):
        where = f"{path}.{name}"
        if name in before and name in after:
            found.extend(differences(before[name], after[name], where, since))
        else:
            found.append(Difference(where, since))
    return found
