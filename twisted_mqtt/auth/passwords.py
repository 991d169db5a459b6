"""
Hashes of passwords as they stand in password files: made, told apart, and compared.

    $7$<iterations>$<salt>$<hash>   PBKDF2 with SHA-512: Mosquitto since 1.6
    $6$<salt>$<hash>                SHA-512 of password and salt: Mosquitto before, VerneMQ (spec/vernemq.md AUT-05)

Salt and hash are in base64. A hash of the first kind takes time on purpose: make and compare it in a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["sha512-pbkdf2", "sha512", "unknown", "plain"]

PBKDF2: Final = "sha512-pbkdf2"
SHA512: Final = "sha512"
UNKNOWN: Final = "unknown"
PLAIN: Final = "plain"

ITERATIONS: Final = 10_000
"""
Of a new C{$7$} hash: some 10 ms, for each client that connects. Mosquitto takes 101.
"""

MOST_ITERATIONS: Final = 1_000_000
"""
A hash with more is not compared: it would take seconds.
"""

MOST_BYTES: Final = 65535
"""
The longest password that a CONNECT packet can carry [MQTT 5.0 3.1.3.6].
"""

_SALT_BYTES: Final = 12
_PBKDF2_BYTES: Final = 64
_PBKDF2: Final = re.compile(r"\$7\$([1-9][0-9]{0,9})\$([A-Za-z0-9+/]{4,344}={0,2})\$([A-Za-z0-9+/]{86}==)")
_SHA512: Final = re.compile(r"\$6\$([A-Za-z0-9+/]{4,344}={0,2})\$([A-Za-z0-9+/]{86}==)")
#: Hashes of others, such as C{$2b$12$...} (bcrypt) and C{$argon2id$v=19$...}.
_OTHER: Final = re.compile(r"\$(?:2[abxy]?|argon2(?:i|d|id)|5|scrypt|y|6|7)\$[A-Za-z0-9+/=,.$-]{20,}")


class PasswordProblem(ValueError):
    """
    A password, a hash or a name can't be used; the text says why, without the password.
    """


def kindOf(stored: str) -> Kind:
    """
    What stands in a file behind a name.

    @return: C{"unknown"} for what looks like a hash of another kind, or like a damaged one; C{"plain"} for a password
        in clear.
    """
    if _PBKDF2.fullmatch(stored):
        return PBKDF2
    if _SHA512.fullmatch(stored):
        return SHA512
    return UNKNOWN if _OTHER.fullmatch(stored) else PLAIN


def hashed(password: bytes, kind: Kind = PBKDF2, iterations: int = ITERATIONS) -> str:
    """
    Hash a password with a new salt.

    @param kind: C{"sha512-pbkdf2"} or C{"sha512"}.
    @raise PasswordProblem: it is empty or too long, or the iterations are not from 1 to L{MOST_ITERATIONS}.
    """
    checkPassword(password)
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise PasswordProblem(f"iterations are from 1 to {MOST_ITERATIONS}, not {iterations}")
    salt = os.urandom(_SALT_BYTES)
    written = base64.b64encode(salt).decode("ascii")
    if kind == PBKDF2:
        return f"$7${iterations}${written}${_encoded(_pbkdf2(password, salt, iterations))}"
    if kind == SHA512:
        return f"$6${written}${_encoded(hashlib.sha512(password + salt).digest())}"
    raise PasswordProblem(f"no hash of the kind {kind!r} can be made")


def verify(password: bytes, stored: str) -> bool:
    """
    Whether a password is the one that was hashed. The time does not depend on what is right of it.

    @raise PasswordProblem: C{stored} is none of the two hashes, or has more than L{MOST_ITERATIONS}.
    """
    if found := _PBKDF2.fullmatch(stored):
        iterations = int(found[1])
        if iterations > MOST_ITERATIONS:
            raise PasswordProblem(f"the hash has more than {MOST_ITERATIONS} iterations")
        return hmac.compare_digest(_pbkdf2(password, _decoded(found[2]), iterations), _decoded(found[3]))
    if found := _SHA512.fullmatch(stored):
        digest = hashlib.sha512(password + _decoded(found[1])).digest()
        return hmac.compare_digest(digest, _decoded(found[2]))
    raise PasswordProblem("the hash is of a kind that is not known here" if stored[:1] == "$" else "it is no hash")


def checkPassword(password: bytes) -> None:
    """
    @raise PasswordProblem: no client could send it, or it is empty.
    """
    if not password:
        raise PasswordProblem("the password is empty")
    if len(password) > MOST_BYTES:
        raise PasswordProblem(f"the password has more than {MOST_BYTES} bytes")


def _pbkdf2(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password, salt, iterations, _PBKDF2_BYTES)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise PasswordProblem("the hash is damaged: its salt is not base64") from None
