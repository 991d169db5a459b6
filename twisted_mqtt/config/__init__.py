"""
The configuration: a typed schema, the one place of every default, and the reader of file and environment.
"""

from twisted_mqtt.config.problems import ConfigurationError, Problem
from twisted_mqtt.config.reader import readSettings, settingsFrom
from twisted_mqtt.config.registry import Registry, installed
from twisted_mqtt.config.schema_mqtt import Zone
from twisted_mqtt.config.settings import Settings

__all__ = [
    "ConfigurationError",
    "Problem",
    "Registry",
    "Settings",
    "Zone",
    "installed",
    "readSettings",
    "settingsFrom",
]
