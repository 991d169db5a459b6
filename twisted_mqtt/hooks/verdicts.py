"""
The answers of callbacks at hook points.

This module has only values, so that an extension can be tested without a broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from twisted_mqtt.core import reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_mqtt.config.values import RateLimit
    from twisted_mqtt.core.properties import Properties

_T = TypeVar("_T")
_NewT = TypeVar("_NewT")


class HookExists(Exception):
    """
    The same action stands on this point already.
    """

    def __init__(self, point: str, action: str) -> None:
        super().__init__(f"{action} is already a callback of {point}")
        self.point = point
        self.action = action


class HookTimeout(TimeoutError):
    """
    A callback has not answered in time.
    """


class Answer(Generic[_T]):
    """
    An answer that says what becomes of the chain: L{OK}, L{STOP}, or one of these called with a value.

    @ivar ends: whether no further callback is asked.
    @ivar value: the new value; C{None} leaves the old one.
    """

    __slots__ = ("_word", "ends", "value")

    def __init__(self, word: str, ends: bool, value: _T) -> None:
        self._word = word
        self.ends = ends
        self.value = value

    def __call__(self, value: _NewT) -> Answer[_NewT]:
        """
        Give the same answer with a new value.
        """
        return Answer(self._word, self.ends, value)

    def __repr__(self) -> str:
        return self._word if self.value is None else f"{self._word}({self.value!r})"


class Drop:
    """
    The type of L{DROP}.

    @ivar reason: the reason code for the publisher of a message that is dropped at C{message.publish}: 0 where it is to
        think that all is well.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: int = reasons.SUCCESS) -> None:
        self.reason: Final = reason

    def __repr__(self) -> str:
        return f"Drop({self.reason:#x})" if self.reason else "DROP"


#: Go on with the next callback. Answering C{None} means the same.
OK: Final[Answer[None]] = Answer("OK", False, None)

#: Ask no further callback.
STOP: Final[Answer[None]] = Answer("STOP", True, None)

#: The value of a message that is to go nowhere, at C{message.publish} and C{message.delivered}; it ends the chain.
DROP: Final = Drop()

# The reason codes that refuse a message or a subscription (MQTT 5 3.4.2.1, 3.9.3): whether each can stand in a PUBACK
# or PUBREC, and whether in a SUBACK.
_REFUSALS: Final[Mapping[int, tuple[bool, bool]]] = {
    reasons.UNSPECIFIED_ERROR: (True, True),
    reasons.IMPLEMENTATION_SPECIFIC_ERROR: (True, True),
    reasons.NOT_AUTHORIZED: (True, True),
    reasons.TOPIC_FILTER_INVALID: (False, True),
    reasons.TOPIC_NAME_INVALID: (True, False),
    reasons.QUOTA_EXCEEDED: (True, True),
    reasons.PAYLOAD_FORMAT_INVALID: (True, False),
    reasons.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: (False, True),
    reasons.SUBSCRIPTION_IDS_NOT_SUPPORTED: (False, True),
    reasons.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: (False, True),
}

_REFUSAL_CODES: Final[Mapping[str, int]] = {reasons.NAMES[code]: code for code in _REFUSALS}


