"""
Tests for L{twisted_mqtt.net.tls.context} and L{twisted_mqtt.net.peeridentity}: each TLS key of a listener, in
handshakes.
"""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.certificates import Authority, subject, writeDHParameters
from tests.kits.tls import Link, TLSTestCase
from twisted_mqtt.net.peeridentity import PeerIdentity
from twisted_mqtt.net.tls.layer import TLSFactory
from twisted_mqtt.net.tls.options import TLSProblem


class ClientCertificateTests(TLSTestCase):
    """
    C{verify}, C{fail_if_no_peer_cert}, C{cacertfile}, C{crlfile}.
    """

    def identity(self) -> PeerIdentity:
        """
        The protocol's information about the last client.
        """
        identity = self.uppers.made[-1].transport.peerIdentity
        assert identity is not None
        return identity

    def refused(self, factory: TLSFactory, link: Link) -> str:
        """
        See that a client was kept out and told so.

        @return: what it was told.
        """
        self.assertEqual(self.uppers.made, [])
        self.assertTrue(link.transport.disconnecting)
        self.assertEqual(factory.failures, 1)
        assert link.error is not None
        return str(link.error.reason)

    def test_good(self) -> None:
        """
        A certificate of the authority lets its client in, and says who it is.
        """
        device = self.authority.issue("device1", subject("device1", "Example, Inc."))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(device)
            context.maximum_version = version
            link = self.connect(self.verifying(), context)
            self.assertIsNone(link.error)
            identity = self.identity()
            self.assertEqual((identity.cn, identity.dn), ("device1", "C=CH,O=Example\\, Inc.,CN=device1"))
            self.assertEqual(identity.certificate, device.encoded)

    def test_none(self) -> None:
        """
        A client without a certificate stays out, or comes in without an identity, as C{fail_if_no_peer_cert} says.
        """
        self.connect(self.verifying(fail_if_no_peer_cert=False))
        self.assertIsNone(self.uppers.made.pop().transport.peerIdentity)
        factory = self.verifying()
        self.assertIn("CERTIFICATE_REQUIRED", self.refused(factory, self.connect(factory)))

    def test_notAsked(self) -> None:
        """
        Without C{verify_peer} nobody is asked, so that a certificate means nothing.
        """
        stranger = Authority(self.folder, "other").issue("stranger")
        self.connect(self.factory(), self.context(stranger))
        self.assertIsNone(self.uppers.made[0].transport.peerIdentity)

    def test_wrongAuthority(self) -> None:
        """
        A certificate of somebody else stays out, even where none would come in.
        """
        stranger = Authority(self.folder, "other").issue("stranger")
        factory = self.verifying(fail_if_no_peer_cert=False)
        self.assertIn("UNKNOWN_CA", self.refused(factory, self.connect(factory, self.context(stranger))))

    def test_expired(self) -> None:
        """
        A certificate whose time has passed stays out.
        """
        old = self.authority.issue("old", end=timedelta(hours=-1))
        factory = self.verifying()
        self.assertIn("CERTIFICATE_EXPIRED", self.refused(factory, self.connect(factory, self.context(old))))

    def test_notYet(self) -> None:
        """
        So does one whose time has not come.
        """
        early = self.authority.issue("early", begin=timedelta(hours=1))
        factory = self.verifying()
        self.assertIn("BAD_CERTIFICATE", self.refused(factory, self.connect(factory, self.context(early))))

    def test_revoked(self) -> None:
        """
        A revoked certificate stays out, others of the same authority come in.
        """
        bad, good = self.authority.issue("bad"), self.authority.issue("good")
        factory = self.verifying(crlfile=self.authority.revoke(bad))
        self.assertIn("CERTIFICATE_REVOKED", self.refused(factory, self.connect(factory, self.context(bad))))
        self.connect(factory, self.context(good))
        self.assertEqual(self.identity().cn, "good")

    def test_staleList(self) -> None:
        """
        With a revocation list that should have been replaced nobody comes in: who has been revoked since is not known.
        """
        good = self.authority.issue("good")
        factory = self.verifying(crlfile=self.authority.revoke(end=timedelta(hours=-1)))
        self.assertIn("CERTIFICATE_EXPIRED", self.refused(factory, self.connect(factory, self.context(good))))

    def test_null(self) -> None:
        """
        A name with a null character is not a name: its client stays out.
        """
        odd = self.authority.issue("odd", subject("admin\0.example.org"))
        factory = self.verifying()
        link = self.connect(factory, self.context(odd))
        self.assertEqual((self.uppers.made, link.transport.disconnecting), ([], True))


class UsernameTests(SynchronousTestCase):
    """
    Tests for L{PeerIdentity}.
    """

    def test_parts(self) -> None:
        """
        Each part of a certificate is a user name.
        """
        identity = PeerIdentity("device1", "C=CH,CN=device1", b"\x30\x00")
        self.assertEqual(
            [identity.username(part) for part in ("cn", "dn", "crt", None)],
            ["device1", "C=CH,CN=device1", "MAA=", None],
        )

    def test_absent(self) -> None:
        """
        A part that is absent or empty is no user name. A proxy knows the common name alone.
        """
        self.assertEqual([PeerIdentity().username(part) for part in ("cn", "dn", "crt")], [None, None, None])
        self.assertIsNone(PeerIdentity("").username("cn"))
        self.assertEqual(PeerIdentity("device1").username("dn"), "device1")


