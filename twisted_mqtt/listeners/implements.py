"""
Declares the interfaces of the compiled classes of this package: a compiled class cannot declare them itself.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import classImplements

from twisted_mqtt.listeners.gate import Gate

__all__ = ["Gate"]

classImplements(Gate, IProtocolFactory)
