"""
Tests for L{twisted_mqtt.net.port} and L{twisted_mqtt.net.sockets}.
"""

from __future__ import annotations

import os
import resource
import socket
import stat
from errno import ECONNABORTED
from unittest import skipUnless

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

import twisted_mqtt.net.endpoints  # noqa: F401 - declares the interfaces
from tests.kits.transport import Fault, Recorder, RecorderFactory, SiteTestCase, readAll
from twisted_mqtt.net.port import SECONDS_OF_REST, FastPort
from twisted_mqtt.net.portoptions import PortOptions
from twisted_mqtt.net.sockets import AdoptedSocket, SocketSource, TCPSocket, UNIXSocket


def hasIPv6() -> bool:
    """
    Whether this machine has an IPv6 loopback.
    """
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class PortTests(SiteTestCase):
    """
    Tests for L{FastPort}.
    """

    def listen(self, source: SocketSource, options: PortOptions | None = None) -> FastPort:
        """
        @return: one more port of the site.
        """
        port = FastPort(self.site.poller, source, self.site.factory, options)
        port.startListening()
        return port

    def test_interface(self) -> None:
        """
        It provides what it says.
        """
        self.assertTrue(verifyObject(IListeningPort, self.site.port))

    def test_lifecycle(self) -> None:
        """
        Starting and stopping are told to the factory, may be repeated, and leave connections alone.
        """
        client, recorder = self.connect()
        self.assertEqual(self.site.factory.numPorts, 1)
        self.assertRaises(RuntimeError, self.site.port.startListening)
        self.successResultOf(self.site.port.stopListening())
        self.successResultOf(self.site.port.stopListening())
        self.assertEqual(self.site.factory.numPorts, 0)
        recorder.transport.write(b"still here")
        self.assertEqual(client.recv(100), b"still here")
        self.site.port.startListening()
        self.connect()
        self.successResultOf(self.site.port.loseConnection())

    def test_taken(self) -> None:
        """
        An address in use, or not ours, is an error that names it.
        """
        taken = self.site.port.getHost().port  # type: ignore[attr-defined] # IPv4Address
        error = self.assertRaises(CannotListenError, self.listen, TCPSocket(taken, "127.0.0.1"))
        self.assertEqual((error.interface, error.port), ("127.0.0.1", taken))
        self.assertRaises(CannotListenError, self.listen, TCPSocket(0, "192.0.2.1"))
        self.assertRaises(CannotListenError, self.listen, TCPSocket(0, "not an address"))

    def test_refused(self) -> None:
        """
        A factory that makes no protocol refuses the connection.
        """
        self.site.factory.refuse = True
        client = self.site.dial()
        self.site.until(lambda: self.site.port.accepted)
        self.assertEqual(readAll(client, 1), b"")

    def test_factoryRaises(self) -> None:
        """
        A factory that raises refuses that connection, and is asked again for the next.
        """

        def fail(recorder: Recorder) -> None:
            self.site.factory.prepare = lambda recorder: None
            raise Fault("on purpose")

        self.site.factory.prepare = fail
        first, second = self.site.dial(), self.site.dial()
        self.site.until(lambda: self.site.port.accepted == 2)
        self.assertEqual(readAll(first, 1), b"")
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
        self.site.factory.built[1].transport.write(b"welcome")
        self.assertEqual(second.recv(100), b"welcome")

    def test_boundedPerTurn(self) -> None:
        """
        A flood of connections leaves a turn to those that are open, and is soon accepted several at a time.
        """
        port = self.listen(TCPSocket(0, "127.0.0.1"), PortOptions(acceptsPerTurn=3))
        self.site.port = port
        clients = [self.site.dial() for _ in range(20)]
        counts: list[int] = []
        self.site.poller.turnEnded.append(lambda: counts.append(port.accepted))
        self.site.until(lambda: port.accepted == len(clients))
        steps = [after - before for before, after in zip([0, *counts], counts, strict=False)]
        self.assertEqual((steps[0], max(steps)), (1, 3))

    def test_pause(self) -> None:
        """
        While paused, connections wait; the poller is not kept busy by them.
        """
        self.site.port.pauseAccepting()
        self.site.port.pauseAccepting()
        client = self.site.dial()
        client.sendall(b"x")
        self.site.turn()
        self.assertEqual(self.site.factory.built, [])
        self.assertEqual(self.site.poller._epoll.poll(0), [])
        self.site.port.resumeAccepting()
        self.site.until(lambda: self.site.factory.built)

    def test_pauseInFactory(self) -> None:
        """
        A factory that pauses the port gets no further connection; one that stops it neither.
        """
        for _ in range(7):
            self.site.dial()
        # 1, 2, then 4 in a turn: it would accept 8 in the next.
        self.site.until(lambda: len(self.site.factory.built) == 7)
        clients = [self.site.dial() for _ in range(3)]
        self.site.factory.prepare = lambda recorder: self.site.port.pauseAccepting()
        self.site.until(lambda: len(self.site.factory.built) > 7)
        self.site.turn()
        self.assertEqual(len(self.site.factory.built), 8)
        self.site.factory.prepare = lambda recorder: self.site.port.stopListening()
        self.site.port.resumeAccepting()
        self.site.until(lambda: len(self.site.factory.built) > 8)
        self.site.turn()
        self.assertEqual(len(self.site.factory.built), 9)
        self.assertRaises(ConnectionResetError, clients[2].recv, 1)

    def test_outOfDescriptors(self) -> None:
        """
        Without a free descriptor connections wait, that is logged once, and the port tries again.
        """
        for _ in range(3):
            self.site.dial()
        free = os.dup(0)
        os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with capturedLogs() as logged:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                for _ in range(3):
                    self.site.turn()
                    # Resting: the waiting connections do not keep the poller busy.
                    self.assertEqual(self.site.poller._epoll.poll(0), [])
                    self.site.reactor.advance(SECONDS_OF_REST)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(self.site.factory.built, [])
        self.assertEqual([event["error"] for event in logged], ["EMFILE"])
        self.site.until(lambda: len(self.site.factory.built) == 3)

    def test_stoppedWhileResting(self) -> None:
        """
        A port that is stopped while it rests leaves no timed call behind.
        """
        self.site.dial()
        free = os.dup(0)
        os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            self.site.turn()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(len(self.site.reactor.getDelayedCalls()), 1)
        self.site.port.stopListening()
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])

    def test_goneBeforeAccepted(self) -> None:
        """
        A connection that fails to be accepted does not keep others waiting.
        """

        class Failing(socket.socket):
            failures = 2

            def accept(self) -> tuple[socket.socket, object]:
                if self.failures:
                    self.failures -= 1
                    raise OSError(ECONNABORTED, "aborted")
                return super().accept()

        listening = Failing()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        self.site.port = self.listen(AdoptedSocket(listening))
        self.connect()
        self.assertEqual(self.site.port.accepted, 1)

    def test_adopted(self) -> None:
        """
        A socket that somebody else has opened serves as well as our own.
        """
        listening = socket.create_server(("127.0.0.1", 0))
        where = listening.getsockname()
        self.site.port = self.listen(AdoptedSocket(listening))
        self.assertEqual(self.site.port.getHost().port, where[1])  # type: ignore[attr-defined] # IPv4Address
        client, recorder = self.connect()
        client.sendall(b"x")
        self.site.until(lambda: recorder.received)

    @skipUnless(hasIPv6(), "no IPv6 here")
    def test_ipv6(self) -> None:
        """
        An interface with a colon is an IPv6 address, and so are its peers'.
        """
        port = self.listen(TCPSocket(0, "::1"))
        self.assertEqual(port.getHost().host, "::1")  # type: ignore[attr-defined] # IPv6Address
        client = socket.create_connection(("::1", port.getHost().port))  # type: ignore[attr-defined] # IPv6Address
        self.site.sockets.append(client)
        self.site.until(lambda: self.site.factory.built)
        peer = self.site.factory.built[0].transport.getPeer()
        self.assertEqual((type(peer).__name__, peer.host, peer.port), ("IPv6Address", *client.getsockname()[:2]))

    def test_factoryOfItsOwn(self) -> None:
        """
        Two ports below one poller each have their factory.
        """
        other = RecorderFactory()
        port = FastPort(self.site.poller, TCPSocket(0, "127.0.0.1"), other)
        port.startListening()
        self.connect()
        self.assertEqual((len(self.site.factory.built), len(other.built)), (1, 0))


