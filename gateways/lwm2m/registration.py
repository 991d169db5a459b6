"""
Reads a registration: the query of a request to C{/rd} (spec/gateways.md 5.4; LwM2M 1.1.1 core 6.2). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateways.coap.codes import BAD_REQUEST, PRECONDITION_FAILED
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.links import Listing, parseListing

# "1", "1.0", "1.1" and what may follow within the major version.
_VERSION: Final = re.compile(r"1(\.[0-9]{1,3})?", re.ASCII)
_LIFETIME: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
# In a name they would make other topics of a device's own than those that are meant for it.
_NOT_IN_NAMES: Final = re.compile(r"[/+#\x00-\x1f\x7f]")
_LONGEST_NAME: Final = 255


class RegistrationError(Exception):
    """
    A request that can't be granted as it is.

    @ivar code: what it is to be answered.
    """

    def __init__(self, code: int, text: str) -> None:
        Exception.__init__(self, text)
        self.code = code


class DeviceRegistration(NamedTuple):
    """
    A registration.

    @ivar endpoint: the name of the device.
    @ivar lifetime: in seconds.
    @ivar version: of LwM2M, as the device says it; empty where it does not.
    @ivar options: C{b}, C{sms} and options of the device's own.
    @ivar listing: what it has.
    @ivar queueMode: whether it listens only for a while after it has said something.
    """

    endpoint: str
    lifetime: int
    version: str
    options: Mapping[str, str]
    listing: Listing
    queueMode: bool


class Credentials(NamedTuple):
    """
    The credentials of a device: C{u} and C{p}, as with CoAP. They are not published.
    """

    username: str | None
    password: bytes | None


class Lifetimes(NamedTuple):
    """
    Between what the lifetime of a registration may be.
    """

    shortest: float
    longest: float


def parseRegister(
    queries: Sequence[str], payload: bytes, lifetimes: Lifetimes, name: str | None = None
) -> tuple[DeviceRegistration, Credentials]:
    """
    The content of a register request.

    @param name: of a device that says none; L{None} where it has to (core 6.2.1.2: it may be known by its key).

    @raise RegistrationError: it is refused.
    """
    options = _optionsOf(queries)
    version = options.pop("lwm2m", "")
    # 1.0 lets a device leave it out.
    if version and _VERSION.fullmatch(version) is None:
        raise RegistrationError(PRECONDITION_FAILED, f"lwm2m={version[:20]}: this server knows 1.0 and 1.1")
    endpoint = options.pop("ep", name)
    if not endpoint:
        raise RegistrationError(BAD_REQUEST, "no endpoint name: add ep=")
    if len(endpoint) > _LONGEST_NAME or _NOT_IN_NAMES.search(endpoint) is not None or endpoint[0] == "$":
        raise RegistrationError(
            BAD_REQUEST, "ep: the name is too long, begins with $, or holds one of / + # or a control character"
        )
    if "lt" not in options:
        raise RegistrationError(BAD_REQUEST, "no lifetime: add lt=")
    lifetime = _lifetimeOf(options.pop("lt"), lifetimes)
    credentials = _credentialsOf(options)
    queueMode = _queueModeOf(options)
    listing = _listingOf(payload)
    return DeviceRegistration(endpoint, lifetime, version, options, listing, queueMode), credentials


def parseUpdate(
    queries: Sequence[str], payload: bytes, lifetimes: Lifetimes, before: DeviceRegistration
) -> tuple[DeviceRegistration, bool]:
    """
    Read an update request: the registration from then on, and whether the request has a new list of objects.

    @raise RegistrationError: it is refused.
    """
    options = _optionsOf(queries)
    # Neither changes with an update.
    for name in ("ep", "lwm2m", "u", "p"):
        options.pop(name, None)
    lifetime = before.lifetime
    if "lt" in options:
        lifetime = _lifetimeOf(options.pop("lt"), lifetimes)
    listing = _listingOf(payload) if payload else before.listing
    # Q belongs to the binding: who tells the one tells both (core 6.2.2).
    merged = dict(before.options)
    if "b" in options:
        merged.pop(_QUEUE, None)
    merged.update(options)
    after = before._replace(lifetime=lifetime, options=merged, listing=listing, queueMode=_queueModeOf(merged))
    return after, bool(payload)


def credentialsIn(queries: Sequence[str]) -> Credentials:
    """
    Read the credentials of a request.

    @raise RegistrationError: it can't be read.
    """
    return _credentialsOf(_optionsOf(queries))


# Of LwM2M 1.1: an option without a value.
_QUEUE: Final = "Q"


def _optionsOf(queries: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for query in queries:
        name, equals, value = query.partition("=")
        if name == _QUEUE and not value:
            options[name] = ""
        elif not equals or not name:
            raise RegistrationError(BAD_REQUEST, f"{query[:40]}: an option is name=value")
        else:
            options.setdefault(name, value)
    return options


def _lifetimeOf(text: str, lifetimes: Lifetimes) -> int:
    if _LIFETIME.fullmatch(text) is None or not lifetimes.shortest <= int(text) <= lifetimes.longest:
        raise RegistrationError(
            BAD_REQUEST, f"lt={text[:20]}: a lifetime is {lifetimes.shortest:g} to {lifetimes.longest:g} seconds"
        )
    return int(text)


def _credentialsOf(options: dict[str, str]) -> Credentials:
    username, password = options.pop("u", None), options.pop("p", None)
    return Credentials(username, None if password is None else password.encode("utf-8"))


def _queueModeOf(options: Mapping[str, str]) -> bool:
    # "UQ", "SQ", "UQS" up to LwM2M 1.0; an option of its own from then on.
    return "Q" in options.get("b", "") or _QUEUE in options


def _listingOf(payload: bytes) -> Listing:
    try:
        return parseListing(payload)
    except ContentError as error:
        raise RegistrationError(BAD_REQUEST, str(error)) from error
