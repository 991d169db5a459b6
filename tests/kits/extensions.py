"""
Extensions for tests: they note what becomes of them, and do as they are told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted_mqtt.interfaces import IExtension, IExtensionContext, IExtensionMaker


class Fault(Exception):
    """
    The exception of extensions in these tests.
    """


@implementer(IExtension)
class Recorder:
    """
    An extension that notes what becomes of it.

    @ivar starting: what C{start} does; what it returns is returned.
    @ivar stopping: what C{stop} does, likewise.
    """

    def __init__(self, name: str, events: list[str], settings: object) -> None:
        self.name = name
        self.events = events
        self.settings = settings
        self.starting: Callable[[Recorder], Any] = lambda extension: None
        self.stopping: Callable[[Recorder], Any] = lambda extension: None

    def start(self, context: IExtensionContext) -> Any:
        """
        Note it, and do as told.
        """
        self.context = context
        self.broker: Any = context.broker
        self.events.append(f"start {self.name}")
        return self.starting(self)

    def stop(self) -> Any:
        """
        Note it, and do as told.
        """
        self.events.append(f"stop {self.name}")
        return self.stopping(self)

    def hear(self, *args: object) -> None:
        """
        A callback.
        """


@implementer(IExtensionMaker)
class RecorderMaker:
    """
    Makes L{Recorder}s.

    @ivar starting: what the next one does when it starts.
    @ivar made: all that were made.
    """

    description = "Notes what becomes of it"
    version = "4.0.0"
    table = ""
    aliases = ()
    short = None
    distribution = "tests"
    requires: tuple[str, ...] = ()
    necessary: bool = False
    always: bool = False
    gateway: bool = False

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events
        self.made: list[Recorder] = []
        self.starting: Callable[[Recorder], Any] = lambda extension: None

    def loadSettings(self) -> None:
        """
        It has no table.
        """

    def makeExtension(self, settings: object) -> Recorder:
        """
        Make one.
        """
        extension = Recorder(self.name, self.events, settings)
        extension.starting = self.starting
        self.made.append(extension)
        return extension


def fault(extension: Recorder) -> None:
    """
    The failing acts of a L{Recorder}.
    """
    raise Fault
