"""
The commands, made of the descriptions of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

import click

from twisted_mqtt.management.ctl.owners import ownerOf
from twisted_mqtt.management.describe import Description, Parameter
from twisted_mqtt.operations.operation import COLUMN, SHORT

#: Calls an operation with a request, and prints what it answers.
Run: TypeAlias = Callable[[click.Context, Description, dict[str, object]], None]

_YES: Final = ("true", "yes", "on", "1")
_NO: Final = ("false", "no", "off", "0")
_FORMS: Final = ("emqx", "table", "json")


class Words(click.Group):
    """
    A group of commands: a typing error names the nearest; without a command it lists what there is, or is one itself.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """
        Find a command, or name the nearest.
        """
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            words = " ".join([*ctx.command_path.split()[1:], args[0]])
            raise click.UsageError(f"there is no command {words!r}{self._hint(ctx, args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def get_short_help_str(self, limit: int = 45) -> str:
        """
        What a list of commands says about these: the words that may follow, if they are no command of their own.
        """
        if self.params or not self.commands:
            return super().get_short_help_str(limit)
        text = ", ".join(sorted(self.commands))
        return text if len(text) <= limit else f"{text[: limit - 5].rpartition(',')[0]}, ..."

    def _hint(self, ctx: click.Context, word: str) -> str:
        if ctx.parent is None and (owner := ownerOf(word)):
            return f": it is one of the extension {owner}, which is not loaded"
        near = get_close_matches(word.lower().replace("_", "-"), self.commands, 1)
        return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(self.commands))}"


