"""
Makes shells complete the words of the program: prints what does it, or puts it where the shell looks.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

#: The environment variable by which a shell asks for words.
VARIABLE: Final = "_MQTTBROKER_CTL_COMPLETE"
_SHELLS: Final = ("bash", "zsh", "fish")


def completionOf(program: str) -> click.Command:
    """
    The command C{completion} of a program.
    """

    @click.command("completion", short_help="Have a shell complete the words of this program")
    @click.argument("shell", type=click.Choice(_SHELLS), required=False)
    @click.option("--install", is_flag=True, help="Put it where the shell looks for it, in the home folder.")
    @click.pass_context
    def completion(ctx: click.Context, /, shell: str | None, install: bool) -> None:
        """
        Have a shell complete the words of this program: bash, zsh or fish, by default the one of SHELL.

        Without --install, what does it is printed. bash: source <(mqttbroker-ctl completion bash)
        """
        shell = shell or Path(os.environ.get("SHELL", "")).name
        made = get_completion_class(shell)
        if made is None or shell not in _SHELLS:
            raise click.UsageError(f"say which shell: {', '.join(_SHELLS)}", ctx)
        text = made(ctx.find_root().command, {}, program, VARIABLE).source()
        if not install:
            click.echo(text, nl=False)
            return
        if shell == "zsh":
            text = _loadedByZsh(text)
        file = _fileFor(shell, program)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            click.echo(f"{program}: {file}: {error.strerror or error}", err=True)
            sys.exit(1)
        click.echo(f"written: {file}")
        click.echo(_hintFor(shell, file))

    return completion


def _loadedByZsh(text: str) -> str:
    """
    The script as a function that zsh loads when it is first wanted. click's completes then, but the next time it only
    registers itself, for it takes itself for sourced.
    """
    body, marker, _ = text.partition("if [[ $zsh_eval_context[-1] == loadautofunc ]]")
    name = re.search(r"^(\w+)\(\) \{", body, re.MULTILINE)
    return f'{body}{name[1]} "$@"\n' if marker and name else text


def _fileFor(shell: str, program: str) -> Path:
    """
    Where a shell looks for what completes a program.
    """
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    if shell == "bash":
        return data / "bash-completion" / "completions" / program
    if shell == "zsh":
        return data / "zsh" / "site-functions" / f"_{program}"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / f"{program}.fish"


def _hintFor(shell: str, file: Path) -> str:
    if shell == "bash":
        return f"A new bash knows it with the package bash-completion; else add to ~/.bashrc: source {file}"
    if shell == "zsh":
        return f"Add to ~/.zshrc: fpath=({file.parent} $fpath); autoload -U compinit; compinit"
    return "A new fish knows it."
