"""
The limits of retained messages. The messages themselves belong to the broker (L{twisted_mqtt.broker.retained}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted_mqtt.config.schema_retainer import RetainerSettings
    from twisted_mqtt.interfaces import IExtensionContext


@implementer(IExtension)
class Retainer:
    """
    The extension C{retainer}.

    While it does not run, no message is retained; those that are retained already stay, and are delivered.
    """

    def __init__(self, settings: RetainerSettings) -> None:
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Retain messages within the limits of the settings.
        """
        self._retained = retained = context.broker.retained
        retained.limits = self._settings
        retained.accepting = True
        context.addCleanup("retained messages are taken no more", self._refuse)

    def _refuse(self) -> None:
        self._retained.accepting = False