class Verdict:
    """
    The value of C{client.check_acl}: may this client do this? L{ALLOW} and L{DENY} are verdicts; L{Allow} and L{Deny}
    make one that says more. A verdict is true if it allows.

    @ivar allowed: whether the client may.
    @ivar reason: the MQTT 5 reason code of a refusal; 0 for none.
    @ivar text: why, for a person: the reason string of the answer, where the client wants to have one.
    @ivar pause: for how many seconds nothing more is taken from the client.
    """

    __slots__ = ("allowed", "pause", "reason", "text")

    def __init__(self, allowed: bool, reason: int = 0, text: str = "", pause: float = 0.0) -> None:
        self.allowed: Final = allowed
        self.reason: Final = reason
        self.text: Final = text
        self.pause: Final = pause

    def __bool__(self) -> bool:
        return self.allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Verdict):
            return NotImplemented
        return (self.allowed, self.reason, self.text, self.pause) == (
            other.allowed,
            other.reason,
            other.text,
            other.pause,
        )

    def __hash__(self) -> int:
        return hash((self.allowed, self.reason, self.text, self.pause))

    def __repr__(self) -> str:
        if self == ALLOW:
            return "ALLOW"
        if self == DENY:
            return "DENY"
        pause = f"pause={self.pause:g}" if self.pause else ""
        if self.allowed:
            return f"Allow({pause})"
        text = repr(self.text) if self.text else ""
        return f"Deny({', '.join(part for part in (repr(reasons.nameOf(self.reason)), text, pause) if part)})"

    @property
    def publishReason(self) -> int:
        """
        The reason code of a refusal that a PUBACK or PUBREC can carry.
        """
        return self.reason if _REFUSALS.get(self.reason, (True, False))[0] else reasons.NOT_AUTHORIZED

    @property
    def connectReason(self) -> int:
        """
        The reason code of a refusal that a CONNACK can carry, for the will of a CONNECT.
        """
        return self.reason if self.reason in _CODES else reasons.NOT_AUTHORIZED

    @property
    def subscribeReason(self) -> int:
        """
        The reason code of a refusal that a SUBACK can carry.
        """
        return self.reason if _REFUSALS.get(self.reason, (False, False))[1] else reasons.NOT_AUTHORIZED


class Allow(Verdict):
    """
    The client may.
    """

    __slots__ = ()

    def __init__(self, pause: float = 0.0) -> None:
        """
        @param pause: for how many seconds nothing more is taken from the client.

        @raise ValueError: it is not a valid time to wait.
        """
        super().__init__(True, 0, "", _pauseOf(pause))


class Deny(Verdict):
    """
    The client may not.
    """

    __slots__ = ()

    def __init__(self, reason: str | int = reasons.NOT_AUTHORIZED, text: str = "", pause: float = 0.0) -> None:
        """
        @param reason: by name or code, one that a PUBACK or a SUBACK can carry: C{"not_authorized"},
            C{"quota_exceeded"}, C{"payload_format_invalid"}, ...
        @param text: why, for a person. Only a client of MQTT 5 that wants to have it gets to see it.
        @param pause: for how many seconds nothing more is taken from the client.

        @raise ValueError: the reason is none of these, or the pause is not a valid time to wait.
        """
        code = _REFUSAL_CODES.get(reason, -1) if isinstance(reason, str) else reason
        if isinstance(code, bool) or code not in _REFUSALS:
            raise ValueError(f"{reason!r} is not a reason to refuse a topic: use one of {', '.join(_REFUSAL_CODES)}")
        if not isinstance(text, str):
            raise ValueError(f"the text of a refusal is a str, not {text!r}")
        super().__init__(False, code, text, _pauseOf(pause))


#: The longest time that a verdict can make a client wait, in seconds.
LONGEST_PAUSE: Final = 3600.0


