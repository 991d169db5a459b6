"""
C{docs/hooks.md} and the hook of the README: every block of code runs as printed, and does what is said there.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Ack, Auth, Connack, Publish
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[str]:
    """
    The blocks of code of a document that are no files of a package: these begin with their name.
    """
    text = (ROOT / name).read_text(encoding="utf-8")
    return [block for block in BLOCKS.findall(text) if not block.startswith("# ")]


class Account:
    """
    The accounts in the data base of the examples.
    """

    isAdmin = True

    def verify(self, password: bytes | None) -> bool:
        """
        Whether it is the right one.
        """
        return password == b"right"


class Exchange:
    """
    Two steps.
    """

    def __init__(self) -> None:
        self.seen: list[bytes | None] = []
        self.failed = False

    @property
    def finished(self) -> bool:
        """
        Whether there is no step left.
        """
        return len(self.seen) == 2

    def take(self, data: bytes | None) -> bytes:
        """
        Take a step.
        """
        self.seen.append(data)
        self.failed = data == b"wrong"
        return b"step %d" % len(self.seen)


class Scene:
    """
    A broker, and what the examples suppose.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.broker, self.factory = makeBroker(self.clock)

        def defer(action: Any, *args: Any) -> Deferred[Any]:
            return succeed(action(*args))

        self.names: dict[str, Any] = {
            "broker": SimpleNamespace(hooks=self.broker.hooks, threads=SimpleNamespace(defer=defer)),
            "node": SimpleNamespace(broker=self.broker),
            "database": SimpleNamespace(mayUse=lambda user, access, topic: topic == "mine"),
            "accounts": SimpleNamespace(find=lambda user: succeed(Account() if user == "joe" else None)),
            "rules": Rules(),
            "newExchange": Exchange,
        }

    def run(self, block: str) -> None:
        """
        Run a block as printed; names of earlier ones are known.
        """
        exec(compile(block, "docs/hooks.md", "exec"), self.names)

    def client(self, name: str = "client", **fields: Any) -> Peer:
        """
        A client that is in.
        """
        peer = Peer(self.factory, self.clock)
        peer.connect(name, **fields)
        return peer

    def watcher(self) -> Peer:
        """
        A client that hears everything.
        """
        peer = self.client("watcher")
        peer.subscribe("#")
        return peer


class Rules:
    """
    A server of rules.
    """

    def ask(self, user: str | None, access: str, topic: str) -> Deferred[Any]:
        """
        The answer to a question.
        """
        return succeed(SimpleNamespace(allowed=topic != "no", topic=f"moved/{topic}"))


def sceneWith(word: str) -> Scene:
    """
    A scene in which those blocks have run that define C{word}, and what they need.
    """
    scene = Scene()
    found = False
    for block in blocks("docs/hooks.md"):
        if f"def {word}(" in block:
            scene.run(block)
            found = True
        else:
            scene.run("\n".join(line for line in block.splitlines() if line.startswith("from ")))
    assert found, f"docs/hooks.md has no {word}()"
    return scene


def test_allRun() -> None:
    """
    They run one after the other, and each by itself after its imports.
    """
    scene = Scene()
    printed = blocks("docs/hooks.md")
    assert len(printed) >= 9
    for block in printed:
        scene.run(block)
    assert scene.broker.hooks.clientCheckAcl.callbacks


@pytest.mark.parametrize("block", blocks("docs/hooks.md"), ids=lambda block: re.findall(r"def (\w+)", block)[0])
def test_importsAreThere(block: str) -> None:
    """
    Each block imports what it takes from the broker, so that it can be copied alone.
    """
    Scene().run(block)
    imported = set(re.findall(r"\b\w+\b", " ".join(re.findall(r"^from \S+ import (.*)", block, re.MULTILINE))))
    used = set(re.findall(r"\b(?:[A-Z]\w+|thisPacket)\b", re.sub(r"\"[^\"]*\"", "", block)))
    assert used - imported - {"None", "True", "False", "SHA"} == set()


