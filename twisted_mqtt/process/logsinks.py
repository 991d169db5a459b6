"""
Where log messages go: a stream such as the console or a file, the system's log (RFC 3164, RFC 5424), the journal of
systemd.

Each may block, and raises C{OSError} where a message could not be written. A socket that fails is opened again for the
next message.
"""

from __future__ import annotations

import array
import errno
import os
import re
import socket
import struct
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted_mqtt.process.logfile import LogFile
from twisted_mqtt.process.logrecord import SEVERITIES, Record, asJSON, asText

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the program is called there.
_NAME: Final = "mqttbroker"
#: Seconds that a socket may take for one message.
_TIMEOUT: Final = 5.0
#: Seconds until the name of a machine is looked up again that was not found.
_UNKNOWN: Final = 30.0
#: Bytes of a message to another machine: a datagram holds no more.
_LONGEST: Final = 60_000

#: The facilities of syslog by name (RFC 5424 6.2.1).
FACILITIES: Final = {
    name: number
    for number, name in enumerate(
        "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock"
        " local0 local1 local2 local3 local4 local5 local6 local7".split()
    )
}

# The number of an enterprise that documents may use (RFC 5612), since this project has none.
_FIELDS: Final = "fields@32473"


class LogStream(Protocol):
    """
    The part of a text file needed here.
    """

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class Sink(Protocol):
    """
    Takes messages.

    @ivar destination: where they go, for a person.
    @ivar wantsFields: whether it writes the fields of messages.
    """

    destination: str
    wantsFields: bool

    def write(self, record: Record) -> None:
        """
        Write a message.

        @raise OSError: it could not be written.
        """

    def reopen(self) -> None:
        """
        Open what is there now under its name.

        @raise OSError: that can't be opened.
        """

    def close(self) -> None:
        """
        No more is written.
        """


class StreamSink:
    """
    A stream of lines: a file, or the console. See L{Sink}.
    """

    def __init__(self, stream: LogStream, destination: str, json: bool) -> None:
        self.stream = stream
        self.destination = destination
        self.setForm(json)

    def setForm(self, json: bool) -> None:
        """
        Write JSON from now on, or text.
        """
        self.wantsFields = json
        self._form: Callable[[Record], str] = asJSON if json else asText

    def write(self, record: Record) -> None:
        """
        See L{Sink}.
        """
        text, stream = self._form(record), self.stream
        if isinstance(stream, LogFile):
            stream.write(text, record.time)
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                # A console of another encoding, or half a character: a line with escapes is better than none.
                encoding = getattr(stream, "encoding", None) or "utf-8"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (ValueError, AttributeError) as error:
            # It was closed, and there is none.
            raise OSError(str(error)) from None

    def reopen(self) -> None:
        """
        See L{Sink}; the console stays.
        """
        if isinstance(self.stream, LogFile):
            self.stream.reopen()

    def close(self) -> None:
        """
        See L{Sink}; the console stays.
        """
        if isinstance(self.stream, LogFile):
            self.stream.close()


class _SocketSink:
    """
    Sends each message as a datagram.
    """

    wantsFields = True

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self._socket: socket.socket | None = None

    def reopen(self) -> None:
        """
        See L{Sink}.
        """
        self.close()

    def close(self) -> None:
        """
        See L{Sink}.
        """
        found, self._socket = self._socket, None
        if found is not None:
            found.close()

    def _connected(self) -> socket.socket:
        """
        @raise OSError: nobody listens there.
        """
        if self._socket is None:
            family, address = self._where()
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                made.settimeout(_TIMEOUT)
                made.connect(address)
            except BaseException:
                made.close()
                raise
            self._socket = made
        return self._socket

    def _where(self) -> tuple[int, Any]:
        return socket.AF_UNIX, self.destination

    def _send(self, data: bytes) -> None:
        """
        @raise OSError: nobody takes it.
        """
        for attempt in (1, 2):
            try:
                self._connected().send(data)
                return
            except OSError:
                # Who has listened before may have begun anew.
                self.close()
                if attempt == 2:
                    raise


