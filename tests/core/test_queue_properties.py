"""
L{twisted_mqtt.core.queue} against a list.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kits.core import limitsWith
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.queue import MessageQueue
from twisted_mqtt.core.subscription import SharedGroup

PRIORITIES = {"high": 2, "low": -1}
GROUPS = [SharedGroup("g", "t"), SharedGroup("h", "t")]

_topics = st.sampled_from(("high", "low", "other", "other"))
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), _topics, st.integers(0, 2), st.sampled_from((None, None, *GROUPS))),
        st.sampled_from((("pop",), ("pop",), ("popQoS0",), ("back",), ("dropQoS0",), ("shared",), ("group",))),
    ),
    max_size=60,
)


def priority(entry: Entry) -> int:
    """
    The priority of an entry.
    """
    return PRIORITIES.get(entry.message.topic, 0)


@given(_steps, st.sampled_from((0, 1, 3, 10)))
def test_queueIsAnOrderedList(steps: list[tuple[object, ...]], maxQueue: int) -> None:
    """
    Greatest priority first, oldest first within it; over the limit the oldest QoS 0 of the lowest priority that has
    one goes, or else the oldest of the lowest priority. Its counts are right after every step.
    """
    queue = MessageQueue(limitsWith(priorities=PRIORITIES, maxQueue=maxQueue))
    model: list[Entry] = []
    popped: list[Entry] = []

    def inOrder() -> list[Entry]:
        return sorted(model, key=lambda entry: -priority(entry))

    for step in steps:
        verb = step[0]
        if verb == "push":
            _, topic, qos, share = step
            assert isinstance(topic, str) and isinstance(qos, int)
            assert share is None or isinstance(share, SharedGroup)
            entry = Entry(Message(topic, b"", qos), qos, False, None, share)
            model.append(entry)
            expected = None
            if maxQueue and len(model) > maxQueue:
                candidates = [each for each in model if each.qos == 0] or model
                expected = min(candidates, key=priority)
                model.remove(expected)
            assert queue.push(entry) is expected
        elif verb == "pop":
            expected = next(iter(inOrder()), None)
            assert queue.pop() is expected
            if expected is not None:
                model.remove(expected)
                popped.append(expected)
        elif verb == "popQoS0":
            expected = next((each for each in inOrder() if each.qos == 0), None)
            assert queue.popQoS0() is expected
            if expected is not None:
                model.remove(expected)
        elif verb == "back" and popped:
            last = popped.pop()
            # It can only be put back in front of what it was taken from.
            if all(each.order > last.order for each in model if priority(each) == priority(last)):
                queue.putBack(last)
                model.insert(0, last)
            popped.clear()
        elif verb == "dropQoS0":
            assert set(queue.dropQoS0()) == {each for each in model if not each.qos}
            model = [each for each in model if each.qos]
        elif verb in ("shared", "group"):
            group = GROUPS[0] if verb == "group" else None
            taken = [each for each in inOrder() if each.share is not None and group in (None, each.share)]
            assert queue.takeShared(None if group is None else {group}) == taken
            model = [each for each in model if each not in taken]
        if verb not in ("back", "pop"):
            popped.clear()
        assert queue.entries() == inOrder()
        assert len(queue) == queue.length == queue.ready == len(model)
        assert queue.qos0 == sum(each.qos == 0 for each in model)
    queue.clear()
    assert queue.length == queue.qos0 == 0 and queue.pop() is None
