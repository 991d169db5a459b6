"""
Authentication by extensions: one step of an enhanced authentication, and the valid contents of an L{AuthResult}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.config.forms import parseTopicTree
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.core.session import NEVER
from twisted_mqtt.core.subscription import STRATEGIES
from twisted_mqtt.core.topics import MAX_LENGTH
from twisted_mqtt.hooks.packets import during
from twisted_mqtt.hooks.verdicts import AuthResult, Challenge, SessionLimits

if TYPE_CHECKING:
    from twisted_mqtt.hooks.packets import PacketContext
    from twisted_mqtt.hooks.points import Hooks

_LARGEST_WINDOW: Final = 65535
# The largest remaining length that a packet can have (2.1.4).
_LARGEST_PACKET: Final = 268_435_455
_LARGEST_QUEUE: Final = 1 << 31
_MOST_BYTES: Final = 1 << 50
# With less a client could not even be told that it is in, or subscribe.
_SMALLEST_PACKET: Final = 64

_SERVER_REASONS: Final = (0x9C, 0x9D)


def exchangeStep(
    hooks: Hooks, client: ClientInfo, packet: PacketContext, state: object
) -> Maybe[AuthResult | Challenge]:
    """
    Ask the callbacks of C{client.enhanced_authenticate} about what a client has sent.

    @param state: what was kept since the step before; L{None} at the first one.

    @return: how it ends, or what the client is to be asked next; "bad authentication method" where no callback knows
        the method ([MQTT-4.12.0-1]).
    """
    nobody = AuthResult("bad_authentication_method")
    point = hooks.clientEnhancedAuthenticate
    if not point.callbacks or client.authMethod is None:
        return nobody
    return during(packet, point.fold, client, client.authMethod, client.authData, state, nobody)


def checkResult(result: AuthResult, client: ClientInfo) -> None:
    """
    Look whether a client can be what a callback has made of it.

    @raise ValueError: it can't; the text says why.
    """
    if result.clientID is not None:
        _checkText("clientID", result.clientID, client.limits.maxClientIDLength)
        if not result.clientID:
            raise ValueError("clientID is empty")
    if result.username is not None:
        _checkText("username", result.username)
    if result.mountpoint is not None:
        _checkText("mountpoint", result.mountpoint)
        if "+" in result.mountpoint or "#" in result.mountpoint:
            raise ValueError(f"mountpoint {result.mountpoint!r} has a wildcard")
    if result.topicTree is not None:
        _checkText("topicTree", result.topicTree)
        try:
            parseTopicTree(result.topicTree)
        except ValueError:
            raise ValueError(f"topicTree {result.topicTree!r} is not a name of a topic tree") from None
    if result.reasonString is not None:
        _checkText("reasonString", result.reasonString)
    if result.serverReference is not None:
        _checkText("serverReference", result.serverReference)
        if result.reasonCode not in _SERVER_REASONS:  # 4.11
            raise ValueError('serverReference goes with "use_another_server" or "server_moved"')
    if result.data is not None and client.authMethod is None:
        raise ValueError("data are for a client that has named an authentication method")
    for name in ("isSuperuser", "anonymous", "cleanStart"):
        value = getattr(result, name)
        if not isinstance(value, bool) and (value is not None or name != "cleanStart"):
            raise ValueError(f"{name} is true or false, not {value!r}")
    if result.session is not None:
        _checkLimits(result.session)


def _checkText(name: str, value: object, most: int = MAX_LENGTH) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is a str, not {value!r}")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError(f"{name} {value!r} is not UTF-8") from None
    if size > min(most, MAX_LENGTH):
        raise ValueError(f"{name} has {size} bytes; {min(most, MAX_LENGTH)} is the most")
    if "\0" in value:
        raise ValueError(f"{name} {value!r} has a null character")


def _checkLimits(limits: SessionLimits) -> None:
    _checkNumber("maxPacketSize", limits.maxPacketSize, _SMALLEST_PACKET, _LARGEST_PACKET)
    _checkNumber("maxInflight", limits.maxInflight, 0, _LARGEST_WINDOW)
    _checkNumber("maxQueue", limits.maxQueue, 0, _LARGEST_QUEUE)
    _checkNumber("maxOnlineMessages", limits.maxOnlineMessages, 0, _LARGEST_QUEUE)
    _checkNumber("maxOfflineMessages", limits.maxOfflineMessages, 0, _LARGEST_QUEUE)
    _checkNumber("maxQueueBytes", limits.maxQueueBytes, 0, _MOST_BYTES)
    _checkSeconds("retryInterval", limits.retryInterval)
    _checkSeconds("connectionLifetime", limits.connectionLifetime)
    if limits.sharedStrategy is not None and limits.sharedStrategy not in STRATEGIES:
        raise ValueError(f"sharedStrategy is one of {', '.join(STRATEGIES)}, not {limits.sharedStrategy!r}")
    _checkNumber("maxSubscriptions", limits.maxSubscriptions, 0, _LARGEST_QUEUE)
    _checkNumber("sessionExpiry", limits.sessionExpiry, 0, NEVER)
    if limits.publishRate is not None and not isinstance(limits.publishRate, RateLimit):
        raise ValueError(f"publishRate is a RateLimit, not {limits.publishRate!r}")
    if limits.upgradeQoS is not None and not isinstance(limits.upgradeQoS, bool):
        raise ValueError(f"upgradeQoS is true or false, not {limits.upgradeQoS!r}")


def _checkSeconds(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= NEVER:
        raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")


def _checkNumber(name: str, value: object, least: int, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {value!r}")
