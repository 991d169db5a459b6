"""
Errors in requests of devices and in commands of MQTT clients.
"""

from __future__ import annotations


class ContentError(Exception):
    """
    A payload, a path, a value, a list of links or a definition is not what it should be; the text says what and where.
    """
