"""
Callers of REST who are in the configuration: NanoMQ's one account, and who shows a token (spec/rest-api-nanomq.md 1).
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted_mqtt.base.webtokens import MOST_KEY, TokenExpired, TokenKey, TokenKeyProblem, TokenRefused
from twisted_mqtt.management.applications import SCOPES
from twisted_mqtt.operations.operation import TOKEN_EXPIRED, WRONG_PASSWORD, Caller, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.management.settings import NanoMQAccount

#: The password that everybody knows; it serves this machine alone.
PUBLIC: Final = "public"

_ALL: Final = frozenset(SCOPES)


class Account:
    """
    The account of the configuration. It may do everything.
    """

    def __init__(self, settings: NanoMQAccount) -> None:
        self._username = settings.username
        self._password = settings.password.encode("utf-8")
        self._dialect = settings.dialect

    def check(self, username: str, password: str, address: str, isLocal: bool) -> Caller | None:
        """
        Who calls, if the password is right.

        @param isLocal: whether the call comes from this machine.
        """
        given = password.encode("utf-8")
        if not self._username or username != self._username or not hmac.compare_digest(given, self._password):
            return None
        if not given or (password == PUBLIC and not isLocal):
            return None
        return Caller(username, _ALL, address, self._dialect)


class Tokens:
    """
    Checks tokens.
    """

    def __init__(self, key: TokenKey, settings: NanoMQAccount, now: Callable[[], float]) -> None:
        """
        @param now: the date, in seconds since the epoch.
        """
        self.key = key
        self._leeway = settings.jwt_leeway
        self._dialect = settings.dialect
        self._now = now

    def check(self, token: str, address: str) -> Caller:
        """
        Who calls. A token may do what its claim C{scope} or C{scopes} says, or everything where it has neither.

        @raise Refused: the token is not accepted.
        """
        try:
            claims = self.key.claims(token, self._now(), self._leeway)
            roles = _rolesOf(claims)
        except TokenExpired as error:
            raise Refused(TOKEN_EXPIRED, str(error), 401) from None
        except TokenRefused as error:
            raise Refused(WRONG_PASSWORD, str(error), 401) from None
        name, ends = claims.get("sub"), claims.get("exp")
        return Caller(
            name[:200] if isinstance(name, str) and name else "token",
            roles,
            address,
            self._dialect,
            lambda: not isinstance(ends, int | float) or self._now() - self._leeway < ends,
        )


def readKey(path: str) -> TokenKey:
    """
    Read the key of tokens. It waits for the disk.

    @raise TokenKeyProblem: it can't be used; the text names the file.
    """
    try:
        with Path(path).open("rb") as file:
            return TokenKey(file.read(MOST_KEY + 1))
    except OSError as error:
        raise TokenKeyProblem(f"management.nanomq.jwt_public_keyfile: {path}: {error.strerror}") from None
    except TokenKeyProblem as problem:
        raise TokenKeyProblem(f"management.nanomq.jwt_public_keyfile: {path}: {problem}") from None


def _rolesOf(claims: dict[str, object]) -> frozenset[str]:
    """
    @raise TokenRefused: what the token may do can't be read.
    """
    given = claims.get("scopes", claims.get("scope"))
    if given is None and "scopes" not in claims and "scope" not in claims:
        return _ALL
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TokenRefused("the token has no list of words for scopes")
    return _ALL & frozenset(words)
