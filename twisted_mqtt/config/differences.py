"""
What is different between two settings, by the names of the keys.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from twisted_mqtt.config.keys import keysOf


def differences(old: Struct, new: Struct, path: str = "") -> list[str]:
    """
    The keys whose values differ and that have an effect, in the order of the schema. A table that stands on one side
    alone counts as one key.

    @param path: where these tables stand.
    """
    found: list[str] = []
    for name, key in keysOf(type(new)).items():
        before, after = getattr(old, key.attribute), getattr(new, key.attribute)
        if before == after or key.noEffect is not None:
            continue
        where = f"{path}.{name}" if path else name
        if key.named:
            found.extend(_named(before, after, where))
        elif key.table is not None and isinstance(before, Struct) and isinstance(after, Struct):
            found.extend(differences(before, after, where))
        else:
            found.append(where)
    return found


def _named(before: dict[str, Any], after: dict[str, Any], path: str) -> list[str]:
    """
    The same for tables whose names the user chooses.
    """
    found: list[str] = []
    for name in dict.fromkeys([*before, *after]):
        where = f"{path}.{name}"
        if name in before and name in after:
            found.extend(differences(before[name], after[name], where))
        else:
            found.append(where)
    return found
