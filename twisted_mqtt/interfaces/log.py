"""
The log of the process, looked at and steered while it runs.
"""

from __future__ import annotations

from typing import NamedTuple

from zope.interface import Attribute, Interface


class LogDestination(NamedTuple):
    """
    Where log messages go.

    @ivar id: what it is known by: C{default} (the console), C{file}, C{syslog}, C{journald}, or the level of an extra
        file.
    @ivar level: the least important messages that go there.
    @ivar destination: C{console}, or the path of a file or socket, or an address.
    """

    id: str
    level: str
    destination: str


class ILog(Interface):
    """
    The log of the process. What is set here holds until the broker ends, or the settings of the same are changed.

    A level is the name of one: 'debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'. A
    method that takes one raises C{ValueError} where it is none.
    """

    primaryLevel: str = Attribute("The least important messages that go anywhere.")

    def setPrimaryLevel(level: str) -> None:
        """
        Set that gate, and no other.
        """

    def handlers() -> list[LogDestination]:
        """
        Where messages go.
        """

    def setHandlerLevel(id: str, level: str) -> None:
        """
        Set the level of one destination.

        @raise KeyError: there is none of that name.
        """

    def setLevel(level: str) -> None:
        """
        Set the level of the primary gate and of all destinations.
        """

    def modules() -> dict[str, str]:
        """
        The modules that have a level of their own. It holds for the modules within as well, and in place of the levels
        of the primary gate and of all destinations but the extra files of levels.
        """

    def setModuleLevel(module: str, level: str) -> None:
        """
        Set the level of one module.

        @param level: C{""} for none of its own.

        @raise ValueError: too many modules have one.
        """

    def reopen() -> None:
        """
        Close the files, and open what is at their paths now.
        """

    def problems() -> list[str]:
        """
        The destinations that take nothing at present, each with the reason, for a person.
        """
