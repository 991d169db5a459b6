"""
C{mqttbroker-ctl convert}: asks no broker.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from twisted_mqtt.convert.sources import ConversionError

if TYPE_CHECKING:
    from twisted_mqtt.convert.result import Result

REFUSED: Final = 1

_BROKERS: Final = ("emqx", "nanomq", "vernemq", "mosquitto")


@click.command("convert", help="Make a configuration of this broker out of that of another one.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--from", "broker", type=click.Choice(_BROKERS), help="Whose file it is, if it does not show.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the result goes, and access rules beside it; the standard output otherwise.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--without-rules", is_flag=True, help="Go on where the access rules can't be taken over.")
def convert(file: Path, broker: str | None, output: Path | None, force: bool, without_rules: bool) -> None:
    """
    Print or write the result, and what is to be said about it to the standard error.
    """
    # It takes a quarter of a second, which the other commands need not wait for.
    from twisted_mqtt.convert.conversion import converted

    try:
        result = converted(file, broker, without_rules)
        if not result.taken and result.remarks:
            _tell(result)
            raise ConversionError(f"{file}: nothing of it can be taken over; --from says whose file it is")
        rules = None if result.rules is None else _rulesFile(output, result)
        for path in (output, rules):
            if path is not None and path.exists() and not force:
                raise ConversionError(f"{path} is there already; --force replaces it")
        if rules is not None and result.rules is not None:
            _write(rules, result.rules, private=False)
            result.put("acl_file", str(rules.absolute()), result.rulesLine)
        text = result.render(f"Made by mqttbroker-ctl convert from {_oneLine(file.name)}.")
        if output is None:
            click.echo(text, nl=False)
        else:
            _write(output, text, private=result.secret)
    except ConversionError as error:
        click.echo(f"mqttbroker-ctl: {error}", err=True)
        sys.exit(REFUSED)
    _tell(result)


def _tell(result: Result) -> None:
    """
    Say on the standard error what is to be known about a result.
    """
    remarks = result.sorted()
    for remark in remarks:
        click.echo(str(remark), err=True)
    lost = sum(remark.kind == "lost" for remark in remarks)
    click.echo(
        f"lines taken over: {result.taken}; with another meaning: {len(remarks) - lost}; not taken over: {lost}",
        err=True,
    )


def _rulesFile(output: Path | None, result: Result) -> Path | None:
    """
    Where the access rules go.

    @raise ConversionError: there is no place for them.
    """
    if output is not None:
        return output.with_name(f"{output.stem}.acl.conf")
    assert result.rulesLine is not None  # whoever makes rules says where they come from
    result.withoutRules(result.rulesLine, "they become a file beside the result, so --output has to name that")
    return None


def _write(path: Path, text: str, private: bool) -> None:
    """
    Write a file as a whole.

    @param private: whether only its owner may read it.
    @raise ConversionError: it can't be written.
    """
    try:
        mask = os.umask(0)
        os.umask(mask)
        descriptor, temporary = tempfile.mkstemp(prefix=".convert-", dir=path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600 if private else 0o666 & ~mask)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConversionError(f"{path}: {error.strerror or error}") from None


def _oneLine(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
