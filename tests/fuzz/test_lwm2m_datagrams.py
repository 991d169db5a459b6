"""
Long random runs of a whole LwM2M gateway whose devices' datagrams are damaged on their way, and whose commands are too.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateways.coap.codes import CHANGED, CONTENT, DELETE, FETCH, GET, POST
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, OBSERVE, uintOption
from gateways.lwm2m.formats.content import SENML_CBOR, SENML_JSON, TEXT, TLV
from tests.fuzz.test_fuzz import damaged, fuzzed
from tests.fuzz.test_lwm2m import COMMANDS, PAYLOADS
from tests.kits.lwm2m import LINKS, Kit, Peer, content

LIFETIME = 30


class Rough(Kit):
    """
    A gateway and its devices, with a network that damages what most of these send.

    @ivar witness: the one whose datagrams it leaves alone.
    """

    def __init__(self, chance: random.Random, damage: float, **keys: Any) -> None:
        self._chance = chance
        self._damage = damage
        self.witness: Peer | None = None
        Kit.__init__(self, **keys)

    def carry(self, datagram: bytes, peer: Peer, up: bool) -> None:
        """
        Take a datagram to or from a device, with accidents.
        """
        chance = self._chance
        if up and peer is not self.witness and chance.random() < self._damage:
            datagram = damaged(chance, datagram)
        Kit.carry(self, datagram, peer, up)


def serving(chance: random.Random) -> Any:
    """
    Answers of a device that does not always know what it is asked.
    """

    def serve(request: CoAPMessage) -> CoAPMessage | None:
        if chance.random() < 0.1:
            return None
        if request.code in (GET, FETCH):
            form, payload, _ = chance.choice(PAYLOADS)
            observing = [(OBSERVE, b"\x01")] if (OBSERVE, b"") in request.options else []
            return content(payload, form if chance.random() < 0.8 else TEXT, [*observing])
        return CoAPMessage(chance.choice((CHANGED, CONTENT, 0x41, 0x42, 0x5F, 0x80, 0x84, 0x8D, 0xA3, 0xE1)))

    return serve


def act(kit: Rough, chance: random.Random, peer: Peer) -> None:
    """
    Have a device, or somebody who commands it, do something.
    """
    kind = chance.randrange(8)
    if kind == 0:
        query = chance.choice(("b=U", "b=UQ", "b=U&Q", "lwm2m=1.1&b=U", "x=1&sms=2"))
        links = chance.choice((LINKS, b'</a>;rt="oma.lwm2m";ct="11542 112",</a/3/0>', b"</3>;ver=1.1,</3303/1>"))
        peer.ask(POST, f"/rd?ep={peer.name}&lt={LIFETIME}&{query}", links)
    elif kind == 1:
        peer.ask(POST, f"/rd/{peer.name}?lt={LIFETIME}", chance.choice((b"", LINKS)))
    elif kind == 2:
        form, payload, _ = chance.choice([each for each in PAYLOADS if each[0] in (SENML_JSON, SENML_CBOR, TLV)])
        peer.ask(POST, "/dp", payload, [uintOption(CONTENT_FORMAT, form)])
    elif kind == 3 and any((OBSERVE, b"") in request.options for request in peer.requests):
        peer.notify(chance.choice(PAYLOADS)[1], chance.choice((None, chance.randrange(1 << 24))))
    elif kind == 4 and peer.pending:
        peer.respond(content())
    elif kind == 5 and chance.random() < 0.2:
        peer.ask(chance.choice((DELETE, GET, 3, 6, 31)), f"/rd/{peer.name}")
    else:
        payload = chance.choice(COMMANDS)
        if chance.random() < 0.3:
            payload = damaged(chance, payload)
        kit.manager.publish(f"lwm2m/{peer.name}/dn", payload, chance.choice((0, 1)))
    kit.run(chance.choice((0.0, 0.02, 0.1, 3.0)))


@pytest.mark.parametrize("damage", [0.1, 0.7])
def test_gateway(damage: float) -> None:
    """
    Whatever comes from devices and for them, nothing is raised or logged as an error, a device that behaves is served
    all the time, and nothing is left of the others when their lifetimes are over.
    """

    def run(chance: random.Random) -> None:
        kit = Rough(chance, damage, auto_observe=chance.random() < 0.3, max_commands=5, max_observations=4)
        kit.witness = kit.device("witness")
        assert kit.witness.register("lt=80000&lwm2m=1.0&b=U") == "2.01"
        peers = [kit.device(f"ep{number}", serving(chance)) for number in range(4)]
        for peer in peers:
            peer.ask(POST, f"/rd?ep={peer.name}&lt={LIFETIME}&lwm2m=1.1", LINKS)
        kit.run(0.1)
        for _ in range(chance.randrange(10, 60)):
            act(kit, chance, chance.choice(peers))
        kit.run(1)
        kit.heard.clear()
        kit.command("read", "/3/0/10", 9, name="witness")
        kit.run(1)
        assert (9, "read", "2.05") in kit.codes()
        # Nothing of theirs arrives any more.
        for peer in peers:
            peer.deaf = True
        kit.peers = {kit.witness.address: kit.witness}
        kit.run(LIFETIME + 400)
        assert list(kit.gateway.registry.devices) == ["witness"]
        assert not kit.gateway.registry.coming
        assert sorted(kit.broker.clients) == ["manager", "witness"]
        assert list(kit.endpoint.addresses) == [kit.witness.address]
        kit.broker.stopService()

    fuzzed(run)
