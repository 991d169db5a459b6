"""
Tests for pre-shared keys: the file, the sources, and handshakes with them.

The client's side is OpenSSL's own program: Python's C{ssl} knows no pre-shared keys before 3.13.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.recording import RecordingBroker
from tests.kits.tls import TLSTestCase
from tests.kits.transport import PATIENCE, Site
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.modules.psk_file import PSKFile, PSKFileError, PSKFileTable, PSKSettings, parseKeys
from twisted_mqtt.net.tls.opensslprivate import HAVE_PSK
from twisted_mqtt.net.tls.psk import PreSharedKeys
from twisted_mqtt.testing.extension import ExtensionHarness

KEY = "00112233445566778899aabbccddeeff"


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parseKeys}.
    """

    def test_lines(self) -> None:
        """
        Each line is an identity and a key; empty lines and comments are not.
        """
        text = b"# devices\nclient1:1234\n\n  client2:ABcd  \r\nurn:dev:7:00ff\n"
        expected = {b"client1": b"\x12\x34", b"client2": b"\xab\xcd", b"urn:dev:7": b"\x00\xff"}
        self.assertEqual(parseKeys(text, "psk.txt"), expected)

    def test_problems(self) -> None:
        """
        Every wrong line is named, and no key is shown.
        """
        lines = [b"nothing", b":1234", b"a:123", b"b:xyz1", b"c:", b"d:11", b"d:22"]
        lines += [b"e" * 129 + b":11", b"f:" + b"00" * 257]
        with self.assertRaises(PSKFileError) as raised:
            parseKeys(b"\n".join(lines), "psk.txt")
        pair, digits = "must be identity:key", "the key must be an even number of hexadecimal digits"
        size = "an identity has 128 bytes at most, a key 256"
        expected = [pair, pair, digits, digits, digits, None, "this identity has a key already", size, size]
        self.assertEqual(
            str(raised.exception).splitlines(),
            [f"psk.txt:{number}: {text}" for number, text in enumerate(expected, 1) if text],
        )


class SourcesTests(SynchronousTestCase):
    """
    Tests for L{PreSharedKeys}.
    """

    def test_order(self) -> None:
        """
        The first that knows an identity is believed.
        """
        keys = PreSharedKeys()
        self.assertFalse(keys)
        keys.add({b"a": b"1"}.get)
        second = {b"a": b"2", b"b": b"3"}.get
        keys.add(second)
        self.assertTrue(keys)
        self.assertEqual([keys.find(name) for name in (b"a", b"b", b"c")], [b"1", b"3", None])
        keys.remove(second)
        self.assertIsNone(keys.find(b"b"))

    def test_failure(self) -> None:
        """
        One that fails is logged, and the next is asked.
        """

        def fails(identity: bytes) -> bytes:
            raise RuntimeError("the database is away")

        keys = PreSharedKeys()
        keys.add(fails)
        keys.add({b"a": b"1"}.get)
        self.assertEqual(keys.find(b"a"), b"1")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_waiting(self) -> None:
        """
        Sources that may wait are asked after the others, one after the other, and only by who can wait.
        """
        keys = PreSharedKeys()
        first: Deferred[bytes | None] = Deferred()
        asked: list[bytes] = []
        keys.add(lambda identity: first, mayWait=True)
        keys.add(asked.append, mayWait=True)
        keys.add({b"b": b"3"}.get, mayWait=True)
        keys.add({b"a": b"1"}.get)
        self.assertTrue(keys.mayWait)
        self.assertEqual(keys.lookUp(b"a"), b"1")
        self.assertIsNone(keys.find(b"b"))
        answer = keys.lookUp(b"b")
        self.assertNoResult(answer)
        self.assertEqual(asked, [])
        first.callback(None)
        self.assertEqual(self.successResultOf(answer), b"3")
        self.assertEqual(asked, [b"b"])
        keys.remove(asked.append)

    def test_waitingFailure(self) -> None:
        """
        One that fails later is logged, and the next is asked; what is no key is none.
        """
        keys = PreSharedKeys()
        keys.add(lambda identity: fail(RuntimeError("the database is away")), mayWait=True)
        keys.add(lambda identity: succeed("text"), mayWait=True)
        self.assertIsNone(self.successResultOf(keys.lookUp(b"a")))
        keys.add({b"a": b"1"}.get, mayWait=True)
        self.assertEqual(self.successResultOf(keys.lookUp(b"a")), b"1")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_cancelled(self) -> None:
        """
        A caller that does not want to wait any longer asks nobody else.
        """
        keys = PreSharedKeys()
        asked: list[bytes] = []
        keys.add(lambda identity: Deferred(), mayWait=True)
        keys.add(asked.append, mayWait=True)
        answer = keys.lookUp(b"a")
        answer.cancel()
        self.assertIsNone(self.successResultOf(answer))
        self.assertEqual(asked, [])


