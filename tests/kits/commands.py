"""
Commands of C{mqttbroker-ctl} without a process: words in, the lines that EMQ X prints out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from tests.kits.shown import called
from twisted_mqtt.base.printable import oneLine
from twisted_mqtt.management.extension import Management
from twisted_mqtt.management.rest.resource import answerOf
from twisted_mqtt.management.settings import ManagementSettings
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.dialects import COMMAND
from twisted_mqtt.operations.operation import Call, Caller, Rows
from twisted_mqtt.testing.memory import MemoryBroker

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtension
    from twisted_mqtt.operations.operation import Operation


class Commands:
    """
    A broker in memory with management, and others if they are named.

    @ivar memory: the broker.
    """

    def __init__(self, **others: IExtension) -> None:
        """
        @param others: further extensions, by their names.
        """
        self.memory = MemoryBroker()
        self.memory.run(Management(ManagementSettings()), "management")
        self.harnesses = {name: self.memory.run(extension, name) for name, extension in others.items()}

    def begin(self, words: str, **more: Any) -> Deferred[Any]:
        """
        Begin a command; returns a Deferred of its answer.

        @param words: the words of the command and what it takes without C{--}, in quotes where there are blanks.
        @param more: what it takes with C{--}; a list for what is given more than once.
        """
        operation, texts = self._find(words.split())
        texts.update({name: value if isinstance(value, list) else str(value) for name, value in more.items()})
        request = bind(operation.request, texts, {})
        called.add(operation.name)
        caller = Caller("ctl", frozenset(("admin",)))

        def answer() -> Deferred[Any]:
            return Deferred.fromCoroutine(answerOf(operation, Call(request, self.memory.node, caller, COMMAND)))

        return maybeDeferred(answer)

    def answer(self, words: str, **more: Any) -> Any:
        """
        The answer of a command; raises what it fails with.
        """
        return self._wait(self.begin(words, **more))

    def rows(self, words: str, **more: Any) -> list[Any]:
        """
        The rows that a command answers.
        """
        answer = self.answer(words, **more)
        if not isinstance(answer, Rows):
            return list(answer)
        return [answer.row(thing) for thing in self._wait(answer.listing.everything())]

    def lines(self, words: str, **more: Any) -> list[str]:
        """
        The lines that a command prints.
        """
        operation, _ = self._find(words.split())
        text = operation.text
        assert text is not None, f"{words} prints no lines"
        answer = self.answer(words, **more)
        if isinstance(answer, Rows):
            rows = self._wait(answer.listing.everything())
            return [oneLine(line) for row in rows for line in text(answer.row(row))]
        return [oneLine(line) for line in text(answer)]

    def _find(self, words: list[str]) -> tuple[Operation, dict[str, Any]]:
        for count in range(len(words), 0, -1):
            operation = self.memory.node.operations.byWords(" ".join(words[:count]))
            if operation is not None:
                return operation, dict(zip(operation.positional, words[count:], strict=False))
        raise AssertionError(f"there is no command {' '.join(words)!r}")

    def _wait(self, waiting: Deferred[Any]) -> Any:
        found: list[Any] = []
        waiting.addBoth(found.append)
        for _ in range(10_000):
            if found:
                break
            self.memory.clock.advance(0.005)
        (answer,) = found
        if isinstance(answer, Failure):
            answer.raiseException()
        return msgspec.to_builtins(answer) if isinstance(answer, msgspec.Raw) else answer
