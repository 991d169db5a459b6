"""
The limits of retained messages. The messages themselves are a part of the broker (L{twisted_mqtt.broker.retained}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_retainer import RetainerSettings
    from twisted_mqtt.interfaces import IBroker


@implementer(IExtension)
class Retainer:
    """
    The extension C{retainer}.

    While it does not run, no message is retained; those that are retained already stay, and are delivered.
    """

    def __init__(self, settings: RetainerSettings) -> None:
        self._settings = settings

    def start(self, broker: IBroker) -> None:
        """
        Retain messages within the limits of the settings.
        """
        self._broker = broker
        broker.retained.limits = self._settings
        broker.retained.accepting = True

    def stop(self) -> None:
        """
        Retain no more messages.
        """
        self._broker.retained.accepting = False
