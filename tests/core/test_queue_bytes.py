"""
The bound on the bytes of a queue.
"""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.queue import MessageQueue


def entry(size: int, qos: int = 0) -> Entry:
    """
    A message of so many bytes, one of which is its topic.
    """
    return Entry(Message("t", b"x" * (size - 1), qos), qos, False, None, None)


def queueOf(limit: int) -> MessageQueue:
    """
    A queue with this bound and no other.
    """
    limits = Limits()
    limits.maxQueue = 0
    limits.maxQueueBytes = limit
    return MessageQueue(limits)


def test_unlimited() -> None:
    """
    Without a bound nothing has to go.
    """
    queue = queueOf(0)
    queue.push(entry(1000))
    assert queue.takeTooMuch() is None


def test_oldestOfQoS0First() -> None:
    """
    By bytes, messages are dropped in the same order as by number.
    """
    queue = queueOf(100)
    entries = [entry(40, 1), entry(40, 0), entry(40, 1), entry(40, 1)]
    gone = []
    for each in entries:
        assert queue.push(each) is None
        while (lost := queue.takeTooMuch()) is not None:
            gone.append(lost)
    assert gone == [entries[1], entries[0]]
    assert queue.size == 80


STEPS = st.tuples(st.sampled_from("pushpushpop0b"), st.integers(1, 60), st.integers(0, 1))


@given(st.integers(1, 200), st.lists(STEPS))
def test_sizeIsTheSum(limit: int, steps: list[tuple[str, int, int]]) -> None:
    """
    After any steps the size is that of what is there, and within the bound.
    """
    queue = queueOf(limit)
    popped: deque[Entry] = deque()
    for step, size, qos in steps:
        if step in "push":
            queue.push(entry(size, qos))
            while queue.takeTooMuch() is not None:
                pass
            assert queue.size <= limit
        elif step == "o":
            taken = queue.pop()
            if taken is not None:
                popped.append(taken)
        elif step == "0":
            queue.popQoS0()
        elif step == "b" and popped:
            queue.putBack(popped.pop())
        else:
            queue.dropQoS0()
        assert queue.size == sum(1 + len(each.message.payload) for each in queue.entries())
    queue.clear()
    assert queue.size == 0
