"""
The extension: what listens, and that nothing is left when it ends.
"""

import gc
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from gateways.coap.codes import CREATED, POST
from gateways.coap.message import CoAPMessage, decode, encode
from gateways.coap.options import URI_PATH, URI_QUERY, stringOptions
from gateways.lwm2m.extension import LwM2MExtension
from gateways.lwm2m.settings import LwM2MSettings
from tests.kits.certificates import Authority
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.tls.options import TLSProblem
from twisted_mqtt.node.service import BrokerService
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.testing.extension import ExtensionHarness


class Asking(DatagramProtocol):
    """
    Sends a datagram to a port; C{answer} fires with the one that comes back.
    """

    noisy = False

    def __init__(self, port: int, datagram: bytes) -> None:
        self.answer: Deferred[bytes] = Deferred()
        self._port = port
        self._datagram = datagram

    def startProtocol(self) -> None:
        """
        Send it.
        """
        assert self.transport is not None
        self.transport.write(self._datagram, ("127.0.0.1", self._port))

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """
        It has come.
        """
        if not self.answer.called:
            self.answer.callback(datagram)


def registration(name: str) -> bytes:
    """
    A registration as a datagram.
    """
    options = stringOptions(URI_PATH, ["rd"]) + stringOptions(URI_QUERY, [f"ep={name}", "lt=60"])
    return encode(CoAPMessage(POST, options, b"</3/0>", b"t", 0, 1))


class ExtensionTests(TestCase):
    """
    Tests for L{gateways.lwm2m.extension}.
    """

    def make(self, **table: object) -> tuple[Broker, LwM2MExtension, ExtensionHarness]:
        """
        A broker and the gateway that its settings describe.
        """
        settings = settingsFrom({"lwm2m": {"port": "127.0.0.1:0", **table}})
        node = BrokerService(settings, reactor, MemoryStore())
        broker = node.broker
        broker.startService()
        self.addCleanup(broker.stopService)
        extension = LwM2MExtension(settings.extension("lwm2m", LwM2MSettings))
        return broker, extension, ExtensionHarness(extension, broker, node=node)

    def test_isExtension(self) -> None:
        """
        It is what an extension has to be.
        """
        verifyObject(IExtension, LwM2MExtension(LwM2MSettings()))

    @inlineCallbacks
    def test_startsAgain(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        It listens at all its addresses, and lets its devices go when it stops, which keep their sessions; and all of it
        once more, with the same devices.
        """
        binds = {"udp": {"1": "127.0.0.1:0", "2": "127.0.0.1:0"}}
        broker, service, harness = self.make(bind=binds)
        for _ in range(2):
            yield harness.starting()
            self.assertEqual(sorted(service.ports), ["udp", "udp.1", "udp.2"])
            for number, opened in enumerate(service.ports.values()):
                asking = Asking(opened.address.port, registration(f"ep{number}"))
                client = reactor.listenUDP(0, asking, "127.0.0.1")
                answer = yield asking.answer
                self.assertEqual(decode(answer).code, CREATED)
                yield client.stopListening()
            self.assertEqual(sorted(broker.clients), ["ep0", "ep1", "ep2"])
            yield harness.stopping()
            self.assertEqual(service.ports, {})
            self.assertEqual(broker.clients, {})
            self.assertEqual(sorted(broker.registry.sessions), ["ep0", "ep1", "ep2"])

    def test_allOrNone(self) -> None:
        """
        If one of its ports can't be opened, none is, and it says why.
        """
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        _, service, harness = self.make(bind={"udp": {"1": f"127.0.0.1:{taken.getsockname()[1]}"}})
        self.failureResultOf(harness.starting(), CannotListenError)
        self.assertEqual(service.ports, {})
        # Twisted leaves the socket that could not be bound to the garbage collector, which complains.
        gc.collect()
        self.flushWarnings()

    def test_keysThatCantWork(self) -> None:
        """
        With DTLS, keys that can't work keep the gateway from starting; the text names the key of the configuration.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        issued = Authority(folder)
        one, other = issued.issue("one"), issued.issue("other")
        _, service, harness = self.make(
            bind={"dtls": {"1": "127.0.0.1:0"}}, certfile=one.certfile, keyfile=other.keyfile
        )
        problem = self.failureResultOf(harness.starting(), TLSProblem).value
        self.assertIn("lwm2m.keyfile", str(problem))
        self.assertEqual(service.ports, {})

    def test_definitionsThatCantBeRead(self) -> None:
        """
        A file of definitions that is wrong is told in the log; the gateway does without it.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "wrong.xml").write_text("<LWM2M><Object>")
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        _, _, harness = self.make(xml_dir=str(folder))
        harness.start().stopping()
        told = [str(event["problem"]) for event in events if "problem" in event]
        self.assertEqual(len(told), 1)
        self.assertIn("wrong.xml", told[0])