class UNIXTests(SiteTestCase):
    """
    Tests for L{UNIXSocket}.
    """

    def setUp(self) -> None:
        super().setUp()
        folder = self.mktemp()
        os.makedirs(folder)
        # The path of a socket is short by law, that of a test is not.
        self.path = os.path.relpath(os.path.join(folder, "s"))

    def listen(self, mode: int = 0o600) -> FastPort:
        """
        @return: a port at the path.
        """
        port = FastPort(self.site.poller, UNIXSocket(self.path, mode), self.site.factory)
        port.startListening()
        return port

    def test_connection(self) -> None:
        """
        Bytes go both ways, the mode is set, the addresses are paths, and the path goes with the port.
        """
        port = self.listen()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(port.getHost().name, os.fsencode(self.path))  # type: ignore[attr-defined] # UNIXAddress
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        self.site.sockets.append(client)
        client.connect(self.path)
        client.sendall(b"x")
        self.site.until(lambda: self.site.factory.built and self.site.factory.built[0].received)
        recorder = self.site.factory.built[0]
        self.assertIsNone(recorder.transport.getPeer().name)
        recorder.transport.setTcpNoDelay(True)
        recorder.transport.write(b"bye")
        recorder.transport.loseConnection()
        self.site.turn()
        self.assertEqual(readAll(client, 10), b"bye")
        port.stopListening()
        self.assertFalse(os.path.exists(self.path))

    def test_leftBehind(self) -> None:
        """
        The socket of a dead process is replaced; the socket of a living one, or another file, is not.
        """
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        port = self.listen()
        self.assertRaises(CannotListenError, self.listen)
        port.stopListening()
        with open(self.path, "w") as file:
            file.write("precious")
        self.assertRaises(CannotListenError, self.listen)
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")
