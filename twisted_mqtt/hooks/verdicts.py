"""
What callbacks answer at hook points.

Only values stand here, so that an extension can be tested without a broker. Import them from
L{twisted_mqtt.hooks.points}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.core import reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_mqtt.core.properties import Properties

#: The two values of C{client.check_acl}.
ALLOW: Final = "allow"
DENY: Final = "deny"


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


class Answer:
    """
    An answer that says what becomes of the chain: L{OK}, L{STOP}, or one of these called with a value.

    @ivar ends: Whether no further callback is asked.
    @ivar value: The new value; C{None} leaves the old one.
    """

    __slots__ = ("_word", "ends", "value")

    def __init__(self, word: str, ends: bool, value: Any = None) -> None:
        self._word = word
        self.ends = ends
        self.value = value

    def __call__(self, value: Any) -> Answer:
        """
        Give the same answer with a new value.
        """
        return Answer(self._word, self.ends, value)

    def __repr__(self) -> str:
        return self._word if self.value is None else f"{self._word}({self.value!r})"


class _Drop:
    """
    The type of L{DROP}.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "DROP"


#: Go on with the next callback. Answering C{None} means the same.
OK: Final = Answer("OK", False)

#: Ask no further callback.
STOP: Final = Answer("STOP", True)

#: The value of a message that is to go nowhere, at C{message.publish} and C{message.delivered}; it ends the chain.
DROP: Final = _Drop()

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


class AuthResult:
    """
    The value of C{client.authenticate}: may this client come in, and as what?

    @ivar result: C{"success"}, or why not: one of L{REASONS} by name or by code.
    @ivar isSuperuser: Whether no access rule applies to the client.
    @ivar anonymous: Whether the client was let in without credentials.
    @ivar mountpoint: The prefix of all its topics, instead of the listener's; C{None} leaves that.
    @ivar data: Authentication Data for the CONNACK, the last step of an enhanced authentication.
    @ivar properties: Further properties for the CONNACK, such as the reason string.
    """

    __slots__ = ("anonymous", "data", "isSuperuser", "mountpoint", "properties", "result")

    def __init__(
        self,
        result: str | int = "success",
        isSuperuser: bool = False,
        anonymous: bool = False,
        mountpoint: str | None = None,
        data: bytes | None = None,
        properties: Properties | None = None,
    ) -> None:
        """
        @raise ValueError: C{result} is not a reason that a CONNACK can carry.
        """
        # A bool is an int, and False would pass for the code of success.
        if isinstance(result, bool) or result not in (REASONS if isinstance(result, str) else _CODES):
            raise ValueError(f"{result!r} is no result of an authentication: use one of {', '.join(REASONS)}")
        self.result = result
        self.isSuperuser = isSuperuser
        self.anonymous = anonymous
        self.mountpoint = mountpoint
        self.data = data
        self.properties = properties

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
            for name in ("isSuperuser", "anonymous", "mountpoint", "properties")
            if getattr(self, name)
        )
        return f"AuthResult({self.result!r}{', ' if shown else ''}{shown})"


class Challenge:
    """
    An answer of C{client.authenticate} that asks the client for more.

    It becomes an AUTH packet, and ends the chain. The client's reply comes back to the same point, with its data in
    C{clientInfo.authData}.

    @ivar data: The Authentication Data of the AUTH packet.
    @ivar properties: Further properties for it.
    """

    __slots__ = ("data", "properties")

    def __init__(self, data: bytes, properties: Properties | None = None) -> None:
        self.data = data
        self.properties = properties
