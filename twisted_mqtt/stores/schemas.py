"""
The numbered schemas of a store, and the upgrade from an earlier one to the present one.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from twisted_mqtt.stores.converting import moveRecords, pack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

#: Says in the file's header that it is ours.
APPLICATION_ID: Final = 0x6D717474

#: The advice to an operator whose store is damaged.
REPAIR: Final = (
    "stop the broker and run `twistd mqttbroker --config FILE --repair`, which saves what can be read and keeps the "
    "damaged file"
)


class StoreError(Exception):
    """
    The store can't be used; the text says why, and what would help.
    """


#: The steps of an upgrade that SQL can't do, by its number. They run after its file, in the same transaction.
CONVERSIONS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {2: pack, 3: moveRecords}


def checkOurs(connection: sqlite3.Connection, path: Path) -> None:
    """
    See that a file is a store that this release can use.

    @raise StoreError: it is not.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreError(f"{path} is a database of something else, not a store of this broker")
    newest = max(number for number, _ in schemas())
    if version > newest:
        raise StoreError(
            f"the store {path} was written by a later release (schema {version}; this one knows {newest}): "
            "start that release, or move the file away to begin without it"
        )


def isPresent(connection: sqlite3.Connection) -> bool:
    """
    Whether a store has the present schema.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version == max(number for number, _ in schemas())


def upgrade(connection: sqlite3.Connection, files: Iterable[tuple[int, str]] | None = None) -> int:
    """
    Bring a store to the present schema.

    @param files: the schema files, if not all of L{schemas}.

    @return: the version that it had.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, text in schemas() if files is None else files:
        if number > version:
            # In one transaction: a process that is killed leaves the old schema or the new one.
            connection.executescript(f"BEGIN IMMEDIATE;\n{text}")
            conversion = CONVERSIONS.get(number)
            if conversion is not None:
                conversion(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
    return version


def schemas() -> Iterator[tuple[int, str]]:
    """
    The schema files in order, each with its number.
    """
    folder = resources.files("twisted_mqtt.stores").joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    for name in names:
        yield int(name.removesuffix(".sql")), folder.joinpath(name).read_text(encoding="utf-8")
