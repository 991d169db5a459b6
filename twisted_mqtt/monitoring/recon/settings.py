"""
The table C{[recon]}.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from twisted_mqtt.config.keys import Period


class ReconSettings(Struct, frozen=True, kw_only=True):
    """
    C{[recon]}.
    """

    gc_interval: Annotated[
        Period,
        "Time between two full garbage collections; 0 for none besides Python's own. Each holds up all clients: with "
        "100,000 of them, for about a second",
    ] = 0.0
