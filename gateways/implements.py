"""
Which interfaces the compiled classes of the gateways provide: such a class cannot say so itself.
"""

from __future__ import annotations

from zope.interface import classImplements

from gateways.client import GatewayClient
from twisted_mqtt.interfaces import IClientShell

__all__ = ["GatewayClient"]

classImplements(GatewayClient, IClientShell)