class NegotiationTests(TLSTestCase):
    """
    C{tls_versions}, C{ciphers}, C{honor_cipher_order}, C{dhfile}, ALPN.
    """

    def suite(self, link: Link) -> str:
        """
        The result of the negotiation between a client and the server.
        """
        cipher = link.client.cipher()
        assert cipher is not None
        return cipher[0]

    def test_versions(self) -> None:
        """
        The versions of the list are spoken and no others.
        """
        both = ("tlsv1.2", "tlsv1.3")
        for versions, best in ((both[:1], "TLSv1.2"), (both[1:], "TLSv1.3"), (both, "TLSv1.3")):
            self.assertEqual(self.connect(self.factory(tls_versions=versions)).client.version(), best)
        old = self.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertIsNotNone(self.connect(self.factory(tls_versions=("tlsv1.3",)), old).error)

    def test_gap(self) -> None:
        """
        A version between two others may be left out.
        """
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        link = self.connect(self.factory(tls_versions=("tlsv1.1", "tlsv1.3")), context)
        self.assertIsNotNone(link.error)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_old(self) -> None:
        """
        TLS 1.0 is spoken with those who know nothing better, if the list has it.
        """
        context = self.context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        link = self.connect(self.factory(tls_versions=("tlsv1", "tlsv1.2")), context)
        self.assertEqual(link.client.version(), "TLSv1")
        self.assertIsNotNone(self.connect(self.factory(), context).error)

    def test_ciphers(self) -> None:
        """
        Only what is listed is spoken; suites of TLS 1.3 have their place in the same list.
        """
        chosen = "ECDHE-ECDSA-AES128-GCM-SHA256"
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual(self.suite(self.connect(self.factory(ciphers=(chosen,)), context)), chosen)
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
        self.assertIsNotNone(self.connect(self.factory(ciphers=(chosen,)), context).error)
        recent = self.factory(ciphers=(chosen, "TLS_AES_128_GCM_SHA256"))
        self.assertEqual(self.suite(self.connect(recent)), "TLS_AES_128_GCM_SHA256")

    def test_order(self) -> None:
        """
        The server's order decides, or the client's.
        """
        first, second = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{second}:{first}")
        for honored, expected in ((True, first), (False, second)):
            link = self.connect(self.factory(ciphers=(first, second), honor_cipher_order=honored), context)
            self.assertEqual(self.suite(link), expected)

    def test_dhfile(self) -> None:
        """
        Clients without elliptic curves can speak with the parameters of C{dhfile}.
        """
        self.own = self.authority.issue("long", long=True)
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("DHE-RSA-AES128-GCM-SHA256")
        self.assertIsNotNone(self.connect(self.factory(), context).error)
        self.assertIsNone(self.connect(self.factory(dhfile=writeDHParameters(self.folder)), context).error)

    def test_protocol(self) -> None:
        """
        ALPN agrees on C{mqtt}. Who offers something else, or nothing, comes in all the same.
        """
        for offered, expected in ((["mqtt"], "mqtt"), (["http/1.1", "mqtt"], "mqtt"), (["x-amzn-mqtt-ca"], None)):
            context = self.context()
            context.set_alpn_protocols(offered)
            self.assertEqual(self.connect(self.factory(), context).client.selected_alpn_protocol(), expected)
        self.assertEqual(len(self.uppers.made), 3)


class SessionTests(TLSTestCase):
    """
    C{reuse_sessions}.
    """

    def again(self, factory: TLSFactory, context: ssl.SSLContext) -> bool | None:
        """
        Connect twice. Tickets come with the first bytes from the server.

        @return: whether the second resumed the session of the first.
        """
        first = self.connect(factory, context)
        self.uppers.made[-1].transport.write(b"hello")
        first.pump()
        return self.connect(factory, context, session=first.client.session).client.session_reused

    def test_resumed(self) -> None:
        """
        A client that comes back resumes its session, by a ticket or by an identifier, and is still who it was.
        """
        device = self.authority.issue("device1")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(device)
            context.maximum_version = version
            self.assertTrue(self.again(self.verifying(), context))
            identity = self.uppers.made[-1].transport.peerIdentity
            assert identity is not None
            self.assertEqual(identity.cn, "device1")
        context = self.context(device)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET
        self.assertTrue(self.again(self.verifying(), context))

    def test_off(self) -> None:
        """
        Where it is switched off, each connection shakes hands in full.
        """
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.maximum_version = version
            self.assertFalse(self.again(self.factory(reuse_sessions=False), context))

    def test_reloaded(self) -> None:
        """
        Files that were read again end all sessions: a client that has been revoked does not come back by an old one.
        """
        device = self.authority.issue("device1")
        factory = self.verifying(crlfile=self.authority.revoke())
        context = self.context(device)
        first = self.connect(factory, context)
        self.uppers.made[-1].transport.write(b"hello")
        first.pump()
        self.assertTrue(self.connect(factory, context, session=first.client.session).client.session_reused)
        self.authority.revoke(device)
        self.assertTrue(factory.reload())
        again = self.connect(factory, context, session=first.client.session)
        self.assertEqual((again.client.session_reused, factory.failures), (False, 1))


