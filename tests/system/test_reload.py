"""
Reading the configuration again: SIGHUP to a real process, and what holds afterwards for whom.
"""

import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.kits.certificates import Authority
from tests.system.conftest import configuration
from tests.system.process import LISTENING, PATIENCE, Broker, startTwistd, toml
from tests.system.rawclient import (
    ACCEPTED,
    PING,
    PONG,
    accepted,
    connect,
    connect5,
    opened,
    read,
    serves,
    untilClosed,
)
from tests.vectors.packets import counted, frame

SUMMARY = r"reload: (\d+) changes, (\d+) wait for a restart, (\d+) problems"


class Reloadable:
    """
    A broker, and the tables that its file was made of.

    @ivar tables: may be changed; L{reload} writes them.
    """

    def __init__(self, folder: Path, tables: Mapping[str, Any] | None = None, listeners: int = 1) -> None:
        self.tables: Any = {**deepcopy(configuration(folder)), **(tables or {})}
        self.folder = folder
        self.broker = startTwistd(folder, self.tables, listeners)
        self._reloads = 0

    @property
    def listeners(self) -> Any:
        """
        The tables of the TCP listeners.
        """
        return self.tables["listener"]["tcp"]

    def reload(self) -> tuple[int, int, int]:
        """
        Write the tables, and have the broker read them.

        @return: how many changes there were, what waits for a restart, and problems. That extensions have read their
            files again is no change.
        """
        before = len(self.broker.lines)
        self.write()
        self._reloads += 1
        self.broker.process.send_signal(signal.SIGHUP)
        found = self.broker.waitFor(SUMMARY, self._reloads)[-1]
        refreshed = sum("files read again" in line for line in self.broker.lines[before:])
        return int(found[1]) - refreshed, int(found[2]), int(found[3])

    def write(self) -> None:
        """
        Write the tables.
        """
        (self.folder / "mqttbroker.toml").write_text(toml(self.tables))

    def said(self, words: str) -> bool:
        """
        Whether the broker has printed it.
        """
        return words in self.broker.text

    def findPorts(self, listeners: int) -> None:
        """
        Take note of listeners that were opened since.
        """
        for match in self.broker.waitFor(LISTENING, listeners):
            self.broker.ports[match["key"]] = int(match["port"])


@pytest.fixture
def reloadable(tmp_path: Path) -> Iterator[Reloadable]:
    """
    A broker with one listener.
    """
    made = Reloadable(tmp_path)
    yield made
    made.broker.stop()


def isRefused(broker: Broker, listener: str) -> bool:
    """
    Whether nobody listens there.
    """
    try:
        opened(broker, listener=listener).close()
    except ConnectionRefusedError:
        return True
    return False


def test_listeners(reloadable: Reloadable, name: str) -> None:
    """
    A listener that is new is opened; one that is gone closes, and its connections stay.
    """
    broker = reloadable.broker
    reloadable.listeners["more"] = {"bind": "127.0.0.1:0"}
    assert reloadable.reload() == (1, 0, 0)
    reloadable.findPorts(2)
    with (
        closing(accepted(broker, f"{name}1", listener="tcp.more")) as staying,
        closing(accepted(broker, f"{name}2")) as other,
    ):
        del reloadable.listeners["more"]
        assert reloadable.reload() == (1, 0, 0)
        assert reloadable.said("listener.tcp.more: closed; its connections stay")
        assert isRefused(broker, "tcp.more")
        for link in (staying, other):
            link.sendall(PING)
            assert read(link, 2) == PONG
        assert serves(broker, f"{name}3")


def test_moved(reloadable: Reloadable, name: str) -> None:
    """
    A listener with another address is opened there first; where that can't be, it stays where it was.
    """
    broker = reloadable.broker
    before = broker.port
    with closing(accepted(broker, name)) as staying, socket.create_server(("127.0.0.1", 0)) as taken:
        reloadable.listeners["external"]["bind"] = f"127.0.0.1:{taken.getsockname()[1]}"
        assert reloadable.reload() == (0, 0, 1)
        assert serves(broker, f"{name}2")
        reloadable.listeners["external"]["bind"] = "127.0.0.2:0"
        assert reloadable.reload() == (1, 0, 0)
        assert isRefused(broker, "tcp.external")
        reloadable.findPorts(2)
        assert broker.port != before
        broker.host = "127.0.0.2"
        assert serves(broker, f"{name}3")
        staying.sendall(PING)
        assert read(staying, 2) == PONG


