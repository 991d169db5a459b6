"""
Where files of traces may be: below one folder, and never over a file that is something else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

#: How the file of a trace begins.
HEAD: Final = b"# Trace of "
_LONGEST: Final = 1024


class OpenFile(NamedTuple):
    """
    A file that was opened.

    @ivar descriptor: at its end.
    @ivar size: its bytes so far.
    """

    path: Path
    descriptor: int
    size: int


def openTrace(folder: Path, name: str) -> OpenFile:
    """
    Open or make the file of a trace. Call it in a thread.

    @param folder: where it has to be, or below; it is made if it is not there.
    @param name: from the folder on. EMQ X's samples name the folder too, as in C{log/c1.log}: a first part that is the
        folder's name is taken for that. An absolute path has to lead into the folder.

    @raise ValueError: the name leads elsewhere, or to something that is not the file of a trace.
    @raise OSError: it can't be opened.
    """
    path = _placeOf(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} leads out of the folder of traces, {folder}")
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o640)
    except OSError as error:
        if path.is_symlink():
            raise ValueError(f"{name!r} is a symbolic link") from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{name!r} is no plain file")
        if found.st_size and os.pread(descriptor, len(HEAD), 0) != HEAD:
            raise ValueError(f"{name!r} is there and is not the file of a trace")
    except BaseException:
        os.close(descriptor)
        raise
    return OpenFile(path, descriptor, found.st_size)


def _placeOf(folder: Path, name: str) -> Path:
    if not name or len(name) > _LONGEST or "\0" in name or not name.isprintable():
        raise ValueError("the name of a file of printable characters is expected")
    parts = PurePosixPath(name).parts
    if ".." in parts:
        raise ValueError(f"{name!r} leads out of the folder of traces, {folder}")
    if name.startswith("/"):
        path = Path(name)
        if not path.is_relative_to(folder.absolute()):
            raise ValueError(f"{name!r} is not in the folder of traces, {folder.absolute()}")
    elif len(parts) > 1 and parts[0] == folder.name:
        path = folder.joinpath(*parts[1:])
    else:
        path = folder.joinpath(*parts)
    if path in (folder, folder.absolute()):
        raise ValueError(f"{name!r} is a folder")
    return path
