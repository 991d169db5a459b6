"""
The one thing setup.cfg cannot say: compile the pure core with mypyc where that is possible.

C{BUILD_EXTENSION=no} never compiles, C{BUILD_EXTENSION=yes} fails where it cannot; unset, a machine without mypy, a C
compiler or Python's headers gets the same modules interpreted. Correctness never depends on the compiler.
"""

import contextlib
import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import BaseError, CCompilerError

ROOT = Path(__file__).parent

# Compiled along with the core, because every connection goes through them. They must not hold interfaces or classes
# decorated with them.
EXTRA_MODULES = (
    [
        f"twisted_mqtt/{name}.py"
        for name in (
            "base/printable",
            "base/ratelimits",
            "base/timerwheel",
            "base/waiting",
            # the transport
            "net/pending",
            "net/poller",
            "net/port",
            "net/portoptions",
            "net/rawsocket",
            "net/reactorprivate",
            "net/roles",
            "net/streamsocket",
            "net/transport",
            "net/websocket/connection",
            "net/websocket/frames",
            "net/websocket/transport",
            # from CONNECT to the end of a connection
            "broker/admission",
            "broker/authentication",
            "broker/bans",
            "broker/client",
            "broker/clientlog",
            "broker/permissions",
            "broker/publishing",
            "broker/quotas",
            "broker/listenerprofile",
            "broker/reauthentication",
            "broker/sessions",
            "broker/subscribing",
            "broker/wills",
            "hooks/packets",
            "listeners/gate",
            "mqtt/protocol",
            "mqtt/shell",
            # what is told of each message that is kept
            "stores/batch",
            "stores/ledger",
            "stores/packing",
        )
    ]
    + [
        # What each frame of STOMP goes through.
        f"gateways/stomp/{name}.py"
        for name in ("frame", "mapping", "deliveries", "receiving", "acknowledging", "heartbeat", "transactions")
    ]
    + [
        # What each message of a gateway's client goes through, and each of CoAP.
        "gateways/client.py",
    ]
    + [
        f"gateways/coap/{name}.py"
        for name in (
            "codes",
            "options",
            "message",
            "generations",
            "parameters",
            "roles",
            "verification",
            "peerqueue",
            "exchange",
            "blockwise",
            "query",
            "pubsub",
            "session",
            "request",
            "publishing",
            "topics",
            "resources",
            "serving",
            "gateway",
            "protocol",
        )
    ]
    + [
        # Made of that of CoAP: a compiled class can't be the base of one that is not.
        "gateways/lwm2m/protocol.py",
    ]
)

# What is installed besides the packages, within twisted_mqtt: folders, and the kinds of files in them.
SHIPPED = {
    "etc": {".conf", ".json", ".py", ".service", ".socket", ".toml", ".txt"},
    "docs": {".md", ".py", ".toml"},
}

# Commands that only ask about the distribution; generating C for them would be wasted.
_ASKING = {"egg_info", "dist_info", "sdist", "clean", "--version", "--name"}


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """
    Say what is being done, and every ten seconds that it still is, in the file that C{BUILD_PROGRESS} names: pip shows
    nothing of what a build prints.
    """
    path = os.environ.get("BUILD_PROGRESS")
    over = threading.Event()

    def say(text: str) -> None:
        if path:
            with contextlib.suppress(OSError), open(path, "a") as file:
                file.write(f"  {text}\n")

    def repeat() -> None:
        seconds = 0
        while not over.wait(10.0):
            seconds += 10
            say(f"... {seconds} s")

    say(what)
    repeating = threading.Thread(target=repeat, daemon=True)
    repeating.start()
    try:
        yield
    finally:
        over.set()
        repeating.join()


def modules() -> list[str]:
    """
    Every source file that is compiled; all of them become one group, so that calls between them stay native.
    """
    core = sorted(ROOT.glob("twisted_mqtt/core/*.py"))
    return [path.relative_to(ROOT).as_posix() for path in core if path.name != "__init__.py"] + EXTRA_MODULES