class FileTests(TLSTestCase):
    """
    An error in a file is reported by the name of its key.
    """

    def problem(self, **keys: object) -> str:
        """
        Get the message about a listener that can't work, without the name of the folder.
        """
        with self.assertRaises(TLSProblem) as raised:
            self.factory(**keys)
        return str(raised.exception).replace(str(self.folder) + "/", "")

    def write(self, content: bytes) -> str:
        """
        A file with that content.
        """
        path = self.folder / "file.pem"
        path.write_bytes(content)
        return str(path)

    def test_missing(self) -> None:
        """
        A file that is not there.
        """
        self.assertEqual(
            self.problem(certfile=str(self.folder / "no.pem")),
            'listener.ssl.test.certfile = "no.pem": can\'t be read (No such file or directory)',
        )

    def test_garbage(self) -> None:
        """
        A file that holds something else.
        """
        verifying = {"verify": "verify_peer", "cacertfile": self.authority.cafile}
        path = self.write(b"hello\n")
        for key, content in (
            ("certfile", "a certificate"),
            ("keyfile", "a private key"),
            ("cacertfile", "a certificate"),
            ("crlfile", "a revocation list"),
            ("dhfile", "Diffie-Hellman parameters"),
        ):
            self.assertEqual(
                self.problem(**(verifying | {key: path})),
                f'listener.ssl.test.{key} = "file.pem": does not hold {content} in PEM form',
            )

    def test_mismatch(self) -> None:
        """
        A key of another certificate.
        """
        other = self.authority.issue("other")
        self.assertEqual(
            self.problem(keyfile=other.keyfile),
            'listener.ssl.test.keyfile = "other-key.pem": does not belong to the certificate in server.pem',
        )

    def test_password(self) -> None:
        """
        A key that only its owner can read.
        """
        self.own.lockKey()
        self.assertEqual(
            self.problem(),
            'listener.ssl.test.keyfile = "server-key.pem": is protected by a password; give one that is not',
        )

    def test_ciphers(self) -> None:
        """
        Suites of which OpenSSL knows none.
        """
        problem = self.problem(ciphers=("NO-SUCH-SUITE",))
        self.assertIn('listener.ssl.test.ciphers = "NO-SUCH-SUITE": is not what OpenSSL can use', problem)


class ReloadTests(TLSTestCase):
    """
    Files that change while the broker runs.
    """

    def setUp(self) -> None:
        super().setUp()
        self.tls = self.factory()
        self.tls.doStart()
        self.addCleanup(self.tls.doStop)

    def shown(self) -> bytes | None:
        """
        The certificate that a new client is shown.
        """
        return self.connect(self.tls).client.getpeercert(binary_form=True)

    def replace(self, content: bytes | None = None) -> bytes:
        """
        Replace certificate and key, or the certificate by something else.

        @return: what the certificate is now.
        """
        before = Path(self.own.certfile).stat()
        if content is None:
            self.own = self.authority.issue("server")
        else:
            Path(self.own.certfile).write_bytes(content)
        after = Path(self.own.certfile).stat()
        assert (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size)
        return self.own.encoded

    def test_started(self) -> None:
        """
        Starting and stopping reach the factory above.
        """
        other = self.factory()
        other.doStart()
        other.doStop()
        self.assertEqual(self.uppers.events, ["start", "start", "stop"])

    def test_changed(self) -> None:
        """
        New connections are shown the new certificate, a few seconds after it was written; old ones go on.
        """
        old = self.own.encoded
        link = self.connect(self.tls)
        new = self.replace()
        self.assertEqual(self.shown(), old)
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.shown(), new)
        link.write(b"still here")
        link.pump()
        self.assertEqual(self.uppers.made[0].received, b"still here")

    def test_broken(self) -> None:
        """
        With a file that can't be used the old certificate stays, and its successor is taken.
        """
        old = self.own.encoded
        self.replace(b"half a fi")
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.shown(), old)
        new = self.replace()
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.shown(), new)

    def test_gone(self) -> None:
        """
        A file that is not there for a while changes nothing.
        """
        old = self.own.encoded
        Path(self.own.certfile).unlink()
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.shown(), old)

    def test_atOnce(self) -> None:
        """
        It can be asked for, and says whether it worked.
        """
        new = self.replace()
        self.assertTrue(self.tls.reload())
        self.assertEqual(self.shown(), new)
        self.replace(b"nothing")
        self.assertFalse(self.tls.reload())
        self.assertEqual(self.shown(), new)

    def test_stopped(self) -> None:
        """
        After the port has stopped nobody looks any more.
        """
        self.tls.doStop()
        self.clock.pump([1.0] * 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.tls.doStart()
