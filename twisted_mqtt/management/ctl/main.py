"""
C{mqttbroker-ctl}.

Its commands are those of the broker that it calls, extensions' too; where no broker answers, those that every broker
has, so that there is always help. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no broker
(spec/cli.md 0).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import click
import msgspec

from twisted_mqtt.base.about import versionText
from twisted_mqtt.base.standardstreams import openClosedStreams
from twisted_mqtt.config.source import parsed
from twisted_mqtt.management.catalogue import declared, ofOthers
from twisted_mqtt.management.ctl.calling import (
    ANSWERING_TIMEOUT,
    COMPLETING_TIMEOUT,
    Caller,
    NoAnswer,
    NotReached,
    RefusedCall,
    RemoteCaller,
    SocketCaller,
    defaultSocket,
)
from twisted_mqtt.management.ctl.completion import VARIABLE, completionOf
from twisted_mqtt.management.ctl.printing import printEvents, printTable
from twisted_mqtt.management.ctl.progress import Progress
from twisted_mqtt.management.ctl.words import FORM, Words, put
from twisted_mqtt.management.describe import Description, describe

REFUSED: Final = 1
USAGE: Final = 2
NO_BROKER: Final = 3

_PROGRAM: Final = "mqttbroker-ctl"
#: Where a broker has its data, unless its configuration says otherwise.
_FOLDERS: Final = ["data", "/var/lib/mqttbroker"]
#: Where it stands that the broker was asked already, and did not answer.
_SILENT: Final = "twisted_mqtt.silent"
#: Where the way to the broker stands, once it is made.
_CALLER: Final = "twisted_mqtt.caller"
#: The application of C{--url}, and the environment variable with its secret.
_APPLICATION: Final = "admin"
_SECRET: Final = "MQTTBROKER_CTL_SECRET"


class Settings:
    """
    What the options before the command say.
    """

    def __init__(self, caller: Caller, form: str, watch: float) -> None:
        self.caller = caller
        self.form = form
        self.watch = watch


class Top(Words):
    """
    All commands.

    @ivar local: those that ask no broker.
    """

    local: Sequence[click.Command] = ()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        See click.
        """
        for command in self.local:
            if command.name == cmd_name:
                return command
        self._fill(ctx)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        See click.
        """
        self._fill(ctx)
        return super().list_commands(ctx)

    def _fill(self, ctx: click.Context) -> None:
        if not self.commands:
            for description in _known(ctx):
                for words in (description.words, *description.aliases):
                    if words:
                        put(self, words.split(), description, _run)
            for command in self.local:
                self.add_command(command)


def _known(ctx: click.Context) -> list[Description]:
    """
    The operations of the broker that answers, or those that every broker has and those of what is installed here.

    click looks for the command before it calls L{_top}: the options are known, and there are no L{Settings} yet.
    """
    try:
        caller = _callerOf(ctx)
        if caller is not None:
            return msgspec.convert(caller.describe(), list[Description])
    except NoAnswer as error:
        # There is help all the same; a command is not tried a second time.
        ctx.meta[_SILENT] = str(error)
    except (NotReached, RefusedCall, _Misused, msgspec.ValidationError):
        # A call of the command says so; and a broker of another release may describe what this one can't read.
        pass
    return [describe(operation) for operation in (*declared(), *(operation for _, operation in ofOthers()))]


class _Misused(Exception):
    """
    The options do not say which broker is meant.
    """


def _callerOf(ctx: click.Context) -> Caller | None:
    """
    The way to the broker that the options name; made once. None while the shell wants words, and the secret is not
    known: it is not asked for then.

    @raise _Misused: the options do not say it.
    """
    if _CALLER in ctx.meta:
        made: Caller = ctx.meta[_CALLER]
        return made
    given = ctx.params
    # A shell that wants words does not wait for a broker that hangs.
    timeout = given.get("timeout") or (COMPLETING_TIMEOUT if ctx.resilient_parsing else ANSWERING_TIMEOUT)
    url, config, file = given.get("url"), given.get("config"), given.get("secret_file")
    caller: Caller
    if url is None:
        try:
            caller = SocketCaller(given.get("socket") or _socketOf(config), timeout)
        except (ValueError, OSError) as error:
            raise _Misused(f"{config}: {error}") from None
    else:
        application, authorities = given.get("app") or _APPLICATION, given.get("cacert")
        try:
            secret = os.environ.get(_SECRET) if file is None else _secretIn(file)
            if secret is None:
                if ctx.resilient_parsing:
                    return None
                if not sys.stdin.isatty():
                    raise _Misused(f"the secret of {application} is in --secret-file FILE, or in {_SECRET}")
                secret = click.prompt(f"Secret of {application}", hide_input=True, err=True)
            caller = RemoteCaller(url, application, secret, authorities, timeout)
        except ValueError as error:
            raise _Misused(str(error)) from None
        except OSError as error:
            # It does not name the file.
            raise _Misused(f"{authorities}: {error.strerror or error}") from None
    ctx.meta[_CALLER] = caller
    return caller


def _run(ctx: click.Context, description: Description, request: dict[str, object]) -> None:
    """
    Call the broker and print its answer, again and again if it is watched.
    """
    settings = ctx.find_object(Settings)
    assert settings is not None  # the top group has made it
    if _SILENT in ctx.meta:
        _fail(ctx.meta[_SILENT], NO_BROKER)
    form = ctx.meta.get(FORM, settings.form)
    while True:
        if settings.watch and sys.stdout.isatty():
            click.clear()
        _once(settings.caller, description, {name: _plain(value) for name, value in request.items()}, form)
        if not settings.watch:
            return
        sys.stdout.flush()
        time.sleep(settings.watch)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return list(value) if isinstance(value, tuple) else value


def _once(caller: Caller, description: Description, request: dict[str, object], form: str) -> None:
    asEmqx = form in ("", "emqx") and description.hasText
    try:
        with Progress(_PROGRAM) as progress:
            answer = caller.call(description, request, "emqx" if asEmqx else "json")
            if description.isStream:
                progress.end()
                printEvents(answer.pieces, sys.stdout)
                return
            if not answer.isJSON:
                for piece in answer.pieces:
                    if sys.stdout.isatty():
                        progress.end()
                    progress.got(len(piece))
                    sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
                return
            parts = []
            for piece in answer.pieces:
                progress.got(len(piece))
                parts.append(piece)
    except RefusedCall as refusal:
        _fail(str(refusal), REFUSED)
    except NotReached as error:
        _fail(str(error), NO_BROKER)
    try:
        found = json.loads(b"".join(parts))
    except ValueError:
        _fail("the broker's answer is not complete", REFUSED)
    data = found.get("data", found if "code" not in found else None)
    if form == "json":
        json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
    else:
        printTable(data, sys.stdout)


def _fail(text: str, status: int) -> NoReturn:
    click.echo(f"{_PROGRAM}: {text}", err=True)
    sys.exit(status)


def _seconds(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float:
    """
    @return: 0 where nothing is given.
    """
    if value is None:
        return 0.0
    try:
        found = float(value.removesuffix("s"))
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 86400:
        raise click.BadParameter(f"{value!r} is no time such as 2s", ctx, parameter)
    return found


def _socketOf(config: str | None) -> str:
    """
    The socket of the broker with this configuration.

    @raise OSError: the file can't be read.
    @raise ValueError: it is no configuration, or says that there is no socket.
    """
    if config is None:
        return defaultSocket(_FOLDERS)
    tables = parsed(Path(config).read_text(encoding="utf-8-sig"))
    node, management = tables.get("node", {}), tables.get("management", {})
    if not isinstance(node, dict) or not isinstance(management, dict):
        raise ValueError("[node] and [management] have to be tables")
    folder = os.environ.get("MQTTBROKER__NODE__DATA_DIR") or str(node.get("data_dir", "data"))
    socket = os.environ.get("MQTTBROKER__MANAGEMENT__SOCKET", str(management.get("socket", "ctl.sock")))
    if not socket:
        raise ValueError("management.socket is empty: the broker has no socket for commands")
    return os.path.join(folder, socket)


def _secretIn(file: str) -> str:
    """
    @raise ValueError: the file can't be read.
    """
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None


_completion: Final = completionOf(_PROGRAM)


@click.command(cls=Top, name=_PROGRAM, context_settings={"help_option_names": ["-h", "--help"]})
# These are eager, so that they are known where --help comes after them: the help has the commands of that broker.
@click.option("--socket", metavar="PATH", is_eager=True, help="The UNIX socket of the broker.")
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    is_eager=True,
    help="The configuration of the broker, which says where its socket is.",
)
@click.option(
    "--url", metavar="URL", is_eager=True, help="A broker on another machine, such as https://broker.example:8081."
)
@click.option("--app", metavar="ID", is_eager=True, help=f"With --url: the application; {_APPLICATION} by default.")
@click.option(
    "--secret-file",
    metavar="FILE",
    is_eager=True,
    help=f"With --url: a file with its secret; else it is in the environment, {_SECRET}, or asked for.",
)
@click.option(
    "--cacert", metavar="FILE", is_eager=True, help="With --url: the authorities that its certificate may be from."
)
@click.option(
    "--format", "form", type=click.Choice(("emqx", "table", "json")), default=None, help="How answers are printed."
)
@click.option(
    "--timeout",
    metavar="TIME",
    is_eager=True,
    callback=_seconds,
    help=f"In what time the broker must say that it is there; {ANSWERING_TIMEOUT:g}s by default.",
)
@click.option("--watch", metavar="TIME", callback=_seconds, help="Repeat, for example every 2s.")
@click.version_option(versionText(), prog_name=_PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def _top(ctx: click.Context, /, form: str | None, watch: float, **_: object) -> None:
    """
    Look at a broker and steer it while it runs.
    """
    if any(command.name == ctx.invoked_subcommand for command in _TOP.local):
        return
    try:
        caller = _callerOf(ctx)
    except _Misused as error:
        _fail(str(error), USAGE)
    assert caller is not None  # a command is called
    ctx.obj = Settings(caller, form or "", watch)


assert isinstance(_top, Top)
_TOP: Final = _top


def main(arguments: list[str] | None = None, local: Sequence[click.Command] = ()) -> None:
    """
    Run the program; ends with its exit status.

    @param local: more commands, which ask no broker.
    """
    _TOP.local = (_completion, *local)
    words = sys.argv[1:] if arguments is None else arguments
    openClosedStreams()
    try:
        "".join(words).encode("utf-8")
    except UnicodeEncodeError:
        _fail("the words of the command have to be UTF-8", USAGE)
    try:
        _TOP.main(words or ["--help"], prog_name=_PROGRAM, complete_var=VARIABLE, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except OSError as error:
        # Nothing is to be said at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            # Whoever read this has seen enough.
            sys.exit(0)
        _fail(f"the answer can't be written: {error.strerror or error}", REFUSED)
