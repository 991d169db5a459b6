"""
The file that keeps across restarts which extensions were loaded and unloaded at run time.

The file has the form of EMQ X's C{loaded_plugins}: one name and a full stop in each line. It holds the differences from
the configuration: C{stomp.} runs although C{plugins.load} does not name it, C{-stomp.} does not run although
C{plugins.load} names it. The form of EMQ X since 4.1 is read too: C{{stomp, true}.} and C{{stomp, false}.}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

_LINE: Final = re.compile(r"(-?)([A-Za-z0-9_]+)\.?")
#: The same as EMQ X writes it since 4.1.
_PAIR: Final = re.compile(r"\{\s*([A-Za-z0-9_]+)\s*,\s*(true|false)\s*\}\s*\.?")


class LoadedFileError(Exception):
    """
    The file cannot be read or written, or has a line that says nothing; the text says which and why.
    """


class Changes(Struct, frozen=True):
    """
    The differences from the configuration.

    @ivar loaded: runs although the configuration does not name it, in the order in which it was loaded.
    @ivar unloaded: does not run although the configuration names it.
    """

    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()

    def withLoaded(self, name: str) -> Changes:
        """
        The same, once an extension was loaded.
        """
        return replace(
            self,
            loaded=(*(other for other in self.loaded if other != name), name),
            unloaded=tuple(other for other in self.unloaded if other != name),
        )

    def withUnloaded(self, name: str) -> Changes:
        """
        The same, once an extension was unloaded.
        """
        return Changes(
            loaded=tuple(other for other in self.loaded if other != name),
            unloaded=(*(other for other in self.unloaded if other != name), name),
        )

    def translated(self, plainName: Callable[[str], str]) -> Changes:
        """
        The same, with the names that extensions have here: the file of EMQ X says C{emqx_stomp}.

        @param plainName: has the name of an extension for one of its other names.
        """
        return Changes(
            loaded=tuple(dict.fromkeys(map(plainName, self.loaded))),
            unloaded=tuple(dict.fromkeys(map(plainName, self.unloaded))),
        )

    def wanted(self, named: tuple[str, ...]) -> list[str]:
        """
        List the extensions to run.

        @param named: what the configuration names, in order.
        """
        return list(dict.fromkeys([*(name for name in named if name not in self.unloaded), *self.loaded]))


class LoadedFile:
    """
    The file. It is written as a whole and put in the place of the old one, so that a crash leaves one or the other.

    @ivar path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Changes:
        """
        Read what was kept; nothing, where there is no file.

        @raise LoadedFileError: it cannot be read.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Changes()
        except (OSError, UnicodeDecodeError) as error:
            raise LoadedFileError(f"{self.path}: cannot be read ({error})") from error
        loaded: list[str] = []
        unloaded: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith(("#", "%")):
                continue
            if pair := _PAIR.fullmatch(line):
                (loaded if pair[2] == "true" else unloaded).append(pair[1])
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                raise LoadedFileError(f'{self.path}:{number}: must be the name of an extension, such as "stomp."')
            (unloaded if found[1] else loaded).append(found[2])
        return Changes(tuple(loaded), tuple(unloaded))

    def write(self, changes: Changes) -> None:
        """
        Keep what differs. It waits for the disk.

        @raise LoadedFileError: it cannot be written; what was kept before is still there.
        """
        lines = [*(f"{name}." for name in changes.loaded), *(f"-{name}." for name in changes.unloaded)]
        text = "".join(f"{line}\n" for line in lines)
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except OSError as error:
            raise LoadedFileError(f"{self.path}: cannot be written ({error.strerror})") from error
