"""
What MQTT clients are told of a device, as JSON: answers, acknowledgements, notifications, and events. Pure.

Nothing here raises for what a device sends but L{sent}: an answer that can't be read is a C{bad_request} (spec 5.5).
"""

from __future__ import annotations

from collections.abc import Mapping

from gateways.lwm2m.commands import Command, CommandError
from gateways.lwm2m.content import Dialect
from gateways.lwm2m.links import Listing


def answered(command: Command, code: int, contentFormat: int | None, payload: bytes, dialect: Dialect) -> bytes:
    """
    The answer to a command that a device has answered.
    """
    raise NotImplementedError


def failed(command: Command, code: int, reason: str = "") -> bytes:
    """
    The answer to a command that no device has answered: it expired, the device has gone.

    @param code: such as L{gateways.coap.codes.GATEWAY_TIMEOUT}.
    """
    raise NotImplementedError


def refused(error: CommandError) -> bytes:
    """
    The answer to a command that can't be obeyed: C{bad_request}.
    """
    raise NotImplementedError


def acknowledged(command: Command) -> bytes:
    """
    A device has received a command, and will answer.
    """
    raise NotImplementedError


def notified(
    command: Command, seqNum: int, code: int, contentFormat: int | None, payload: bytes, dialect: Dialect
) -> bytes:
    """
    A notification.

    @param command: that began the observation.
    @param seqNum: the Observe option.
    """
    raise NotImplementedError


def registered(endpoint: str, lifetime: int, version: str, options: Mapping[str, str], listing: Listing) -> bytes:
    """
    A device has registered.

    @param options: the other options of its query, in their order: C{b}, C{sms}, and any of its own.
    """
    raise NotImplementedError


def updated(endpoint: str, lifetime: int, version: str, options: Mapping[str, str], listing: Listing) -> bytes:
    """
    A device has told a new list of objects.
    """
    raise NotImplementedError


def sent(contentFormat: int | None, payload: bytes, dialect: Dialect) -> bytes:
    """
    A device has told values of itself (POST /dp, LwM2M 1.1.1 core 6.4.6).

    @raise ContentError: it can't be read; the device is to be told 4.00.
    """
    raise NotImplementedError
