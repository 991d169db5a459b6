"""
Links to resources, as C{/.well-known/core} lists them (RFC 6690). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final


class LinkError(Exception):
    """
    A text is not in link format.
    """


class WebLink:
    """
    A link: where it leads, and what is said of that.

    @ivar attributes: names with values; L{None} for an attribute that has none.
    """

    __slots__ = ("target", "attributes")

    def __init__(self, target: str, attributes: Sequence[tuple[str, str | None]] = ()) -> None:
        self.target = target
        self.attributes = list(attributes)

    def get(self, name: str) -> str | None:
        """
        The value of an attribute, the first where there are several.
        """
        for which, value in self.attributes:
            if which == name:
                return value
        return None

    def matches(self, name: str, pattern: str) -> bool:
        """
        Whether a filter of the query lets it through (RFC 6690 4.1): a value, or the beginning of one and an asterisk.
        """
        if name == "href":
            return _fits(self.target, pattern)
        for which, value in self.attributes:
            if which == name and value is not None:
                # These hold several values, parted by blanks.
                values = value.split(" ") if name in _LISTS else [value]
                if any(_fits(each, pattern) for each in values):
                    return True
        return False

    def __str__(self) -> str:
        return f"<{self.target}>" + "".join(
            f";{name}" if value is None else f";{name}={_quoted(name, value)}" for name, value in self.attributes
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebLink) and (self.target, self.attributes) == (other.target, other.attributes)

    def __hash__(self) -> int:
        return hash((self.target, tuple(self.attributes)))

    def __repr__(self) -> str:
        return f"<Link {self}>"


_LISTS: Final = ("rt", "if", "rel", "rev", "ct")
_BARE: Final = re.compile(r"[0-9]+")

_TARGET: Final = re.compile(r"\s*(<([^>]*)>)")
_ATTRIBUTE: Final = re.compile(
    r"""\s*;\s*([!#$&+\-.^_`|~\w]+\*?)            # the name
        (?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"          # a quoted value
                   |([^\s",;\\]+)))?              # or a bare one
    """,
    re.VERBOSE | re.ASCII,
)
_COMMA: Final = re.compile(r"\s*,")
_END: Final = re.compile(r"\s*\Z")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def _fits(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _quoted(name: str, value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def formatLinks(links: Iterable[WebLink]) -> bytes:
    """
    Links as a payload of content format 40.
    """
    return ",".join(map(str, links)).encode("utf-8")


def parseLinks(payload: bytes) -> list[WebLink]:
    """
    The links that a payload holds.

    @raise LinkError: it is not in link format.
    """
    return [link for link, _ in splitLinks(payload)]


def splitLinks(payload: bytes) -> Iterator[tuple[WebLink, str]]:
    """
    The links that a payload holds, and each as it stands there.

    @raise LinkError: it is not in link format; those before that place have come by then.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LinkError("not UTF-8") from error
    at = 0
    if _END.match(text) is not None:
        return
    while True:
        match = _TARGET.match(text, at)
        if match is None:
            raise LinkError(f"no link at character {at}")
        link = WebLink(match[2])
        start = match.start(1)
        at = match.end()
        while (match := _ATTRIBUTE.match(text, at)) is not None:
            quoted, bare = match[2], match[3]
            link.attributes.append((match[1], bare if quoted is None else _ESCAPED.sub(r"\1", quoted)))
            at = match.end()
        yield link, text[start:at]
        if _END.match(text, at) is not None:
            return
        match = _COMMA.match(text, at)
        if match is None:
            raise LinkError(f"neither a comma nor an attribute at character {at}")
        at = match.end()


def filterLinks(links: Iterable[WebLink], query: Iterable[str]) -> list[WebLink]:
    """
    The links that every filter of a query lets through; what is not C{name=value} is no filter.
    """
    filters = [item.split("=", 1) for item in query if "=" in item]
    return [link for link in links if all(link.matches(name, value) for name, value in filters)]
