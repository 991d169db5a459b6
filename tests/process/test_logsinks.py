"""
The system's log and the journal, with sockets in their places.
"""

from __future__ import annotations

import array
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twisted_mqtt.process.logrecord import Record
from twisted_mqtt.process.logsinks import JournalSink, Sink, SyslogSink

Listen = Callable[[], socket.socket]

FIELDS: dict[str, object] = {"client": 'a"b]\\', "count": 3, "odd name=": "é", "none": None}


def record(message: str = "hello", rank: int = 3, **fields: object) -> Record:
    """
    A message, an error by default.
    """
    return Record(1_800_000_000.5, rank, "a.b", "a.b#error", message, fields)


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """
    Listen at the path C{log} in the folder of the test.
    """
    made: list[socket.socket] = []

    def start() -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.settimeout(10)
        listening.bind(str(tmp_path / "log"))
        made.append(listening)
        return listening

    yield start
    for one in made:
        one.close()


def test_oldSyslog(listen: Listen, tmp_path: Path) -> None:
    """
    On this machine it is the form that every syslog takes, without the name of the machine (RFC 3164).
    """
    listening = listen()
    sink = SyslogSink(str(tmp_path / "log"), "daemon", False)
    sink.write(record("one\n\ttwo", **FIELDS))
    sink.close()
    said = listening.recv(10000).decode()
    assert re.fullmatch(rf"<27>Jan 1[45] \d\d:\d\d:\d\d mqttbroker\[{os.getpid()}\]: \[a\.b#error\] one\n\ttwo", said)


@pytest.mark.parametrize(("rank", "priority"), [(0, 135), (1, 134), (2, 132), (3, 131), (4, 130)])
def test_modernSyslog(listen: Listen, tmp_path: Path, rank: int, priority: int) -> None:
    """
    As RFC 5424 has it, with the fields as structured data, in which nothing ends a value early.
    """
    listening = listen()
    sink = SyslogSink(str(tmp_path / "log"), "local0", True)
    sink.write(record(rank=rank, **FIELDS))
    sink.close()
    host = socket.gethostname()
    assert listening.recv(10000).decode() == (
        f"<{priority}>1 2027-01-15T08:00:00.500Z {host} mqttbroker {os.getpid()} - "
        '[fields@32473 logger="a.b" client="a\\"b\\]\\\\" count="3" odd_name_="é" none="None"] hello'
    )


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_otherMachine(host: str, family: int) -> None:
    """
    By UDP the name of the machine is said, and no message is larger than a datagram.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        try:
            listening.bind((host.strip("[]"), 0))
        except OSError:
            pytest.skip("there is no such address here")
        listening.settimeout(10)
        sink = SyslogSink(f"udp://{host}:{listening.getsockname()[1]}", "user", False)
        sink.write(record())
        said = listening.recv(70000).decode()
        sink.write(record("é" * 20_000 * 4))
        assert len(listening.recv(70000)) == 60_000
        sink.close()
    assert re.fullmatch(
        rf"<11>Jan 1[45] \S+ {re.escape(socket.gethostname())} mqttbroker\[\d+\]: \[a\.b#error\] hello", said
    )


def test_unknownMachine(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The name of a machine that is not found is not looked up for each message: that may take long.
    """
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    sink = SyslogSink("udp://nowhere.invalid:514", "daemon", False)
    for _ in range(10):
        with pytest.raises(OSError, match="Name or service not known"):
            sink.write(record())
    assert asked == ["nowhere.invalid"]


def journalFields(data: bytes) -> dict[str, str]:
    """
    The fields of an entry, as the journal reads them.
    """
    fields = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if equals:
            fields[name.decode()], data = value.decode(), rest
        else:
            (length,) = struct.unpack("<Q", rest[:8])
            fields[name.decode()] = rest[8 : 8 + length].decode()
            assert rest[8 + length : 9 + length] == b"\n"
            data = rest[9 + length :]
    return fields


def test_journal(listen: Listen, tmp_path: Path) -> None:
    """
    The journal gets the message, its level, and each field by a name that it takes; line feeds stay.
    """
    listening = listen()
    sink = JournalSink(str(tmp_path / "log"))
    sink.write(record("one\nMESSAGE=two", **FIELDS))
    sink.close()
    assert journalFields(listening.recv(100_000)) == {
        "MESSAGE": "one\nMESSAGE=two",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "mqttbroker",
        "SYSLOG_PID": str(os.getpid()),
        "LOGGER": "a.b",
        "MQTT_CLIENT": 'a"b]\\',
        "MQTT_COUNT": "3",
        "MQTT_ODD_NAME_": "é",
        "MQTT_NONE": "None",
    }


def test_largeEntry(listen: Listen, tmp_path: Path) -> None:
    """
    What is too large for a datagram comes as a file.
    """
    listening = listen()
    sink = JournalSink(str(tmp_path / "log"))
    sink.write(record("x" * 1_000_000))
    sink.close()
    data, ancillary, _, _ = listening.recvmsg(10, socket.CMSG_SPACE(4))
    assert data == b""
    descriptors = array.array("i")
    descriptors.frombytes(ancillary[0][2][:4])
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        assert journalFields(file.read())["MESSAGE"] == "x" * 1_000_000


@pytest.mark.parametrize(
    "kind", [JournalSink, lambda path: SyslogSink(path, "daemon", False)], ids=["journal", "syslog"]
)
def test_begunAnew(listen: Listen, tmp_path: Path, kind: Callable[[str], Sink]) -> None:
    """
    A message for nobody is an error; once somebody listens again, the next one arrives.
    """
    path = tmp_path / "log"
    sink = kind(str(path))
    with pytest.raises(OSError):
        sink.write(record())
    listen()
    sink.write(record("one"))
    path.unlink()
    again = listen()
    sink.reopen()
    sink.write(record("two"))
    assert b"two" in again.recv(10000)
    again.close()
    path.unlink()
    with pytest.raises(OSError):
        sink.write(record("three"))
    last = listen()
    sink.write(record("four"))
    assert b"four" in last.recv(10000)
    sink.close()
