"""
Topics by number.
"""

from gateways.mqttsn.packets import NORMAL, PREDEFINED, SHORT
from gateways.mqttsn.registry import Predefined, TopicRegistry, shortID, shortName


def registry(limit: int = 100, **topics: str) -> TopicRegistry:
    """
    The registry of a client.
    """
    return TopicRegistry(Predefined({int(key[1:]): topic for key, topic in topics.items()}), limit)


def test_registersOnce() -> None:
    """
    A topic keeps its number however often it is registered.
    """
    topics = registry()
    first = topics.register("a/b")
    assert first is not None
    assert topics.register("c/d") != first
    assert topics.register("a/b") == first
    assert topics.topicOf(NORMAL, first) == "a/b"
    assert topics.reference("a/b") == (NORMAL, first)
    assert topics.topicOf(NORMAL, 77) is None


def test_predefinedWhereTheClientUsesIt() -> None:
    """
    A predefined topic is called by its number once the client has done so, and not before: it may not know it.
    """
    topics = registry(p5="pre/five")
    assert topics.reference("pre/five") is None
    assert topics.topicOf(PREDEFINED, 5) == "pre/five"
    assert topics.topicOf(PREDEFINED, 6) is None
    assert topics.reference("pre/five") == (PREDEFINED, 5)


def test_shortNames() -> None:
    """
    Two bytes are a topic without being registered.
    """
    topics = registry()
    assert topics.reference("ab") == (SHORT, 0x6162)
    assert topics.topicOf(SHORT, 0x6162) == "ab"
    assert shortID("a") is None and shortID("abc") is None
    assert shortID("é") == 0xC3A9 and shortName(0xC3A9) == "é"
    assert shortName(0xC3C3) is None


def test_givesUpTheOldestThatItHasGiven() -> None:
    """
    With no number left, the topic that the gateway has used least lately makes room; what the client wanted stays.
    """
    topics = registry(limit=3)
    own = topics.register("own")
    first, second = topics.give("first"), topics.give("second")
    assert topics.reference("first") == (NORMAL, first)  # used: now "second" is older
    assert topics.give("third") == second
    assert topics.reference("second") is None
    assert topics.reference("own") == (NORMAL, own)
    assert len(topics) == 3


def test_refusesWhenTheClientHasAll() -> None:
    """
    A topic that the client has registered itself is never taken away.
    """
    topics = registry(limit=2)
    topics.register("a")
    given = topics.give("b")
    assert topics.register("b") == given  # now the client's own
    assert topics.register("c") is None
    assert topics.give("c") is None


def test_forgets() -> None:
    """
    A topic that the client does not know after all has to be told again.
    """
    topics = registry(p5="pre/five")
    identifier = topics.give("a/b")
    assert identifier is not None
    topics.forgetID(identifier)
    assert topics.reference("a/b") is None
    assert topics.topicOf(NORMAL, identifier) is None
    topics.topicOf(PREDEFINED, 5)
    topics.forget("pre/five")
    assert topics.reference("pre/five") is None


def test_numbersGoRound() -> None:
    """
    0 and 65535 are never given (5.3.11), and a number that is in use is passed over.
    """
    topics = registry(limit=65534)
    kept = topics.register("kept")
    numbers = set()
    for count in range(70_000):
        number = topics.register(f"t{count}")
        assert number is not None
        numbers.add(number)
        topics.forget(f"t{count}")
    assert kept not in numbers
    assert {0, 0xFFFF}.isdisjoint(numbers)
    assert len(numbers) == 65533
