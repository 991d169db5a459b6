"""
Tests of the extension, with a broker in memory: no port is opened, and no time passes but what a test says.
"""

from greeter.extension import Greeter, GreeterSettings

from twisted_mqtt.testing.memory import MemoryBroker


def test_greets() -> None:
    """
    A client that connects is greeted where the settings say.
    """
    memory = MemoryBroker()
    memory.run(Greeter(GreeterSettings(topic="welcome", loud=True)))
    reader = memory.client("reader")
    reader.subscribe("welcome")
    memory.client("anna")
    assert reader.payloads() == [b"HELLO ANNA"]


def test_counts() -> None:
    """
    Only messages of clients are counted.
    """
    memory = MemoryBroker()
    greeter = Greeter(GreeterSettings())
    memory.run(greeter)
    anna = memory.client("anna")
    anna.publish("hello/world", b"hi")
    anna.publish("other", b"hi")
    memory.wait(1)
    assert greeter.heard == 1


def test_leavesNothing() -> None:
    """
    When it ends, nothing of it is left.
    """
    memory = MemoryBroker()
    harness = memory.run(Greeter(GreeterSettings()))
    swept = harness.stop()
    assert swept == ["1 x loop (Greeter._report)", "1 x watch (hello/#)", "1 x callback (client.connected)"]
    memory.client("anna")
    assert harness.extension.greeted == 0
