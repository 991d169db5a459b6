"""
The system monitor: alarms about processors, memory, open files, connections, the disk, the store, and certificates
(C{os_mon} and C{vm_mon}, spec/config.md 10.4).

What may wait, such as a disk, is looked at in a thread. A check that has not come back is not begun a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twisted_mqtt.monitoring.certificates import Expiry, soonestExpiry
from twisted_mqtt.monitoring.storedelay import StoreDelay
from twisted_mqtt.monitoring.watermark import Watermark

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.config.schema_node import OSMonitor
    from twisted_mqtt.interfaces import INode

_log = Logger()

_T = TypeVar("_T")

#: Seconds between looks at certificates.
CERTIFICATES: Final = 3600.0
#: The first look is not later than so many seconds after the start; with certificates it is at once.
FIRST: Final = 60.0
#: A disk that does not answer for so many seconds is away.
SILENT: Final = 30.0
#: Open files that are none of connections: logs, stores, listeners.
SPARE: Final = 100
_DAY: Final = 86400.0


class Use(Protocol):
    """
    How much of something is in use.
    """

    @property
    def used(self) -> int:
        """
        How much.
        """

    @property
    def total(self) -> int:
        """
        Of how much.
        """

    @property
    def share(self) -> float:
        """
        The part in use, from 0 to 1.
        """


class Machine(Protocol):
    """
    The figures of the system, see L{twisted_mqtt.process.machine.Machine}; C{None} where it does not say.
    """

    def processors(self) -> float | None:
        """
        The part of the time that processors have worked since the last call.
        """

    def memory(self) -> Use | None:
        """
        The memory in use of what there is.
        """

    def process(self) -> Use | None:
        """
        The memory of this process of what there is.
        """

    def files(self) -> Use | None:
        """
        The open files of those allowed.
        """

    def disk(self, folder: str) -> Use | None:
        """
        The room in use of a file system; may wait.
        """


class _Figures:
    """
    Memory and open files, at one look.
    """

    __slots__ = ("files", "memory", "process")

    def __init__(self, machine: Machine) -> None:
        self.memory = machine.memory()
        self.process = machine.process()
        self.files = machine.files()


class _Check(Generic[_T]):
    """
    Something that is looked at again and again.

    @ivar last: when it was begun last.
    @ivar since: when the look that is under way was begun; L{None} where none is.
    """

    __slots__ = ("judge", "last", "name", "period", "prepare", "since")

    def __init__(
        self,
        name: str,
        period: Callable[[], float],
        prepare: Callable[[], Callable[[], _T]],
        judge: Callable[[_T], None],
        last: float,
    ) -> None:
        """
        @param period: says how many seconds there are between looks; 0 for never.
        @param prepare: gives what looks, which a thread calls.
        @param judge: takes what was seen; in the reactor's thread.
        """
        self.name = name
        self.period = period
        self.prepare = prepare
        self.judge = judge
        self.last = last
        self.since: float | None = None


class SystemMonitor(Service):
    """
    See the module. It goes by the settings as they are at each look.
    """

    name = "systemmonitor"

    def __init__(self, node: INode, machine: Machine) -> None:
        self._node = node
        self._broker = broker = node.broker
        self._machine = machine
        self._clock = broker.clock
        self._delay = StoreDelay(broker.store.progress)
        self._loop = LoopingCall(self._turn)
        self._loop.clock = self._clock
        self._checks: list[_Check[object]] = []
        self._diskCheck: _Check[Use | None] | None = None

        def mark(name: str, title: str, severity: str = "warning") -> Watermark:
            return Watermark(broker.alarms, name, title, self._clock.seconds, severity)

        self._mark = mark
        self._cpu = mark("cpu_high_watermark", "The processors are busy")
        self._memory = mark("sysmem_high_watermark", "The memory of the machine is nearly used up")
        self._process = mark("procmem_high_watermark", "The broker has much of the memory")
        self._files = mark("fd_high_watermark", "Files and sockets are running out")
        self._connections = mark("connections_high_watermark", "Connections are running out")
        self._disk = mark("disk_high_watermark", "The disk is nearly full")
        self._away = mark("disk_unreachable", "The disk does not answer", "critical")
        self._store = mark("store_behind", "The store can't keep up", "critical")
        self._log = mark("log_not_written", "Log messages are lost")
        # How many destinations of the log took nothing at the last look.
        self._logProblems = 0
        self._certificates: dict[str, Watermark] = {}

    def startService(self) -> None:
        """
        Begin to look.
        """
        Service.startService(self)
        machine = self._machine

        def settings() -> OSMonitor:
            # They may have changed since.
            return self._broker.settings.os_mon

        self._checks = []
        self._add(
            "the processors", lambda: settings().cpu_check_interval, lambda: machine.processors, self._sawProcessors
        )
        self._add("memory", lambda: settings().mem_check_interval, lambda: partial(_Figures, machine), self._sawFigures)
        self._add(
            "connections", lambda: self._broker.settings.vm_mon.check_interval, lambda: machine.files, self._sawFiles
        )
        self._diskCheck = self._add(
            "the disk",
            lambda: settings().disk_check_interval,
            lambda: partial(machine.disk, self._broker.settings.node.data_dir),
            self._sawDisk,
        )
        self._add(
            "certificates",
            lambda: CERTIFICATES if settings().certificate_expiry else 0.0,
            lambda: partial(_readCertificates, self._filesOfCertificates()),
            self._sawCertificates,
            first=0.0,
        )
        # What the processors have done since the last look is wanted, so there has to be one.
        machine.processors()
        self._loop.start(1.0, now=False)

    def stopService(self) -> None:
        """
        Look no more.
        """
        if self._loop.running:
            self._loop.stop()
        Service.stopService(self)

    def _add(
        self,
        name: str,
        period: Callable[[], float],
        prepare: Callable[[], Callable[[], _T]],
        judge: Callable[[_T], None],
        first: float = FIRST,
    ) -> _Check[_T]:
        """
        @param first: the seconds until the first look, where the period is longer.
        """
        now = self._clock.seconds()
        check = _Check(name, period, prepare, judge, now)
        if period() > first:
            check.last = now + first - period()
        self._checks.append(check)  # type: ignore[arg-type]  # each takes what it has measured itself
        return check

    def _turn(self) -> None:
        """
        Begin what is due: once a second.
        """
        now = self._clock.seconds()
        try:
            self._lookAtStore(now)
            self._lookForDisk(now)
            self._lookAtLog()
        except Exception:
            _log.failure("Looking at the store and the log failed")
        for check in self._checks:
            period = check.period()
            if period > 0 and now - check.last >= period and check.since is None:
                check.last = check.since = now
                looked = self._broker.threads.defer(check.prepare())
                looked.addCallback(self._judge, check).addErrback(self._ebLook, check)

    def _judge(self, seen: object, check: _Check[object]) -> None:
        check.since = None
        if self.running:
            check.judge(seen)

    def _ebLook(self, failure: Failure, check: _Check[object]) -> None:
        check.since = None
        if self.running:
            _log.warn("Looking at {what} failed: {error}", what=check.name, error=failure.getErrorMessage())

    # What was seen

    def _sawProcessors(self, share: float | None) -> None:
        settings = self._broker.settings.os_mon
        self._cpu.configure(settings.cpu_high_watermark, settings.cpu_low_watermark)
        self._look(self._cpu, share, f"the processors are {_percent(share)} busy")

    def _sawFigures(self, seen: _Figures) -> None:
        settings = self._broker.settings.os_mon
        for mark, high, use, what in (
            (self._memory, settings.sysmem_high_watermark, seen.memory, "bytes of memory are in use"),
            (self._process, settings.procmem_high_watermark, seen.process, "bytes of memory are the broker's"),
            (self._files, settings.fd_high_watermark, seen.files, "files and sockets are open"),
        ):
            mark.configure(high)
            self._lookAtUse(mark, use, what)

    def _sawFiles(self, files: Use | None) -> None:
        """
        Compare connections with what each port allows, and all of them with the files that may be open.
        """
        settings = self._broker.settings.vm_mon
        self._connections.configure(settings.process_high_watermark, settings.process_low_watermark)
        full, what = 0.0, ""
        for port in self._node.ports.values():
            most = port.figures().get("max_connections", 0)
            if most and port.connections / most > full:
                full = port.connections / most
                what = f"{port.connections} of {most} connections of {port.path} are taken"
        if files is not None and files.total > SPARE:
            count = sum(port.connections for port in self._node.ports.values())
            if count / (files.total - SPARE) > full:
                full = count / (files.total - SPARE)
                what = f"{count} of {files.total - SPARE} connections that the limit of open files allows are taken"
        self._look(self._connections, full, what)

    def _sawDisk(self, use: Use | None) -> None:
        settings = self._broker.settings.os_mon
        self._disk.configure(settings.disk_high_watermark, settings.disk_low_watermark)
        self._lookAtUse(
            self._disk, use, f"bytes or files of the disk of {self._broker.settings.node.data_dir} are used"
        )

    def _sawCertificates(self, seen: dict[str, Expiry | str]) -> None:
        now, most = self._broker.dates.now(), self._broker.settings.os_mon.certificate_expiry
        for path, expiry in seen.items():
            mark = self._certificates.get(path)
            if mark is None:
                mark = self._mark(f"certificate_expiry.{path}", "A certificate expires soon")
                self._certificates[path] = mark
            # The nearer its end, the higher: nothing else goes up.
            mark.configure(1.0, 1.0)
            if isinstance(expiry, str):
                mark.look(1.0 if most else 0.0, f"{path}: {expiry}")
                continue
            days = (expiry.until - now) / _DAY
            when = f"in {days:.0f} days" if days >= 2 else f"in {days * 24:.0f} hours"
            text = f"{path}: the certificate of {expiry.subject!r} " + (
                f"expires {when}" if days > 0 else "has expired"
            )
            mark.look(1.0 if most and expiry.until - now <= most else 0.0, text, {"until": int(expiry.until)})
        for path in [path for path in self._certificates if path not in seen]:
            self._certificates.pop(path).end(f"{path} has no certificate any more")

    def _filesOfCertificates(self) -> list[tuple[str, str]]:
        return [(port.path, port.certificate) for port in self._node.ports.values() if port.certificate is not None]

    def _lookAtStore(self, now: float) -> None:
        limit = self._broker.settings.os_mon.store_delay
        behind = self._delay.look(now)
        self._store.configure(limit, limit / 2)
        self._store.look(behind, f"a change waits for {behind:.0f} s to be on disk")

    def _lookForDisk(self, now: float) -> None:
        """
        See whether the disk answers at all.
        """
        check = self._diskCheck
        silent = 0.0 if check is None or check.since is None else now - check.since
        self._away.configure(SILENT, SILENT)
        folder = self._broker.settings.node.data_dir
        self._away.look(silent, f"the disk of {folder} has not answered for {silent:.0f} s")

    def _lookAtLog(self) -> None:
        """
        See whether log messages are written.
        """
        log = self._node.log
        problems = [] if log is None else log.problems()
        self._log.configure(1.0, 1.0)
        before, self._logProblems = self._logProblems, len(problems)
        summary = "; ".join(problems)
        self._log.look(float(len(problems)), summary)
        if before and problems and len(problems) != before:
            self._log.describe(summary)

    def _lookAtUse(self, mark: Watermark, use: Use | None, what: str) -> None:
        if use is None:
            mark.look(None, "")
        else:
            text = f"{use.used} of {use.total} {what} ({_percent(use.share)})"
            mark.look(use.share, text, {"value": _rounded(use.share), "used": use.used, "total": use.total})

    def _look(self, mark: Watermark, share: float | None, text: str) -> None:
        mark.look(share, text, None if share is None else {"value": _rounded(share)})


def _readCertificates(files: list[tuple[str, str]]) -> dict[str, Expiry | str]:
    """
    Read certificates, in a thread.

    @param files: the path of the port's table, and the file.

    @return: by the path of the table; a text says what is wrong with one.
    """
    found: dict[str, Expiry | str] = {}
    for path, file in files:
        try:
            found[path] = soonestExpiry(file)
        except (OSError, ValueError) as error:
            found[path] = f"{file} can't be read: {error}"
    return found


def _rounded(share: float) -> float:
    """
    A share in percent.
    """
    return round(share * 100, 2)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"
