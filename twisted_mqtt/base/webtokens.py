"""
JSON Web Tokens: the key of a file, and what a token that it has signed says (RFC 7515, 7518, 7519).

The kind of the key says which algorithms are taken, and never the token: one that calls a public key the secret of an
HMAC is refused, as one without a signature is. It needs PyJWT, which is imported when a key is read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

if TYPE_CHECKING:
    from types import ModuleType

#: The longest file of a key, and the longest token, in bytes.
MOST_KEY: Final = 65536
MOST_TOKEN: Final = 8192

#: Bits that a key of RSA has at least, and bytes that the secret of an HMAC has (RFC 7518 3.2, 3.3).
LEAST_RSA: Final = 2048
LEAST_SECRET: Final = 32

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_HMAC: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_CHECKS: Final = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")

_Key: TypeAlias = "RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | bytes"


class TokenKeyProblem(ValueError):
    """
    A file holds no key that can be used; the text says why, and what would help.
    """


class TokenRefused(ValueError):
    """
    A token is not accepted; the text says why.
    """


class TokenExpired(TokenRefused):
    """
    A token was good, and is over.
    """


class TokenKey:
    """
    The key that checks tokens.

    @ivar algorithms: those that are taken.
    """

    def __init__(self, data: bytes) -> None:
        """
        @param data: a file: a public key or a certificate in PEM, or the secret of an HMAC, without what ends its line.

        @raise TokenKeyProblem: it is neither.
        """
        self._jwt = _library()
        self._key, self.algorithms = _keyOf(data)

    def claims(self, token: str, now: float, leeway: float = 0.0) -> dict[str, object]:
        """
        What a token says.

        @param now: the date, in seconds since the epoch.
        @param leeway: seconds by which clocks may differ.

        @raise TokenRefused: it is none, or nobody's who has the key, or not valid yet.
        @raise TokenExpired: it is not valid any more.
        """
        if len(token) > MOST_TOKEN:
            raise TokenRefused(f"the token is longer than {MOST_TOKEN} characters")
        library = self._jwt
        try:
            found = library.decode_complete(
                token,
                self._key,
                algorithms=list(self.algorithms),
                options={f"verify_{name}": False for name in _CHECKS},
            )
        except (library.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefused(f"the token is not valid: {type(error).__name__}") from None
        if "crit" in found["header"]:
            raise TokenRefused("the token wants extensions to be understood (crit)")
        claims: dict[str, object] = found["payload"]
        begins, ends = _dateOf(claims, "nbf"), _dateOf(claims, "exp")
        if begins is not None and now + leeway < begins:
            raise TokenRefused("the token is not valid yet (nbf)")
        if ends is not None and now - leeway >= ends:
            raise TokenExpired("the token has expired (exp)")
        return claims


def _library() -> ModuleType:
    try:
        import jwt
    except ImportError:
        raise TokenKeyProblem(
            "tokens need the package PyJWT, which is not installed: pip install 'twisted-mqtt[management]'"
        ) from None
    return jwt


def _keyOf(data: bytes) -> tuple[_Key, tuple[str, ...]]:
    """
    A key, and what it may check.
    """
    if len(data) > MOST_KEY:
        raise TokenKeyProblem(f"the file is longer than {MOST_KEY} bytes")
    if b"PRIVATE KEY-----" in data:
        raise TokenKeyProblem("this is a private key; who checks tokens needs the public one alone")
    if data.startswith((b"ssh-", b"ecdsa-sha2-")):
        raise TokenKeyProblem("this is a key of SSH; ssh-keygen -e -m PKCS8 -f FILE makes PEM of it")
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return _publicKey(x509.load_pem_x509_certificate(data).public_key())
        if b"-----BEGIN" in data:
            return _publicKey(load_pem_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, TokenKeyProblem):
            raise
        raise TokenKeyProblem("this is no public key and no certificate in PEM") from None
    try:
        # Who knows a public key must not be able to sign with it.
        load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        pass
    else:
        raise TokenKeyProblem("this is a public key in DER; openssl pkey -pubin -inform DER -in FILE makes PEM of it")
    secret = data.rstrip(b"\r\n")
    if len(secret) < LEAST_SECRET:
        raise TokenKeyProblem(f"a secret has {LEAST_SECRET} bytes at least, and this has {len(secret)}")
    return secret, tuple(name for name, size in _HMAC.items() if len(secret) >= size)


def _publicKey(key: object) -> tuple[_Key, tuple[str, ...]]:
    if isinstance(key, RSAPublicKey):
        if key.key_size < LEAST_RSA:
            raise TokenKeyProblem(f"a key of RSA has {LEAST_RSA} bits at least, and this has {key.key_size}")
        return key, _RSA
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key, (_CURVES[key.curve.name],)
    if isinstance(key, Ed25519PublicKey):
        return key, ("EdDSA",)
    raise TokenKeyProblem("a public key is one of RSA, of the curves P-256, P-384 or P-521, or of Ed25519")


def _dateOf(claims: dict[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        if name in claims:
            raise TokenRefused(f"the token has no number for {name}")
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(f"the token has no number for {name}")
    return float(value)
