"""
Topics with the names of clients in them: mount points, proxy subscriptions, access rules, topics of gateways.

A client chooses its names. None may change the shape of a topic that an operator has written down.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.topics import LOCAL, QUEUE, SHARE

# Characters of a name that would split its level or give it another meaning.
_SHAPING: Final = "/+#\0"


class UnfitName(ValueError):
    """
    A name can't be a part of a topic; the text says why.
    """


def filled(template: str, names: dict[str, str | None]) -> str:
    """
    A topic template with the names of a client filled in, each once: a name that looks like a mark stays as it is.

    @param names: by the letter of their mark, such as C{"c"} for C{%c}; L{None} for a name that the client does not
        have. A mark that is not among them stays as it is.

    @raise UnfitName: the template wants a name that is not there, that has C{/}, C{+}, C{#} or U+0000, or that would
        make a topic of the broker's by a C{$} at its beginning.
    """
    if "%" not in template:
        return template
    parts = template.split("%")
    whole = parts[0]
    for part in parts[1:]:
        mark = part[:1]
        if mark not in names:
            whole += "%" + part
            continue
        name = names[mark]
        if name is None:
            raise UnfitName(f"there is no name for %{mark} in a topic")
        if any(character in _SHAPING for character in name):
            raise UnfitName("a name with / + # or U+0000 can't be part of a topic")
        if name.startswith("$") and _isBeginning(whole):
            raise UnfitName("a name with a $ can't begin a topic")
        whole += name + part[1:]
    return whole


def isPlainLevel(name: str, first: bool = False) -> bool:
    """
    Whether a client's name can be one level of a topic.

    @param first: whether it is to be the first one.
    """
    return name != "" and not (first and name[0] == "$") and not any(character in _SHAPING for character in name)


def _isBeginning(whole: str) -> bool:
    """
    Whether what comes next is the beginning of a topic: there is nothing before it but what makes a subscription a
    shared or a local one.
    """
    if whole == "" or whole == LOCAL or whole == QUEUE:
        return True
    return whole.startswith(SHARE) and whole.find("/", len(SHARE)) == len(whole) - 1