def test_limits(reloadable: Reloadable, name: str) -> None:
    """
    Limits of listeners and zones hold for those who come later; who is here goes on by what it was told.
    """
    broker = reloadable.broker
    with closing(opened(broker, connect5(name))) as early:
        granted = read(early, 2)
        granted += read(early, granted[1])
        assert granted[3] == 0 and b"\x24\x01" not in granted
        reloadable.tables["zone"] = {"external": {"max_qos_allowed": 1}}
        reloadable.listeners["external"]["max_connections"] = 2
        changes, restart, problems = reloadable.reload()
        assert (restart, problems) == (0, 0) and changes >= 2
        with closing(opened(broker, connect5(f"{name}2"))) as late:
            granted = read(late, 2)
            granted += read(late, granted[1])
            assert b"\x24\x01" in granted  # Maximum QoS 1
            assert untilClosed(opened(broker)) == b""
            # PUBLISH of QoS 2 from both.
            packet = frame(0x34, counted(b"t") + b"\x00\x01\x00")
            early.sendall(packet)
            assert read(early, 1) == b"\x50"
            late.sendall(packet)
            assert untilClosed(late)[:1] == b"\xe0"


def test_wrongFile(reloadable: Reloadable, name: str) -> None:
    """
    A file with anything wrong in it changes nothing at all, and all that is wrong is said.
    """
    broker = reloadable.broker
    right = deepcopy(reloadable.tables)
    reloadable.listeners["external"]["max_connections"] = 1
    reloadable.listeners["more"] = {"bind": "127.0.0.1:0"}
    reloadable.tables["zone"] = {"external": {"max_inflight": "many", "idle_timeout": "soon"}}
    reloadable.write()
    broker.process.send_signal(signal.SIGHUP)
    broker.waitFor("the configuration can't be used, and nothing has changed")
    broker.waitFor("zone.external.max_inflight")
    broker.waitFor("zone.external.idle_timeout")
    with closing(accepted(broker, name)):
        assert serves(broker, f"{name}2")
    reloadable.tables = right
    assert reloadable.reload() == (0, 0, 0)
    assert len(broker.waitFor(LISTENING)) == 1


def test_restart(reloadable: Reloadable) -> None:
    """
    A change that needs a restart is named, as often as the file is read; the rest of the file holds all the same.
    """
    reloadable.listeners["external"]["backlog"] = 7
    reloadable.tables["node"]["name"] = "other@127.0.0.1"
    reloadable.tables["acl_nomatch"] = "deny"
    reloadable.tables["retainer"] = {"storage_type": "ram", "max_retained_messages": 7}
    assert reloadable.reload() == (3, 3, 0)
    assert reloadable.reload() == (0, 3, 0)
    for key in ("listener.tcp.external.backlog", "node.name", "retainer.storage_type"):
        assert reloadable.said(f"reload: {key} waits for a restart")
    assert reloadable.said("reload: acl_nomatch: holds now")
    assert reloadable.said("reload: retainer: started again with other settings")


def test_accessAndAnonymous(reloadable: Reloadable, name: str) -> None:
    """
    The new rules decide about new clients.
    """
    broker = reloadable.broker
    reloadable.listeners["external"]["access"] = ["deny 127.0.0.1", "allow all"]
    assert reloadable.reload()[2] == 0
    with closing(opened(broker)) as link:
        assert read(link, 4) == b""
    reloadable.listeners["external"]["access"] = ["allow all"]
    reloadable.tables["allow_anonymous"] = False
    assert reloadable.reload()[2] == 0
    assert untilClosed(opened(broker, connect(name))) == b"\x20\x02\x00\x05"


def test_extensions(reloadable: Reloadable, name: str) -> None:
    """
    Extensions start, go by other settings, and stop.
    """
    broker = reloadable.broker
    topic = "$SYS/brokers/test@127.0.0.1/clients/#"
    with closing(accepted(broker, name)) as watching:
        watching.sendall(frame(0x82, b"\x00\x01" + counted(topic.encode()) + b"\x01"))
        assert read(watching, 5) == b"\x90\x03\x00\x01\x01"

        def heard() -> bytes:
            """
            The messages to the watching client when another comes and goes.
            """
            assert serves(broker, f"{name}2")
            watching.sendall(PING)
            received = b""
            while not received.endswith(PONG):
                received += read(watching, 1)
            return received

        assert b"connected" in heard()
        reloadable.tables["module"] = {"presence": False}
        assert reloadable.reload()[1:] == (0, 0)
        assert reloadable.said("presence: stopped")
        assert heard() == PONG
        reloadable.tables["module"] = {"presence": {"enable": True, "qos": 0}}
        assert reloadable.reload()[1:] == (0, 0)
        assert reloadable.said("presence: started")
        assert b"connected" in heard()
        reloadable.tables["module"] = {"presence": {"enable": True, "qos": 1}}
        assert reloadable.reload() == (1, 0, 0)
        assert reloadable.said("presence: started again with other settings")


