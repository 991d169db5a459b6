"""
Which interfaces the compiled classes of the broker provide: such a class cannot say so itself.
"""

from __future__ import annotations

from zope.interface import classImplements

from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.interfaces import IClient

__all__ = ["ClientInfo"]

classImplements(ClientInfo, IClient)
