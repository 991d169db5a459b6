"""
Declares the interfaces of the gateways' compiled classes: a compiled class cannot declare them itself.
"""

from __future__ import annotations

from zope.interface import classImplements

from gateways.client import GatewayClient
from twisted_mqtt.interfaces import IClientShell

__all__ = ["GatewayClient"]

classImplements(GatewayClient, IClientShell)
