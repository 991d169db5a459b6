"""
A message for which a STOMP client has a receipt survives a broker that is killed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.durable import Durable
from tests.system.paho_peer import V5, Peer

pytest.importorskip("stomp")

from tests.system.stomp_peer import StompPeer

TABLES = {
    "zone": {"external": {"session_expiry_interval": "1h"}},
    "plugins": {"load": ["stomp"]},
    "stomp": {"listener": {"bind": "127.0.0.1:0"}},
}


class DurableStomp(Durable):
    """
    One that speaks STOMP.
    """

    def client(self, clientID: str, version: str = "1.2", present: bool = True) -> StompPeer:
        """
        A client whose session stays.

        @param present: whether it has to be there already.
        """
        peer = StompPeer(self.broker, version, headers={"client-id": clientID, "clean-session": "false"})
        assert peer.connected["session-present"] == str(present).lower()
        return peer


@pytest.fixture
def durable(tmp_path: Path, request: pytest.FixtureRequest) -> DurableStomp:
    """
    The broker.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no STOMP")
    durable = DurableStomp(tmp_path, TABLES, 2)
    request.addfinalizer(lambda: durable.broker.stop())
    return durable


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_killed(durable: DurableStomp, version: str) -> None:
    """
    After the kill, subscriptions are there, and unsubscribed ones are not; what was acknowledged does not come again,
    what was not does, C{redelivered} if it came before; a transaction is there as a whole; and an MQTT client's session
    has what was sent to it.
    """
    sender = StompPeer(durable.broker, version)
    with Peer(durable.broker, "mqtt", V5, clean=False, SessionExpiryInterval=3600) as mqtt:
        mqtt.subscribe("for/mqtt")
    away = durable.client("away", version, present=False)
    away.subscribe("for/away", "client", "a")
    away.subscribe("for/nobody", "client", "n")
    away.do("unsubscribe", id="n")
    away.do("disconnect")
    here = durable.client("here", version, present=False)
    here.subscribe("for/here", "client-individual", "h")
    for number in range(4):
        sender.do("send", "for/here", f"here {number}", persistent="true")
    first = [here.message() for _ in range(4)]
    here.settle("ack", first[1][0])
    here.settle("nack", first[2][0])
    assert here.message()[1] == "here 2"
    sender.do("begin", "t")
    for number in range(3):
        sender.connection.send("for/away", f"away {number}", transaction="t", persistent="true")
    sender.connection.send("for/mqtt", "mqtt", transaction="t", persistent="true")
    sender.do("send", "for/nobody", "nobody", persistent="true")
    sender.do("commit", "t")
    durable.kill()

    here = durable.client("here", version)
    here.subscribe("for/here", "client-individual", "another")
    again = [here.message() for _ in range(3)]
    assert [body for _, body in again] == ["here 0", "here 2", "here 3"]
    assert [headers.get("redelivered") for headers, _ in again] == ["true"] * 3
    assert {headers["subscription"] for headers, _ in again} == {"another"}
    here.settle("ack", again[0][0])
    away = durable.client("away", version)
    away.subscribe("for/nobody", "client", "n")
    away.subscribe("for/away", "client", "a")
    waited = [away.message() for _ in range(3)]
    assert [body for _, body in waited] == ["away 0", "away 1", "away 2"]
    away.settle("ack", waited[1][0])
    with Peer(durable.broker, "mqtt", V5, clean=False, SessionExpiryInterval=3600) as mqtt:
        assert mqtt.sessionPresent
        assert mqtt.receive().payload == b"mqtt"
    durable.kill()

    # Cumulative with "client", each by itself with "client-individual".
    for clientID, destination, left in (("here", "for/here", ["here 2", "here 3"]), ("away", "for/away", ["away 2"])):
        client = durable.client(clientID, version)
        client.subscribe(destination, "client-individual", "again")
        assert [client.message()[1] for _ in left] == left
        client.do("send", destination, "last", persistent="true")
        assert client.message()[1] == "last"
