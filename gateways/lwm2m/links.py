"""
The lists of links that devices send: at registration, and as the answer to C{discover} (RFC 6690; LwM2M 1.1.1 core
6.2.1 and 6.3.2). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gateways.coap.links import WebLink
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import countEntries
from gateways.lwm2m.objects.paths import Path, parsePath, pathText, shown, withoutPrefix

# Most objects and instances of one device; they are kept for as long as it is registered.
_MOST: Final = 1000

_ROOT: Final = "oma.lwm2m"
# A segment of a request's path may have so many bytes (RFC 7252 5.10); a prefix has a few segments.
_LONGEST_PREFIX: Final = 255
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_FORMAT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)

# As in RFC 6690, but that a value without quotes may hold blanks, and an attribute may be empty.
_TARGET: Final = re.compile(r"<([^<>]*)>")
_ATTRIBUTE: Final = re.compile(
    r"""\s*;\s*(?:([!#$&+\-.^_`|~\w]+\*?)         # the name
        (?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"          # a quoted value
                   |([^",;<>]*)))?)?              # or a bare one
    """,
    re.VERBOSE | re.ASCII,
)
_BETWEEN: Final = re.compile(r"[\s,\0]*")
_NEXT: Final = re.compile(r"[;<,]")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class Listing(NamedTuple):
    """
    The objects and instances of a device.

    @ivar prefix: its alternate path without a slash at the end, C{"/lwm2m"}; empty where it has none.
    @ivar paths: its objects and instances, each once, in the order of the list and without the prefix.
    @ivar versions: of those objects that tell one (C{ver}).
    @ivar formats: the content formats that it tells (C{ct} of the link with C{rt="oma.lwm2m"}, or to the root).
    @ivar problem: the first thing that could not be read and was left out; nothing where there was none.
    """

    prefix: str = ""
    paths: tuple[Path, ...] = ()
    versions: Mapping[int, str] = {}
    formats: frozenset[int] = frozenset()
    problem: str = ""

    @property
    def alternatePath(self) -> str:
        """
        As events tell it: C{"/"} where there is none.
        """
        return self.prefix or "/"

    @property
    def objectList(self) -> list[str]:
        """
        As events tell it: C{["/1/0", "/3/0"]}.
        """
        return list(map(pathText, self.paths))


def parseListing(payload: bytes) -> Listing:
    """
    The payload of a registration. Links that are not to objects or instances are left out, and so is what is not in
    link format: devices get much of that wrong.

    @raise ContentError: there is no link in it although there is something, there are more than 1,000, or the alternate
        path can't be one.
    """
    prefix = ""
    told: set[str] = set()
    others: list[WebLink] = []
    reader = _LinkReader(payload)
    for link, _ in reader.links():
        isRoot = any(_ROOT in (value or "").split() for name, value in link.attributes if name == "rt")
        if isRoot:
            prefix = _prefix(link.target)
        if isRoot or not link.target.strip("/"):
            told.update(each for name, value in link.attributes if name == "ct" for each in (value or "").split())
        else:
            others.append(link)
        if len(others) > _MOST:
            raise ContentError(f"more than {_MOST} links")
    # Any link may be the one that tells the prefix, so the others are looked at afterwards.
    paths: dict[Path, None] = {}
    versions: dict[int, str] = {}
    for link in others:
        try:
            path = parsePath(withoutPrefix(link.target, prefix), 1, 2)
        except ContentError:  # a resource of the device that has nothing to do with LwM2M
            continue
        paths[path] = None
        version = link.get("ver")
        if version is not None and _VERSION.fullmatch(version):
            versions[path[0]] = version
    formats = frozenset(int(each) for each in told if _FORMAT.fullmatch(each))
    return Listing(prefix, tuple(paths), versions, formats, reader.problem)


def linkTexts(payload: bytes, prefix: str) -> list[str]:
    """
    The links of an answer to a discover, each as the device wrote it but for its alternate path.

    @raise ContentError: there is no link in it although there is something.
    """
    texts: list[str] = []
    for link, text in _LinkReader(payload).links():
        target = withoutPrefix(link.target, prefix)
        texts.append(f"<{target}{text[len(link.target) + 1 :]}" if target else text)
        countEntries(len(texts))
    return texts


class _LinkReader:
    """
    Reads as much of a payload as is in link format.

    @ivar problem: the first thing that was not.
    """

    __slots__ = ("problem", "_text")

    def __init__(self, payload: bytes) -> None:
        self.problem = ""
        self._text = payload.decode("utf-8", "replace")

    def links(self) -> Iterator[tuple[WebLink, str]]:
        """
        The links, and each as it stands there.

        @raise ContentError: there is none although there is something.
        """
        text = self._text
        at = self._between(0)
        found = False
        while at < len(text):
            match = _TARGET.search(text, at)
            if match is None or match.start() != at:
                self._wrong(at, "no link")
            if match is None:
                break
            found = True
            link = WebLink(match[1])
            start, at = match.start(), match.end()
            end = at = self._attributes(link, at)
            while at < len(text) and text[at] not in ",<" and text[at:].strip("\0 \t\r\n"):
                # Text that is not an attribute is skipped; an attribute may follow it.
                self._wrong(at, "neither a comma nor an attribute")
                following = _NEXT.search(text, at + 1)
                at = len(text) if following is None else following.start()
                at = self._attributes(link, at)
            yield link, text[start:end]
            at = self._between(at)
        if not found and self.problem:
            raise ContentError(f"link format: {self.problem}")

    def _attributes(self, link: WebLink, at: int) -> int:
        while (match := _ATTRIBUTE.match(self._text, at)) is not None:
            name, quoted, bare = match.groups()
            if name is None:
                self._wrong(at, "an attribute without a name")
            else:
                value = bare.strip() if quoted is None and bare is not None else quoted
                link.attributes.append((name, None if value is None else _ESCAPED.sub(r"\1", value)))
                if bare is not None and " " in bare.strip():
                    self._wrong(at, "a blank without quotes")
            at = match.end()
        return at

    def _between(self, at: int) -> int:
        """
        Pass over what parts two links, or follows the last: one comma.
        """
        match = _BETWEEN.match(self._text, at)
        assert match is not None
        parting = match[0]
        last = match.end() == len(self._text)
        if "\0" in parting or parting.count(",") > (at > 0 and not last):
            self._wrong(at, "a comma or a NUL too many")
        return match.end()

    def _wrong(self, at: int, what: str) -> None:
        if not self.problem:
            self.problem = f"{what} at character {at}"


def _prefix(target: str) -> str:
    """
    The alternate path that a link tells.

    @raise ContentError: it can't be one.
    """
    prefix = target.strip("/")
    if not prefix:
        return ""
    segments = prefix.split("/")
    if not prefix.isprintable() or not all(segments) or len(prefix.encode("utf-8")) > _LONGEST_PREFIX:
        raise ContentError(f"alternate path {shown(target)}")
    return f"/{prefix}"