def _pauseOf(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.0 <= seconds <= LONGEST_PAUSE:
        raise ValueError(f"a pause is from 0 to {LONGEST_PAUSE:g} seconds, not {seconds!r}")
    return float(seconds)


#: The client may.
ALLOW: Final[Verdict] = Allow()

#: The client may not: "not authorized".
DENY: Final[Verdict] = Deny()

#: Names for C{AuthResult.result}, with the MQTT 5 reason code each stands for: those a CONNACK can carry (MQTT 5
#: 3.2.2.2), and EMQ X's words for four of them.
REASONS: Final[Mapping[str, int]] = {
    **{
        reasons.NAMES[code]: code
        for code in (
            reasons.SUCCESS,
            *range(reasons.UNSPECIFIED_ERROR, reasons.BANNED + 1),
            reasons.BAD_AUTHENTICATION_METHOD,
            reasons.TOPIC_NAME_INVALID,
            reasons.PACKET_TOO_LARGE,
            reasons.QUOTA_EXCEEDED,
            reasons.PAYLOAD_FORMAT_INVALID,
            reasons.RETAIN_NOT_SUPPORTED,
            reasons.QOS_NOT_SUPPORTED,
            reasons.USE_ANOTHER_SERVER,
            reasons.SERVER_MOVED,
            reasons.CONNECTION_RATE_EXCEEDED,
        )
    },
    "bad_clientid_or_password": reasons.BAD_USERNAME_OR_PASSWORD,
    "username_or_password_undefined": reasons.BAD_USERNAME_OR_PASSWORD,
    "password_error": reasons.BAD_USERNAME_OR_PASSWORD,
    "not_authorised": reasons.NOT_AUTHORIZED,
}

_CODES: Final = frozenset(REASONS.values())


class SessionLimits:
    """
    Limits of one client's session instead of those of its zone; C{None} leaves the zone's.

    @ivar maxPacketSize: of packets from the client, in bytes.
    @ivar maxInflight: QoS 1 and 2 messages on their way to it; 0 for what the protocol allows.
    @ivar maxQueue: messages that wait for it; 0 for any number.
    @ivar maxOnlineMessages: instead of that while it is connected; 0 for any number.
    @ivar maxOfflineMessages: instead of that while it is away; 0 for any number.
    @ivar maxQueueBytes: bytes that wait for it; 0 for any number.
    @ivar maxSubscriptions: 0 for any number.
    @ivar publishRate: how many messages are taken from it: C{RateLimit(count, seconds)}.
    @ivar upgradeQoS: whether messages come to it with the QoS of the subscription.
    @ivar sessionExpiry: for how many seconds its session outlives the connection.
    @ivar retryInterval: after how many seconds what it has not acknowledged goes out again, where its protocol does
        that (MQTT-SN).
    @ivar connectionLifetime: after how many seconds it is sent away; not more than its listener says.
    @ivar sharedStrategy: how a member of a shared subscription is chosen for the messages that it publishes: a value of
        C{broker.shared_subscription_strategy}.
    """

    __slots__ = (
        "connectionLifetime",
        "maxInflight",
        "maxOfflineMessages",
        "maxOnlineMessages",
        "maxPacketSize",
        "maxQueue",
        "maxQueueBytes",
        "maxSubscriptions",
        "publishRate",
        "retryInterval",
        "sessionExpiry",
        "sharedStrategy",
        "upgradeQoS",
    )

    def __init__(
        self,
        *,
        maxPacketSize: int | None = None,
        maxInflight: int | None = None,
        maxQueue: int | None = None,
        maxSubscriptions: int | None = None,
        publishRate: RateLimit | None = None,
        upgradeQoS: bool | None = None,
        sessionExpiry: int | None = None,
        maxOnlineMessages: int | None = None,
        maxOfflineMessages: int | None = None,
        maxQueueBytes: int | None = None,
        retryInterval: float | None = None,
        connectionLifetime: float | None = None,
        sharedStrategy: str | None = None,
    ) -> None:
        self.maxOnlineMessages = maxOnlineMessages
        self.maxOfflineMessages = maxOfflineMessages
        self.maxQueueBytes = maxQueueBytes
        self.retryInterval = retryInterval
        self.connectionLifetime = connectionLifetime
        self.sharedStrategy = sharedStrategy
        self.maxPacketSize = maxPacketSize
        self.maxInflight = maxInflight
        self.maxQueue = maxQueue
        self.maxSubscriptions = maxSubscriptions
        self.publishRate = publishRate
        self.upgradeQoS = upgradeQoS
        self.sessionExpiry = sessionExpiry

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SessionLimits):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    # It can be changed, so it cannot be a key.
    __hash__ = None  # type: ignore[assignment]  # how Python itself says "not hashable"

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return f"SessionLimits({', '.join(f'{name}={value!r}' for name, value in given if value is not None)})"


