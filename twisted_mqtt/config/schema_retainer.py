"""
The table of the retained messages, which are part of the broker itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.keys import RESTART, Alias, Duration, Size, Whole
from twisted_mqtt.config.values import MB


class RetainerSettings(Struct, frozen=True, kw_only=True):
    """
    C{[retainer]}: limits of retained messages.
    """

    storage_type: Annotated[
        Literal["ram", "disc", "disc_only"],
        RESTART,
        "Where retained messages are kept: in memory, on disk as well, or on disk only",
    ] = "disc"
    max_retained_messages: Annotated[
        Whole,
        Alias("max_message_num"),
        "Most retained messages; above it only existing ones are replaced; 0 for no limit",
    ] = 1_000_000
    max_retained_bytes: Annotated[
        Size, "Bytes of their payloads in memory; above it, nothing is retained that needs more; 0 for no limit"
    ] = 512 * MB
    max_payload_size: Annotated[Size, "Largest payload that is retained; a larger one is only delivered"] = MB
    expiry_interval: Annotated[Duration, "Life of a retained message without an expiry of its own; 0 for ever"] = 0.0
