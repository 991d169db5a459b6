"""
Every key that is said to have an effect has one: somebody reads it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.registry import installed, structureOf
from twisted_mqtt.config.settings import Settings

ROOT = Path(__file__).parents[2]


def attributesRead() -> set[str]:
    """
    The names of all attributes that the packages read: as such, by C{getattr}, or through a table from key to key.
    """
    names: set[str] = set()
    for package in ("twisted_mqtt", "gateways"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    names.add(node.attr)
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
                    names.update(str(each.value) for each in node.args if isinstance(each, ast.Constant))
                elif isinstance(node, ast.Dict):
                    names.update(str(key.value) for key in node.keys if isinstance(key, ast.Constant))
    return names


def keysWithEffect(table: type[Struct], path: str, noEffect: bool = False) -> Iterator[tuple[str, str]]:
    """
    The keys of a table that are values and are not said to have no effect: in full, and as attributes.
    """
    for key in keysOf(table).values():
        name = f"{path}.{key.name}" if path else key.name
        idle = noEffect or key.noEffect is not None
        if key.table is not None:
            yield from keysWithEffect(key.table, name, idle)
        elif not idle:
            yield name, key.attribute


def test_everyKeyIsRead() -> None:
    """
    A key that nothing reads is either said to have no effect, or forgotten.
    """
    keys = dict(keysWithEffect(Settings, ""))
    for declaration in installed():
        structure = structureOf(declaration)
        if structure is not None:
            keys.update(keysWithEffect(structure, declaration.table))
    assert len(keys) > 300
    read = attributesRead()
    assert [name for name, attribute in keys.items() if attribute not in read] == []
