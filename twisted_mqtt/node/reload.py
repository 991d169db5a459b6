"""
Reads the configuration again while the broker runs: applies every change that can be applied, and names those that need
a restart. Connected clients notice nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import TimeoutError
from twisted.logger import Logger

from twisted_mqtt.config import Settings
from twisted_mqtt.config.differences import Difference, differences, withoutRestart
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.extensions.running import ExtensionError
from twisted_mqtt.process.openfiles import raiseLimit

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_mqtt.node.service import BrokerService

_log = Logger()

#: Keys whose owner applies the change and reports it.
_ELSEWHERE: Final = ("listener.", "plugins.")

#: Seconds that opening log files may take.
_LOG_PATIENCE: Final = 10.0


class Reload:
    """
    One reading of the configuration.
    """

    def __init__(self, service: BrokerService, settings: Settings) -> None:
        """
        @param settings: what was read.
        """
        self._service = service
        self._read = settings
        self._report = ReloadReport()

    async def run(self) -> ReloadReport:
        """
        Go by the settings, and log what came of it, a line for each entry.

        @return: the same for whoever asked. It does not fail.
        """
        report, settings = self._report, self._read
        try:
            await self._apply(settings)
        except Exception as error:
            _log.failure("Going by the configuration that was read again failed")
            report.problems.append(f"{type(error).__name__}: {error}")
        for line in report.done:
            _log.info("reload: {line}", line=line)
        for line in report.restart:
            _log.warn("reload: {line} waits for a restart", line=line)
        for line in report.problems:
            _log.error("reload: {line}", line=line)
        _log.info(
            "reload: {done} changes, {restart} wait for a restart, {problems} problems",
            done=len(report.done),
            restart=len(report.restart),
            problems=len(report.problems),
        )
        await self._configureLog(settings)
        return report

    async def _apply(self, settings: Settings) -> None:
        service, report = self._service, self._report
        old = service.settings.current
        for warning in settings.warnings:
            _log.warn("{warning}", warning=warning)
        new = effective(old, settings)
        for difference in differences(old, settings):
            self._note(difference)
        for name, before, after in _tables(old, settings):
            for difference in differences(before, after, name, "now"):
                if difference.since == "restart":
                    self._note(difference)
        service.settings.current = new
        service.broker.configure(new)
        service.flapping.configure(new)
        service.systopics.configure(new.broker)
        self._raiseLimit(old, new)
        # Extensions before listeners: nobody is to come in past one.
        await self._changeExtensions(old, new)
        await service.listeners.reload(new, report)
        service.warnOfShutPorts()
        for path, usable in service.ports.reloadCertificates().items():
            if usable:
                report.done.append(f"{path}: certificates read again")
            else:
                report.problems.append(f"{path}: the certificates can't be used; the old ones stay")

    def _note(self, difference: Difference) -> None:
        """
        Say of a key that has changed from when on it holds.
        """
        key = difference.key
        if key.startswith(_ELSEWHERE):
            return
        if difference.since == "restart" or (key.startswith("log.") and self._service.log is None):
            self._report.restart.append(key)
        elif difference.since == "now":
            self._report.done.append(f"{key}: holds now")
        else:
            self._report.done.append(f"{key}: holds for clients that connect from now on")

    async def _configureLog(self, settings: Settings) -> None:
        """
        Log as the settings say: last of all, or less might be logged of what was done.
        """
        log = self._service.log
        if log is None:
            return
        try:
            # Even where nothing has changed: a file that was moved away is begun afresh. A disk may not answer.
            broker = self._service.broker
            prepared = await broker.threads.defer(log.prepare, settings.log).addTimeout(_LOG_PATIENCE, broker.clock)
        except TimeoutError:
            _log.error("reload: log: {dir} does not answer; the log stays as it is", dir=settings.log.dir)
            self._report.problems.append(f"log: {settings.log.dir} does not answer")
            return
        except Exception as error:
            _log.failure("Going by the settings of the log failed")
            self._report.problems.append(f"log: {type(error).__name__}: {error}")
            return
        for problem in prepared.problems:
            _log.error("reload: log: {problem}", problem=problem)
            self._report.problems.append(f"log: {problem}")
        log.use(prepared)

    def _raiseLimit(self, old: Settings, new: Settings) -> None:
        if new.node.max_ports != old.node.max_ports:
            limit = raiseLimit(new.node.max_ports)
            self._report.done.append(f"the process may have {limit or 'any number of'} files open")

    async def _changeExtensions(self, old: Settings, new: Settings) -> None:
        """
        Stop what is not named any more, start what is new, and have the others go by their tables and files.
        """
        extensions = self._service.extensions
        before = extensions.wanted(old.startingExtensions)
        await self._service.readLoaded(self._report)
        after = extensions.wanted(new.startingExtensions)
        for name in reversed([name for name in before if name not in after and extensions.isActive(name)]):
            await self._change(name, "stopped", extensions.unload)
        for name in after:
            if not extensions.isActive(name):
                await self._change(name, "started", extensions.load)
            elif old.extensions.get(name) != new.extensions.get(name):
                await self._change(name, "started again with other settings", extensions.restart)
            else:
                await self._refresh(name)

    async def _change(self, name: str, what: str, change: Callable[[str], Deferred[str]]) -> None:
        try:
            await change(name)
        except ExtensionError as error:
            self._report.problems.append(str(error))
        else:
            self._report.done.append(f"{name}: {what}")

    async def _refresh(self, name: str) -> None:
        """
        Have an extension read its files again, if it has any.
        """
        try:
            if await self._service.extensions.refresh(name):
                self._report.done.append(f"{name}: files read again")
        except Exception as error:
            self._report.problems.append(f"{name}: {error}")


def effective(old: Settings, new: Settings) -> Settings:
    """
    The new settings, but for what waits for a restart: that stays as the broker has it.
    """
    held = {name: withoutRestart(before, after, "now") for name, before, after in _tables(old, new)}
    return replace(withoutRestart(old, new), extensions={**new.extensions, **held})


def _tables(old: Settings, new: Settings) -> Iterator[tuple[str, Struct, Struct]]:
    """
    The tables that extensions had and have, with their defaults on the side where the file has none.
    """
    for name, table in {**old.extensions, **new.extensions}.items():
        structure: type[Struct] = type(table)
        try:
            yield name, old.extension(name, structure), new.extension(name, structure)
        except TypeError:
            # A table with a key that must be given has no defaults.
            continue
