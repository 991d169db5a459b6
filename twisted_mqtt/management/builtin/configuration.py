"""
Settings: looking at them, and changing them while the broker runs (spec/vernemq.md 20.3; rest-api-nanomq.md 3.13).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from twisted_mqtt.config.problems import ConfigurationError
from twisted_mqtt.operations.dialects import NANOMQ
from twisted_mqtt.operations.operation import INVALID, NOT_WRITTEN, Call, Nothing, Operation, Refused, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.config.entries import SettingEntry
    from twisted_mqtt.config.reloadreport import ReloadReport

#: So that one call does not go through everything again and again.
MOST_CHANGES = 1000


class ShowSettings(Struct, kw_only=True):
    """
    Which settings are shown.
    """

    key: Annotated[str, Meta(description="A key or a table, such as zone.external; everything by default")] = ""
    changed: Annotated[bool, Meta(description="Only what is not the default")] = False


class ChangeSetting(Struct, kw_only=True):
    """
    A key and what it is to be.
    """

    key: Annotated[str, Meta(description="A key in full, such as zone.external.max_inflight")]
    value: Annotated[str, Meta(description="What it is to be, as in the file")]
    once: Annotated[bool, Meta(description="Whether it is forgotten at the next start")] = False


class ResetSetting(Struct, kw_only=True):
    """
    A key that was changed at run time.
    """

    key: Annotated[str, Meta(description="A key in full that was changed while the broker ran")]


class ChangeSettings(Struct, kw_only=True):
    """
    Several keys at once, all of them or none.
    """

    data: Annotated[dict[str, Any], Meta(description="What the keys are to be, by their names in full")]


class SettingRow(Struct, kw_only=True):
    """
    A key with its value.

    @ivar value: as in the file.
    @ivar default: likewise; None where it must be given.
    @ivar source: where the value comes from; empty for the default.
    @ivar effective: from when on a change holds.
    """

    key: str
    value: str
    default: str | None
    source: str
    effective: str
    meaning: str


class Changed(Struct, kw_only=True):
    """
    What has become of a change.
    """

    done: list[str]
    restart: list[str]


def _rowOf(entry: SettingEntry) -> SettingRow:
    return SettingRow(
        key=entry.key,
        value=entry.written,
        default=entry.default,
        source="" if entry.place is None else str(entry.place),
        effective=entry.since,
        meaning=entry.meaning,
    )


def _lines(rows: list[SettingRow]) -> Iterator[str]:
    for row in rows:
        yield f"{row.key} = {row.value}"


def _outcome(report: ReloadReport) -> Changed:
    """
    @raise Refused: something is wrong.
    """
    if report.problems:
        raise Refused(INVALID, "; ".join(report.problems))
    return Changed(done=report.done, restart=report.restart)


def _changed(answer: Changed) -> Iterator[str]:
    yield from answer.done
    for line in answer.restart:
        yield f"after a restart: {line}"
    if not answer.done and not answer.restart:
        yield "ok"


async def changeKeys(call: Call[Any], values: dict[str, object], keep: bool = True) -> Changed:
    """
    Change keys, all of them or none.

    @param keep: whether they hold after a restart as well.

    @raise Refused: they do not pass, or can't be kept.
    """
    if len(values) > MOST_CHANGES:
        raise Refused(INVALID, f"data: there are more than {MOST_CHANGES} keys")
    try:
        return _outcome(await call.node.settings.change(values, keep))
    except ConfigurationError as error:
        raise Refused(INVALID, str(error)) from None
    except KeyError as error:
        raise Refused(INVALID, str(error.args[0])) from None
    except OSError as error:
        raise Refused(NOT_WRITTEN, f"the change can't be kept: {error.filename}: {error.strerror}", 500) from None


@operation(
    "show_config",
    "Show settings: what each key is, and where that comes from",
    "config show",
    Route("GET", "/settings"),
    role="admin",
    positional=("key",),
    refusals={404: "There is no such key"},
    text=_lines,
)
def showSettings(call: Call[ShowSettings]) -> list[SettingRow]:
    """
    Secrets are hidden.
    """
    wanted = call.request
    rows = [
        _rowOf(entry)
        for entry in call.node.settings.entries(wanted.key)
        if not wanted.changed or entry.place is not None
    ]
    if not rows and wanted.key:
        try:
            call.node.settings.entry(wanted.key)
        except KeyError as error:
            raise Refused(INVALID, str(error.args[0]), 404) from None
    return rows


@operation(
    "set_config",
    "Change a setting while the broker runs",
    "config set",
    Route("PUT", "/settings/:key"),
    role="admin",
    positional=("key", "value"),
    text=_changed,
)
async def changeSetting(call: Call[ChangeSetting]) -> Changed:
    """
    It is kept in the overrides file, beside the main one.
    """
    return await changeKeys(call, {call.request.key: call.request.value}, not call.request.once)


@operation(
    "reset_config",
    "Take back what was changed of a setting while the broker ran",
    "config reset",
    Route("DELETE", "/settings/:key"),
    role="admin",
    positional=("key",),
    refusals={404: "The key was not changed, or there is none"},
    text=_changed,
)
async def resetSetting(call: Call[ResetSetting]) -> Changed:
    """
    It is what the file says again.
    """
    try:
        return _outcome(await call.node.settings.reset([call.request.key]))
    except ConfigurationError as error:
        raise Refused(INVALID, str(error)) from None
    except KeyError as error:
        raise Refused(INVALID, str(error.args[0]), 404) from None
    except OSError as error:
        raise Refused(NOT_WRITTEN, f"the change can't be kept: {error.filename}: {error.strerror}", 500) from None


@operation(
    "get_broker_configuration",
    "Show all settings as one object",
    "",
    Route("GET", "/configuration/"),
    role="admin",
)
def getConfiguration(call: Call[Nothing]) -> dict[str, str]:
    """
    By key, as in the file; secrets are hidden.
    """
    return {entry.key: entry.written for entry in call.node.settings.entries()}


@operation(
    "set_broker_configuration",
    "Change several settings at once, all of them or none",
    "",
    Route("POST", "/configuration/"),
    role="admin",
)
async def setConfiguration(call: Call[ChangeSettings]) -> Changed | None:
    """
    They are kept in the overrides file. What is as it is shown stays as it is, so that all that was shown can be sent
    back, hidden secrets too.
    """
    shown = {entry.key: entry.written for entry in call.node.settings.entries()}
    values = {key: value for key, value in call.request.data.items() if key not in shown or value != shown[key]}
    done = await changeKeys(call, values) if values else Changed(done=[], restart=[])
    return None if call.dialect == NANOMQ else done


OPERATIONS: tuple[Operation, ...] = (
    showSettings,
    changeSetting,
    resetSetting,
    getConfiguration,
    setConfiguration,
)