def test_shout() -> None:
    """
    The first example can be added and removed.
    """
    scene = sceneWith("shout")
    assert scene.names["shout"](Message("a", b"loud")).payload == b"LOUD"
    assert scene.broker.hooks.messagePublish.callbacks == ()


def test_atMostOneKilobyte() -> None:
    """
    A message that is too large is refused with its reason, whatever was said of the topic before.
    """
    client = sceneWith("atMostOneKilobyte").client()
    for size, reason in ((1, 0x10), (1025, 0x97), (1, 0x10)):
        client.publish("a", b"x" * size, 1)
        ack = client.expect(Ack)
        assert ack.reason == reason
        if reason == 0x97:
            assert ack.properties is not None
            assert ack.properties.reasonString == "messages have at most 1,024 bytes here"


def test_judge() -> None:
    """
    One question decides and changes.
    """
    scene = sceneWith("judge")
    watcher = scene.client("watcher")
    watcher.subscribe("#")
    client = scene.client()
    client.publish("no", b"1", 1)
    assert client.expect(Ack).reason == 0x87
    client.publish("a", b"2")
    assert watcher.expect(Publish).topic == "moved/a"


def test_ownTopics() -> None:
    """
    Rules that are told beforehand hold without a call.
    """
    scene = sceneWith("ownTopics")
    client = scene.client("d1")
    for topic, reason in (("devices/d1/x", 0x10), ("devices/d2/x", 0x87)):
        client.publish(topic, b"", 1)
        assert client.expect(Ack).reason == reason
    assert scene.broker.counters.client_check_acl == 0


def test_prefixAndSmall() -> None:
    """
    Arguments, a filter, and a message that is dropped.
    """
    scene = sceneWith("prefix")
    watcher = scene.watcher()
    scene.client().publish("a", b"")
    assert watcher.expect(Publish).topic == "berlin/a"
    scene = sceneWith("small")
    watcher = scene.watcher()
    client = scene.client()
    client.publish("a", b"x" * 1025)
    client.publish("a", b"x")
    assert watcher.payloads() == [b"x"]


def test_checkAcl() -> None:
    """
    A thread decides.
    """
    client = sceneWith("checkAcl").client()
    for topic, reason in (("mine", 0x10), ("yours", 0x87)):
        client.publish(topic, b"", 1)
        assert client.expect(Ack).reason == reason


def test_authenticate() -> None:
    """
    A coroutine decides.
    """
    scene = sceneWith("authenticate")
    for password, reason in ((b"right", 0), (b"wrong", 0x86)):
        peer = Peer(scene.factory, scene.clock)
        peer.send(connectPacket("c", username="joe", password=password))
        assert peer.expect(Connack).reason == reason


def test_scram() -> None:
    """
    An enhanced authentication in two steps, kept apart by client.
    """
    scene = sceneWith("scram")
    for name, last, reason in (("a", b"2", 0), ("b", b"wrong", 0x87)):
        peer = Peer(scene.factory, scene.clock)
        peer.send(connectPacket(name, authMethod="SCRAM-SHA-256", authData=b"1"))
        challenge = peer.expect(Auth)
        assert challenge.properties is not None
        assert challenge.properties.authData == b"step 1"
        peer.send(Auth(0x18, propertiesOf(authMethod="SCRAM-SHA-256", authData=last)))
        assert peer.expect(Connack).reason == reason


def test_readme() -> None:
    """
    The README's hook, added to the C{node} that C{docs/embedding.py} makes.
    """
    scene = Scene()
    (block,) = (block for block in blocks("README.md") if "hooks" in block)
    scene.run(block)
    watcher = scene.watcher()
    scene.client().publish("a", b"loud")
    assert watcher.payloads() == [b"LOUD"]
    assert "\nnode = makeBrokerService(" in (ROOT / "docs" / "embedding.py").read_text(encoding="utf-8")
