"""
The command line of C{twistd mqttbroker}: makes a service from options.
"""

from __future__ import annotations

import atexit
import gc
import os
import platform
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import chdir, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import twisted
from twisted.logger import Logger
from twisted.python import usage

from twisted_mqtt.base.about import releaseOf
from twisted_mqtt.base.standardstreams import openClosedStreams
from twisted_mqtt.config import ConfigurationError, readSettings
from twisted_mqtt.config.problems import nearest
from twisted_mqtt.core import codec
from twisted_mqtt.node.preflight import Preflight
from twisted_mqtt.node.service import BrokerService, ProcessContext, storePath
from twisted_mqtt.process.initialize import InitializeError, initialize, shipped
from twisted_mqtt.process.logfile import LogFile
from twisted_mqtt.process.logs import BrokerLog
from twisted_mqtt.process.openfiles import raiseLimit
from twisted_mqtt.process.restart import Restart
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

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line. What is wrong with it is said in a line, which would be lost below a page of usage.

        @raise SystemExit: it is wrong, or wants something that is done now.
        """
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            _refuse(f"twistd mqttbroker: {self._remedy(str(error))}; twistd mqttbroker --help has all options")

    def opt_version(self) -> None:
        """
        Display the version of this broker, of Twisted and of Python, and exit.
        """
        print(f"{versions()}, {compiled()}")
        raise SystemExit(0)

    def _remedy(self, text: str) -> str:
        """
        The nearest option beside what is wrong with one.
        """
        found = re.fullmatch(r"option (--\S+) not recognized", text)
        if found is None:
            return text[:1].lower() + text[1:].rstrip(".")
        close = nearest(found[1].lstrip("-"), [name.rstrip("=") for name in self.longOpt])
        return f"there is no option {found[1]}" + (f"; the nearest is --{close}" if close else "")

    def parseArgs(self, *args: str) -> None:
        """
        There are none.

        @raise usage.UsageError: there are some.
        """
        if args:
            raise usage.UsageError(f'"{args[0]}" belongs to no option. A configuration is named by --config {args[0]}')

    def postOptions(self) -> None:
        """
        Read the configuration, and have C{twistd} log as it says, unless the command line says otherwise.

        @raise SystemExit: it can't be used, which has been said; or something else was to be done, and is.
        """
        openClosedStreams()
        self._checkOptions()
        if self["init"] is not None:
            self._initialize()
        try:
            self.settings = readSettings(self["config"], os.environ)
        except ConfigurationError as error:
            _refuse(str(error))
        if self["check"]:
            for warning in self.settings.warnings:
                print(f"warning: {warning}", file=sys.stderr)
            problems = Preflight(self.settings, bool(self["running"])).run()
            if problems:
                _refuse("\n".join(map(str, problems)))
            print(f"{self['config'] or 'the defaults'}: all is well")
            raise SystemExit(0)
        self._useStore()
        parent: Any = self.parent
        daemon = parent is not None and not parent.get("nodaemon", True)
        if daemon and not parent.get("chroot"):
            # Later nobody would be told: the terminal has its prompt again, and the status is 0.
            preflight = Preflight(self.settings)
            with chdir(parent.get("rundir") or "."):
                preflight.run()
            if preflight.grave:
                _refuse("\n".join(map(str, preflight.grave)))
        if parent is None or any(parent.get(option) for option in ("logger", "logfile", "syslog")):
            return
        try:
            # A daemon has no console; twistd has a file for it.
            console = (
                LogFile(os.path.join(os.getcwd(), "twistd.log"), 1_000_000, 1000)
                if daemon and self.settings.log.to != "file"
                else None
            )
            self.log = BrokerLog(self.settings.log, console)
        except OSError as error:
            _refuse(f"log: {error}")

    def _checkOptions(self) -> None:
        """
        @raise usage.UsageError: options do not go together, or one lacks its value.
        """
        for option in ("config", "init", "backup", "export", "import"):
            if self[option] == "":
                # Of a script whose variable is not set. It must not start a broker in place of a copy.
                raise usage.UsageError(f"--{option} needs a name, and not an empty text")
        wanted = [option for option in ("init", "check", "backup", "export", "import", "repair") if self[option]]
        if len(wanted) > 1:
            raise usage.UsageError(f"--{wanted[0]} and --{wanted[1]} do not go together: one thing at a time")
        if self["running"] and not self["check"]:
            raise usage.UsageError("--running goes with --check")

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
    Logger("twisted_mqtt").info("{versions}, {compiled}", versions=versions(), compiled=compiled())
    inherited = inheritedSockets(handedOver())
    parent: Any = options.parent
    givesUp = parent is not None and any(parent.get(option) is not None for option in ("uid", "gid", "chroot"))
    process = ProcessContext(
        options.log,
        Notifier(os.environ, reactor),
        inherited,
        raiseLimit(options.settings.node.max_ports),
        Restart(inherited, "the process gave up rights after it began (--uid, --gid, --chroot)" if givesUp else ""),
    )
    service = BrokerService(options.settings, reactor, process=process)
    if hasattr(signal, "SIGUSR1") and service.log is not None:
        # As what puts files aside expects; by itself it would end the process.
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(_reopen, service))
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
    if threading.current_thread() is threading.main_thread():
        # After startup: the reactor has its own handlers of signals by then. Before the service stops: added first.
        reactor.addSystemEventTrigger("after", "startup", _heedSecondInterrupt)
        reactor.addSystemEventTrigger("before", "shutdown", signal.signal, signal.SIGINT, _endAtOnce)
    return service


def versions() -> str:
    """
    Name the versions that run here.
    """
    return (
        f"twisted-mqtt {releaseOf('twisted-mqtt')} (Twisted {twisted.__version__}, Python {platform.python_version()})"
    )


def compiled() -> str:
    """
    Whether the core runs compiled, in a few words.
    """
    if not codec.__file__.endswith(".py"):
        return "compiled"
    return "interpreted: several times slower than compiled, as pip installs it where there is a C compiler"


def _calmCollector() -> None:
    """
    Let Python look for garbage in cycles less often: what a connection leaves is freed without that, and looking
    through all sessions again and again costs time and makes pauses. A process of somebody else's keeps its own choice.

    Looking through 10,000 young objects takes a millisecond, in which nobody is served. How often old ones are looked
    through, each time for longer, is the product of the three.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 250)


def _refuse(text: str) -> NoReturn:
    """
    Say why nothing starts, and end.
    """
    print(text, file=sys.stderr)
    raise SystemExit(1)


def _heedSecondInterrupt() -> None:
    """
    Have an interrupt end a broker that is stopping at once: the user does not want to wait for its clients, and
    acknowledged messages are on disk. Asked to terminate again, it goes on as it is.

    The handler of the first signal puts that of the second in its place, so that two that come together are two.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        stop = signal.getsignal(number)
        if callable(stop):
            signal.signal(number, partial(_stopAtFirst, stop))


def _stopAtFirst(stop: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _endAtOnce)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop(number, frame)


def _endAtOnce(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):  # nobody may be there to read it
        os.write(2, b"interrupted again: ended at once, without waiting for clients\n")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _reopen(service: BrokerService) -> None:
    """
    Begin log files afresh where somebody has put them aside.
    """
    log = service.log
    if log is not None:
        log.reopen()
        Logger("twisted_mqtt").info("log files are opened again")


def _stop(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


def _exitFailed() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
