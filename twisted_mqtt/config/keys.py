"""
Reads a schema: the keys of a settings structure, the written form of each, and its meaning.

A field of a structure is a key if it is annotated with its meaning:

    max_inflight: Annotated[Whole, "how many messages ..."] = 32

Fields without a meaning are not keys; the reader fills them.
"""

from __future__ import annotations

import functools
import types
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from twisted_mqtt.config import forms, grammar
from twisted_mqtt.config.grammar import Grammar
from twisted_mqtt.config.values import AccessRule, Bind, FlappingPolicy, RateLimit, RewriteRule, TwoLimits


class Alias(Struct, frozen=True):
    """
    Another name that a key is known by, from an older configuration.
    """

    name: str


class NoEffect(Struct, frozen=True):
    """
    The key is accepted, so that a configuration can be carried over, but changes nothing here.

    @ivar why: completes the sentence "has no effect: ...".
    """

    why: str


class Effective(Struct, frozen=True):
    """
    From when on a change of the key holds while the broker runs. On the field of a table it holds for all keys of the
    table that do not say otherwise; a key of which nothing is said waits for a restart.

    @ivar since: C{"now"}; C{"next connection"}: for clients that connect from then on; C{"restart"}.
    """

    since: Since


class Short(Struct, frozen=True):
    """
    A single value where this table is expected stands for the table with only the key named here.

    It goes into the annotation of the field that holds the table: C{listener.tcp.external = "..."} is its C{bind}.
    """

    key: str


class Numbered(Struct, frozen=True):
    """
    A list whose items are numbered keys: C{access.1}, C{access.2}. A TOML array will do as well.
    """


class Entries(Struct, frozen=True):
    """
    A list whose items are the numbered tables beside the other keys: C{module.subscription.1.topic}.
    """


#: From when on a change of a key holds.
Since: TypeAlias = Literal["now", "next connection", "restart"]

NOW: Final = Effective("now")
NEXT_CONNECTION: Final = Effective("next connection")
RESTART: Final = Effective("restart")

Flag = Annotated[bool, grammar.FLAG]
Duration = Annotated[float, grammar.DURATION]
Period = Annotated[float, grammar.PERIOD]
Size = Annotated[int, grammar.SIZE]
Percent = Annotated[float, grammar.PERCENT]
Whole = Annotated[int, grammar.WHOLE]
Positive = Annotated[int, grammar.whole(1)]
QoS = Annotated[int, grammar.whole(0, 2)]
Port = Annotated[int, grammar.whole(0, 65535)]
Rate = Annotated[RateLimit, grammar.RATE]
Window = Annotated[RateLimit, grammar.WINDOW]
Address = Annotated[Bind, forms.BIND]
SocketPath = Annotated[Bind, forms.SOCKET_PATH]
File = Annotated[str, forms.FILE]
TopicFilter = Annotated[str, forms.TOPIC_FILTER]
TopicName = Annotated[str, forms.TOPIC_NAME]
Texts = Annotated[tuple[str, ...], grammar.listOf(grammar.TEXT)]
Access = Annotated[tuple[AccessRule, ...], forms.ACCESS_RULE, Numbered()]
Rewrites = Annotated[tuple[RewriteRule, ...], forms.REWRITE_RULE, Numbered()]
Flapping = Annotated[FlappingPolicy, forms.FLAPPING_POLICY]
Limits = Annotated[TwoLimits, forms.TWO_LIMITS]
Priorities = Annotated[dict[str, int], forms.PRIORITIES]

_PLAIN: dict[Any, Grammar[Any]] = {bool: grammar.FLAG, str: grammar.TEXT, int: grammar.WHOLE, float: grammar.NUMBER}


