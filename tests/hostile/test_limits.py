"""
Clients that want more than their share: of queues, sessions, wills, the store, memory. Each limit bounds what they get,
and the others do not notice.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.hostile.kit import CLEAN, Siege, StartSiege, entered, mqtt, packet, ping, publish, subscribe
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import opened
from tests.vectors.packets import counted, frame

MEGABYTE = 1_000_000
MIB = 1 << 20

QUOTA_EXCEEDED = 0x97
SERVER_BUSY = 0x89


def leave(broker: Broker, clientID: str, topicFilter: str) -> None:
    """
    A client that subscribes at QoS 1, and goes; its session is kept for an hour.
    """
    with entered(broker, clientID, expiry=3600) as link:
        link.sendall(subscribe([topicFilter], options=1))
        assert packet(link)[0] == 0x90
        link.sendall(b"\xe0\x00")
        assert link.recv(1) == b""


def flood(link: socket.socket, topic: str, count: int, size: int) -> None:
    """
    Publish messages of QoS 1, each different, and wait for each acknowledgement.
    """
    for number in range(count):
        payload = number.to_bytes(4, "big") * (size // 4)
        link.sendall(publish(topic, payload, packetID=number % 60_000 + 1))
        first, body = packet(link)
        assert first == 0x40 and (len(body) == 2 or body[2] < 0x80), body


def answerTo(broker: Broker, connect: bytes) -> int:
    """
    The reason code with which a CONNECT of version 5 is answered.
    """
    with opened(broker, connect) as link:
        first, body = packet(link)
        assert first == 0x20
        return body[1]


def withWill(clientID: str, payload: bytes) -> bytes:
    """
    A CONNECT of version 5 with a will.
    """
    head = counted(b"MQTT") + bytes((5, CLEAN | 0x04)) + b"\x00\x00\x00"
    return frame(0x10, head + counted(clientID.encode()) + b"\x00" + counted(b"w") + counted(payload))


def test_queuesInMemory(startSiege: StartSiege) -> None:
    """
    Many sessions that are away, each with a queue that would be allowed by itself: together they get what all queues
    may have, the longest lose their oldest messages, and the log and an alarm say so.
    """
    siege = startSiege(
        {
            "persistence": {"store": "memory"},
            "broker": {"max_queued_bytes": "20MB"},
            "zone": {"external": {"max_mqueue_len": 0}},
        }
    )
    broker = siege.broker
    with siege.unharmed(), entered(broker, "flooder") as flooder, entered(broker, "watcher") as watcher:
        watcher.sendall(subscribe(["$SYS/brokers/+/alarms/alert"]))
        assert packet(watcher)[0] == 0x90
        for number in range(10):
            leave(broker, f"hoarder{number}", f"hoard/{number}")
        before = broker.residentMiB
        for number in range(10):
            flood(flooder, f"hoard/{number}", 15, MEGABYTE)
        assert b"limit_queue" in packet(watcher)[1]
    # 150 MB were published. The allocator may keep some of what was dropped.
    assert broker.residentMiB - before < 60, (before, broker.residentMiB)
    broker.waitFor("the queue of 'hoarder", 1)


def test_oneQueueInTheStore(startSiege: StartSiege) -> None:
    """
    A queue in the store has the bytes that it may have, and memory hardly any of them.
    """
    siege = startSiege({"zone": {"external": {"max_mqueue_bytes": "10MB"}}})
    broker = siege.broker
    leave(broker, "hoarder", "hoard")
    before = broker.residentMiB
    with siege.unharmed(), entered(broker, "flooder") as flooder:
        flood(flooder, "hoard", 60, MEGABYTE)
    assert broker.residentMiB - before < 60, (before, broker.residentMiB)
    broker.waitFor("the queue of 'hoarder' is full", 1)
    with entered(broker, "hoarder", flags=0, expiry=1) as link:
        found = []
        while not found or found[-1] != 59:
            first, body = packet(link)
            assert first & 0xF0 == 0x30
            found.append(int.from_bytes(body[-4:], "big"))
            link.sendall(b"\x40\x02" + body[7:9])
    assert found == list(range(60 - len(found), 60)) and 8 <= len(found) <= 10


def test_theStore(startSiege: StartSiege) -> None:
    """
    A store that may have 8 MiB does not grow without a bound, and goes on taking messages: the longest queue gives way,
    and another keeps what it has.
    """
    siege = startSiege({"persistence": {"max_size": "8MB"}, "zone": {"external": {"max_mqueue_bytes": 0}}})
    broker = siege.broker
    leave(broker, "modest", "modest")
    # An eighth of the store for each queue: it takes many to fill it.
    for number in range(12):
        leave(broker, f"hoarder{number}", f"hoard/{number}")
    with siege.unharmed(), entered(broker, "flooder") as flooder:
        flood(flooder, "modest", 10, 1000)
        for number in range(12):
            flood(flooder, f"hoard/{number}", 240, 4000)
        broker.waitFor("the longest queues lose their oldest messages", 1)
        broker.waitFor("that is within the limit", 1)
        flood(flooder, "modest", 10, 1000)
    with entered(broker, "modest", flags=0, expiry=1) as link:
        for _ in range(20):
            first, body = packet(link)
            assert first & 0xF0 == 0x30
            link.sendall(b"\x40\x02" + body[8:10])


def test_sessions(startSiege: StartSiege) -> None:
    """
    From one address come no more sessions than are allowed; those that are there go on.
    """
    siege = startSiege({"zone": {"external": {"max_sessions_per_address": 120}}})
    broker = siege.broker
    with siege.unharmed():
        answers = [answerTo(broker, mqtt(f"hoarder{number}", expiry=3600)) for number in range(300)]
        refused = answers.count(QUOTA_EXCEEDED)
        assert 180 <= refused < 250 and answers.count(0) == 300 - refused
        assert answerTo(broker, mqtt("hoarder0", flags=0, expiry=3600)) == 0
        # Version 4 has "server unavailable" for it.
        assert answerTo(broker, mqtt("old", version=4)) == 3
    broker.waitFor("clients at 127.0.0.1 have 120 sessions", 1)


def test_wills(startSiege: StartSiege) -> None:
    """
    Wills have no more bytes together than they may.
    """
    siege = startSiege({"broker": {"max_will_bytes": "1MB"}})
    broker = siege.broker
    with siege.unharmed(), ExitStack() as stack:
        answers = []
        for number in range(40):
            link = stack.enter_context(opened(broker, withWill(f"will{number}", b"x" * 50_000)))
            answers.append(packet(link)[1][1])
    assert answers == [0] * 20 + [QUOTA_EXCEEDED] * 20


def test_filtersOfASubscribe(startSiege: StartSiege) -> None:
    """
    A SUBSCRIBE with very many filters gets as many as one may have.
    """
    siege = startSiege()
    with siege.unharmed(), entered(siege.broker, "many") as link:
        link.sendall(subscribe([f"a/{number}" for number in range(20_000)]))
        first, body = packet(link)
        assert (first, len(body)) == (0x90, 3 + 20_000)
        assert body[3:] == bytes(4096) + bytes([QUOTA_EXCEEDED]) * (20_000 - 4096)
        ping(link)


def test_memory(startSiege: StartSiege) -> None:
    """
    Before the memory of the process is used up, new sessions are refused, and QoS 0 does not wait; whoever has a
    session goes on.
    """
    base = startSiege().broker.residentMiB
    siege = startSiege({"persistence": {"store": "memory"}, "node": {"memory_limit": f"{int((base + 60) * 1.25)}MB"}})
    broker = siege.broker
    leave(broker, "kept", "kept")
    with siege.unharmed(), entered(broker, "flooder") as flooder:
        for number in range(120):
            flooder.sendall(publish(f"r/{number}", number.to_bytes(4, "big") * 250_000, retain=True))
        ping(flooder)
        broker.waitFor("messages of QoS 0 do not wait, new sessions are refused", 1)
        assert answerTo(broker, mqtt("new")) == SERVER_BUSY
        assert answerTo(broker, mqtt("kept", flags=0, expiry=3600)) == 0
        for number in range(120):
            flooder.sendall(publish(f"r/{number}", b"", retain=True))
        ping(flooder)
        broker.waitFor("no restrictions any more", 1)
        assert answerTo(broker, mqtt("new")) == 0


# Gateways

GATEWAYS = {
    "plugins": {"load": ["mqttsn", "coap", "lwm2m", "stomp"]},
    "mqtt": {"sn": {"port": "127.0.0.1:0", "max_clients_per_address": 20}},
    "coap": {"port": "127.0.0.1:0", "max_clients_per_address": 20},
    "lwm2m": {"port": "127.0.0.1:0", "max_clients_per_address": 20},
    "stomp": {"listener": "127.0.0.1:0", "max_clients_per_address": 20},
}
CLIENTS = 60


def exchange(port: int, data: bytes) -> bytes:
    """
    Send a datagram from a port of its own, and wait for the answer.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as link:
        link.settimeout(PATIENCE)
        link.connect(("127.0.0.1", port))
        link.send(data)
        return link.recv(2000)


