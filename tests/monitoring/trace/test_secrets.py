"""
Tests for L{twisted_mqtt.monitoring.trace.secrets}.
"""

from __future__ import annotations

import pytest

from twisted_mqtt.monitoring.trace.secrets import isSecretName, masked

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anna", "anna"),
        (TOKEN, "***"),
        (f"jwt:{TOKEN};x", "jwt:***;x"),
        ("dev?x-amz-customauthorizer-signature=abc%2B&k=v", "dev?x-amz-customauthorizer-signature=***&k=v"),
        ("SharedAccessSignature sr=hub&sig=q%3D&se=1", "SharedAccessSignature sr=hub&sig=***&se=1"),
        ("Bearer abc.def", "Bearer ***"),
        ("user;access_token=1234", "user;access_token=***"),
        ("temperature=21", "temperature=21"),
        ("a passenger=1 tokens=2 keyboard=3", "a passenger=1 tokens=2 keyboard=3"),
        ("", ""),
    ],
)
def test_masked(text: str, shown: str) -> None:
    """
    Secrets that are known by their form are masked, and nothing else.
    """
    assert masked(text) == shown


@pytest.mark.parametrize(
    "name", ["password", "Passwd", "X-Api-Key", "accessToken", "client_secret", "Authorization", "sharedKey", "sig"]
)
def test_secret_names(name: str) -> None:
    """
    These name secrets.
    """
    assert isSecretName(name)


@pytest.mark.parametrize("name", ["key", "passage", "signal", "tokenizer", "monkey", "a", ""])
def test_other_names(name: str) -> None:
    """
    These do not.
    """
    assert not isSecretName(name)
