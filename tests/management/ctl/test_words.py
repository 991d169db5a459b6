"""
Tests for L{twisted_mqtt.management.ctl.words}: how commands may be spelled.
"""

from __future__ import annotations

import re

import click
import pytest

from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.management.ctl.words import FORM, Words, put
from twisted_mqtt.management.describe import Description, describe


def requestOf(*args: str) -> tuple[dict[str, object], str | None]:
    """
    What a command asks for, and the form that is wanted after it.
    """
    asked: list[dict[str, object]] = []
    forms: list[str | None] = []

    def run(ctx: click.Context, description: Description, request: dict[str, object]) -> None:
        asked.append(request)
        forms.append(ctx.meta.get(FORM))

    top = Words("ctl")
    for operation in declared():
        description = describe(operation)
        for words in (description.words, *description.aliases):
            if words:
                put(top, words.split(), description, run)
    top.main(list(args), standalone_mode=False)
    (request,) = asked
    return request, forms[0]


@pytest.mark.parametrize(
    ("args", "request_"),
    [
        # A column without a value, with one behind a blank, with one behind "=", and more than once.
        ("session show --topic --client_id", {"topic": ("",), "client_id": ("",)}),
        ("session show --client-id one --topic", {"topic": ("",), "client_id": ("one",)}),
        ("session show --topic --topic=a/b_c", {"topic": ("", "a/b_c")}),
        ("session show --is_online=true --limit 5", {"is_online": ("true",), "limit": 5}),
        # Arguments by name, in either spelling, and by option.
        ("session disconnect client-id=a_b -c", {"client_id": "a_b", "cleanup": True}),
        ("session disconnect --cleanup client_id=a=b", {"client_id": "a=b", "cleanup": True}),
        ("session disconnect --client_id -- --cleanup=off", {"client_id": "--", "cleanup": False}),
        ("session disconnect --client-id=a --cleanup false", {"client_id": "a", "cleanup": False}),
        ("listener start address=::1 port=1 -ws", {"address": "::1", "port": 1, "websocket": True}),
        # In order, where EMQ X has it so; an argument may look like anything after "--".
        ("clients kick client-id=a", {"clientid": "client-id=a"}),
        ("publish -- a -5", {"topic": "a", "payload": "-5"}),
        ("set a=1 b=2", {"changes": ("a=1", "b=2")}),
        ("broker", {}),
        ("metrics", {}),
    ],
)
def test_spellings(args: str, request_: dict[str, object]) -> None:
    """
    Commands of VerneMQ take what VerneMQ's do, those of EMQ X what EMQ X's do.
    """
    assert requestOf(*args.split())[0] == request_


@pytest.mark.parametrize(
    "args", ["clients list --format json", "listeners --format=json", "session show --format json"]
)
def test_form(args: str) -> None:
    """
    The form may stand after any command, also after one that is a group too.
    """
    assert requestOf(*args.split())[1] == "json"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("session disconnect", "--client-id"),
        ("session disconnect client-id=a b", "unexpected extra argument"),
        ("session show --limit", "requires an argument"),
        ("session disconnect client-id=a --cleanup=perhaps", "'perhaps' is not a valid boolean"),
        ("listener start address=a port=x", "'x' is not a valid integer"),
        ("luahook load x", "one of the extension lua_hook, which is not loaded"),
        ("metrics shw", "did you mean 'show'?"),
    ],
)
def test_wrong(args: str, says: str) -> None:
    """
    What is wrong is named.
    """
    with pytest.raises(click.UsageError) as raised:
        requestOf(*args.split())
    assert says in raised.value.format_message()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Help says what each argument is, and which may be left out.
    """
    top = Words("ctl")
    for operation in declared():
        description = describe(operation)
        for words in filter(None, (description.words, *description.aliases)):
            put(top, words.split(), description, lambda *_: None)
    top.main(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out
    assert re.search(r"^  clients +kick, list, show$", listed, re.M)
    assert re.search(r"^  recon +(\w+, )+\.\.\.$", listed, re.M)
    assert re.search(r"^  alarms +List the alarms that are active", listed, re.M)
    top.main(["publish", "--help"], standalone_mode=False)
    help = capsys.readouterr().out
    assert "publish [OPTIONS] [<topic>] [<payload>]\n" in help
    assert "Arguments:\n  <topic> " in help
    top.main(["log", "handlers", "set-level", "--help"], standalone_mode=False)
    assert "set-level [OPTIONS] <id> <level>\n" in capsys.readouterr().out
    with pytest.raises(click.UsageError) as raised:
        top.main(["log", "handlers", "set-level"], standalone_mode=False)
    assert raised.value.format_message() == "Missing argument '<id>'."
