"""
The extension C{trace}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.monitoring.trace.operations import TraceOperations
from twisted_mqtt.monitoring.trace.tracer import Tracer

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext
    from twisted_mqtt.monitoring.trace.settings import TraceSettings


@implementer(IExtension)
class TraceExtension:
    """
    Registers the operations of traces.

    @ivar tracer: keeps them, once it has started.
    """

    tracer: Tracer

    def __init__(self, settings: TraceSettings) -> None:
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Nothing is traced yet.
        """
        self.tracer = Tracer(context, self._settings)
        for operation in TraceOperations(self.tracer).all():
            context.operation(operation)
