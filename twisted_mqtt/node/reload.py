"""
Reading the configuration again while the broker runs: what can change does, and of the rest it is said that it waits
for a restart. Clients that are connected notice nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from twisted_mqtt.config import ConfigurationError, Settings
from twisted_mqtt.config.differences import differences
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.config.schema_extensions import Retainer
from twisted_mqtt.extensions.running import ALWAYS, ExtensionError
from twisted_mqtt.interfaces import IRefreshing
from twisted_mqtt.process.openfiles import raiseLimit

if TYPE_CHECKING:
    from twisted_mqtt.node.service import BrokerService

_log = Logger()

_BROKER_KEYS: Final = ("shared_subscription_strategy",)
_NODE_KEYS: Final = ("max_ports", "shutdown_timeout")

#: What holds as soon as the broker goes by other settings; the keys of listeners and extensions stand elsewhere.
_AT_ONCE: Final = (
    "allow_anonymous",
    "acl_nomatch",
    "acl_file",
    "enable_acl_cache",
    "acl_cache_max_size",
    "acl_cache_ttl",
    "flapping_detect_policy",
    "mqtt.",
    "zone.",
    *(f"broker.{key}" for key in _BROKER_KEYS),
    *(f"node.{key}" for key in _NODE_KEYS),
)

_ELSEWHERE: Final = ("listener.", "plugins.")


class Reload:
    """
    One reading of the configuration.
    """

    def __init__(self, service: BrokerService, read: Callable[[], Settings]) -> None:
        """
        @param read: reads the configuration; raises L{ConfigurationError} where it can't be used.
        """
        self._service = service
        self._read = read
        self._report = ReloadReport()

    async def run(self) -> ReloadReport:
        """
        Do it, and log what came of it, a line for each entry.

        @return: the same for whoever asked. It does not fail.
        """
        report = self._report
        try:
            settings = self._read()
        except ConfigurationError as error:
            report.problems.extend(str(problem) for problem in error.problems)
            _log.error("the configuration can't be used, and nothing has changed:\n{error}", error=error)
            return report
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
        self._configureLog(settings)
        return report

    async def _apply(self, settings: Settings) -> None:
        service, report = self._service, self._report
        old = service.settings
        for warning in settings.warnings:
            _log.warn("{warning}", warning=warning)
        new = effective(old, settings)
        for key in differences(old, settings):
            if key.startswith(_AT_ONCE) or (key.startswith("log.") and service.log is not None):
                report.done.append(f"{key}: {_when(key)}")
            elif not key.startswith(_ELSEWHERE):
                report.restart.append(key)
        if _storageOf(settings) != _storageOf(old):
            report.restart.append("retainer.storage_type")
        service.settings = new
        service.broker.configure(new)
        service.flapping.update()
        self._raiseLimit(old, new)
        # Extensions before listeners: nobody is to come in past one.
        await self._changeExtensions(old, new)
        await service.listeners.reload(new, report)

    def _configureLog(self, settings: Settings) -> None:
        """
        Log as the settings say: last of all, or less might be logged of what was done.
        """
        log = self._service.log
        if log is None:
            return
        try:
            # Even where nothing has changed: a file that was moved away is begun afresh.
            log.configure(settings.log)
        except OSError as error:
            _log.error("reload: log: {error}", error=error)
            self._report.problems.append(f"log: {error}")

    def _raiseLimit(self, old: Settings, new: Settings) -> None:
        if new.node.max_ports != old.node.max_ports:
            limit = raiseLimit(new.node.max_ports)
            self._report.done.append(f"the process may have {limit or 'any number of'} files open")

    async def _changeExtensions(self, old: Settings, new: Settings) -> None:
        """
        Stop what is not named any more, start what is new, and have the others go by their tables and files.
        """
        extensions, report = self._service.extensions, self._report
        retainer = new.extension("retainer", Retainer)
        if retainer != old.extension("retainer", Retainer):
            self._service.broker.retained.limits = retainer
            report.done.append("retainer: holds for messages that come from now on")
        before, after = self._named(old), self._named(new)
        for name in reversed([name for name in before if name not in after and extensions.isActive(name)]):
            await self._change(name, "stopped", extensions.unload)
        for name in after:
            changed = old.extensions.get(name) != new.extensions.get(name)
            if not extensions.isActive(name):
                await self._change(name, "started", extensions.load)
            elif changed:
                await self._change(name, "started again with other settings", extensions.reload)
            else:
                await self._refresh(name, self._service.extensions.find(name))
        self._compareGateways(old, new)
        for name, gateway in self._service.gateways.items():
            if name not in report.restart:
                await self._refresh(name, gateway)

    async def _change(self, name: str, what: str, change: Callable[[str], Any]) -> None:
        try:
            await change(name)
        except ExtensionError as error:
            self._report.problems.append(str(error))
        else:
            self._report.done.append(f"{name}: {what}")

    async def _refresh(self, name: str, extension: Any) -> None:
        """
        Have an extension or a gateway read its files again, if it has any.
        """
        refreshing: Any = extension if IRefreshing.providedBy(extension) else None
        if refreshing is None:
            return
        try:
            await maybeDeferred(refreshing.refresh)
        except Exception as error:
            self._report.problems.append(f"{name}: {error}")
        else:
            self._report.done.append(f"{name}: files read again")

    def _compareGateways(self, old: Settings, new: Settings) -> None:
        """
        A gateway's clients have no session to come back to, so that it is not started again for a change.
        """
        gateways = self._service.gateways
        for name in dict.fromkeys([*gateways, *(name for name in new.startingExtensions if self._isGateway(name))]):
            named, running = name in new.startingExtensions, name in gateways
            if named != running or (running and old.extensions.get(name) != new.extensions.get(name)):
                self._report.restart.append(name)

    def _named(self, settings: Settings) -> list[str]:
        """
        The extensions that settings want to run, in order.
        """
        named = [name for name in settings.startingExtensions if not self._isGateway(name) and name != "retainer"]
        return [*ALWAYS, *named]

    def _isGateway(self, name: str) -> bool:
        return name in self._service.gatewayMakers


def effective(old: Settings, new: Settings) -> Settings:
    """
    The new settings, but for what waits for a restart: that stays as the broker has it.
    """
    extensions = new.extensions
    if _storageOf(new) != _storageOf(old):
        retainer = replace(new.extension("retainer", Retainer), storage_type=_storageOf(old))
        extensions = {**extensions, "retainer": retainer}
    return replace(
        new,
        extensions=extensions,
        broker=_merged(old.broker, new.broker, _BROKER_KEYS),
        node=_merged(old.node, new.node, _NODE_KEYS),
        persistence=old.persistence,
        sysmon=old.sysmon,
        os_mon=old.os_mon,
        vm_mon=old.vm_mon,
        cluster=old.cluster,
        rpc=old.rpc,
    )


def _storageOf(settings: Settings) -> str:
    return settings.extension("retainer", Retainer).storage_type


def _merged(old: Any, new: Any, keys: Iterable[str]) -> Any:
    return replace(old, **{key: getattr(new, key) for key in keys})


def _when(key: str) -> str:
    """
    Say from when on a key holds.
    """
    return "holds for clients that connect from now on" if key.startswith(("mqtt.", "zone.")) else "holds now"
