"""
The lists of links that devices send: at their registration, and where they are asked what they have (RFC 6690;
LwM2M 1.1.1 core 6.2.1 and 6.3.2). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gateways.coap.links import LinkError, WebLink, splitLinks
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import countEntries
from gateways.lwm2m.objects.paths import Path, parsePath, pathText, shown, withoutPrefix

# Most objects and instances of one device; they are kept for as long as it is registered.
_MOST: Final = 1000

_ROOT: Final = "oma.lwm2m"
# What a segment of a request's path may be (RFC 7252 5.10), for each of a few.
_LONGEST_PREFIX: Final = 255
_VERSION: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}", re.ASCII)
_FORMAT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class Listing(NamedTuple):
    """
    What a device has.

    @ivar prefix: its alternate path without a slash at the end, C{"/lwm2m"}; empty where it has none.
    @ivar paths: its objects and instances, each once, in the order of the list and without the prefix.
    @ivar versions: of those objects that tell one (C{ver}).
    @ivar formats: the content formats that it tells (C{ct} of the link with C{rt="oma.lwm2m"}).
    """

    prefix: str = ""
    paths: tuple[Path, ...] = ()
    versions: Mapping[int, str] = {}
    formats: frozenset[int] = frozenset()

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
    The payload of a registration. Links that are not to objects or instances are left out.

    @raise ContentError: it is not in link format, there are more than 1,000, or the alternate path can't be one.
    """
    prefix = ""
    formats: frozenset[int] = frozenset()
    others: list[WebLink] = []
    for link, _ in _links(payload):
        if _ROOT in (link.get("rt") or "").split(" "):
            prefix = _prefix(link.target)
            formats = frozenset(int(each) for each in (link.get("ct") or "").split(" ") if _FORMAT.fullmatch(each))
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
    return Listing(prefix, tuple(paths), versions, formats)


def linkTexts(payload: bytes, prefix: str) -> list[str]:
    """
    The links of an answer to a discover, each as the device wrote it but for its alternate path.

    @raise ContentError: it is not in link format.
    """
    texts: list[str] = []
    for link, text in _links(payload):
        target = withoutPrefix(link.target, prefix)
        texts.append(f"<{target}{text[len(link.target) + 1 :]}" if target else text)
        countEntries(len(texts))
    return texts


def _links(payload: bytes) -> Iterator[tuple[WebLink, str]]:
    """
    @raise ContentError: it is not in link format.
    """
    try:
        yield from splitLinks(payload)
    except LinkError as error:
        raise ContentError(f"link format: {error}") from error


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
