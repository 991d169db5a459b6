"""
Wiring for C{twistd mqttbroker}: options in, a tree of services out.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python import usage

from twisted_mqtt.broker import Broker
from twisted_mqtt.config import ConfigurationError, readSettings
from twisted_mqtt.config.schema_extensions import Retainer
from twisted_mqtt.extensions import Extensions
from twisted_mqtt.gatewaymakers import gatewayMakers
from twisted_mqtt.listeners import Listeners
from twisted_mqtt.monitoring.stats import Stats
from twisted_mqtt.monitoring.systopics import SysTopics

if TYPE_CHECKING:
    from twisted.application.service import IService

    from twisted_mqtt.config.settings import Settings

__all__ = ["BrokerService", "Options", "makeBrokerService", "makeService"]

_log = Logger()

# Names that EMQ X has for plug-ins which are parts of this broker: they may be named, and are there in any case.
_OWN = ("retainer",)


class Options(usage.Options):
    """
    The command line of C{twistd mqttbroker}.
    """

    synopsis = "[--config FILE] [--check]"
    longdesc = "A multi-protocol IoT broker: MQTT 3.1, 3.1.1 and 5.0. See docs/configuration.md."

    optParameters = [
        ["config", "c", None, "The configuration file; without one, the defaults: on this machine only"],
    ]
    optFlags = [
        ["check", None, "Check the configuration, say what is wrong with it, and end"],
    ]

    settings: Settings

    def postOptions(self) -> None:
        """
        Read the configuration.

        @raise usage.UsageError: with everything that is wrong with it.
        """
        try:
            self.settings = readSettings(self["config"], os.environ)
        except ConfigurationError as error:
            if self["check"]:
                print(error, file=sys.stderr)
                raise SystemExit(1) from None
            raise usage.UsageError(str(error)) from None
        if self["check"]:
            for warning in self.settings.warnings:
                print(f"warning: {warning}", file=sys.stderr)
            print(f"{self['config'] or 'the defaults'}: all is well")
            raise SystemExit(0)


class BrokerService(MultiService):
    """
    A broker with its listeners, extensions and topics about itself.

    @ivar broker: the L{Broker}.
    @ivar listeners: the L{Listeners}.
    @ivar extensions: the L{Extensions}.
    @ivar gateways: the services of the gateways that run, by name.
    @ivar ready: fires with this service when clients can connect; fails with what keeps it from starting.
    """

    name = "mqttbroker"

    def __init__(self, settings: Settings, reactor: Any, store: Any = None) -> None:
        """
        @param store: provides L{IStore<twisted_mqtt.interfaces.IStore>}; without one, what the settings say.
        """
        MultiService.__init__(self)
        self.settings = settings
        self.broker = Broker(settings, reactor, store, retainer=settings.extension("retainer", Retainer))
        MultiService.addService(self, self.broker)
        self.listeners = Listeners(self.broker, reactor)
        self.extensions = Extensions(self.broker, settings.extensions.get)
        self.gateways: dict[str, IService] = {}
        self.stats = Stats()
        self.systopics = SysTopics(
            self.broker, self.stats, settings.broker.sys_interval, settings.broker.sys_heartbeat
        )
        self.ready: Deferred[BrokerService] = Deferred()
        self._reactor = reactor

    def startService(self) -> None:
        """
        Begin: the store, then extensions, and listeners last, so that nobody comes in past an extension.
        """
        for warning in self.settings.warnings:
            _log.warn("{warning}", warning=warning)
        MultiService.startService(self)
        # Not before the reactor runs: a signal that came between "listening" and that would find nobody to take it.
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """
        End: no new clients, then those that are here, extensions, and the store last.

        @return: fires when all is over.
        """

        async def each() -> None:
            self.broker.stopping = True
            if self.systopics.running:
                await maybeDeferred(self.systopics.stopService)
            await self.listeners.stopService()
            for gateway in self.gateways.values():
                await maybeDeferred(gateway.stopService)
            self.gateways.clear()
            await self.extensions.unloadAll()
            await maybeDeferred(MultiService.stopService, self)

        return Deferred.fromCoroutine(each())

    def _begin(self) -> None:
        if not self.running:  # stopped before it began
            return
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(self._ebStart)
        starting.chainDeferred(self.ready)
        self.ready.addErrback(lambda failure: None)

    async def _start(self) -> BrokerService:
        await self.broker.open()
        makers = gatewayMakers()
        named = [name for name in self.settings.startingExtensions if name not in _OWN]
        await self.extensions.loadAll(name for name in named if name not in makers)
        self.systopics.startService()
        await self.listeners.open()
        for name in named:
            if name in makers:
                gateway = makers[name].makeService(self.broker, self.settings.extensions.get(name), self._reactor)
                await maybeDeferred(gateway.startService)
                self.gateways[name] = gateway
        return self

    def _ebStart(self, failure: Any) -> Any:
        # What a person has to read, without a traceback where the message says it all.
        _log.critical("the broker can't start: {error}", error=failure.getErrorMessage())
        _log.debug("{traceback}", traceback=failure.getTraceback())
        return failure


def makeBrokerService(settings: Settings, reactor: Any) -> BrokerService:
    """
    A broker as a service, for any reactor and beside any other services.

    @param settings: of L{readSettings<twisted_mqtt.config.readSettings>} or
        L{settingsFrom<twisted_mqtt.config.settingsFrom>}.
    """
    return BrokerService(settings, reactor)


def makeService(options: Options) -> IService:
    """
    The service that C{twistd} runs; a broker that can't start ends the process with status 1.
    """
    from twisted.internet import reactor

    service = makeBrokerService(options.settings, reactor)

    _calmCollector()

    def ended(result: Any) -> Any:
        if result is not service:
            # twistd itself would end with status 0; its own clean-up comes first.
            atexit.register(_exitFailed)
            reactor.callWhenRunning(_stop, reactor)
        return result

    service.ready.addBoth(ended)
    return service


def _calmCollector() -> None:
    """
    Let Python look for garbage in cycles less often: what a connection leaves is freed without that, and looking
    through all sessions again and again costs time and makes pauses. A process of somebody else's keeps its own choice.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _stop(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


def _exitFailed() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
