"""
Settings by the names and in the units that VerneMQ has for them: C{set}, C{show} (spec/vernemq.md 20.3, 26.3). Our own
keys are taken there too. What is set so holds until the broker ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from twisted_mqtt.config.problems import ConfigurationError
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.management.builtin.shared import checkNode
from twisted_mqtt.management.columns import Row, Value
from twisted_mqtt.operations.operation import INVALID, Call, Operation, Refused, operation, short

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IRuntimeSettings


class SetKeys(Struct, kw_only=True):
    """
    Keys, and what they are to be.
    """

    changes: Annotated[list[str], Meta(min_length=1, max_length=100, description="key=value, one or more")]
    node: Annotated[str, short("n", "Only on this node; it has to be this one")] = ""
    all: Annotated[bool, Meta(description="On all nodes")] = False


class ShowKeys(Struct, kw_only=True):
    """
    Keys.
    """

    keys: Annotated[list[str], Meta(min_length=1, max_length=100, description="Keys, one or more")]
    node: Annotated[str, short("n", "Only of this node; it has to be this one")] = ""
    all: Annotated[bool, Meta(description="Of all nodes")] = False


class SetAnswer(Struct, kw_only=True):
    """
    What waits for a restart.
    """

    restart: list[str]


def _same(text: str) -> str:
    return text


def _asIs(value: object) -> Value:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return int(value)
    return str(value)


def _whole(text: str) -> int:
    if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20):
        raise ValueError("a whole number is expected")
    return int(text)


def _seconds(text: str) -> str:
    return f"{_whole(text)}s"


def _milliseconds(text: str) -> str:
    return f"{_whole(text)}ms"


def _inMilliseconds(value: object) -> Value:
    return round(value * 1000) if isinstance(value, int | float) else _asIs(value)


def _messages(text: str) -> str:
    """
    VerneMQ has -1 for no limit, and 0 for none at all, which is no limit here.
    """
    number = _whole(text)
    if number == 0:
        raise ValueError("no messages at all is none of this broker's limits; the least is 1, and -1 is no limit")
    return str(max(number, 0))


def _inMessages(value: object) -> Value:
    return -1 if value == 0 else _asIs(value)


def _rate(text: str) -> str:
    number = _whole(text)
    return f"{number},1s" if number else "none"


def _inRate(value: object) -> Value:
    return round(value.perSecond) if isinstance(value, RateLimit) else 0


def _locking(text: str) -> str:
    return {"on": "quorum", "true": "quorum", "off": "local", "false": "local"}.get(text, text)


def _isLocked(value: object) -> Value:
    return value != "local"


def _expiry(text: str) -> str:
    """
    C{never}, or a number with h, d, w, m (four weeks) or y (48 weeks).
    """
    if text == "never":
        return "never"
    hours = {"h": 1, "d": 24, "w": 168, "m": 672, "y": 8064}.get(text[-1:])
    return text if hours is None else f"{_whole(text[:-1]) * hours}h"


@dataclass(frozen=True)
class _Key:
    """
    A key of VerneMQ.

    @ivar key: what it is here.
    @ivar write: makes our text of VerneMQ's; raises C{ValueError}.
    @ivar read: makes VerneMQ's value of ours.
    """

    key: str
    write: Callable[[str], str] = _same
    read: Callable[[object], Value] = _asIs


_KEYS: Final = {
    "vmq_acl.acl_file": _Key("acl_file"),
    "coordinate_registrations": _Key("broker.session_locking_strategy", _locking, _isLocked),
    "retry_interval": _Key("zone.external.retry_interval", _seconds),
    "max_client_id_size": _Key("mqtt.max_clientid_len"),
    "persistent_client_expiration": _Key("zone.external.session_expiry_interval", _expiry),
    "max_inflight_messages": _Key("zone.external.max_inflight"),
    "max_online_messages": _Key("zone.external.max_online_messages", _messages, _inMessages),
    "max_offline_messages": _Key("zone.external.max_offline_messages", _messages, _inMessages),
    "max_message_rate": _Key("zone.external.publish_limit", _rate, _inRate),
    "max_message_size": _Key("mqtt.max_payload_size"),
    "upgrade_outgoing_qos": _Key("zone.external.upgrade_qos"),
    "queue_type": _Key("zone.external.mqueue_order"),
    "shared_subscription_policy": _Key("broker.shared_subscription_strategy"),
    "suppress_lwt_on_session_takeover": _Key("zone.external.suppress_will_on_takeover"),
    "topic_alias_max_client": _Key("mqtt.max_topic_alias"),
    "topic_alias_max_broker": _Key("mqtt.max_outgoing_topic_alias"),
    "receive_max_client": _Key("zone.external.max_inflight"),
    "receive_max_broker": _Key("mqtt.receive_maximum"),
    "max_last_will_delay": _Key("mqtt.max_will_delay", _seconds),
    "topic_max_depth": _Key("mqtt.max_topic_levels"),
    "systree_interval": _Key("broker.sys_interval", _milliseconds, _inMilliseconds),
    "systree_qos": _Key("broker.sys_qos"),
    "systree_retain": _Key("broker.sys_retain"),
    "systree_mountpoint": _Key("broker.sys_topic_tree"),
    "graphite_enabled": _Key("graphite.enabled"),
    "graphite_host": _Key("graphite.host"),
    "graphite_port": _Key("graphite.port"),
    "graphite_interval": _Key("graphite.interval", _milliseconds, _inMilliseconds),
    "graphite_include_labels": _Key("graphite.include_labels"),
    "vmq_passwd.password_file": _Key("auth.user.password_file"),
    "vmq_passwd.password_reload_interval": _Key("auth.user.reload_interval", _seconds),
    "vmq_acl.acl_reload_interval": _Key("acl_reload_interval", _seconds),
    "allow_register_during_netsplit": _Key("cluster.netsplit.allow_register"),
    "allow_publish_during_netsplit": _Key("cluster.netsplit.allow_publish"),
    "allow_subscribe_during_netsplit": _Key("cluster.netsplit.allow_subscribe"),
    "allow_unsubscribe_during_netsplit": _Key("cluster.netsplit.allow_unsubscribe"),
    "remote_enqueue_timeout": _Key("cluster.remote_enqueue_timeout", _milliseconds, _inMilliseconds),
    "vmq_webhooks.pool_max_connections": _Key("web.hook.pool.max_connections"),
    "vmq_webhooks.pool_timeout": _Key("web.hook.pool.timeout", _milliseconds, _inMilliseconds),
    "vmq_diversity.keep_state": _Key("lua.hook.keep_state"),
}

#: What VerneMQ can do and this broker does otherwise.
_NONE: Final = {
    "allow_multiple_sessions": "a client identifier has one session: several clients take a shared subscription",
    "queue_deliver_mode": "a client identifier has one session: several clients take a shared subscription",
    "systree_enabled": "set systree_interval=0 turns $SYS off",
}


def _keyOf(name: str, settings: IRuntimeSettings) -> _Key:
    """
    @raise Refused: there is no such key.
    """
    if name in _NONE:
        raise Refused(INVALID, f"{name}: {_NONE[name]}")
    found = _KEYS.get(name) or _Key(name)
    try:
        settings.entry(found.key)
    except KeyError as error:
        if found.key != name:
            raise Refused(INVALID, f"{name}: {found.key} is no setting of this broker at present") from None
        raise Refused(INVALID, str(error.args[0]), 404) from None
    return found


@operation(
    "set_keys",
    "Change settings until the broker ends; config set keeps them",
    "set",
    role="admin",
    positional=("changes",),
    text=lambda answer: [f"after a restart: {line}" for line in answer.restart],
    example="max_client_id_size=45 zone.external.max_inflight=64",
)
async def setKeys(call: Call[SetKeys]) -> SetAnswer:
    """
    All of them or none. VerneMQ's keys are in VerneMQ's units.
    """
    request, settings = call.request, call.node.settings
    checkNode(call.node, request.node)
    values: dict[str, object] = {}
    for change in request.changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise Refused(INVALID, f"changes: {change[:80]!r} is not key=value")
        key = _keyOf(name, settings)
        try:
            values[key.key] = key.write(text)
        except ValueError as error:
            raise Refused(INVALID, f"{name}: {error}, not {text[:80]!r}") from None
    try:
        report = await settings.change(values, keep=False)
    except ConfigurationError as error:
        raise Refused(INVALID, str(error)) from None
    if report.problems:
        raise Refused(INVALID, "; ".join(report.problems))
    return SetAnswer(restart=[line for line in report.restart if line in values])


@operation(
    "show_keys",
    "Show settings, a column for each",
    "show",
    role="admin",
    positional=("keys",),
    example="max_client_id_size retry_interval",
)
def showKeys(call: Call[ShowKeys]) -> list[Row]:
    """
    A row for each node. VerneMQ's keys are in VerneMQ's units; secrets are hidden.
    """
    request, settings = call.request, call.node.settings
    checkNode(call.node, request.node)
    row: Row = {"node": call.broker.nodeName}
    for name in request.keys:
        key = _keyOf(name, settings)
        entry = settings.entry(key.key)
        row[name] = entry.written if key.key == name else key.read(entry.value)
    return [row]


OPERATIONS: tuple[Operation, ...] = (setKeys, showKeys)