def coapRequest(code: int, number: int, options: bytes, payload: bytes) -> bytes:
    """
    A confirmable request.
    """
    return bytes((0x40, code)) + number.to_bytes(2, "big") + options + b"\xff" + payload


def answersOf(siege: Siege) -> dict[str, list[int]]:
    """
    Answers to clients of each gateway that come from one address.
    """
    ports = siege.broker.ports
    answers: dict[str, list[int]] = {"mqttsn": [], "coap": [], "lwm2m": [], "stomp": []}
    for number in range(CLIENTS):
        # All protocols share the client identifiers: each has its own ones here.
        name = b"%03d" % number
        connect = b"\x04\x04\x01\x00\x3cs" + name
        answers["mqttsn"].append(exchange(ports["mqtt.sn"], bytes((len(connect) + 1,)) + connect)[2])
        options = b"\xb2ps" + b"\x01t" + b"\x46c=c" + name
        answers["coap"].append(exchange(ports["coap"], coapRequest(3, number, options, b"1"))[1])
        options = b"\xb2rd" + b"\x11\x28" + b"\x37ep=l" + name + b"\x05lt=60" + b"\x03b=U"
        answers["lwm2m"].append(exchange(ports["lwm2m"], coapRequest(2, number, options, b"</3/0>"))[1])
        with socket.create_connection(("127.0.0.1", ports["stomp"]), PATIENCE) as link:
            link.sendall(b"CONNECT\naccept-version:1.2\nhost:h\nclient-id:t" + name + b"\nclean-session:false\n\n\0")
            answers["stomp"].append(link.recv(1000)[0])
    return answers


def test_devicesOfAnAddress(startSiege: StartSiege) -> None:
    """
    Each gateway lets in so many clients of an address; the others are told in the words of their protocol.
    """
    siege = startSiege(GATEWAYS, listeners=5)
    with siege.unharmed():
        answers = answersOf(siege)
    some, rest = 20, CLIENTS - 20
    assert answers["mqttsn"] == [0] * some + [1] * rest
    assert answers["coap"][:some] == [0x41] + [0x44] * (some - 1)
    assert answers["coap"][some:] == [0x9D] * rest
    assert answers["lwm2m"] == [0x41] * some + [0xA3] * rest
    assert bytes(answers["stomp"]) == b"C" * some + b"E" * rest
