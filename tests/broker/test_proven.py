"""
Clients that have shown to have a key: they come in where others need credentials, and their names are theirs.
"""

from __future__ import annotations

from typing import Any

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.packets import Connack
from twisted_mqtt.hooks.verdicts import AuthResult
from twisted_mqtt.testing.peer import Peer, connectPacket


class ProvenTests(BrokerTestCase):
    """
    Proofs of identity that count as authentication.
    """

    def setUp(self) -> None:
        """
        A listener that refuses anonymous clients.
        """
        super().setUp()
        self.begin(allow_anonymous=False)

    def connect(self, username: str | None = None, **proofs: Any) -> tuple[int, Any]:
        """
        A client that has shown these; returns the reason code and what the broker knows of it.
        """
        peer = Peer(self.factory, self.clock)
        client = peer.protocol.client
        for name, value in proofs.items():
            setattr(client, name, value)
        peer.send(connectPacket("c", username=username))
        return peer.expect(Connack).reason, client

    def test_nothing(self) -> None:
        """
        Merely naming oneself is not enough.
        """
        self.assertEqual(self.connect("joe")[0], 0x87)

    def test_provenName(self) -> None:
        """
        A name that is that of a certificate or a key is checked by that.
        """
        reason, client = self.connect("somebody else", provenUsername="joe")
        self.assertEqual((reason, client.username, client.anonymous), (0, "joe", False))
        self.assertEqual(self.broker.traffic.total("client_auth_anonymous"), 0)

    def test_provenByOtherMeans(self) -> None:
        """
        A certificate or a key lets a client in; the name that it calls itself is no more than that.
        """
        for proof in ({"dn": "CN=device"}, {"pskIdentity": "device"}):
            reason, client = self.connect("dashboard", **proof)
            self.assertEqual((reason, client.anonymous), (0, True))

    def test_withCallbacks(self) -> None:
        """
        Callbacks see that it may come in, and have the last word.
        """
        calls = self.hook("client.authenticate", None)
        self.assertEqual(self.connect("joe", provenUsername="joe")[0], 0)
        self.assertEqual(self.connect("joe")[0], 0x87)
        self.assertEqual([(result.success, result.anonymous) for _, result in calls], [(True, False), (False, True)])
        self.begin(allow_anonymous=False)
        self.hook("client.authenticate", AuthResult("banned"))
        self.assertEqual(self.connect("joe", provenUsername="joe")[0], 0x8A)