class Key:
    """
    One key of a table.

    @ivar name: as written in the file.
    @ivar attribute: as named in the structure; differs where the name is a Python keyword.
    @ivar meaning: what it does, in a sentence or two without a closing full stop.
    @ivar default: the value without the key; L{NODEFAULT} if the key must be there.
    @ivar grammar: how a value, or each numbered item, is written; C{None} for tables.
    @ivar table: the structure of the table, or of each named or numbered table; C{None} for values.
    @ivar named: whether it is a table of tables whose names the user chooses.
    @ivar numbered: whether the value is a numbered list.
    @ivar entries: whether its tables are the numbered keys beside it.
    @ivar optional: whether C{None} is a value, written C{"none"}.
    @ivar short: the key for which a single value instead of the table stands.
    @ivar aliases: other names that are accepted.
    @ivar noEffect: why it changes nothing; C{None} if it does.
    @ivar since: from when on a change of it holds; C{None} if that is said of its table.
    """

    def __init__(self, field: msgspec.structs.FieldInfo, hint: Any, meaning: str, marks: list[Any]) -> None:
        self.name = field.encode_name
        self.attribute = field.name
        self.meaning = meaning
        self.default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        self.optional = False
        hint, marks = self._unwrap(hint, marks)
        self.table = self._tableOf(hint)
        self.named = get_origin(hint) is dict and self.table is not None
        self.numbered = any(isinstance(mark, Numbered) for mark in marks)
        self.entries = any(isinstance(mark, Entries) for mark in marks)
        self.aliases = tuple(mark.name for mark in marks if isinstance(mark, Alias))
        self.noEffect = next((mark.why for mark in marks if isinstance(mark, NoEffect)), None)
        self.since = next((mark.since for mark in marks if isinstance(mark, Effective)), None)
        self.short = next((mark.key for mark in marks if isinstance(mark, Short)), None)
        self.grammar = None if self.table is not None else self._grammarOf(hint, marks)

    def _unwrap(self, hint: Any, marks: list[Any]) -> tuple[Any, list[Any]]:
        """
        Take off C{Annotated} and C{| None}, gathering the marks.
        """
        while True:
            if get_origin(hint) is Annotated:
                hint, marks = hint.__origin__, [*hint.__metadata__, *marks]
            elif get_origin(hint) in (Union, types.UnionType):
                self.optional = True
                [hint] = [choice for choice in get_args(hint) if choice is not type(None)]
            else:
                return hint, marks

    def _tableOf(self, hint: Any) -> type[Struct] | None:
        inner = hint
        if get_origin(hint) is dict:
            inner = get_args(hint)[1]
        elif get_origin(hint) is tuple:
            inner = get_args(hint)[0]
        # A value type such as Bind has no meanings, so no keys, and is no table.
        return inner if isinstance(inner, type) and issubclass(inner, Struct) and keysOf(inner) else None

    def _grammarOf(self, hint: Any, marks: list[Any]) -> Grammar[Any]:
        for mark in marks:
            if isinstance(mark, Grammar):
                return mark
        if get_origin(hint) is Literal:
            return grammar.choice(get_args(hint))
        return _PLAIN[hint]

    @property
    def required(self) -> bool:
        """
        Whether the key must be there.
        """
        return self.default is NODEFAULT

    @property
    def kind(self) -> str:
        """
        How its value is written, for the reference.
        """
        assert self.grammar is not None
        return f"numbered list of {self.grammar.name}" if self.numbered else self.grammar.name

    def write(self, value: Any) -> str:
        """
        A value of this key as text: what could stand between quotes in the file.
        """
        assert self.grammar is not None
        if value is None:
            return "none"
        if self.numbered:
            return ", ".join(map(self.grammar.write, value))
        return self.grammar.write(value)


@functools.cache
def keysOf(table: type[Struct]) -> dict[str, Key]:
    """
    The keys of a structure by their name in the file, in the order of its fields.
    """
    hints = get_type_hints(table, include_extras=True)
    keys = {}
    for field in msgspec.structs.fields(table):
        hint = hints[field.name]
        marks = list(hint.__metadata__) if get_origin(hint) is Annotated else []
        meaning = next((mark for mark in marks if isinstance(mark, str)), None)
        if meaning is not None:
            keys[field.encode_name] = Key(field, hint.__origin__, meaning, marks)
    return keys
