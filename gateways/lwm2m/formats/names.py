"""
The names of values in JSON and SenML: a base name, a name, and the path that both mean (RFC 8428 4.5.1). Pure.
"""

from __future__ import annotations

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.objects.paths import LONGEST, LONGEST_TEXT, Path, isWithin, joinPath, pathText, shown, withoutPrefix


class Names:
    """
    Reads the names of one payload.
    """

    __slots__ = ("_base", "_prefix", "_longest")

    def __init__(self, base: Path, prefix: str) -> None:
        """
        @param base: of the request that it answers.
        @param prefix: the device's alternate path; it may write that before its paths or not.
        """
        self._base = base
        self._prefix = prefix
        # Every record is tied to its base name, so what is longer than any path is not looked into.
        self._longest = len(prefix) + LONGEST_TEXT + 1

    def resolve(self, baseName: str, name: str) -> Path:
        """
        The path of a value. A name that does not begin with a slash is taken from the path of the request; so is one
        that does without a base name, where from the top it would lead somewhere else.

        @raise ContentError: it is none, or leads to something else than was asked for.
        """
        if len(baseName) > self._longest or len(name) > self._longest:
            raise ContentError(f"name {shown(baseName or name)}: too long")
        glued = baseName + name
        # Devices of LwM2M 1.0 leave the slash between them out; numbers are never cut by it.
        if baseName and name and not (baseName.endswith("/") or name.startswith("/")):
            glued = f"{baseName}/{name}"
        if not glued.startswith("/"):
            return self._wanted(self._relative(glued, bool(baseName)), glued)
        path = joinPath((), withoutPrefix(glued, self._prefix))
        if not isWithin(path, self._base) and not baseName and len(self._base) + len(path) <= 4:
            path = joinPath(self._base, glued)
        return self._wanted(path, glued)

    def _relative(self, glued: str, based: bool) -> Path:
        """
        The path of a name without a slash before it. It is to be taken from the path of the request; but some devices
        leave that slash out, and mean the whole path.

        @param based: whether it has a base name, which is a whole path always (RFC 8428 4.1).
        """
        try:
            whole = joinPath((), withoutPrefix(f"/{glued}", self._prefix))
        except ContentError:
            return joinPath(self._base, glued)
        meant = len(whole) > 2 and bool(self._base) and isWithin(whole, self._base)
        if meant and (based or len(self._base) + len(whole) >= LONGEST):
            return whole
        return joinPath(self._base, glued)

    def _wanted(self, path: Path, name: str) -> Path:
        if not isWithin(path, self._base):
            raise ContentError(f"name {shown(name)} where {pathText(self._base)} was asked for")
        if len(path) < 3:
            raise ContentError(f"name {shown(name)} is not that of a resource")
        return path


def writtenNames(base: Path, path: Path, prefix: str) -> tuple[str, str]:
    """
    The base name of a payload for a request to C{base}, and the name of a value in it; each may be empty.
    """
    if not base:
        return "", prefix + pathText(path)
    if path == base:
        return prefix + pathText(base), ""
    return f"{prefix}{pathText(base)}/", "/".join(map(str, path[len(base) :]))
