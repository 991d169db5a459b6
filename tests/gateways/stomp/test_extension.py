"""
The extension: what listens, and that nothing is left when it ends.
"""

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from gateways.stomp.extension import StompExtension
from gateways.stomp.settings import StompSettings
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.node.service import BrokerService
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.testing.extension import ExtensionHarness


class Reading(Protocol):
    """
    Keeps what it receives, until the end.
    """

    def __init__(self) -> None:
        from twisted.internet.defer import Deferred

        self.received = b""
        self.connected_: Deferred[bytes] = Deferred()
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not self.connected_.called:
            self.connected_.callback(data)

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(self.received)


class ExtensionTests(TestCase):
    """
    Tests for L{gateways.stomp.extension}.
    """

    def test_isExtension(self) -> None:
        """
        It is what an extension has to be.
        """
        verifyObject(IExtension, StompExtension(StompSettings()))

    @inlineCallbacks
    def test_startsAgain(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        It listens, sends its clients away when it stops and leaves no hook; and all of it once more.
        """
        settings = settingsFrom(
            {"stomp": {"listener": {"bind": "127.0.0.1:0"}, "ws": {"bind": "127.0.0.1:0"}}, "allow_anonymous": True}
        )
        node = BrokerService(settings, reactor, MemoryStore())
        broker = node.broker
        broker.startService()
        self.addCleanup(broker.stopService)
        for _ in range(2):
            service = StompExtension(settings.extension("stomp", StompSettings))
            harness = ExtensionHarness(service, broker, node=node)
            yield harness.starting()
            self.assertEqual(sorted(service.ports), ["tcp", "ws"])
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", service.ports["tcp"].address.port)
            client = yield connectProtocol(endpoint, Reading())
            connected = yield client.connected_
            self.assertIn(b"CONNECTED\nversion:1.2\n", connected)
            self.assertEqual(len(broker.clients), 1)
            yield harness.stopping()
            received = yield client.ended
            self.assertIn(b"ERROR\nmessage:server_shutting_down\n", received)
            self.assertEqual(broker.clients, {})
            self.assertEqual(dict(node.ports), {})
            self.assertEqual(broker.hooks.clientAuthenticate.callbacks, ())

    @inlineCallbacks
    def test_allOrNone(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        If one of its ports can't be opened, none is, and it says why.
        """
        from twisted.internet.error import CannotListenError

        taken = yield reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(taken.stopListening)
        port = taken.getHost().port
        table = {"listener": {"bind": "127.0.0.1:0"}, "ws": {"bind": f"127.0.0.1:{port}"}}
        settings = settingsFrom({"stomp": table})
        node = BrokerService(settings, reactor, MemoryStore())
        broker = node.broker
        service = StompExtension(settings.extension("stomp", StompSettings))
        harness = ExtensionHarness(service, broker, node=node)
        yield self.assertFailure(harness.starting(), CannotListenError)
        self.assertEqual(service.ports, {})
        yield harness.stopping()
        self.assertEqual(broker.hooks.clientAuthenticate.callbacks, ())
