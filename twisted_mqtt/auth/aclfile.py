"""
Access rules as text: the grammar of C{etc/acl.conf} (spec/auth.md 6.1), and the meaning of a rule.

    {allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
    {deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
    {allow, all}.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from twisted_mqtt.core.templates import isPlainLevel
from twisted_mqtt.core.topicrules import EVERYTHING, TopicRule, TopicRules
from twisted_mqtt.core.topics import isTopicFilter, matches

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IClient

PUBLISH: Final = "publish"
SUBSCRIBE: Final = "subscribe"
PUBSUB: Final = "pubsub"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN: Final = re.compile(
    r"""\s+ | %[^\n]* | (?P<punctuation>[{}\[\],.]) | <<"(?P<binary>(?:[^"\\]|\\.)*)">> | "(?P<text>(?:[^"\\]|\\.)*)"
    | '(?P<quoted>[^'\n]*)' | (?P<word>[a-z][A-Za-z0-9_@]*)""",
    re.VERBOSE,
)


class ACLProblem(ValueError):
    """
    The rules can't be used; the text says in which line and what would be right.
    """


class Who(Struct, frozen=True):
    """
    Whom a rule is about.

    @ivar kind: C{"all"}, C{"ipaddr"}, C{"client"}, C{"user"}, C{"and"} or C{"or"}.
    @ivar value: the name, the network, or those that are joined; L{None} for C{"all"}.
    """

    kind: str
    value: str | Network | tuple[Who, ...] | None = None

    def fits(self, client: IClient) -> bool:
        """
        Whether the rule is about a client.
        """
        value = self.value
        if value is None:
            return True
        if isinstance(value, str):
            if self.kind == "client":
                return bool(client.clientID == value)
            # Anybody can call himself so: it has to have been checked.
            return bool(client.username == value and not client.anonymous)
        if isinstance(value, tuple):
            parts = [part.fits(client) for part in value]
            return all(parts) if self.kind == "and" else any(parts)
        try:
            # A client on a UNIX socket is on this machine.
            address = ipaddress.ip_address(client.peerHost or "127.0.0.1")
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address) in value


class Topic(Struct, frozen=True):
    """
    The topics of a rule.

    @ivar exact: whether it is only that very filter, not what the filter matches.
    """

    topicFilter: str
    exact: bool = False

    def filled(self, client: IClient, allow: bool) -> str | None:
        """
        The filter, with a client's names in place of the placeholders.

        @param allow: whether the rule allows. Then a name has to be one plain level; and a user name has to have been
            checked, as anybody can call himself so. A rule that denies takes the names as they are.

        @return: L{None} where the rule is about no topic of this client.
        """
        if "%" not in self.topicFilter:
            return self.topicFilter
        levels: list[str] = []
        for level in self.topicFilter.split("/"):
            if level == "%c" or level == "%u":
                name = client.clientID if level == "%c" else client.username
                if not name or (allow and not isPlainLevel(name, not levels)):
                    return None
                if allow and level == "%u" and client.anonymous:
                    return None
                level = name
            levels.append(level)
        return "/".join(levels)

    def fits(self, client: IClient, topic: str, allow: bool) -> bool:
        """
        Whether the rule is about a topic or filter of a client.

        @param allow: whether the rule allows. Then it is about a filter only if it is about every topic that the filter
            matches: C{a/+} is not about C{a/#}.
        """
        topicFilter = self.filled(client, allow)
        if topicFilter is None:
            return False
        if self.exact or (allow and topic.endswith("#") and not topicFilter.endswith("#")):
            return topic == topicFilter
        return matches(topicFilter, topic)


class Rule(Struct, frozen=True):
    """
    One rule.

    @ivar access: C{"publish"}, C{"subscribe"} or C{"pubsub"}.
    @ivar topics: L{None} for every topic.
    """

    allow: bool
    who: Who
    access: str = PUBSUB
    topics: tuple[Topic, ...] | None = None

    def concerns(self, action: str) -> bool:
        """
        Whether the rule is about publishing, or about subscribing.
        """
        return self.access in (PUBSUB, action)


