"""
Takes secrets out of what is shown: tokens in names, values of properties that are named like a secret.

Passwords and authentication data are never shown, so they are not looked for here.
"""

from __future__ import annotations

import re
from typing import Final

#: What stands in the place of a secret.
MASK: Final = "***"

_WORDS: Final = r"pass(?:word|wd|code|phrase)?|pwd|secret|token|jwt|bearer|authorization|credentials?|sig(?:nature)?"
# A name of which one part is such a word: "access_token", "X-Api-Key", "x-amz-customauthorizer-signature".
_SECRET_NAME: Final = re.compile(rf"(?:^|[\W_])(?:{_WORDS}|(?:api|access|private|shared)[\W_]?key)(?:$|[\W_])", re.I)
# A JSON Web Token, wherever it stands.
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+\S+", re.I)
_PAIR: Final = re.compile(r"([\w-]+)=([^&;,\s]+)")


def isSecretName(name: str) -> bool:
    """
    Whether what has this name is a secret.
    """
    # Humps count as borders between words.
    return _SECRET_NAME.search(re.sub(r"([a-z])([A-Z])", r"\1_\2", name)) is not None


def masked(text: str) -> str:
    """
    A text without the secrets that are known by their form: JSON Web Tokens, C{Bearer ...}, C{token=...}, as they stand
    in user names of cloud services.
    """
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    if "=" in text:
        text = _PAIR.sub(_maskPair, text)
    if " " in text:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    return text


def _maskPair(match: re.Match[str]) -> str:
    return f"{match[1]}={MASK}" if isSecretName(match[1]) else match[0]
