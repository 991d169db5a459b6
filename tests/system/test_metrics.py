"""
What a running broker tells of itself: C{$SYS} in both trees, the messages of chosen topics, rates.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing

from tests.system.commandline import Ctl
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import accepted, publish


def subscribed(broker: Broker, clientID: str, topicFilter: str) -> socket.socket:
    """
    A client that has subscribed.
    """
    link = accepted(broker, clientID)
    name = topicFilter.encode()
    link.sendall(bytes((0x82, 5 + len(name), 0, 1, 0, len(name))) + name + b"\0")
    assert link.recv(5) == b"\x90\x03\0\x01\0"
    return link


def heard(link: socket.socket, wanted: bytes) -> bytes:
    """
    Read until something has come; returns all that has.
    """
    link.settimeout(PATIENCE)
    found = b""
    while wanted not in found:
        found += link.recv(65536)
    return found


def test_sys(managed: tuple[Broker, Ctl]) -> None:
    """
    C{$SYS} follows its settings at once: another period, VerneMQ's tree, nothing at all.
    """
    broker, ctl = managed
    assert ctl("set", "broker.sys_tree=both").returncode == 0
    with closing(subscribed(broker, "status", "$SYS/#")) as link:
        assert ctl("set", "broker.sys_interval=1s").returncode == 0
        found = heard(link, b"$SYS/test@127.0.0.1/vm/memory/total")
        assert b"$SYS/brokers/test@127.0.0.1/metrics/packets/connect/received1" in found
        assert b"$SYS/test@127.0.0.1/mqtt/connect/received1" in found
        # Once more after a second.
        heard(link, b"$SYS/test@127.0.0.1/vm/memory/total")
        assert ctl("set", "systree_interval=0").returncode == 0
        link.settimeout(0.2)
        try:
            while link.recv(65536):
                pass
        except TimeoutError:
            pass
        time.sleep(1.2)
        link.setblocking(False)
        try:
            assert link.recv(65536) == b""
        except BlockingIOError:
            pass


def test_topics(managed: tuple[Broker, Ctl]) -> None:
    """
    A topic that is registered has its messages counted; rates are there from the start.
    """
    broker, ctl = managed
    assert ctl("topic_metrics", "register", "a/b").stdout == "ok\n"
    with closing(subscribed(broker, "s", "a/#")) as link, closing(accepted(broker, "p")) as sender:
        sender.sendall(publish("a/b", b"one") + publish("a/c", b"two") + publish("a/b", b"three"))
        heard(link, b"three")
        (row,) = json.loads(ctl("--format", "json", "topic_metrics", "list").stdout)
        metrics = row["metrics"]
        assert (row["topic"], metrics["messages.in.count"], metrics["messages.out.count"]) == ("a/b", 2, 2)
    refused = ctl("topic_metrics", "register", "a/#")
    assert (refused.returncode, "is no name of a topic" in refused.stderr) == (1, True)
    assert ctl("topic_metrics", "unregister", "x").returncode == 1
    lines = ctl("broker", "rates", "--match", "messages.received").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["messages.received"]
