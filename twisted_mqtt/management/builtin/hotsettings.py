"""
NanoMQ's settings that can change while the broker runs, by its names and in its units (spec/rest-api-nanomq.md 3.11).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from twisted_mqtt.management.builtin.configuration import Changed, changeKeys
from twisted_mqtt.operations.dialects import NANOMQ
from twisted_mqtt.operations.operation import Call, Nothing, Operation, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import INode

_KIB: Final = 1024


class HotSettings(Struct, kw_only=True):
    """
    The settings.
    """

    property_size: Annotated[int, Meta(ge=0, description="Longest block of properties, in bytes")] | UnsetType = UNSET
    max_packet_size: Annotated[int, Meta(ge=1, description="Largest packet, in KiB")] | UnsetType = UNSET
    client_max_packet_size: Annotated[int, Meta(ge=1, description="Largest packet of a client, in KiB")] | UnsetType = (
        UNSET
    )
    msq_len: Annotated[int, Meta(ge=0, description="Longest queue of a session; 0 for any length")] | UnsetType = UNSET
    qos_duration: Annotated[int, Meta(ge=0, description="Seconds after which a message is sent again")] | UnsetType = (
        UNSET
    )
    keepalive_backoff: (
        Annotated[int, Meta(ge=1, description="So many thousandths of its keep-alive a client may be silent")]
        | UnsetType
    ) = UNSET
    allow_anonymous: Annotated[bool, Meta(description="Whether clients may connect without a login")] | UnsetType = (
        UNSET
    )


class ChangeHotSettings(Struct, kw_only=True):
    """
    What changes; what is not named stays.
    """

    data: HotSettings


class HotChanged(Changed, kw_only=True):
    """
    What has become of a change.

    @ivar ignored: what changes nothing here, and why.
    """

    ignored: list[str] = []


class _Setting(NamedTuple):
    """
    One of them.

    @ivar key: ours.
    @ivar show: makes NanoMQ's value of ours.
    @ivar read: makes ours of NanoMQ's.
    """

    key: str
    show: Callable[[Any], int | bool]
    read: Callable[[Any], object]


_SETTINGS: Final = {
    "max_packet_size": _Setting("mqtt.max_packet_size", lambda size: size // _KIB, lambda size: size * _KIB),
    "client_max_packet_size": _Setting(
        "zone.external.max_packet_size", lambda size: size // _KIB, lambda size: size * _KIB
    ),
    "msq_len": _Setting("zone.external.max_mqueue_len", lambda most: most or 0, lambda most: most or None),
    "qos_duration": _Setting("zone.external.retry_interval", int, lambda seconds: f"{seconds}s"),
    # A client is given up after twice its keep-alive times our factor.
    "keepalive_backoff": _Setting(
        "zone.external.keepalive_backoff", lambda factor: round(factor * 2000), lambda factor: factor / 2000
    ),
    "allow_anonymous": _Setting("allow_anonymous", bool, lambda allowed: allowed),
}


def _shown(node: INode) -> dict[str, int | bool]:
    settings = node.settings
    found = {name: one.show(settings.get(one.key)) for name, one in _SETTINGS.items()}
    # There is no limit of its own for them: they are as long as a packet may be.
    return {"property_size": found["client_max_packet_size"] * _KIB, **found}


@operation(
    "get_hot_configuration",
    "Show the settings of NanoMQ that can change while the broker runs",
    "",
    Route("GET", "/reload"),
    role="admin",
)
def getHotSettings(call: Call[Nothing]) -> HotSettings:
    """
    C{allow_anonymous} is false too where only clients of this machine may be anonymous.
    """
    return HotSettings(**_shown(call.node))  # type: ignore[arg-type]  # each is of the type of its field


@operation(
    "set_hot_configuration",
    "Change settings of NanoMQ while the broker runs",
    "",
    Route("POST", "/reload"),
    role="admin",
)
async def setHotSettings(call: Call[ChangeHotSettings]) -> HotChanged | None:
    """
    A number that is as it is shown stays as it is, since ours may not be a whole number of KiB. That nobody may be
    anonymous holds on this machine too when somebody says so.
    """
    asked, shown = call.request.data, _shown(call.node)
    values: dict[str, object] = {}
    ignored = []
    for name in asked.__struct_fields__:
        value = getattr(asked, name)
        if value is UNSET or (value == shown[name] and name != "allow_anonymous"):
            continue
        if name == "property_size":
            ignored.append("property_size: properties have no limit of their own, they are as long as a packet may be")
            continue
        values[_SETTINGS[name].key] = _SETTINGS[name].read(value)
    done = await changeKeys(call, values) if values else Changed(done=[], restart=[])
    return None if call.dialect == NANOMQ else HotChanged(done=done.done, restart=done.restart, ignored=ignored)


OPERATIONS: tuple[Operation, ...] = (getHotSettings, setHotSettings)