class SyslogSink(_SocketSink):
    """
    The system's log, on this machine or on another. See L{Sink}.
    """

    def __init__(self, address: str, facility: str, modern: bool) -> None:
        """
        @param address: the path of its socket, or C{udp://host:port}.
        @param modern: whether it is spoken to as RFC 5424 says, with fields, or as RFC 3164 says.
        """
        super().__init__(address)
        self.wantsFields = modern
        self._facility = FACILITIES[facility]
        self._modern = modern
        self._host = socket.gethostname() or "-"
        # Until when the name of the other machine is known to be unknown, and why.
        self._resolve = 0.0
        self._unknown = ""

    def write(self, record: Record) -> None:
        """
        See L{Sink}.
        """
        data = (self._asModern(record) if self._modern else self._asOld(record)).encode("utf-8", "backslashreplace")
        self._send(data[:_LONGEST] if self.destination.startswith("udp://") else data)

    def _where(self) -> tuple[int, Any]:
        if not self.destination.startswith("udp://"):
            return socket.AF_UNIX, self.destination
        if time.monotonic() < self._resolve:
            raise OSError(self._unknown)
        host, _, port = self.destination.removeprefix("udp://").rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        except OSError as error:
            # To be told so may take long, and many messages wait.
            self._resolve = time.monotonic() + _UNKNOWN
            self._unknown = error.strerror or str(error)
            raise
        return found[0][0], found[0][4]

    def _priority(self, record: Record) -> int:
        return self._facility * 8 + SEVERITIES[record.rank]

    def _asOld(self, record: Record) -> str:
        date = time.strftime("%b %e %H:%M:%S", time.localtime(record.time))
        # On this machine the name of the machine is left out (it is added there).
        host = f"{self._host} " if self.destination.startswith("udp://") else ""
        text = f"[{record.system}] {record.message}"
        return f"<{self._priority(record)}>{date} {host}{_NAME}[{os.getpid()}]: {text}"

    def _asModern(self, record: Record) -> str:
        date = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = "".join(
            f' {name}="{_escaped(str(value))}"'
            for key, value in {"logger": record.namespace, **record.fields}.items()
            if (name := re.sub(r"[^!#-<>-\\^-~]", "_", key)[:32])
        )
        head = f"<{self._priority(record)}>1 {date} {self._host} {_NAME} {os.getpid()} -"
        return f"{head} [{_FIELDS}{fields}] {record.message}"


class JournalSink(_SocketSink):
    """
    The journal of systemd, by its own protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). See L{Sink}.
    """

    def write(self, record: Record) -> None:
        """
        See L{Sink}.
        """
        fields = {
            "MESSAGE": record.message,
            "PRIORITY": str(SEVERITIES[record.rank]),
            "SYSLOG_IDENTIFIER": _NAME,
            "SYSLOG_PID": str(os.getpid()),
            "LOGGER": record.namespace,
        }
        for key, value in record.fields.items():
            name = "MQTT_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())
            fields[name[:64]] = str(value)
        data = b"".join(_journalField(name, value) for name, value in fields.items())
        try:
            self._send(data)
        except OSError as error:
            # Too large for a datagram: it goes by a file in memory then.
            if error.errno != errno.EMSGSIZE:
                raise
            self._sendAsFile(data)

    def _sendAsFile(self, data: bytes) -> None:
        descriptor = os.memfd_create("journal", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            self._connected().sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
        finally:
            os.close(descriptor)


def _escaped(value: str) -> str:
    """
    A value of a field as RFC 5424 6.3.3 has it.
    """
    return re.sub(r'(["\\\]])', r"\\\1", value)


def _journalField(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode("ascii") + b"=" + data + b"\n"
    return name.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
