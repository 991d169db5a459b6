"""
The codes of messages: methods and response codes (RFC 7252 12.1, RFC 7959 6, RFC 8132 6, RFC 8516 5).
"""

from __future__ import annotations

from typing import Final


def code(text: str) -> int:
    """
    The number of a code such as C{"4.04"}.
    """
    major, minor = text.split(".")
    return int(major) << 5 | int(minor)


def codeText(number: int) -> str:
    """
    A code as the specification writes it.
    """
    return f"{number >> 5}.{number & 31:02}"


EMPTY: Final = 0

GET: Final = 1
POST: Final = 2
PUT: Final = 3
DELETE: Final = 4
FETCH: Final = 5
PATCH: Final = 6
IPATCH: Final = 7

METHODS: Final[dict[int, str]] = {
    GET: "GET",
    POST: "POST",
    PUT: "PUT",
    DELETE: "DELETE",
    FETCH: "FETCH",
    PATCH: "PATCH",
    IPATCH: "iPATCH",
}

CREATED: Final = code("2.01")
DELETED: Final = code("2.02")
VALID: Final = code("2.03")
CHANGED: Final = code("2.04")
CONTENT: Final = code("2.05")
# draft-ietf-core-coap-pubsub-02: a topic that has no value at present.
NO_CONTENT: Final = code("2.07")
CONTINUE: Final = code("2.31")
BAD_REQUEST: Final = code("4.00")
UNAUTHORIZED: Final = code("4.01")
BAD_OPTION: Final = code("4.02")
FORBIDDEN: Final = code("4.03")
NOT_FOUND: Final = code("4.04")
METHOD_NOT_ALLOWED: Final = code("4.05")
NOT_ACCEPTABLE: Final = code("4.06")
REQUEST_ENTITY_INCOMPLETE: Final = code("4.08")
CONFLICT: Final = code("4.09")
PRECONDITION_FAILED: Final = code("4.12")
REQUEST_ENTITY_TOO_LARGE: Final = code("4.13")
UNSUPPORTED_CONTENT_FORMAT: Final = code("4.15")
UNPROCESSABLE_ENTITY: Final = code("4.22")
TOO_MANY_REQUESTS: Final = code("4.29")
INTERNAL_SERVER_ERROR: Final = code("5.00")
NOT_IMPLEMENTED: Final = code("5.01")
BAD_GATEWAY: Final = code("5.02")
SERVICE_UNAVAILABLE: Final = code("5.03")
GATEWAY_TIMEOUT: Final = code("5.04")
PROXYING_NOT_SUPPORTED: Final = code("5.05")

NAMES: Final[dict[int, str]] = {
    CREATED: "Created",
    DELETED: "Deleted",
    VALID: "Valid",
    CHANGED: "Changed",
    CONTENT: "Content",
    NO_CONTENT: "No Content",
    CONTINUE: "Continue",
    BAD_REQUEST: "Bad Request",
    UNAUTHORIZED: "Unauthorized",
    BAD_OPTION: "Bad Option",
    FORBIDDEN: "Forbidden",
    NOT_FOUND: "Not Found",
    METHOD_NOT_ALLOWED: "Method Not Allowed",
    NOT_ACCEPTABLE: "Not Acceptable",
    REQUEST_ENTITY_INCOMPLETE: "Request Entity Incomplete",
    CONFLICT: "Conflict",
    PRECONDITION_FAILED: "Precondition Failed",
    REQUEST_ENTITY_TOO_LARGE: "Request Entity Too Large",
    UNSUPPORTED_CONTENT_FORMAT: "Unsupported Content-Format",
    UNPROCESSABLE_ENTITY: "Unprocessable Entity",
    TOO_MANY_REQUESTS: "Too Many Requests",
    INTERNAL_SERVER_ERROR: "Internal Server Error",
    NOT_IMPLEMENTED: "Not Implemented",
    BAD_GATEWAY: "Bad Gateway",
    SERVICE_UNAVAILABLE: "Service Unavailable",
    GATEWAY_TIMEOUT: "Gateway Timeout",
    PROXYING_NOT_SUPPORTED: "Proxying Not Supported",
}


def isRequest(number: int) -> bool:
    """
    Whether a code is that of a request, known or not.
    """
    return 0 < number < 32


def isResponse(number: int) -> bool:
    """
    Whether a code is that of a response, known or not: classes 2, 4 and 5.
    """
    return number >> 5 in (2, 4, 5)


def isSuccess(number: int) -> bool:
    """
    Whether a response says that all is well.
    """
    return number >> 5 == 2
