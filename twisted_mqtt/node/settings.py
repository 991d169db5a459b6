"""
Settings at run time: reads and changes single keys.

The schema checks a change like the file. The overrides file keeps it. It takes effect when the schema says: at once,
for clients that connect later, or after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config import ConfigurationError, Problem, Settings
from twisted_mqtt.config.entries import SettingEntry, entries, entryOf, shortFor, valueOf
from twisted_mqtt.config.overrides import readOverrides, writeOverrides
from twisted_mqtt.config.problems import shown
from twisted_mqtt.config.reader import readAgain
from twisted_mqtt.config.source import Path, isKey, splitKey
from twisted_mqtt.interfaces import IRuntimeSettings

if TYPE_CHECKING:
    from twisted_mqtt.config.origin import Origin
    from twisted_mqtt.config.reloadreport import ReloadReport

_log = Logger()

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Blocking(Protocol):
    """
    Runs a function that may block in another thread.
    """

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """
        @return: fires with what the function returns, fails with what it raises.
        """


@implementer(IRuntimeSettings)
class RuntimeSettings:
    """
    The settings of a node.

    @ivar current: those that the broker goes by; the node exchanges them.
    """

    def __init__(
        self,
        current: Settings,
        apply: Callable[[Settings], Coroutine[Deferred[Any], Any, ReloadReport]],
        inTurn: Callable[[Callable[[], Deferred[ReloadReport]]], Deferred[ReloadReport]],
        blocking: Blocking,
    ) -> None:
        """
        @param current: the settings that the broker goes by at first.
        @param apply: has the broker go by other settings as far as that is possible.
        @param inTurn: calls a function when no other change is under way.
        @param blocking: runs what waits for a disk.
        """
        self.current = current
        self._apply = apply
        self._inTurn = inTurn
        self._blocking = blocking
        # Changes that are in no file.
        self._unkept: dict[Path, object] = {}
        # The settings as they were read last. They contain changes that wait for a restart; the current ones do not.
        self._wanted: Settings | None = None

    def get(self, key: str) -> object:
        """
        The value of a key, in Python: a time is a number of seconds, a size a number of bytes; or a whole table, as a
        frozen structure.

        @raise KeyError: there is no such key; the text names the nearest.
        """
        return valueOf(self.current, key)

    def entry(self, key: str) -> SettingEntry:
        """
        A key with its value, and where that comes from.

        @raise KeyError: there is no such key; the text names the nearest.
        """
        return entryOf(self.current, key)

    def entries(self, prefix: str = "") -> Iterator[SettingEntry]:
        """
        All keys with their values.

        @param prefix: a table, such as C{"zone.external"}; C{""} for all there are.
        """
        return entries(self.current, prefix)

    def waiting(self) -> dict[str, SettingEntry]:
        """
        The keys that were changed and wait for a restart, by name, with what they will be.
        """
        if self._wanted is None:
            return {}
        now = {entry.key: entry.written for entry in entries(self.current)}
        return {entry.key: entry for entry in entries(self._wanted) if now.get(entry.key) != entry.written}

    def overridden(self) -> dict[str, object]:
        """
        The keys that were changed at run time, with their values as they were given; secrets are not shown.
        """
        places = (self._wanted or self.current).origin.places
        return {key: self._written(key) for key, place in sorted(places.items()) if place.kind == "override"}

    def change(self, values: Mapping[str, object], keep: bool = True) -> Deferred[ReloadReport]:
        """
        Change keys, all of them or none.

        @param values: by key in full, as text or as in the file; C{None} is C{"none"}.
        @param keep: whether they hold after a restart as well.

        @return: fires with what was done and what waits for a restart; fails with L{ConfigurationError} where the
            values do not pass, and with L{OSError} where they cannot be kept: then nothing has changed.
        """

        async def change() -> ReloadReport:
            given = {_pathOf(key): "none" if value is None else value for key, value in values.items()}
            return await self._change(given, (), keep)

        return self._inTurn(lambda: Deferred.fromCoroutine(change()))

    def reset(self, keys: Iterable[str]) -> Deferred[ReloadReport]:
        """
        Take back what was changed at run time: the keys are again what the file says.

        @return: as L{change}; fails with L{ConfigurationError} for a key that was not changed.
        """

        async def change() -> ReloadReport:
            return await self._change({}, [_pathOf(key) for key in keys], True)

        return self._inTurn(lambda: Deferred.fromCoroutine(change()))

    def read(self) -> Settings:
        """
        Read the configuration again, with what was changed at run time. It reads files.

        @raise ConfigurationError: it can't be used.
        """
        origin = self.current.origin
        overrides = None
        if self._unkept:
            overrides = {**self._kept(origin), **self._unkept}
        return readAgain(origin, overrides)

    def took(self, settings: Settings) -> None:
        """
        Note what was read and is gone by now, as far as that is possible without a restart.
        """
        self._wanted = settings

    async def _change(self, given: Mapping[Path, object], gone: Iterable[Path], keep: bool) -> ReloadReport:
        origin = self.current.origin
        # A value in place of a table, and a key of that table, could not stand in a file together.
        given = {path if isinstance(value, Mapping) else self._inFull(path): value for path, value in given.items()}
        self._refuseSetElsewhere(origin, given)
        kept = await self._blocking(self._kept, origin)
        unkept = dict(self._unkept)
        for path in map(self._inFull, gone):
            if path not in kept and path not in unkept:
                raise _problem(path, "was not changed at run time, so there is nothing to take back")
            kept.pop(path, None)
            unkept.pop(path, None)
        for path, value in given.items():
            if keep and origin.overrides is not None:
                kept[path] = value
                unkept.pop(path, None)
            else:
                unkept[path] = value
        _refuseNested({**kept, **unkept}, given)
        settings = await self._blocking(readAgain, origin, {**kept, **unkept})
        if origin.overrides is not None:
            await self._blocking(writeOverrides, origin.overrides, kept)
        self._unkept = unkept
        for path, value in given.items():
            key = ".".join(path)
            _log.info("settings: {key} = {value}", key=key, value=shown(key, value))
        return await self._apply(settings)

    def _inFull(self, path: Path) -> Path:
        """
        The key itself, where a value may stand in place of its table.
        """
        if any("." in word for word in path):
            return path
        return tuple(splitKey(shortFor(self.current, ".".join(path))))

    def _kept(self, origin: Origin) -> dict[Path, object]:
        """
        The content of the overrides file.

        @raise ConfigurationError: it can't be read.
        """
        if origin.overrides is None:
            return {}
        try:
            return readOverrides(origin.overrides)
        except (OSError, ValueError) as error:
            raise ConfigurationError([Problem(origin.overrides, None, "", None, f"can't be read: {error}")]) from error

    def _refuseSetElsewhere(self, origin: Origin, given: Mapping[Path, object]) -> None:
        problems = []
        for path in given:
            place = origin.places.get(".".join(path))
            if place is not None and place.kind == "environment":
                problems.append(
                    Problem("the change", None, ".".join(path), None, f"{place} sets it, and holds: change it there")
                )
        if problems:
            raise ConfigurationError(problems)

    def _written(self, key: str) -> object:
        settings = self._wanted or self.current
        try:
            return entryOf(settings, key).written
        except KeyError:
            # An item of a numbered list, or a topic in a table: its list has the value.
            return valueOf(settings, key)


def _pathOf(key: str) -> Path:
    """
    @raise ConfigurationError: it is no key.
    """
    if not isKey(key):
        raise _problem((key,), "is no key: words of letters, digits, _ and -, or in quotes, with dots between them")
    return splitKey(key)


def _refuseNested(changed: Mapping[Path, object], given: Iterable[Path]) -> None:
    """
    @raise ConfigurationError: a key that is given is a table in which another was changed, or the other way round:
        they could not stand in a file together.
    """
    for path in given:
        for other in changed:
            shorter, longer = sorted((path, other), key=len)
            if len(shorter) < len(longer) and longer[: len(shorter)] == shorter:
                name = ".".join(other)
                raise _problem(path, f"does not go together with {name}, which was changed too: take that back first")


def _problem(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Problem("the change", None, ".".join(path), None, message)])
