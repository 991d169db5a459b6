"""
The broker's name, version and uptime.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Final

DESCRIPTION: Final = "Twisted MQTT Broker"


def versionText() -> str:
    """
    Name the release, as in C{v4.0.0}.
    """
    return f"v{releaseOf('twisted-mqtt')}"


def uptimeText(seconds: float) -> str:
    """
    Say for how long, from the greatest unit that is needed down to the seconds.

    EMQ X writes no blank after the days; scripts that read C{ctl broker} may rely on it.
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    text = f"{second} seconds"
    if minutes:
        text = f"{minute} minutes, {text}"
    if hours:
        text = f"{hour} hours, {text}"
    if days:
        text = f"{days} days,{text}"
    return text


def hoursText(seconds: float) -> str:
    """
    Say for how long as NanoMQ does: in hours, minutes and seconds, whether they are needed or not.
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} Hours, {minute} minutes, {second} seconds"


@cache
def releaseOf(distribution: str) -> str:
    """
    Find the version of an installed distribution: that of the code which runs, if another is installed meanwhile.

    Reading it takes a millisecond, so it is read once.

    @return: C{"0.0.0"} for a source tree that was never installed: something that reads as a version all the same.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "0.0.0"
