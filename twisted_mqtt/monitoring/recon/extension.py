"""
The extension C{recon}.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.monitoring.recon.operations import ReconOperations

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext
    from twisted_mqtt.monitoring.recon.settings import ReconSettings


@implementer(IExtension)
class Recon:
    """
    Registers its operations, and collects garbage where that is wanted.
    """

    def __init__(self, settings: ReconSettings) -> None:
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Begin.
        """
        for operation in ReconOperations().all():
            context.operation(operation)
        if self._settings.gc_interval:
            context.loop(self._settings.gc_interval, gc.collect)
