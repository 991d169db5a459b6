"""
The extension C{reloader}: changed code of extensions is taken over without a restart (spec/hooks-modules-sys.md 12).

It is for development. Only modules of extensions are reloaded, never the core, the reactor or other packages. The
extensions whose code has changed are stopped and started again, so that what they have registered is registered anew.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from datetime import UTC, datetime
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import perf_counter
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct
from zope.interface import implementer

from twisted_mqtt.config.keys import Period, Texts
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.operations.operation import INVALID, Call, NotFound, Operation, Refused, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_mqtt.interfaces import IExtensionContext

#: The rooms of our own extensions; all other code of ours is that of the broker.
_OURS: Final = ("twisted_mqtt.auth", "twisted_mqtt.modules", "twisted_mqtt.monitoring")
_NEVER: Final = frozenset(("twisted_mqtt", "gateways", "twisted", "zope", "autobahn", "msgspec", "OpenSSL"))


class ReloaderSettings(Struct, frozen=True, kw_only=True):
    """
    C{[reloader]}.
    """

    interval: Annotated[Period, "Time between two looks at the sources; 0 for none, but for `ctl reload`"] = 60
    logfile: Annotated[str, "File with a line for each module that was reloaded; empty for none"] = "log/reloader.log"
    packages: Annotated[
        Texts,
        "Packages whose modules may be reloaded besides those of installed extensions, such as `twisted_mqtt.modules`",
    ] = ()


class OneModule(Struct, kw_only=True):
    """
    A module.
    """

    module: Annotated[str, Meta(description="Its name with dots, such as greeter.extension")]


class Reloaded(Struct, kw_only=True):
    """
    What was done.
    """

    modules: list[str]
    extensions: list[str]
    milliseconds: float


@implementer(IExtension)
class Reloader:
    """
    See the module.
    """

    _context: IExtensionContext

    def __init__(self, settings: ReloaderSettings) -> None:
        self._settings = settings
        self._known: dict[str, bytes] = {}
        self._since = 0.0

    async def start(self, context: IExtensionContext) -> None:
        """
        Note the sources as they are, and begin to look at them.
        """
        self._context = context
        context.log.warn("The reloader is for development: code that has changed is executed by the running broker")
        context.operation(reloadOperation(self._reload))
        self._since = context.broker.dates.now()
        if self._settings.interval:
            context.loop(self._settings.interval, self._scan)

    def _packages(self) -> tuple[str, ...]:
        """
        The packages whose modules may be reloaded.
        """
        extensions = self._context.node.extensions
        others = [
            type(extensions.find(each.name)).__module__.partition(".")[0]
            for each in extensions.installed()
            if each.active and each.distribution != "twisted-mqtt"
        ]
        wanted = (*self._settings.packages, *others)
        return tuple(name for name in wanted if name.startswith(_OURS) or name.partition(".")[0] not in _NEVER)

    def _isAllowed(self, name: str, packages: Iterable[str]) -> bool:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or name == __name__:
            return False
        return any(name == package or name.startswith(f"{package}.") for package in packages)

    def _sources(self) -> dict[str, str]:
        """
        The files of modules that may be reloaded, by name.
        """
        packages = self._packages()
        return {
            name: source
            for name, module in list(sys.modules.items())
            if self._isAllowed(name, packages) and (source := _sourceOf(module))
        }

    async def _scan(self) -> None:
        now = await self._context.broker.threads.defer(_states, self._sources())
        # One that was not seen before is what was loaded, unless its file is newer than this extension.
        changed = [
            name
            for name, (value, modified) in now.items()
            if (value != self._known[name] if name in self._known else modified > self._since)
        ]
        # One that can't be reloaded is tried again when it has changed again.
        self._known = {name: value for name, (value, _) in now.items()}
        for name in changed:
            try:
                await self._reload(name)
            except Refused as refusal:
                self._context.log.error("{module} can't be reloaded: {why}", module=name, why=str(refusal))

    async def _reload(self, name: str) -> Reloaded:
        """
        Reload a module and those of its package that use it, and start the extensions again that are made of them.

        @raise Refused: it may not be, or its code does not work; the old one is used on.
        """
        began = perf_counter()
        try:
            reloaded = await self._tryReload(name, began)
        except Refused as refusal:
            await self._note(name, f"refused: {refusal}", began)
            raise
        await self._note(name, f"ok, extensions: {', '.join(reloaded.extensions) or 'none'}", began)
        return reloaded

    async def _tryReload(self, name: str, began: float) -> Reloaded:
        module = sys.modules.get(name)
        if module is None:
            raise NotFound(f"module: {name[:200]!r} is not loaded")
        if not self._isAllowed(name, self._packages()):
            raise Refused(
                INVALID,
                f"module: {name[:200]!r} is no module of an installed extension, nor of reloader.packages",
            )
        threads = self._context.broker.threads
        sources = self._sources()
        if name not in sources:
            raise Refused(INVALID, f"{name}: it is compiled, or has no source")
        try:
            names = await threads.defer(_inOrder, name, sources)
            codes = await threads.defer(lambda: [_compiled(sources[one]) for one in names])
        except (OSError, SyntaxError, ValueError) as error:
            raise Refused(INVALID, f"{name}: {error}; the old code is used on") from None
        modules = [sys.modules[one] for one in names]
        extensions = self._context.node.extensions
        concerned = [
            each.name
            for each in extensions.installed()
            if each.active and type(extensions.find(each.name)).__module__ in names
        ]
        saved = [(one, dict(vars(one))) for one in modules]
        try:
            for one, code in zip(modules, codes, strict=True):
                old = dict(vars(one))
                # Python's own way may take what it has kept of the file for the present one.
                exec(code, vars(one))
                migrate = getattr(one, "__reload__", None)
                if migrate is not None:
                    migrate(old)
            for extension in concerned:
                await extensions.restart(extension)
        except Exception as error:
            for one, was in saved:
                vars(one).clear()
                vars(one).update(was)
            raise Refused(INVALID, f"{name}: {type(error).__name__}: {error}; the old code is used on") from None
        return Reloaded(
            modules=names,
            extensions=concerned,
            milliseconds=round(1000 * (perf_counter() - began), 1),
        )

    async def _note(self, name: str, what: str, began: float) -> None:
        if not self._settings.logfile:
            return
        date = datetime.fromtimestamp(self._context.broker.dates.now(), UTC).isoformat(timespec="milliseconds")
        line = f"{date} {name} {1000 * (perf_counter() - began):.1f} ms: {what}\n".replace("\n", " ").rstrip() + "\n"
        try:
            await self._context.broker.threads.defer(_append, Path(self._settings.logfile), line)
        except OSError as error:
            self._context.log.warn("{file} can't be written: {error}", file=self._settings.logfile, error=error)


def reloadOperation(reload: Callable[[str], object]) -> Operation:
    """
    The operation.
    """

    @operation(
        "reload_module",
        "Take over the changed code of an extension's module",
        "reload",
        positional=("module",),
        role="admin",
        text=lambda found: ("ok",),
        example="greeter.extension",
    )
    async def reloadModule(call: Call[OneModule]) -> Reloaded:
        done: Reloaded = await reload(call.request.module)  # type: ignore[misc]  # it is a coroutine function
        return done

    return reloadModule


def declared() -> tuple[Operation, ...]:
    """
    The operations, to be described and not called.
    """
    return (reloadOperation(lambda module: None),)


def _sourceOf(module: ModuleType) -> str:
    loader = getattr(module, "__loader__", None)
    return str(loader.path) if isinstance(loader, SourceFileLoader) else ""


def _states(sources: dict[str, str]) -> dict[str, tuple[bytes, float]]:
    """
    A hash of each file, and the date of its last change. It blocks: call it in a thread.
    """
    found = {}
    for name, source in sources.items():
        try:
            path = Path(source)
            found[name] = (hashlib.blake2b(path.read_bytes(), digest_size=16).digest(), path.stat().st_mtime)
        except OSError:
            # An editor is about to put it in its place.
            continue
    return found


def _compiled(source: str) -> CodeType:
    return compile(Path(source).read_bytes(), source, "exec")


def _inOrder(name: str, sources: dict[str, str]) -> list[str]:
    """
    A module and all that use it, each after what it uses of these. It blocks: call it in a thread.

    @raise SyntaxError: a source can't be read.
    """
    uses = {one: _usedBy(one, source) for one, source in sources.items()}
    users = {name}
    while more := {one for one in sources if one not in users and uses[one] & users}:
        users |= more
    ordered: list[str] = []

    def place(one: str, above: tuple[str, ...]) -> None:
        if one in above or one in ordered:
            return
        for used in sorted(uses[one] & users):
            place(used, (*above, one))
        ordered.append(one)

    for one in (name, *sorted(users)):
        place(one, ())
    return ordered


def _usedBy(name: str, source: str) -> set[str]:
    """
    The names of modules that a source imports, or imports from.
    """
    found: set[str] = set()
    package = name if source.endswith("__init__.py") else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(Path(source).read_bytes(), source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            within = ".".join(filter(None, (above if node.level else "", node.module)))
            found.add(within)
            found.update(f"{within}.{alias.name}" for alias in node.names)
    return found - {name}


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)