class Rules:
    """
    Rules in their order; the first that fits decides.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        # Most rules refuse nobody to publish, which is found out once instead of for each client.
        self._free = all(rule.allow or not rule.concerns(PUBLISH) for rule in rules) and any(
            rule.allow and rule.concerns(PUBLISH) and rule.topics is None and rule.who.kind == "all" for rule in rules
        )

    def verdict(self, client: IClient, access: str, topic: str) -> bool | None:
        """
        Whether a client may do something; L{None} where no rule says so.

        @param access: C{"publish"} or C{"subscribe"}.
        """
        for rule in self.rules:
            if not rule.concerns(access) or not rule.who.fits(client):
                continue
            if rule.topics is None or any(topic_.fits(client, topic, rule.allow) for topic_ in rule.topics):
                return rule.allow
        return None

    def publishRules(self, client: IClient) -> TopicRules:
        """
        Make rules that give the answer of L{verdict} for every topic that a client may publish to.
        """
        if self._free:
            return EVERYTHING
        found: list[TopicRule] = []
        for rule in self.rules:
            if not rule.concerns(PUBLISH) or not rule.who.fits(client):
                continue
            if rule.topics is None:
                found.append(TopicRule(rule.allow))
                break
            for topic in rule.topics:
                topicFilter = topic.filled(client, rule.allow)
                if topicFilter is not None:
                    found.append(TopicRule(rule.allow, topicFilter, topic.exact))
        return TopicRules(found)


def parseRules(text: str, name: str = "the access rules") -> Rules:
    """
    Read rules.

    @param name: what messages call the text.

    @raise ACLProblem: it is not well formed.
    """
    return Rules(tuple(_Parser(text, name).rules()))


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._tokens = list(self._scan(text))
        self._at = 0

    def rules(self) -> Iterator[Rule]:
        while self._tokens[self._at][0] != "end":
            line = self._line()
            term = self._term(0)
            self._expect(".")
            yield self._rule(term, line)

    def _scan(self, text: str) -> Iterator[tuple[str, str, int]]:
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ACLProblem(f"{self._name}:{line}: {text[at : at + 10]!r} is not part of a rule")
            kind = found.lastgroup
            if kind is not None:
                value = found[kind]
                if kind in ("text", "binary"):
                    kind, value = "text", re.sub(r"\\(.)", r"\1", value)
                yield "word" if kind == "quoted" else kind, value, line
            line += found[0].count("\n")
            at = found.end()
        yield "end", "the end", line

    def _line(self) -> int:
        return self._tokens[self._at][2]

    def _fail(self, line: int, message: str) -> ACLProblem:
        return ACLProblem(f"{self._name}:{line}: {message}")

    def _expect(self, mark: str) -> None:
        kind, value, line = self._tokens[self._at]
        if kind != "punctuation" or value != mark:
            raise self._fail(line, f"expected {mark!r} and not {value!r}; a rule ends with a full stop")
        self._at += 1

    def _term(self, depth: int) -> _Term:
        """
        A term: a word as a L{_Word}, a text as a L{str}, C{{...}} as a L{tuple}, C{[...]} as a L{list}.
        """
        kind, value, line = self._tokens[self._at]
        if depth > 8:
            raise self._fail(line, "a rule has no such depth")
        self._at += 1
        if kind == "word":
            return _Word(value)
        if kind == "text":
            return value
        if kind != "punctuation" or value not in "{[":
            raise self._fail(line, f"expected a rule or a part of one, and not {value!r}")
        closing = "}" if value == "{" else "]"
        parts: list[_Term] = []
        while self._tokens[self._at][:2] != ("punctuation", closing):
            if parts:
                self._expect(",")
            parts.append(self._term(depth + 1))
        self._at += 1
        return tuple(parts) if closing == "}" else parts

    def _rule(self, term: _Term, line: int) -> Rule:
        verdicts = {"allow": True, "deny": False}
        if not isinstance(term, tuple) or len(term) not in (2, 4) or not isinstance(term[0], _Word):
            raise self._fail(line, "a rule is {allow | deny, Who, Access, [Topic, ...]} or {allow | deny, all}")
        if term[0].word not in verdicts:
            raise self._fail(line, f"a rule begins with allow or deny, and not {term[0].word}")
        allow = verdicts[term[0].word]
        who = self._who(term[1], line)
        if len(term) == 2:
            return Rule(allow, who)
        access, topics = term[2], term[3]
        if not isinstance(access, _Word) or access.word not in (PUBLISH, SUBSCRIBE, PUBSUB):
            raise self._fail(line, "the access of a rule is publish, subscribe or pubsub")
        if not isinstance(topics, list) or not topics:
            raise self._fail(line, "the topics of a rule are a list in [], with at least one")
        return Rule(allow, who, access.word, tuple(self._topic(topic, line) for topic in topics))

    def _who(self, term: _Term, line: int) -> Who:
        if isinstance(term, _Word) and term.word == "all":
            return Who("all")
        if isinstance(term, str):
            return Who("client", term)
        if isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], _Word):
            kind, value = term[0].word, term[1]
            if kind in ("client", "clientid", "user"):
                if isinstance(value, _Word) and value.word == "all":
                    return Who("all")
                if isinstance(value, str):
                    return Who("user" if kind == "user" else "client", value)
            elif kind == "ipaddr" and isinstance(value, str):
                try:
                    return Who("ipaddr", ipaddress.ip_network(value, strict=False))
                except ValueError:
                    raise self._fail(line, f"{value!r} is not an address or network such as 192.168.0.0/24") from None
            elif kind in ("and", "or") and isinstance(value, list) and value:
                return Who(kind, tuple(self._who(part, line) for part in value))
        raise self._fail(
            line,
            'whom a rule is about is all, {user, "name"}, {client, "identifier"}, {ipaddr, "address"}, or these '
            "joined by {'and', [...]} or {'or', [...]}",
        )

    def _topic(self, term: _Term, line: int) -> Topic:
        exact, text = False, term
        if isinstance(term, tuple) and len(term) == 2 and term[0] == _Word("eq"):
            exact, text = True, term[1]
        if not isinstance(text, str) or not isTopicFilter(text):
            raise self._fail(line, 'a topic of a rule is "a topic filter" or {eq, "a topic filter"}')
        return Topic(text, exact)


class _Word(Struct, frozen=True):
    word: str


_Term: TypeAlias = "_Word | str | tuple[_Term, ...] | list[_Term]"


#: The rules that hold if no file is named: only this machine may subscribe to the statistics, or to everything.
DEFAULT: Final = """
{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
{allow, {ipaddr, "127.0.0.0/8"}, pubsub, ["$SYS/#", "#"]}.
{allow, {ipaddr, "::1"}, pubsub, ["$SYS/#", "#"]}.
{deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
{allow, all}.
"""
