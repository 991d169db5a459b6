"""
Zone look-up: the value of the zone, else the value for all zones, else the built-in default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.schema_mqtt import MQTT, Zone

#: The zones that exist without being written.
USUAL_ZONES = ("external", "internal")

#: The keys of C{[mqtt]} that a zone may have as well.
FROM_MQTT = tuple(name for name in keysOf(MQTT) if name in keysOf(Zone))

#: The keys at the top of the file that a zone may have as well.
FROM_TOP = ("allow_anonymous",)


def resolved(name: str, zone: Mapping[str, Any], mqtt: MQTT, top: Mapping[str, Any]) -> Zone:
    """
    A zone with every option.

    @param zone: what the zone itself says.
    @param mqtt: what C{[mqtt]} says, with its defaults.
    @param top: what stands at the top of the file.
    """
    general = {key: getattr(mqtt, key) for key in FROM_MQTT}
    general.update((key, top[key]) for key in FROM_TOP if key in top)
    return Zone(name=name, **{**general, **zone})
