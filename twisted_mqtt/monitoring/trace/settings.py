"""
The table C{[trace]} (spec/vernemq.md 21, 26.1).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import Duration, Positive, Size
from twisted_mqtt.config.values import MB


class TraceSettings(Struct, frozen=True, kw_only=True):
    """
    C{[trace]}.
    """

    dir: Annotated[str, "Folder of the files of traces, and of folders with more; `log.dir` if it is empty"] = ""
    most: Annotated[Positive, "Most traces at a time, of files and live"] = 10
    rate_max: Annotated[
        Positive,
        "Most packets of a trace within `rate_interval`. A live trace ends with the next one; in a file they are left "
        "out and counted",
    ] = 10
    rate_interval: Annotated[Duration, "The time that `rate_max` is for"] = 0.1
    payload_limit: Annotated[int, whole(0, unit="bytes"), "Bytes of a payload that are shown; 0 for none"] = 200
    max_file_size: Annotated[Size, "Size of a file at which its trace ends"] = 10 * MB
