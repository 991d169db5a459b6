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
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from twisted_mqtt.base.about import versionText
from twisted_mqtt.config.source import parsed
from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.management.ctl.calling import (
    ANSWERING_TIMEOUT,
    Caller,
    NoAnswer,
    NotReached,
    RefusedCall,
    RemoteCaller,
    SocketCaller,
    defaultSocket,
)
from twisted_mqtt.management.ctl.printing import printTable
from twisted_mqtt.management.describe import Description, Parameter, describe

REFUSED: Final = 1
USAGE: Final = 2
NO_BROKER: Final = 3

_PROGRAM: Final = "mqttbroker-ctl"
#: Where a broker has its data, unless its configuration says otherwise.
_FOLDERS: Final = ["data", "/var/lib/mqttbroker"]
#: Where it stands that the broker was asked already, and did not answer.
_SILENT: Final = "twisted_mqtt.silent"
_SHELLS: Final = ("bash", "zsh", "fish")


class Settings:
    """
    What the options before the command say.
    """

    def __init__(self, caller: Caller, form: str, watch: float) -> None:
        self.caller = caller
        self.form = form
        self.watch = watch


class Words(click.Group):
    """
    A group of commands: a typing error names the nearest; without a command it lists what there is, or is one itself.
    """

    #: The command that the words of the group alone are.
    own: Description | None = None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find a command, or name the nearest.
        """
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = get_close_matches(args[0], self.commands, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(self.commands))}"
            words = " ".join([*ctx.command_path.split()[1:], args[0]])
            raise click.UsageError(f"there is no command {words!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


class Top(Words):
    """
    All commands.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        See click.
        """
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
                        _put(self, words.split(), description)
            self.add_command(_completion)


def _known(ctx: click.Context) -> list[Description]:
    """
    The operations of the broker that answers on this machine, or those that every broker has.

    click looks for the command before it calls L{_top}, so what is known is the options, and no L{Settings} yet.
    """
    if not ctx.params.get("url"):
        try:
            socket = ctx.params.get("socket") or _socketOf(ctx.params.get("config"))
            timeout = ctx.params.get("timeout") or ANSWERING_TIMEOUT
            return msgspec.convert(SocketCaller(socket, timeout).describe(), list[Description])
        except NoAnswer as error:
            # There is help all the same; a command is not tried a second time.
            ctx.meta[_SILENT] = str(error)
        except (NotReached, RefusedCall, ValueError, OSError):
            pass
    return [describe(operation) for operation in declared()]


def _put(group: Words, words: list[str], description: Description) -> None:
    """
    Put a command where its words lead.
    """
    for word in words[:-1]:
        inner = group.commands.get(word)
        if not isinstance(inner, Words):
            made = Words(word, invoke_without_command=True, help=f"Commands about {word}.")
            if inner is not None and isinstance(inner, _Command):
                _own(made, inner.description)
            else:
                made.callback = click.pass_context(_usage)
            group.add_command(made)
            inner = made
        group = inner
    there = group.commands.get(words[-1])
    if isinstance(there, Words):
        _own(there, description)
    else:
        group.add_command(_Command(words[-1], description))


def _own(group: Words, description: Description) -> None:
    """
    Have the words of a group be a command of their own.
    """
    group.own = description
    group.help = f"{description.summary}; and commands about it."

    def run(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            _run(ctx, description, {})

    group.callback = click.pass_context(run)


def _usage(ctx: click.Context) -> None:
    """
    List the commands of a group, as C{emqx_ctl} does.
    """
    if ctx.invoked_subcommand is not None:
        return
    command = ctx.command
    assert isinstance(command, Words)  # nothing else calls this
    rows = [(_lineOf(found), found.description.summary) for found in _leaves(command)]
    width = max(len(line) for line, _ in rows)
    for line, summary in sorted(rows):
        click.echo(f"{line:<{width}}  # {summary}")


def _leaves(group: Words) -> Iterable[_Command]:
    for command in group.commands.values():
        if isinstance(command, Words):
            yield from _leaves(command)
        elif isinstance(command, _Command):
            yield command


def _lineOf(command: _Command) -> str:
    description = command.description
    names = {parameter.name: parameter for parameter in description.parameters}
    parts = [f"<{name}>" if names[name].required else f"[<{name}>]" for name in description.positional if name in names]
    return " ".join([description.words, *parts])


class _Command(click.Command):
    """
    An operation as a command.
    """

    def __init__(self, name: str, description: Description) -> None:
        self.description = description
        super().__init__(
            name,
            callback=click.pass_context(self._called),
            params=[_parameterOf(parameter, description) for parameter in _inOrder(description)],
            help=f"{description.summary}.",
        )

    def _called(self, ctx: click.Context, **values: object) -> None:
        names = {_identifier(parameter.name): parameter.name for parameter in self.description.parameters}
        request = {names[name]: value for name, value in values.items() if value is not None and value != ()}
        _run(ctx, self.description, request)


def _inOrder(description: Description) -> list[Parameter]:
    """
    The parameters, those without C{--} first, as they are to be given.
    """
    place = {name: number for number, name in enumerate(description.positional)}
    return sorted(description.parameters, key=lambda parameter: place.get(parameter.name, len(place)))


def _identifier(name: str) -> str:
    return f"p_{name}".lower().replace("-", "_")


def _parameterOf(parameter: Parameter, description: Description) -> click.Parameter:
    schema = parameter.schema
    kinds = [schema.get("type"), *(one.get("type") for one in schema.get("anyOf", ()))]
    kind: click.ParamType[Any] = click.STRING
    if "enum" in schema:
        kind = click.Choice([str(value) for value in schema["enum"] if value != ""])
    elif "boolean" in kinds:
        kind = click.BOOL
    elif "integer" in kinds:
        kind = click.INT
    if parameter.name in description.positional:
        return click.Argument(
            [_identifier(parameter.name)], type=kind, required=parameter.required, metavar=_meta(parameter)
        )
    return click.Option(
        [f"--{parameter.name.lstrip('_').replace('_', '-')}", _identifier(parameter.name)],
        type=kind,
        required=parameter.required,
        help=parameter.description or None,
        multiple="array" in kinds,
        metavar=None if "enum" in schema else _meta(parameter),
    )


def _meta(parameter: Parameter) -> str:
    name = f"<{parameter.name}>"
    return name


def _run(ctx: click.Context, description: Description, request: dict[str, object]) -> None:
    """
    Call the broker and print its answer, again and again if it is watched.
    """
    settings = ctx.find_object(Settings)
    assert settings is not None  # the top group has made it
    if _SILENT in ctx.meta:
        _fail(ctx.meta[_SILENT], NO_BROKER)
    while True:
        if settings.watch and sys.stdout.isatty():
            click.clear()
        _once(settings, description, {name: _plain(value) for name, value in request.items()})
        if not settings.watch:
            return
        sys.stdout.flush()
        time.sleep(settings.watch)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return list(value) if isinstance(value, tuple) else value


def _once(settings: Settings, description: Description, request: dict[str, object]) -> None:
    asEmqx = settings.form in ("", "emqx") and description.hasText
    try:
        pieces = settings.caller.call(description, request, "emqx" if asEmqx else "json")
        if asEmqx:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        text = b"".join(pieces)
    except RefusedCall as refusal:
        _fail(str(refusal), REFUSED)
    except NotReached as error:
        _fail(str(error), NO_BROKER)
    try:
        answer = json.loads(text)
    except ValueError:
        # No JSON, such as the text of Prometheus.
        sys.stdout.buffer.write(text)
        return
    data = answer.get("data", answer if "code" not in answer else None)
    if settings.form == "json":
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


@click.command("completion", help="Print what makes a shell complete the words of this program.")
@click.argument("shell", type=click.Choice(_SHELLS))
def _completion(shell: str) -> None:
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None  # click knows these three
    click.echo(made(_TOP, {}, _PROGRAM, "_MQTTBROKER_CTL_COMPLETE").source())


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
@click.option("--app", metavar="ID", default="admin", show_default=True, help="With --url: the application.")
@click.option("--secret-file", metavar="FILE", help="With --url: a file with its secret; asked for otherwise.")
@click.option("--cacert", metavar="FILE", help="With --url: the authorities that its certificate may be from.")
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
def _top(
    ctx: click.Context,
    socket: str | None,
    config: str | None,
    url: str | None,
    app: str,
    secret_file: str | None,
    cacert: str | None,
    form: str | None,
    timeout: float,
    watch: float,
) -> None:
    """
    Look at a broker and steer it while it runs.
    """
    caller: Caller
    timeout = timeout or ANSWERING_TIMEOUT
    if url is None:
        try:
            caller = SocketCaller(socket or _socketOf(config), timeout)
        except (ValueError, OSError) as error:
            _fail(f"{config}: {error}", USAGE)
    else:
        try:
            if secret_file is None:
                secret = click.prompt(f"Secret of {app}", hide_input=True, err=True)
            else:
                secret = _secretIn(secret_file)
            caller = RemoteCaller(url, app, secret, cacert, timeout)
        except ValueError as error:
            _fail(str(error), USAGE)
        except OSError as error:
            # It does not name the file.
            _fail(f"{cacert}: {error.strerror or error}", USAGE)
    ctx.obj = Settings(caller, form or "", watch)


assert isinstance(_top, Top)
_TOP: Final = _top


def main(arguments: list[str] | None = None) -> None:
    """
    Run the program; ends with its exit status.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None:
        # Whoever has called this has closed it, and wants the exit status alone.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    try:
        "".join(words).encode("utf-8")
    except UnicodeEncodeError:
        _fail("the words of the command have to be UTF-8", USAGE)
    try:
        _TOP.main(
            words or ["--help"], prog_name=_PROGRAM, complete_var="_MQTTBROKER_CTL_COMPLETE", standalone_mode=False
        )
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
