"""
The promises of every store to a broker, whatever it keeps; each store's tests inherit them.
"""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.storeowner import StoreOwner
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish
from twisted_mqtt.interfaces import IProgress, IStore, IStoreOwner, ITable
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.testing.peer import Peer


class StoreTestsMixin:
    """
    Tests for an L{IStore}.

    The inheriting class sets C{broker}, C{factory}, C{clock} and C{store}, of a broker that runs.
    """

    broker: Broker
    factory: MQTTFactory
    clock: Any
    store: Any

    def client(self, clientID: str) -> Peer:
        """
        A client with a session that outlives it.
        """
        peer = Peer(self.factory, self.clock)
        peer.connect(clientID, cleanStart=False, sessionExpiry=3600)
        return peer

    def test_interfaces(self) -> None:
        """
        It has all that a store must have.
        """
        assert verifyObject(IStore, self.store)
        assert verifyObject(IProgress, self.store.progress)
        assert verifyObject(ITable, self.store.table("things"))
        assert verifyObject(IStoreOwner, StoreOwner(self.broker))

    def test_committed(self) -> None:
        """
        In the end everything is as safe as the store makes it.
        """
        subscriber = self.client("s")
        subscriber.subscribe("t")
        publisher = self.client("p")
        publisher.publish("t", b"x", 1, 1).expectAck(PUBACK, 1)
        self.clock.advance(1)
        assert self.store.progress.sequence == self.store.progress.committed
        assert not self.store.progress.broken
        assert self.store.room() is None

    def test_resumed(self) -> None:
        """
        Messages that come while a client is away wait for it, and those that it has not acknowledged come again.
        """
        self.client("s").subscribe("t")
        publisher = self.client("p")
        publisher.publish("t", b"1", 1, 1).expectAck(PUBACK, 1)
        subscriber = self.client("s")
        packet = subscriber.expect(Publish)
        assert packet.dup and packet.payload == b"1"
        subscriber.lose()
        publisher.publish("t", b"2", 1, 2).expectAck(PUBACK, 2)
        assert self.client("s").payloads() == [b"1", b"2"]

    def test_exactlyOnce(self) -> None:
        """
        A QoS 2 message takes all its steps, in both directions, across connections.
        """
        self.client("s").subscribe("t")
        publisher = self.client("p")
        publisher.publish("t", b"x", 2, 5).expectAck(PUBREC, 5)
        publisher = self.client("p")
        publisher.publish("t", b"x", 2, 5, dup=True).expectAck(PUBREC, 5)
        publisher.acknowledge(PUBREL, 5).expectAck(PUBCOMP, 5)
        subscriber = self.client("s")
        packetID = subscriber.expect(Publish).packetID
        subscriber.acknowledge(PUBREC, packetID).expectAck(PUBREL, packetID)
        subscriber = self.client("s")
        subscriber.expectAck(PUBREL, packetID)
        subscriber.acknowledge(PUBCOMP, packetID).expectNothing()

    def test_tolerant(self) -> None:
        """
        Removing what is not there is no fault, and nothing that is told waits.
        """
        message = Message("t", b"x", 1, True)
        store = self.store
        store.putRetained(message)
        store.removeRetained("t")
        store.removeRetained("t")
        store.saveWill("nobody", message, 0.0, 5.0)
        store.removeWill("nobody")
        store.removeWill("nobody")
        table = store.table("things")
        table.put("x", b"1")
        assert table.remove("x")
        assert not table.remove("x")
        self.clock.advance(1)
        assert store.progress.sequence == store.progress.committed