def _waitForText(file: Path, pattern: str) -> str:
    """
    Wait until a log file holds something: a thread writes it, and makes it with its first line.

    @return: all that it holds then.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        text = file.read_text() if file.exists() else ""
        if re.search(pattern, text):
            return text
        assert time.monotonic() < deadline, f"{file}: {text}"
        threading.Event().wait(0.02)


def test_log(reloadable: Reloadable) -> None:
    """
    Another level and another file hold at once.
    """
    broker = reloadable.broker
    log = reloadable.folder / "log"
    reloadable.tables["log"] = {"to": "both", "dir": str(log), "warning": {"file": "bad.log"}}
    assert reloadable.reload()[1:] == (0, 0)
    reloadable.listeners["external"]["backlog"] = 7
    reloadable.tables["log"] |= {"level": "error", "debug": {"file": "all.log"}}
    reloadable.reload()
    # From here on only what is wrong is heard of, but in the file that gets everything.
    reloadable.write()
    broker.process.send_signal(signal.SIGHUP)
    _waitForText(log / "all.log", SUMMARY)
    reloadable.tables["nonsense"] = 1
    reloadable.write()
    broker.process.send_signal(signal.SIGHUP)
    broker.waitFor("the configuration can't be used")
    assert len(broker.waitFor(SUMMARY)) == 2
    bad, main = (_waitForText(log / name, "can't be used") for name in ("bad.log", "mqttbroker.log"))
    assert "listener.tcp.external.backlog waits for a restart" in bad
    assert "changes, 1 wait for a restart" not in bad and "changes, 1 wait for a restart" in main


def test_certificates(tmp_path: Path) -> None:
    """
    Certificates are read again at once; where they can't be used, the old ones stay, and TLS keys may change.
    """
    authority = Authority(tmp_path)
    first, second = authority.issue("server"), authority.issue("other")
    secure = {"bind": "127.0.0.1:0", "certfile": first.certfile, "keyfile": first.keyfile}
    tables = {"listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}, "ssl": {"external": secure}}}
    made = Reloadable(tmp_path, tables, listeners=2)
    broker = made.broker
    context = ssl.create_default_context(cafile=authority.cafile)
    context.check_hostname = False

    def served() -> tuple[bytes | None, str | None]:
        """
        The certificate and the version of TLS that a client meets.
        """
        with opened(broker, listener="ssl.external") as plain, context.wrap_socket(plain) as link:
            link.sendall(connect("c"))
            assert link.recv(4) == ACCEPTED
            return link.getpeercert(binary_form=True), link.version()

    try:
        before, version = served()
        assert version == "TLSv1.3"
        made.tables["listener"]["ssl"]["external"] = {**secure, "certfile": second.certfile, "keyfile": second.keyfile}
        assert made.reload() == (1, 0, 0)
        after, _ = served()
        assert after is not None and after != before
        # The key of another certificate.
        made.tables["listener"]["ssl"]["external"]["keyfile"] = first.keyfile
        assert made.reload()[2] == 1
        assert served()[0] == after
        made.tables["listener"]["ssl"]["external"].update(keyfile=second.keyfile, tls_versions=["tlsv1.2"])
        assert made.reload()[2] == 0
        assert served() == (after, "TLSv1.2")
        assert made.reload() == (1, 0, 0)
        assert made.said("listener.ssl.external: certificates read again")
    finally:
        broker.stop()


def test_truncated(reloadable: Reloadable, name: str) -> None:
    """
    A file that was cut off, between two tables or to nothing, changes nothing: what it has lost is named. Once it says
    that this is meant, it holds.
    """
    broker = reloadable.broker
    reloadable.tables["zone"] = {"external": {"allow_anonymous": False}}
    reloadable.tables["acl_nomatch"] = "deny"
    assert reloadable.reload()[2] == 0
    assert not serves(broker, name)
    text = (reloadable.folder / "mqttbroker.toml").read_text()
    for count, cut in enumerate((text[: text.index("[zone")], ""), 1):
        (reloadable.folder / "mqttbroker.toml").write_text(cut)
        broker.process.send_signal(signal.SIGHUP)
        said = broker.waitFor("reload: the file has lost (.*), and nothing has changed. It would change (.*)", count)
        assert "zone" in said[-1][1]
        assert "zone.external.allow_anonymous" in said[-1][2]
        assert not serves(broker, name)
    del reloadable.tables["zone"]
    reloadable.tables["node"]["accept_lost_sections"] = True
    assert reloadable.reload()[2] == 0
    assert serves(broker, name)


def test_noRegularFile(reloadable: Reloadable) -> None:
    """
    A pipe in place of the file is not read, which might never end: it is refused, and the next reload works.
    """
    broker = reloadable.broker
    path = reloadable.folder / "mqttbroker.toml"
    path.unlink()
    os.mkfifo(path)
    broker.process.send_signal(signal.SIGHUP)
    broker.waitFor("mqttbroker.toml is no regular file, and nothing has changed")
    path.unlink()
    assert reloadable.reload() == (0, 0, 0)
