"""
One conversion, from the file of another broker to what the broker here can start with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted_mqtt.convert import emqx, mosquitto, nanomq, vernemq
from twisted_mqtt.convert.result import Result
from twisted_mqtt.convert.sources import ConversionError, textOf

_BROKERS: Final[dict[str, Callable[[Path, Result], None]]] = {
    "emqx": emqx.convert,
    "nanomq": nanomq.convert,
    "vernemq": vernemq.convert,
    "mosquitto": mosquitto.convert,
}
#: What stands in the files of one broker alone, most telling first.
_TELLING: Final = (
    ("vernemq", re.compile(r"^\s*(nodename|distributed_cookie|vmq_\w+\.|plugins\.vmq_|leveldb|listener\.vmq)", re.M)),
    (
        "nanomq",
        re.compile(r"^\s*(url\s*=\s*nmq-|num_taskq_thread|http_server\b|listeners\.|bridges\.|mqtt\s*\{)", re.M),
    ),
    ("emqx", re.compile(r"^\s*(node\.name|zone\.|mqtt\.|listener\.(tcp|ssl|ws|wss)\.)", re.M)),
    ("vernemq", re.compile(r"^\s*(listener\.|allow_anonymous\s*=)", re.M)),
    (
        "mosquitto",
        re.compile(
            r"^\s*(listener\s+[0-9]|port\s+[0-9]|allow_anonymous\s+(true|false)|persistence\s|include_dir\s|"
            r"pid_file\s|log_dest\s|password_file\s|connection\s)",
            re.M,
        ),
    ),
)


def converted(file: Path, broker: str | None = None, withoutRules: bool = False) -> Result:
    """
    Convert a file.

    @param broker: whose it is; without it, that is found out.
    @return: what the broker here can start with; its access rules are not among its keys yet.
    @raise ConversionError: there is no result.
    """
    text = textOf(file)
    if broker is None:
        broker = brokerOf(file.name, text)
    if broker is None:
        raise ConversionError(f"{file}: whose file this is does not show; say --from {' | '.join(_BROKERS)}")
    result = Result(withoutRules)
    _BROKERS[broker](file, result)
    result.settle()
    return result


def brokerOf(name: str, text: str) -> str | None:
    """
    Whose file this is: by its name, if that is the one that a broker gives it, else by what stands in it, or by a part
    of its name.
    """
    given = name.lower().removesuffix(".conf")
    if given in _BROKERS:
        return given
    for broker, telling in _TELLING:
        if telling.search(text):
            return broker
    return next((broker for broker in _BROKERS if broker in name.lower()), None)
