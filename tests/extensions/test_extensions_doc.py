"""
The promises of C{docs/extensions.md}: its examples work as printed, its quotations of the template are in the template,
and nothing that an extension is given is left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from zope.interface import Interface

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.interfaces import IClient, IExtensionContext, INode, ISession

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "extensions.md").read_text(encoding="utf-8")
TEMPLATE = DOCS / "template"

# The page without its blocks of code, in which a comment would be taken for a heading.
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)

BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHOWN = [block for block in BLOCKS if block.startswith("# ")]
EXAMPLES = [block for block in BLOCKS if not block.startswith("# ")]

# Fields of a message for its senders and the store; no callback needs them.
FORMS = {"further", "encoded", "encodedAliased", "encodedProperties", "shape", "stamp", "whole", "withoutPrefix"}
FORMS |= {
    "whole4",
    "whole5",
    "key4",
    "key5",
    "head4",
    "head5",
    "tail4",
    "tail5",
    "batch",
    "parcel",
    "place",
    "queues",
    "wanted",
}

# Fields of a subscription for the router.
MERGED = {"plain", "local"}


def publicOf(kind: type) -> set[str]:
    """
    The attributes and methods of a class that are not private.
    """
    names = {name for cls in kind.__mro__[:-1] for name in (*vars(cls), *getattr(cls, "__slots__", ()))}
    return {name for name in names if not name.startswith("_")}


def section(title: str) -> str:
    """
    The part of the page under a heading.
    """
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", PROSE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def named(text: str) -> set[str]:
    """
    The words that stand in code in a text.
    """
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


@pytest.mark.parametrize(
    "title, names",
    [
        ("Message", publicOf(Message) - FORMS),
        ("Client", set(IClient)),
        ("Session", set(ISession)),
        ("SubscriptionRequest", publicOf(SubscriptionRequest)),
        ("Subscription", publicOf(Subscription) - MERGED),
        ("Properties", publicOf(Properties)),
        ("Node", set(INode)),
    ],
)
def test_reference(title: str, names: set[str]) -> None:
    """
    Every public attribute and method of what callbacks are given is named.
    """
    assert names - named(section(title)) == set()


def test_nothingInvented() -> None:
    """
    No attribute is named that there is not.
    """
    for title, names in (("Client", set(IClient)), ("Session", set(ISession)), ("Properties", publicOf(Properties))):
        # The first cell of each row, or the whole of a list.
        cells = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE) or [section(title)]
        told = {word for cell in cells for word in named(cell)}
        assert told - names - {"None", "message", "subscription"} == set(), title


def test_context() -> None:
    """
    Everything that the context has is told of.
    """
    page = TEXT[TEXT.index("## The context") : TEXT.index("## Reference")]
    assert set(IExtensionContext) - set(re.findall(r"\w+", page)) == set()


def test_maker() -> None:
    """
    Every argument of a maker is told of.
    """
    arguments = set(ExtensionMaker.__init__.__annotations__) - {"return", "name", "target", "description"}
    assert arguments - named(section("A template")) == set()


@pytest.mark.parametrize("block", SHOWN, ids=[block.splitlines()[0] for block in SHOWN])
def test_template(block: str) -> None:
    """
    A quotation of the template stands in the template.
    """
    place, _, shown = block.partition("\n")
    assert shown in (TEMPLATE / place.removeprefix("# ")).read_text(encoding="utf-8")


def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The examples work as they stand there, one after the other.
    """
    monkeypatch.syspath_prepend(str(TEMPLATE))
    namespace: dict[str, Any] = {"__name__": "examples"}
    exec("from greeter.extension import Greeter, GreeterSettings", namespace)
    try:
        for block in EXAMPLES:
            exec(compile(block, "docs/extensions.md", "exec"), namespace)
            if "context" not in namespace and "memory" in namespace:
                namespace["context"] = namespace["memory"].harness(Greeter(), "greeter").context
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "greeter"]:
            del sys.modules[name]
    assert len(EXAMPLES) > 8


class Greeter:
    """
    An extension that the examples of the context belong to.
    """

    def start(self, context: object) -> None:
        """
        Begin.
        """


def test_anchors() -> None:
    """
    Each link within the page leads somewhere.
    """
    headings = re.findall(r"^#+ (.*)", PROSE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) - anchors == set()


def test_interfaces() -> None:
    """
    The interfaces that the page names are there.
    """
    import twisted_mqtt.interfaces as interfaces

    for name in set(re.findall(r"`(I[A-Z]\w+)`", TEXT)):
        assert issubclass(type(getattr(interfaces, name)), type(Interface)), name
