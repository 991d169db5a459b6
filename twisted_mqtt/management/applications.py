"""
Applications: who may call the REST API (spec/rest-api.md 1.1, 2.15). Their secrets are kept hashed, and shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import DeferredSemaphore

from twisted_mqtt.operations.operation import Caller, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.base.records import Records
    from twisted_mqtt.base.threads import Threads

#: Scrypt's costs: 16 MiB and some 40 ms, in a thread.
_N: Final = 1 << 14
_R: Final = 8
_P: Final = 1

#: So many hashes are made at once; others wait. A second one would leave the reactor no core on a small machine while
#: somebody guesses.
_AT_ONCE: Final = 1

#: So long, in seconds, a secret that was right is known to be right without another look, and so many of them.
_REMEMBERED: Final = 300.0
_MOST_REMEMBERED: Final = 1000

#: All that an application may be allowed, in the order in which it is shown.
SCOPES: Final = ("read", "write", "publish", "admin")

#: An API key that is made has so many signs; one that somebody brings along has at least and at most so many.
_KEY_LENGTH: Final = 32
_SHORTEST_KEY: Final = 16
_LONGEST_KEY: Final = 200
_KEY_SIGNS: Final = string.ascii_letters + string.digits
#: So many of its signs are shown, and are what it is known by.
KEY_SHOWN: Final = 8

MOST_APPLICATIONS: Final = 10_000
EXISTS: Final = 102


class Application(Struct, frozen=True):
    """
    An application, as it is kept; a field that is added later has a default.

    @ivar app_id: what it is known by, the user name of HTTP Basic.
    @ivar digest: scrypt of its secret.
    @ivar status: whether it may call.
    @ivar expired: until when, in seconds since the epoch; None for ever.
    @ivar scopes: what it is allowed, of L{SCOPES}.
    @ivar default: whether it was made at the first start: then it serves this machine alone.
    @ivar isKey: whether it is an API key (spec/vernemq.md 19, API-02): the user name is the secret, and there is no
        password. C{app_id} is how the key begins.
    """

    app_id: str
    name: str
    digest: bytes
    salt: bytes
    desc: str = ""
    status: bool = True
    expired: float | None = None
    scopes: tuple[str, ...] = SCOPES
    createdAt: float = 0.0
    default: bool = False
    isKey: bool = False

    def shown(self) -> dict[str, object]:
        """
        The application as it is shown: without its secret.
        """
        expired = None if self.expired is None else int(self.expired)
        return {
            "app_id": self.app_id,
            "name": self.name,
            "desc": self.desc,
            "status": self.status,
            "expired": expired,
            "scopes": list(self.scopes),
        }


def digestOf(secret: str, salt: bytes) -> bytes:
    """
    Hash a secret. It takes some 40 ms: call it in a thread.
    """
    return hashlib.scrypt(secret.encode("utf-8", "surrogateescape"), salt=salt, n=_N, r=_R, p=_P, maxmem=64 << 20)


class Applications:
    """
    The applications of a node, in a table of the store.
    """

    def __init__(
        self, records: Records[Application], threads: Threads, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        """
        @param clock: measures how long a secret is remembered.
        @param now: the date, in seconds since the epoch.
        """
        self._records = records
        self._threads = threads
        self._clock = clock
        self._now = now
        self._key = secrets.token_bytes(32)
        # Secrets that were right, under a keyed hash, with until when by the clock.
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._nobody = secrets.token_bytes(16)
        # Whoever guesses from many addresses must not take all threads, nor 16 MiB for each guess.
        self._hashing = DeferredSemaphore(_AT_ONCE)

    def all(self) -> list[Application]:
        """
        All of them, by name.
        """
        return sorted((found for _, found in self._records.items()), key=lambda one: one.app_id)

    def get(self, appID: str) -> Application | None:
        """
        One by its identifier.
        """
        return self._records.get(appID)

    async def add(
        self,
        appID: str,
        name: str,
        secret: str | None = None,
        desc: str = "",
        status: bool = True,
        expired: float | None = None,
        scopes: tuple[str, ...] = SCOPES,
        default: bool = False,
        isKey: bool = False,
    ) -> str:
        """
        Add an application.

        @return: its secret, which is not known any more after this.

        @raise Refused: there is one of this identifier, or it is none, or there are too many.
        """
        if not appID or ":" in appID or any(ord(char) < 32 for char in appID) or len(appID.encode()) > 200:
            raise Refused(108, "app_id: 1 to 200 bytes, without colons and control characters")
        if secret == "":
            raise Refused(108, "secret: it is empty; leave it out to have one made")
        if secret is not None and "\0" in secret:
            raise Refused(108, "secret: it has a NUL in it")
        if len(self._records) >= MOST_APPLICATIONS:
            raise Refused(EXISTS, f"there are {MOST_APPLICATIONS} applications already")
        self._refuseExisting(appID)
        made = secret or secrets.token_urlsafe(36)[:47]
        salt = secrets.token_bytes(16)
        digest = await self._digest(made, salt)
        # It may have come while the thread worked.
        self._refuseExisting(appID)
        record = Application(appID, name, digest, salt, desc, status, expired, scopes, self._now(), default, isKey)
        self._records.put(appID, record)
        return made

    async def addKey(
        self, key: str | None = None, expired: float | None = None, scopes: tuple[str, ...] = SCOPES
    ) -> str:
        """
        Add an API key.

        @param key: the key; one is made by default.

        @return: the key, which is not known any more after this.

        @raise Refused: it is none, or one begins so already.
        """
        made = key or "".join(secrets.choice(_KEY_SIGNS) for _ in range(_KEY_LENGTH))
        if not (_SHORTEST_KEY <= len(made) <= _LONGEST_KEY and made.isascii() and made.isalnum()):
            raise Refused(108, f"key: {_SHORTEST_KEY} to {_LONGEST_KEY} letters and digits")
        name = made[:KEY_SHOWN]
        await self.add(name, "API key", made, "", True, expired, scopes, isKey=True)
        return made

    def change(
        self,
        appID: str,
        name: str | None = None,
        desc: str | None = None,
        status: bool | None = None,
        expired: float | None = None,
        neverExpires: bool = False,
    ) -> bool:
        """
        Change an application: what is not None.

        @return: whether there is one.
        """
        found = self.get(appID)
        if found is None:
            return False
        changed = replace(
            found,
            name=found.name if name is None else name,
            desc=found.desc if desc is None else desc,
            status=found.status if status is None else status,
            expired=None if neverExpires else found.expired if expired is None else expired,
        )
        self._records.put(appID, changed)
        return True

    def remove(self, appID: str) -> bool:
        """
        Remove an application; returns whether there was one.
        """
        return self._records.remove(appID)

    async def check(self, appID: str, secret: str, address: str, isLocal: bool) -> Caller | None:
        """
        Who calls, if the secret is right. For an application that is not there it takes as long as for a wrong secret.

        @param isLocal: whether the call comes from this machine.
        """
        if "\0" in secret:
            # The hash would be that of the secret without NUL at its end: HMAC fills keys up with it.
            return None
        if not secret:
            # An API key is its own secret.
            appID, secret = appID[:KEY_SHOWN], appID
            isKey = True
        else:
            isKey = False
        found = self._records.get(appID)
        if found is not None and found.isKey is not isKey:
            found = None
        salt = self._nobody if found is None else found.salt
        remembered = hmac.digest(self._key, salt + secret.encode("utf-8", "surrogateescape"), "sha256")
        right = self._clock.seconds() < self._right.get(remembered, 0.0)
        if not right:
            digest = await self._digest(secret, salt)
            right = found is not None and hmac.compare_digest(digest, found.digest)
            if right:
                self._right[remembered] = self._clock.seconds() + _REMEMBERED
                self._right.move_to_end(remembered)
                while len(self._right) > _MOST_REMEMBERED:
                    self._right.popitem(last=False)
            # It may have been changed or removed while the thread worked.
            found = self._records.get(appID)
        if not right or found is None or not self._mayCall(found, salt):
            return None
        if found.default and not isLocal:
            return None
        return Caller(
            appID,
            frozenset(found.scopes),
            address,
            isStill=lambda: (now := self._records.get(appID)) is not None and self._mayCall(now, salt),
        )

    def _mayCall(self, found: Application, salt: bytes) -> bool:
        """
        @param salt: that of the application whose secret was right; one of the same name may have taken its place.
        """
        return found.salt == salt and found.status and (found.expired is None or found.expired > self._now())

    def _digest(self, secret: str, salt: bytes) -> Deferred[bytes]:
        return self._hashing.run(self._threads.defer, digestOf, secret, salt)

    def _refuseExisting(self, appID: str) -> None:
        if appID in self._records:
            raise Refused(EXISTS, f"app_id: there is an application {appID!r} already")
