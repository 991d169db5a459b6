"""
The command line of C{twistd mqttbroker}: makes a service from options.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.python import usage

from twisted_mqtt.config import ConfigurationError, readSettings
from twisted_mqtt.node.preflight import Preflight
from twisted_mqtt.node.service import BrokerService, ProcessContext, storePath
from twisted_mqtt.process.initialize import InitializeError, initialize, shipped
from twisted_mqtt.process.logfile import AppendedFile
from twisted_mqtt.process.logs import BrokerLog
from twisted_mqtt.process.openfiles import raiseLimit
from twisted_mqtt.process.systemd import Notifier, handedOver, inheritedSockets
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import StoreError
from twisted_mqtt.stores.tools import backup, export, import_

if TYPE_CHECKING:
    from twisted.application.service import IService

    from twisted_mqtt.config.settings import Settings

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """
    The command line of C{twistd mqttbroker}.
    """

    synopsis = "[--init DIR | --config FILE] [--check | --backup FILE | --export FILE | --import FILE | --repair]"
    longdesc = f"A multi-protocol IoT broker: MQTT 3.1, 3.1.1 and 5.0. See {shipped('docs') / 'configuration.md'}."

    optParameters = [
        ["config", "c", None, "The configuration file; without one, the defaults: on this machine only"],
        ["init", None, None, "Write a configuration, access rules and a unit for systemd into this folder, and end"],
        ["backup", None, None, "Copy the store to this file, whether a broker uses it or not, and end"],
        ["export", None, None, "Write sessions and retained messages to this file as JSON lines, and end"],
        ["import", None, None, "Read such a file into the store, which no broker may use meanwhile, and end"],
    ]
    optFlags = [
        ["check", None, "Check the configuration and whatever a start needs, say all that is wrong, and end"],
        ["running", None, "With --check: a broker runs with it, which has the ports and the store"],
        ["repair", None, "Save what can be read of a damaged store into a new one in its place, and end"],
    ]

    settings: Settings
    log: BrokerLog | None = None

    def postOptions(self) -> None:
        """
        Read the configuration, and have C{twistd} log as it says, unless the command line says otherwise.

        @raise usage.UsageError: with everything that is wrong with it.
        """
        if self["init"] is not None:
            self._initialize()
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
            problems = Preflight(self.settings, bool(self["running"])).run()
            for problem in problems:
                print(problem, file=sys.stderr)
            if problems:
                raise SystemExit(1)
            print(f"{self['config'] or 'the defaults'}: all is well")
            raise SystemExit(0)
        self._useStore()
        parent: Any = self.parent
        if parent is None or any(parent.get(option) for option in ("logger", "logfile", "syslog")):
            return
        daemon = not parent.get("nodaemon", True)
        try:
            # A daemon has no console; twistd has a file for it.
            console = (
                AppendedFile("twistd.log", os.getcwd(), 1_000_000)
                if daemon and self.settings.log.to != "file"
                else None
            )
            self.log = BrokerLog(self.settings.log, console)
        except OSError as error:
            raise usage.UsageError(f"log: {error}") from None

    def _initialize(self) -> None:
        """
        Fill the folder of a new broker, and end.
        """
        try:
            print(initialize(Path(self["init"])))
        except InitializeError as error:
            print(f"--init: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        raise SystemExit(0)

    def _useStore(self) -> None:
        """
        Do with the store what the command line wants, if anything, and end.
        """
        path = storePath(self.settings)
        wanted: dict[str, Callable[[], str]] = {
            "backup": lambda: backup(path, Path(self["backup"])),
            "export": lambda: export(path, Path(self["export"])),
            "import": lambda: import_(path, Path(self["import"])),
            "repair": lambda: repair(path),
        }
        for option, act in wanted.items():
            if self[option]:
                try:
                    print(act())
                except (StoreError, OSError, sqlite3.Error) as error:
                    print(error, file=sys.stderr)
                    raise SystemExit(1) from None
                raise SystemExit(0)


def makeService(options: Options) -> IService:
    """
    The service that C{twistd} runs; a broker that can't start ends the process with status 1.
    """
    from twisted.internet import reactor as installed

    # Its type is that of a reactor of which nothing but time and events is known.
    reactor: Any = installed
    process = ProcessContext(
        options.log,
        Notifier(os.environ, reactor),
        inheritedSockets(handedOver()),
        raiseLimit(options.settings.node.max_ports),
    )
    service = BrokerService(options.settings, reactor, process=process)
    if hasattr(signal, "SIGHUP"):
        # Taken from now on: by itself it would end the process.
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(service.reload))
    _calmCollector()

    def ended(result: object) -> object:
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
