"""
Access rules of other brokers in the form of ours (spec/auth.md 6): the files of Mosquitto and VerneMQ
(spec/vernemq.md 4), and the rules of NanoMQ.

Their rules grant, and what no rule grants is refused: so ours end with C{{deny, all}.}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from twisted_mqtt.auth.aclfile import ACLProblem, parseRules
from twisted_mqtt.convert.result import Result
from twisted_mqtt.convert.sources import Line, words

_ACCESS: Final = {"read": "subscribe", "write": "publish", "readwrite": "pubsub", "deny": "pubsub"}
#: Whom a rule of NanoMQ is about, and our word for it.
_WHO: Final = {"username": "user", "clientid": "client", "ipaddr": "ipaddr"}
_PLACEHOLDER: Final = re.compile(r"%[a-zA-Z]")


def fromLines(text: str, file: str, result: Result, general: Literal["all", "anonymous", "nobody"]) -> str:
    """
    Rules of Mosquitto or VerneMQ: C{user}, C{topic} and C{pattern}.

    @param general: for whom the lines before the first C{user} are.
    @return: ours.
    """
    denied: list[str] = []
    granted: list[str] = []
    user: str | None = None
    explained = False
    for line in result.lines(words(text, file)):
        if line.key == "user":
            user = line.value
            if not user:
                result.lost(line, "it names nobody, so its lines are for nobody")
            continue
        if line.key not in ("topic", "pattern"):
            result.lost(line, "an access rule is user, topic or pattern")
            continue
        first, _, rest = line.value.partition(" ")
        access, topic = (first, rest.strip()) if first in _ACCESS and rest.strip() else ("readwrite", line.value)
        if user == "" and line.key == "topic":
            result.lost(line, "its user has no name")
            continue
        if line.key == "topic" and _hasPlaceholder(topic):
            result.lost(line, "a topic with %c or %u as it stands; here they always stand for the client's names")
            continue
        if line.key == "pattern" and not _placeholdersFit(topic):
            result.lost(line, "only %c and %u have a meaning here, each as a whole level")
            continue
        who = "all"
        if line.key == "topic" and user is not None:
            who = f"{{user, {_quoted(user)}}}"
        elif line.key == "topic" and general == "nobody":
            result.lost(line, "it is for clients without a user name, and none is let in")
            continue
        elif line.key == "topic" and general == "anonymous":
            result.changed(line, "it is for clients with a user name too; they could leave it out")
        verdict = "deny" if access == "deny" else "allow"
        rule = f"{{{verdict}, {who}, {_ACCESS[access]}, [{_quoted(topic)}]}}."
        try:
            parseRules(rule)
        except ACLProblem:
            result.lost(line, "its topic is no topic filter")
            continue
        if access in ("read", "readwrite") and not explained:
            explained = True
            result.changed(
                line, "a subscription is granted only if rules cover its whole filter; there, each message is looked at"
            )
        (denied if access == "deny" else granted).append(f"{rule}  %% {line.file}:{line.number}")
    return "\n".join([*denied, *granted, "{deny, all}."]) + "\n"


def fromNanoMQ(rules: Sequence[tuple[Line, object]], result: Result) -> str:
    """
    Rules of NanoMQ, each a table: C{permit}, C{username}, C{clientid}, C{ipaddr}, C{action}, C{topics}. The first that
    fits decides, as here, and where none does C{no_match}, so nothing is added at the end.

    @return: ours.
    """
    made: list[str] = []
    for line, rule in rules:
        text = _ruleOf(rule) if isinstance(rule, Mapping) else None
        try:
            if text is None:
                raise ACLProblem
            parseRules(text)
        except ACLProblem:
            # Those after it would decide in its place.
            keys = "permit, username, clientid, ipaddr, action and topics"
            result.lost(line, f"it is no rule of {keys}; from here on all is denied, as it may deny something")
            made.append("{deny, all}.")
            break
        made.append(f"{text}  %% {line.file}:{line.number}")
    return "\n".join(made) + "\n"


def _ruleOf(rule: Mapping[str, object]) -> str | None:
    verdict = rule.get("permit")
    whose = rule.keys() - {"permit", "action", "topics"}
    if verdict not in ("allow", "deny") or whose - {*_WHO, "and", "or"} or len(whose) > 1:
        return None
    whom = "all"
    for key in whose:
        value = rule[key]
        if key in _WHO:
            found = _whoOf(rule)
        elif isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
            parts = [_whoOf(part) if len(part) == 1 else None for part in value]
            found = f"{{'{key}', [{', '.join(part for part in parts if part)}]}}" if all(parts) else None
        else:
            found = None
        if found is None:
            return None
        whom = found
    action = rule.get("action", "pubsub")
    topics = rule.get("topics", ["#"])
    if action not in ("publish", "subscribe", "pubsub") or not isinstance(topics, list) or not topics:
        return None
    if not all(isinstance(topic, str) and not _hasPlaceholder(topic) for topic in topics):
        return None
    if "topics" not in rule and action == "pubsub" and whom == "all":
        return f"{{{verdict}, all}}."
    if "topics" not in rule:
        topics = ["#", "$SYS/#"]
    topics = [topic.replace("${clientid}", "%c").replace("${username}", "%u") for topic in topics]
    if not all(map(_placeholdersFit, topics)):
        return None
    return f"{{{verdict}, {whom}, {action}, [{', '.join(map(_quoted, topics))}]}}."


def _whoOf(rule: Mapping[str, object]) -> str | None:
    for key, word in _WHO.items():
        value = rule.get(key)
        if value is not None:
            if not isinstance(value, str):
                return None
            return "all" if value == "#" else f"{{{word}, {_quoted(value)}}}"
    return None


def _hasPlaceholder(topic: str) -> bool:
    return any(level in ("%c", "%u") for level in topic.split("/"))


def _placeholdersFit(topic: str) -> bool:
    return all(level in ("%c", "%u") or not _PLACEHOLDER.search(level) for level in topic.split("/"))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