def obstacle() -> str | None:
    """
    Say what keeps this machine from compiling.

    @return: C{None} if nothing does.
    """
    if importlib.util.find_spec("mypyc") is None:
        return "mypy is not installed"
    if importlib.util.find_spec("mypy_zope") is None:
        return "mypy-zope is not installed"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h is missing (Debian: python3-dev)"
    if not modules():
        return "there is nothing to compile"
    return None


def extensions(required: bool) -> list[Extension]:
    """
    Generate C for L{modules}.

    @param required: Fail rather than return an empty list.
    """
    reason = obstacle()
    if reason is None:
        from mypyc.build import mypycify

        # Not the configuration of development, which is stricter; but without its plugin for zope's interfaces, whose
        # methods have no "self", no compiled module could call them.
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as configuration:
            configuration.write("[mypy]\nplugins = mypy_zope:plugin\n")
            configuration.flush()
            options = [
                f"--config-file={configuration.name}",
                "--ignore-missing-imports",
                "--follow-imports=silent",
                "--python-version=3.11",
            ]
            try:
                with telling(f"translating {len(modules())} modules to C"):
                    return mypycify(options + modules(), opt_level="3", group_name="twisted_mqtt")
            except SystemExit as error:  # how mypyc reports a source that it refuses
                reason = f"mypyc refused it: {error}"
    if required:
        raise SystemExit(f"BUILD_EXTENSION=yes, but {reason}")
    warnings.warn(f"The core will run interpreted: {reason}", stacklevel=2)
    return []


class BuildAllOrNone(build_ext):
    """
    Build every extension or, where they are not required, none: half a group cannot be imported.
    """

    def build_extensions(self) -> None:
        try:
            with telling("compiling the C: the longest step, a minute or two"):
                super().build_extensions()
        except (BaseError, CCompilerError, OSError) as error:
            if os.environ.get("BUILD_EXTENSION") == "yes":
                raise
            warnings.warn(f"The core will run interpreted: compiling failed: {error}", stacklevel=2)
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = self.distribution.ext_modules = []


class BuildAll(build_py):
    """
    Build the packages with the documents and the samples of C{etc/} in them, and without what an earlier build left.
    """

    def run(self) -> None:
        if not self.editable_mode:
            self._removeStale()
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._shipped().values()]

    def get_output_mapping(self) -> dict[str, str]:
        return {**super().get_output_mapping(), **{target: source for source, target in self._shipped().items()}}

    def _shipped(self) -> dict[str, str]:
        """
        The files of C{etc/} and C{docs/}, and where they are built: C{twisted_mqtt.process.initialize} finds them.
        """
        if self.editable_mode:
            return {}
        files: dict[str, str] = {}
        for folder, suffixes in SHIPPED.items():
            for path in sorted((ROOT / folder).rglob("*")):
                inside = path.relative_to(ROOT)
                if path.suffix in suffixes and path.is_file() and "certs" not in inside.parts:
                    files[inside.as_posix()] = str(Path(self.build_lib, "twisted_mqtt", inside))
        return files

    def _removeStale(self) -> None:
        """
        Remove modules from the build folder that are not built any more: they would be installed.
        """
        wanted = {Path(path) for path in self.get_outputs(include_bytecode=False)}
        wanted |= {Path(path) for path in self.get_finalized_command("build_ext").get_outputs()}
        for package in ("twisted_mqtt", "gateways", "twisted"):
            for path in Path(self.build_lib, package).rglob("*"):
                if not path.is_dir() and path not in wanted:
                    path.unlink()


if __name__ == "__main__":
    wanted = os.environ.get("BUILD_EXTENSION", "")
    if wanted not in ("", "no", "yes"):
        raise SystemExit(f"BUILD_EXTENSION is {wanted!r}; it may be 'no', 'yes' or unset")
    compiling = wanted != "no" and not _ASKING.intersection(sys.argv)
    setup(
        ext_modules=extensions(required=wanted == "yes") if compiling else [],
        cmdclass={"build_ext": BuildAllOrNone, "build_py": BuildAll},
    )
