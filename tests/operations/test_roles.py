"""
Tests for the role that an operation has of itself.
"""

from __future__ import annotations

from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.operations.operation import Call, Nothing, Route, operation


def test_default() -> None:
    """
    What is called by GET alone reads; all else writes, also what is a command and no more, unless it says otherwise.
    """

    def nothing(call: Call[Nothing]) -> None: ...

    get, delete = Route("GET", "/x"), Route("DELETE", "/x")
    assert operation("a", "A", "a", get)(nothing).role == "read"
    assert operation("a", "A", "a", get, delete)(nothing).role == "write"
    assert operation("a", "A", "a")(nothing).role == "write"
    assert operation("a", "A", "a", role="read")(nothing).role == "read"


def test_commands() -> None:
    """
    Who may only read forgets no retained messages.
    """
    roles = {one.name: one.role for one in declared()}
    assert roles["retainer_clean"] == "write"
    assert roles["retainer_topics"] == roles["show_sessions"] == roles["recon_top"] == "read"
