"""
The lists of links that devices send: at their registration, and where they are asked what they have (RFC 6690;
LwM2M 1.1.1 core 6.2.1 and 6.3.2). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateways.lwm2m.paths import Path


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
        raise NotImplementedError


def parseListing(payload: bytes) -> Listing:
    """
    The payload of a registration. Links that are not to objects or instances are left out.

    @raise ContentError: it is not in link format.
    """
    raise NotImplementedError


def linkTexts(payload: bytes, prefix: str) -> list[str]:
    """
    The links of an answer to a discover, each as the device wrote it but for its alternate path.

    @raise ContentError: it is not in link format.
    """
    raise NotImplementedError
