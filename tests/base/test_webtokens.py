"""
Tests for L{twisted_mqtt.base.webtokens}: which tokens a key accepts, and what is no key.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from twisted_mqtt.base.webtokens import MOST_TOKEN, TokenExpired, TokenKey, TokenKeyProblem, TokenRefused

NOW = 1_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
CLAIMS = {"sub": "anna", "exp": NOW + 60}


def pem(key: Any) -> bytes:
    """
    The public half of a key.
    """
    made: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made


def part(value: object) -> str:
    """
    A part of a token.
    """
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def certificate() -> bytes:
    """
    One of the RSA key.
    """
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
    begins = datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key())
    builder = builder.serial_number(1).not_valid_before(begins).not_valid_after(begins + timedelta(days=1))
    return builder.sign(RSA, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("data", "signer", "algorithm"),
    [
        (SECRET + b"\n", SECRET, "HS256"),
        (SECRET * 2, SECRET * 2, "HS512"),
        (pem(RSA), RSA, "RS256"),
        (pem(RSA), RSA, "PS512"),
        (certificate(), RSA, "RS384"),
        *((pem(key), key, "ES256") for key in [ec.generate_private_key(ec.SECP256R1())]),
        *((pem(key), key, "EdDSA") for key in [ed25519.Ed25519PrivateKey.generate()]),
    ],
)
def test_accepted(data: bytes, signer: Any, algorithm: str) -> None:
    """
    A token that was signed with the other half of the key is read.
    """
    assert TokenKey(data).claims(jwt.encode(CLAIMS, signer, algorithm), NOW) == CLAIMS


def test_dates() -> None:
    """
    A token holds from C{nbf} until C{exp}, and as much longer on both sides as clocks may differ.
    """
    key = TokenKey(SECRET)
    token = jwt.encode({"nbf": NOW, "exp": NOW + 60.5}, SECRET, "HS256")
    for now, leeway in ((NOW, 0), (NOW + 60, 0), (NOW - 5, 5), (NOW + 65, 5)):
        key.claims(token, now, leeway)
    with pytest.raises(TokenRefused, match="nbf"):
        key.claims(token, NOW - 6, 5)
    for now, leeway in ((NOW + 60.5, 0), (NOW + 65.5, 5)):
        with pytest.raises(TokenExpired):
            key.claims(token, now, leeway)
    assert key.claims(jwt.encode({}, SECRET, "HS256"), NOW) == {}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "é.é.é",
        "." * 100,
        f"{part({'alg': 'none'})}.{part(CLAIMS)}.",
        f"{part({'alg': 'nOnE'})}.{part(CLAIMS)}.",
        f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.",
        f"{part({'alg': ['HS256']})}.{part(CLAIMS)}.x",
        f"{part({})}.{part(CLAIMS)}.x",
        f"{part('HS256')}.{part(CLAIMS)}.x",
        f"{urlsafe_b64encode(b'[' * 5000).decode()}.{part(CLAIMS)}.x",
        jwt.encode(CLAIMS, b"x" * 32, "HS256"),
        jwt.encode(CLAIMS, SECRET, "HS256")[:-2],
        jwt.encode({"exp": "tomorrow"}, SECRET, "HS256"),
        jwt.encode({"exp": None}, SECRET, "HS256"),
        jwt.encode({"exp": True}, SECRET, "HS256"),
        jwt.encode({"exp": float("nan")}, SECRET, "HS256"),
        jwt.encode({"nbf": [1]}, SECRET, "HS256"),
        jwt.encode({"a": "x" * MOST_TOKEN}, SECRET, "HS256"),
        jwt.encode(CLAIMS, SECRET, "HS256", {"crit": ["b64"], "b64": True}),
        jwt.encode(CLAIMS, SECRET * 2, "HS512"),
    ],
)
def test_refused(token: str) -> None:
    """
    What is no token, or not of somebody who has the secret, is refused, and nothing else is raised.
    """
    with pytest.raises(TokenRefused):
        TokenKey(SECRET).claims(token, NOW)


@pytest.mark.parametrize("data", [pem(RSA), certificate()])
def test_confusion(data: bytes) -> None:
    """
    The file of a public key, which everybody may know, is no secret of an HMAC. RFC 8725 2.1.
    """
    head = part({"alg": "HS256", "typ": "JWT"})
    for secret in (data, data.rstrip(), data.strip() + b"\n"):
        signed = f"{head}.{part(CLAIMS)}"
        mac = urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        with pytest.raises(TokenRefused):
            TokenKey(data).claims(f"{signed}.{mac}", NOW)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "32 bytes"),
        (b"short\n", "32 bytes"),
        (b"-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----\n", "PEM"),
        (b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", "PEM"),
        (RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private"),
        (RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "DER"),
        (RSA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "SSH"),
        (pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "P-256"),
        (b"x" * 70_000, "65536"),
    ],
)
def test_noKey(data: bytes, says: str) -> None:
    """
    What is no key is said to be none, and why.
    """
    with pytest.raises(TokenKeyProblem, match=says):
        TokenKey(data)
