"""
Declares the interfaces of the compiled classes above the core: a compiled class cannot declare them itself.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from zope.interface import classImplements

from twisted_mqtt.interfaces import IClientShell
from twisted_mqtt.mqtt.protocol import MQTTFactory, MQTTProtocol

__all__ = ["MQTTFactory", "MQTTProtocol"]

classImplements(MQTTProtocol, IProtocol, IPushProducer, IClientShell)
classImplements(MQTTFactory, IProtocolFactory)
