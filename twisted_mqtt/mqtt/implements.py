"""
Which interfaces the compiled classes above the core provide: such a class cannot say so itself.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from zope.interface import classImplements

from twisted_mqtt.interfaces import IClientShell
from twisted_mqtt.mqtt.protocol import MQTTFactory, MQTTProtocol

__all__ = ["MQTTFactory", "MQTTProtocol"]

classImplements(MQTTProtocol, IProtocol, IPushProducer, IClientShell)
classImplements(MQTTFactory, IProtocolFactory)
