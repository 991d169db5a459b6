"""
What a callback of a hook point has answered, as text, without secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from twisted_mqtt.base.printable import printable
from twisted_mqtt.base.slowcalls import describe
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.reasons import nameOf
from twisted_mqtt.hooks.verdicts import Answer, AuthResult, Challenge, Drop, Verdict
from twisted_mqtt.monitoring.trace.packettext import name
from twisted_mqtt.monitoring.trace.secrets import masked

if TYPE_CHECKING:
    from twisted_mqtt.hooks.tracing import HookCall


def hookText(call: HookCall) -> tuple[str, str]:
    """
    One call.

    @return: its line; and its level: C{debug}, C{warning} for a refusal, C{error} for a failure.
    """
    said, level = _answer(call.answer, call.args)
    waited = ", waited" if call.waited else ""
    subject = _subject(call)
    return f"{call.point} {describe(call.callback)}{subject}: {said} ({1000 * call.seconds:.3f} ms{waited})", level


def _subject(call: HookCall) -> str:
    if call.point == "client.check_acl" and len(call.args) > 2:
        return f' {call.args[1]} "{name(str(call.args[2]))}"'
    message = next((arg for arg in call.args if isinstance(arg, Message)), None)
    return "" if message is None else f' "{name(message.topic)}"'


def _answer(answer: object, args: tuple[object, ...]) -> tuple[str, str]:
    if isinstance(answer, Failure):
        kind = answer.type.__name__ if answer.type is not None else "failure"
        return f"failed: {kind}: {printable(masked(answer.getErrorMessage()), 200)}", "error"
    if type(answer) is Answer:
        said, level = ("", "debug") if answer.value is None else _answer(answer.value, args)
        word = "stop" if answer.ends else "ok"
        return (f"{word}, {said}" if said else word), level
    if answer is None:
        return "ok", "debug"
    if isinstance(answer, Verdict):
        if answer.allowed:
            return "allow", "debug"
        return f"deny, {nameOf(answer.reason)}", "warning"
    if isinstance(answer, AuthResult):
        if answer.success:
            return ("success, superuser" if answer.isSuperuser else "success"), "debug"
        return f"refused, {nameOf(answer.reasonCode)}", "warning"
    if isinstance(answer, Challenge):
        return "asks for more", "debug"
    if isinstance(answer, Drop):
        return "drop", "warning"
    if any(answer is arg for arg in args):
        return "ok, unchanged", "debug"
    if isinstance(answer, Message):
        return f'ok, changed to "{name(answer.topic)}", {len(answer.payload)} bytes', "debug"
    return "ok, changed", "debug"