class AuthResult:
    """
    The value of C{client.authenticate} and C{client.enhanced_authenticate}: may this client come in, and as what?

    A value that is C{None} or empty stays as the client and its listener have set it. The broker checks the values when
    the chain has ended; if one is wrong, it refuses the client and logs the fault.

    @ivar result: C{"success"}, or why not: one of L{REASONS} by name or by code.
    @ivar isSuperuser: whether no access rule applies to the client.
    @ivar anonymous: whether the client was let in without credentials.
    @ivar mountpoint: the prefix of all its topics.
    @ivar data: authentication Data for the last step of an enhanced authentication.
    @ivar properties: further properties for the CONNACK.
    @ivar clientID: the client identifier; an MQTT 5 client is told of it.
    @ivar username: the user name that later callbacks and the access rules see.
    @ivar topicTree: the name of the topic tree that its session is in.
    @ivar cleanStart: whether it begins with a new session.
    @ivar session: limits of its session.
    @ivar reasonString: why, for a person.
    @ivar serverReference: the server that the client is to use instead, with C{"use_another_server"} or
        C{"server_moved"}.
    """

    __slots__ = (
        "anonymous",
        "cleanStart",
        "clientID",
        "data",
        "isSuperuser",
        "mountpoint",
        "properties",
        "reasonString",
        "result",
        "serverReference",
        "session",
        "topicTree",
        "username",
    )

    def __init__(
        self,
        result: str | int = "success",
        isSuperuser: bool = False,
        anonymous: bool = False,
        mountpoint: str | None = None,
        data: bytes | None = None,
        properties: Properties | None = None,
        *,
        clientID: str | None = None,
        username: str | None = None,
        topicTree: str | None = None,
        cleanStart: bool | None = None,
        session: SessionLimits | None = None,
        reasonString: str | None = None,
        serverReference: str | None = None,
    ) -> None:
        """
        @raise ValueError: C{result} is not a reason that a CONNACK can carry.
        """
        # A bool is an int, and False would pass for the code of success.
        if isinstance(result, bool) or result not in (REASONS if isinstance(result, str) else _CODES):
            raise ValueError(f"{result!r} is not a result of an authentication: use one of {', '.join(REASONS)}")
        self.result = result
        self.isSuperuser = isSuperuser
        self.anonymous = anonymous
        self.mountpoint = mountpoint
        self.data = data
        self.properties = properties
        self.clientID = clientID
        self.username = username
        self.topicTree = topicTree
        self.cleanStart = cleanStart
        self.session = session
        self.reasonString = reasonString
        self.serverReference = serverReference

    @property
    def reasonCode(self) -> int:
        """
        The reason code for the CONNACK; 0 is success.
        """
        return self.result if isinstance(self.result, int) else REASONS[self.result]

    @property
    def success(self) -> bool:
        """
        Whether the client may come in.
        """
        return self.reasonCode == 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuthResult):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    # It can be changed, so it cannot be a key.
    __hash__ = None  # type: ignore[assignment]  # how Python itself says "not hashable"

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}"
            # Authentication data may be a proof made from the password: it stays out of logs.
            for name in _SHOWN
            if getattr(self, name)
        )
        return f"AuthResult({self.result!r}{', ' if shown else ''}{shown})"


_SHOWN: Final = (
    "isSuperuser",
    "anonymous",
    "mountpoint",
    "clientID",
    "username",
    "topicTree",
    "cleanStart",
    "session",
    "properties",
    "reasonString",
    "serverReference",
)


class Challenge:
    """
    An answer of C{client.enhanced_authenticate} that asks the client for more.

    It becomes an AUTH packet, and ends the chain. The client's reply comes to the same point, with C{state}.

    @ivar data: the Authentication Data of the AUTH packet.
    @ivar properties: further properties for it.
    @ivar state: what the callback wants to be given again with the client's reply.
    """

    __slots__ = ("data", "properties", "state")

    def __init__(self, data: bytes, properties: Properties | None = None, state: object = None) -> None:
        self.data = data
        self.properties = properties
        self.state = state