class ExtensionTests(SynchronousTestCase):
    """
    Tests for L{PSKFile}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"device1:{KEY}\n")
        self.broker: Any = RecordingBroker()
        self.extension = PSKFile(PSKSettings(file=PSKFileTable(path=str(self.path))))

    def test_startAndStop(self) -> None:
        """
        From start to stop its keys are found.
        """
        verifyObject(IExtension, self.extension)
        harness = ExtensionHarness(self.extension, self.broker).start()
        self.assertEqual(self.broker.preSharedKeys.find(b"device1"), bytes.fromhex(KEY))
        harness.stop()
        self.assertFalse(self.broker.preSharedKeys)
        self.assertIsNone(self.extension.find(b"device1"))

    def test_missing(self) -> None:
        """
        Without the file it does not start, and says which.
        """
        self.path.unlink()
        with self.assertRaises(PSKFileError) as raised:
            ExtensionHarness(self.extension, self.broker).start()
        self.assertIn("psk.file.path", str(raised.exception))
        self.assertFalse(self.broker.preSharedKeys)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
class HandshakeTests(TLSTestCase):
    """
    Handshakes with OpenSSL's client.
    """

    def setUp(self) -> None:
        super().setUp()
        self.keys.add({b"device1": bytes.fromhex(KEY), b"device2": bytes.fromhex("ff" * 16)}.get)
        self.tls = self.factory(psk_ciphers=("PSK-AES128-CBC-SHA", "ECDHE-PSK-CHACHA20-POLY1305"))
        self.site = Site(factory=self.tls)
        self.addCleanup(self.site.close)

    def client(self, *options: str) -> tuple[int, str]:
        """
        Run OpenSSL's client until it has said a word.

        @return: its exit status and what it printed.
        """
        port: Any = self.site.port.getHost()
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port.port}", "-quiet", "-no_ign_eof", *options]
        program = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert program.stdin is not None
            program.stdin.write("hello\n")
            program.stdin.close()
            program.stdin = None
            self.site.until(lambda: program.poll() is not None)
            output, _ = program.communicate(timeout=PATIENCE)
        finally:
            program.kill()
            program.wait()
        self.site.settle()
        return program.returncode, output

    def test_available(self) -> None:
        """
        The pyOpenSSL that is installed can do it. If this fails, listeners with C{psk_ciphers} do not start.
        """
        self.assertTrue(HAVE_PSK)

    def test_good(self) -> None:
        """
        With the right key a client comes in, and the protocol above learns its identity.
        """
        for version in ("-tls1_2", "-tls1_3"):
            status, output = self.client(version, "-psk_identity", "device1", "-psk", KEY)
            self.assertEqual(status, 0, output)
            upper = self.uppers.made[-1]
            self.assertEqual(upper.received, b"hello\n")
            identity = upper.transport.peerIdentity
            assert identity is not None
            self.assertEqual((identity.psk, identity.cn), (b"device1", None))
        self.assertEqual(len(self.uppers.made), 2)

    def test_wrongKey(self) -> None:
        """
        With another's key it does not.
        """
        for version in ("-tls1_2", "-tls1_3"):
            self.client(version, "-psk_identity", "device1", "-psk", "ff" * 16)
        self.assertEqual((self.uppers.made, self.tls.failures), ([], 2))

    def test_wrongIdentity(self) -> None:
        """
        With an identity that nobody knows it does not.
        """
        for version in ("-tls1_2", "-tls1_3"):
            self.client(version, "-psk_identity", "device3", "-psk", KEY)
        self.assertEqual((self.uppers.made, self.tls.failures), ([], 2))

    def test_none(self) -> None:
        """
        Without a key it does not: there is no certificate that it could do with.
        """
        for version in ("-tls1_2", "-tls1_3"):
            self.client(version)
        self.assertEqual((self.uppers.made, self.tls.failures), ([], 2))

    def test_forgotten(self) -> None:
        """
        Identities are kept no longer than a handshake takes.
        """
        self.client("-tls1_2", "-psk_identity", "device1", "-psk", KEY)
        self.client("-tls1_2", "-psk_identity", "device1", "-psk", "ff" * 16)
        callback: Any = self.tls.context.psk
        self.assertEqual(callback._identities, {})