class Command(click.Command):
    """
    An operation as a command.
    """

    def __init__(self, name: str, description: Description, run: Run) -> None:
        self.description = description
        self._run = run
        self._names = {_identifier(parameter.name): parameter.name for parameter in description.parameters}
        example = f"\n\nFor example: {description.words} {description.example}" if description.example else ""
        super().__init__(
            name,
            callback=click.pass_context(self._called),
            params=[*(_parameterOf(parameter, description) for parameter in _inOrder(description)), *formOptions()],
            help=f"{description.summary}.{example}",
            short_help=description.summary,
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Say what the command takes, without C{--} and with it.
        """
        known = {parameter.name: parameter for parameter in self.description.parameters}
        places = (
            [] if self.description.keyed else [known[name] for name in self.description.positional if name in known]
        )
        rows = [(f"<{place.name}>", place.description) for place in places if place.description]
        if rows:
            with formatter.section("Arguments"):
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Take the words after the command, spelled in any of the ways that there are.
        """
        return super().parse_args(ctx, list(self._spelled(args)))

    def _spelled(self, args: list[str]) -> Iterator[str]:
        """
        The words as click knows them: an option whose value may be left out has it after C{=}, and what a command of
        VerneMQ names as C{name=value}, or by its place, is an option.
        """
        optional = {
            option: parameter
            for parameter in self.description.parameters
            if _isFlag(parameter) or _isColumn(parameter)
            for option in _optionsOf(parameter)
        }
        keyed = self.description.keyed
        places = list(self.description.positional) if keyed else []
        known = {_dashed(parameter.name) for parameter in self.description.parameters}
        left = list(args)
        while left:
            word = left.pop(0)
            if word == "--":
                yield from (word, *left)
                return
            option, equals, value = word.partition("=")
            name = _dashed(option) if option.startswith("--") else option
            if equals and option.startswith("--"):
                yield f"{name}={value}"
            elif name in optional:
                # The long one, for a short one takes no "=".
                yield f"{_optionsOf(optional[name])[0]}={self._valueAfter(optional[name], left)}"
            elif word.startswith("-") and left and name not in ("--help", "-h"):
                # An option with a value, which is no word of its own.
                yield from (name, left.pop(0))
            elif keyed and not word.startswith("-"):
                if equals and _dashed(option) in known:
                    yield f"--{_dashed(option)}={value}"
                    places = [place for place in places if _dashed(place) != _dashed(option)]
                elif places:
                    yield f"--{_dashed(places.pop(0))}={word}"
                else:
                    yield word
            else:
                yield word

    def _valueAfter(self, parameter: Parameter, left: list[str]) -> str:
        """
        The value of an option that may stand without one.
        """
        if _isFlag(parameter):
            return left.pop(0) if left and left[0].lower() in (*_YES, *_NO) else "true"
        return left.pop(0) if left and not left[0].startswith("-") else ""

    def _called(self, ctx: click.Context, **values: object) -> None:
        request = {self._names[name]: value for name, value in values.items() if value is not None and value != ()}
        self._run(ctx, self.description, request)


class _Place(click.Argument):
    """
    What a command takes without C{--}.
    """

    def make_metavar(self, *context: click.Context) -> str:
        """
        How it stands in the usage; click before 8.2 gives no context.
        """
        name = self.metavar or ""
        return f"{name if self.required else f'[{name}]'}{'...' if self.nargs == -1 else ''}"


def put(group: click.Group, words: list[str], description: Description, run: Run) -> None:
    """
    Put a command where its words lead.
    """
    for word in words[:-1]:
        inner = group.commands.get(word)
        if not isinstance(inner, Words):
            made = Words(word, invoke_without_command=True, help=f"Commands about {word}.")
            if isinstance(inner, Command):
                _own(made, inner.description, run)
            else:
                made.callback = click.pass_context(_usage)
            group.add_command(made)
            inner = made
        group = inner
    there = group.commands.get(words[-1])
    if isinstance(there, Words):
        _own(there, description, run)
    else:
        group.add_command(Command(words[-1], description, run))


def _own(group: Words, description: Description, run: Run) -> None:
    """
    Have the words of a group be a command of their own.
    """
    group.help = f"{description.summary}; and commands about it."
    group.params = formOptions()

    def called(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            run(ctx, description, {})

    group.callback = click.pass_context(called)


def _usage(ctx: click.Context) -> None:
    """
    List the commands of a group, as C{emqx_ctl} does.
    """
    if ctx.invoked_subcommand is not None:
        return
    command = ctx.command
    assert isinstance(command, Words)  # nothing else calls this
    rows = [(lineOf(found.description), found.description.summary) for found in _leaves(command)]
    width = max(len(line) for line, _ in rows)
    for line, summary in sorted(rows):
        click.echo(f"{line:<{width}}  # {summary}")


def _leaves(group: Words) -> Iterable[Command]:
    for command in group.commands.values():
        if isinstance(command, Words):
            yield from _leaves(command)
        elif isinstance(command, Command):
            yield command


def lineOf(description: Description) -> str:
    """
    A command with what it takes without C{--}.
    """
    names = {parameter.name: parameter for parameter in description.parameters}
    parts = [f"<{name}>" if names[name].required else f"[<{name}>]" for name in description.positional if name in names]
    if description.keyed and not parts:
        parts = [f"{_dashed(name)}=<{name}>" for name, parameter in names.items() if parameter.required]
    return " ".join([description.words, *parts])


def formOptions() -> list[click.Parameter]:
    """
    The options that may stand before the command and after it.
    """
    return [
        click.Option(
            ["--format", "form"],
            type=click.Choice(_FORMS),
            expose_value=False,
            callback=_setForm,
            help="How answers are printed.",
        ),
    ]


def _setForm(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[FORM] = value


#: Where the form stands that is asked for after the command.
FORM: Final = "twisted_mqtt.form"


def _inOrder(description: Description) -> list[Parameter]:
    """
    The parameters, those without C{--} first, as they are to be given.
    """
    place = {name: number for number, name in enumerate(description.positional)}
    return sorted(description.parameters, key=lambda parameter: place.get(parameter.name, len(place)))


def _identifier(name: str) -> str:
    return f"p_{name}".lower().replace("-", "_")


def _dashed(name: str) -> str:
    """
    A name, or an option, in the one spelling that is compared: both C{client_id} and C{client-id} are used.
    """
    return name.lstrip("_").replace("_", "-")


def _kindsOf(parameter: Parameter) -> list[object]:
    schema = parameter.schema
    return [schema.get("type"), *(one.get("type") for one in schema.get("anyOf", ()))]


def _isColumn(parameter: Parameter) -> bool:
    return COLUMN in parameter.schema


def _isFlag(parameter: Parameter) -> bool:
    return "boolean" in _kindsOf(parameter)


def _optionsOf(parameter: Parameter) -> list[str]:
    letter = parameter.schema.get(SHORT)
    return [f"--{_dashed(parameter.name)}", *([f"-{letter}"] if letter else [])]


def _parameterOf(parameter: Parameter, description: Description) -> click.Parameter:
    schema = parameter.schema
    kinds = _kindsOf(parameter)
    kind: click.ParamType[Any] = click.STRING
    if "enum" in schema:
        kind = click.Choice([str(value) for value in schema["enum"] if value != ""])
    elif _isFlag(parameter):
        kind = click.BOOL
    elif "integer" in kinds:
        kind = click.INT
    isMany = "array" in kinds
    meta = f"<{parameter.name}>"
    if parameter.name in description.positional and not description.keyed:
        return _Place(
            [_identifier(parameter.name)],
            type=kind,
            required=parameter.required,
            metavar=meta,
            nargs=-1 if isMany else 1,
        )
    if _isFlag(parameter):
        meta = "[=false]" if parameter.default else "[=true]"
    elif _isColumn(parameter):
        meta = "[=<value>]"
    return click.Option(
        [*_optionsOf(parameter), _identifier(parameter.name)],
        type=kind,
        required=parameter.required,
        help=parameter.description or None,
        multiple=isMany,
        metavar=None if "enum" in schema else meta,
    )
