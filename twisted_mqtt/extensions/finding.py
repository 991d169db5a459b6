"""
Finds the extensions that are installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from twisted import plugins
from twisted.plugin import getPlugins

from twisted_mqtt.interfaces import IExtensionMaker

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The modules of the folders of plugins, and when each was changed last.
_Stamp: TypeAlias = "tuple[tuple[str, int], ...]"


class InstalledMakers:
    """
    What is installed. Twisted imports and compares all modules of plugins to find out, which takes some 70 ms: it is
    asked again only when a folder or a module in it has changed.
    """

    def __init__(self) -> None:
        self._stamp: _Stamp = ()
        self._makers: tuple[IExtensionMaker, ...] = ()

    def __call__(self) -> tuple[IExtensionMaker, ...]:
        """
        The makers; the same tuple for as long as nothing has changed.
        """
        stamp = _stamp()
        if not stamp or stamp != self._stamp:
            # Where somebody installs another one meanwhile, or Twisted writes its cache, this stamp is too old and the
            # next call looks again.
            self._makers = tuple(getPlugins(IExtensionMaker))
            self._stamp = stamp
        return self._makers


def _stamp() -> _Stamp:
    return tuple(_changes())


def _changes() -> Iterator[tuple[str, int]]:
    for folder in plugins.__path__:
        try:
            yield folder, os.stat(folder).st_mtime_ns
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".py"):
                        yield entry.path, entry.stat().st_mtime_ns
        except OSError:
            # It is not there, or in an archive, in which nothing changes.
            continue
