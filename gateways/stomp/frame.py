"""
The bytes of STOMP: reads and writes frames in the three versions of the protocol. No I/O; the only state is that of the
stream.

A frame is a command, headers and a body::

    SEND\\n
    destination:/a/b\\n
    content-length:5\\n
    \\n
    hello\\0

Between frames there may be line ends, which are heart-beats. The versions differ in the escapes of headers, and in
whether a line may end with CR LF.
"""

from __future__ import annotations

import re
from typing import Final

V10: Final = 10
V11: Final = 11
V12: Final = 12

VERSIONS: Final[dict[str, int]] = {"1.0": V10, "1.1": V11, "1.2": V12}
VERSION_NAMES: Final[dict[int, str]] = {V10: "1.0", V11: "1.1", V12: "1.2"}

# The end of the headers, and with it of the head: an empty line.
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_BEATS: Final = re.compile(rb"[\r\n]*")

# No command is longer, and what is no command need not be read to its end.
_LONGEST_COMMAND: Final = 64
# Consumed bytes are thrown away from here on; before, it is cheaper to remember where the rest begins.
_COMPACT_FROM: Final = 65536

# "All frames except CONNECT and CONNECTED" are escaped (1.2, "Value Encoding").
_UNESCAPED: Final = ("CONNECT", "STOMP", "CONNECTED")
# "Only the SEND, MESSAGE, and ERROR frames MAY have a body" (1.1, 1.2).
_WITH_BODY: Final = ("SEND", "MESSAGE", "ERROR")

_DECODED: Final[dict[str, str]] = {"\\\\": "\\", "\\n": "\n", "\\c": ":", "\\r": "\r"}
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)


class StompError(Exception):
    """
    The client did what the specification, or the broker, does not allow; it is told by an ERROR frame and the end of
    the connection.

    @ivar message: what goes into the C{message} header: short.
    @ivar detail: what goes into the body.
    @ivar frame: the frame, where it is not whole and its headers are known; else L{None}.
    @ivar isTooBig: whether it is larger than the limits.
    """

    def __init__(self, message: str, detail: str = "", frame: Frame | None = None, isTooBig: bool = False) -> None:
        super().__init__(message)
        self.message: str = message
        self.detail: str = detail
        self.frame: Frame | None = frame
        self.isTooBig: bool = isTooBig


class FrameLimits:
    """
    The limits of a client's frames.

    @ivar maxHeaders: how many headers.
    @ivar maxHeaderLength: the longest header, name and value and all, in bytes as received.
    @ivar maxBodyLength: the longest body, in bytes.
    """

    __slots__ = ("maxHeaders", "maxHeaderLength", "maxBodyLength", "maxHead")

    def __init__(self, maxHeaders: int = 10, maxHeaderLength: int = 1024, maxBodyLength: int = 8192) -> None:
        self.maxHeaders: int = maxHeaders
        self.maxHeaderLength: int = maxHeaderLength
        self.maxBodyLength: int = maxBodyLength
        # Each line with the longest line end.
        self.maxHead: int = _LONGEST_COMMAND + 2 + maxHeaders * (maxHeaderLength + 2) + 2


class Frame:
    """
    One frame.

    @ivar headers: unescaped; of headers that are repeated the first (1.1, 1.2 "Repeated Header Entries"). Frames with
        the same head may share this dictionary: it must not be changed.
    """

    __slots__ = ("command", "headers", "body")

    def __init__(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        self.command: str = command
        self.headers: dict[str, str] = headers
        self.body: bytes = body

    def __repr__(self) -> str:
        return f"<Frame {self.command} {self.headers!r} {len(self.body)} bytes>"


class StompParser:
    """
    Takes frames out of a stream of bytes, however it is cut, in time that grows with its length alone.

    Frames are taken one at a time, because what the first says (CONNECT: the version) decides how the next is read.

    @ivar version: the version spoken, 0 before that is known.
    """

    __slots__ = (
        "version",
        "_limits",
        "_data",
        "_start",
        "_scanned",
        "_line",
        "_bodyAt",
        "_length",
        "_frame",
        "_head",
        "_command",
        "_headers",
        "_bodyLength",
    )

    def __init__(self, limits: FrameLimits) -> None:
        self.version: int = 0
        self._limits: FrameLimits = limits
        self._data: bytearray = bytearray()
        # Where the frame begins that is being read, how far its end has been looked for, where its last line begins.
        self._start: int = 0
        self._scanned: int = 0
        self._line: int = 0
        # Once its head is there: the frame, where its body begins and how long that is, -1 for up to a NUL.
        self._frame: Frame | None = None
        self._bodyAt: int = 0
        self._length: int = 0
        # The last head and what it meant: most clients send the same one over and over.
        self._head: bytes = b""
        self._command: str = ""
        self._headers: dict[str, str] = {}
        self._bodyLength: int = -1

    def feed(self, data: bytes) -> None:
        """
        Add what has come.
        """
        self._data += data

    def next(self) -> Frame | None:
        """
        Take the next frame.

        @return: L{None} until it has come whole.

        @raise StompError: what has come is no frame, or is larger than the limits; there is no going on from there.
        """
        frame = self._frame
        if frame is None:
            frame = self._nextHead()
            if frame is None:
                return None
        data = self._data
        length = self._length
        begin = self._bodyAt
        limit = self._limits.maxBodyLength
        if length >= 0:
            end = begin + length
            if len(data) <= end:
                return None
            if data[end] != 0:
                raise StompError("malformed frame", "there is no NUL where the body ends by its content-length")
        else:
            end = data.find(b"\0", self._scanned)
            if end < 0:
                self._scanned = len(data)
                if self._scanned - begin > limit:
                    raise self._tooLong(frame)
                return None
            if end - begin > limit:
                raise self._tooLong(frame)
        if end > begin:
            if frame.command not in _WITH_BODY and self.version > V10:
                raise StompError("malformed frame", f"{frame.command} has a body", frame)
            frame.body = bytes(data[begin:end])
        self._frame = None
        self._begin(end + 1)
        return frame

    def _begin(self, start: int) -> None:
        """
        The next frame begins here.
        """
        data = self._data
        if start == len(data):
            data.clear()
            start = 0
        elif start >= _COMPACT_FROM:
            del data[:start]
            start = 0
        self._start = self._scanned = self._line = start

    def _nextHead(self) -> Frame | None:
        data = self._data
        start = self._start
        if start == self._scanned and start < len(data) and data[start] <= 13:
            # Line ends after a frame, or heart-beats.
            found = _BEATS.match(data, start)
            start = start if found is None else found.end()
            # A match holds on to the buffer, which then can't be changed.
            found = None
            self._begin(start)
            start = self._start
        # An empty line may have begun with what was looked through last.
        match = _HEAD_END.search(data, max(start, self._scanned - 2))
        if match is None:
            self._checkPartial()
            return None
        end, bodyAt = match.start(), match.end()
        match = None
        if end - start > self._limits.maxHead:
            raise self._headTooLong()
        head = bytes(data[start:end])
        if head != self._head:
            self._parse(head)
        frame = Frame(self._command, self._headers)
        self._length = self._bodyLength
        self._bodyAt = self._scanned = bodyAt
        self._frame = frame
        return frame

    def _checkPartial(self) -> None:
        """
        Refuse a head that is too long already.
        """
        data, limits = self._data, self._limits
        size = len(data)
        newLine = data.rfind(b"\n", self._scanned)
        if newLine >= 0:
            self._line = newLine + 1
        self._scanned = size
        if self._line == self._start:
            # Of which the last may be the CR of a CR LF.
            if size - self._start > _LONGEST_COMMAND + 1:
                raise StompError("malformed frame", "this is not a STOMP command")
        elif size - self._line > limits.maxHeaderLength + 1:
            raise StompError("header too long", f"a header may have {limits.maxHeaderLength} bytes", None, True)
        if size - self._start > limits.maxHead:
            raise self._headTooLong()

    def _parse(self, head: bytes) -> None:
        """
        Read a head, and remember it.
        """
        limits, version = self._limits, self.version
        try:
            text = head.decode("utf-8")
        except UnicodeDecodeError:
            raise StompError("malformed frame", "headers are UTF-8") from None
        if "\0" in text:
            raise StompError("malformed frame", "a NUL stands before the end of the headers")
        lines = text.split("\n")
        command = lines[0]
        # CR LF came with 1.2, for CONNECT too, whose version is not known yet; 1.0 does not say what ends a line.
        if command.endswith("\r"):
            command = command[:-1]
        if len(command) > _LONGEST_COMMAND:
            raise StompError("malformed frame", "this is not a STOMP command")
        carriageReturns = version != V11 or command in _UNESCAPED
        if len(lines) - 1 > limits.maxHeaders:
            raise StompError("too many headers", f"a frame may have {limits.maxHeaders}")
        escaped = version > V10 and command not in _UNESCAPED
        longest = limits.maxHeaderLength
        isASCII = len(text) == len(head)
        headers: dict[str, str] = {}
        for index in range(1, len(lines)):
            line = lines[index]
            if carriageReturns and line.endswith("\r"):
                line = line[:-1]
            size = len(line) if isASCII else len(line.encode("utf-8"))
            if size > longest:
                raise StompError("header too long", f"a header may have {longest} bytes", None, True)
            name, colon, value = line.partition(":")
            if not colon or not name:
                raise StompError("malformed frame", f"this is not a header: {line[:80]!r}")
            if escaped:
                if "\\" in line:
                    name, value = unescape(name, version), unescape(value, version)
            elif version == V10:
                # Its examples have a space after the colon.
                value = value.strip(" ")
            if name not in headers:
                headers[name] = value
        self._bodyLength = self._lengthOf(command, headers)
        self._head = head
        self._command = command
        self._headers = headers

    def _lengthOf(self, command: str, headers: dict[str, str]) -> int:
        text = headers.get("content-length")
        if text is None:
            return -1
        text = text.strip(" ")
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise StompError("malformed frame", f"content-length is {text[:80]!r}", Frame(command, headers))
        length = int(text)
        if length > self._limits.maxBodyLength:
            raise self._tooLong(Frame(command, headers))
        return length

    def forget(self) -> None:
        """
        The version is known now: what heads mean has changed.
        """
        self._head = b""

    def _tooLong(self, frame: Frame) -> StompError:
        return StompError("body too long", f"a body may have {self._limits.maxBodyLength} bytes", frame, True)

    def _headTooLong(self) -> StompError:
        limits = self._limits
        detail = f"a frame may have {limits.maxHeaders} headers of {limits.maxHeaderLength} bytes"
        return StompError("headers too long", detail, None, True)


def unescape(text: str, version: int) -> str:
    """
    Read a header's name or value.

    @raise StompError: for an escape that the version does not have ("MUST be treated as a fatal protocol error").
    """
    if "\\" not in text:
        return text
    pieces: list[str] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        escape = match.group()
        decoded = _DECODED.get(escape)
        if decoded is None or (escape == "\\r" and version < V12):
            raise StompError(
                "malformed frame", f"{escape!r} is not an escape of STOMP {VERSION_NAMES.get(version, '')}"
            )
        pieces.append(text[at : match.start()])
        pieces.append(decoded)
        at = match.end()
    pieces.append(text[at:])
    return "".join(pieces)


def escape(text: str, version: int) -> str:
    """
    Write a header's name or value. 1.0 has no escapes: L{isSayable} tells what it can't say.
    """
    if version == V10:
        return text
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if ":" in text:
        text = text.replace(":", "\\c")
    if version == V12 and "\r" in text:
        text = text.replace("\r", "\\r")
    return text


def isSayable(name: str, value: str, version: int) -> bool:
    """
    Whether a header can be said at all.
    """
    if name == "" or "\0" in name or "\0" in value:
        return False
    if version > V10:
        return True
    trimmed = name == name.strip() and value == value.strip()
    return trimmed and ":" not in name and "\n" not in name and "\n" not in value


def headerLines(headers: list[tuple[str, str]], version: int, escaped: bool = True) -> bytes:
    """
    Write headers, leaving out those that can't be said in this version.
    """
    lines: list[str] = []
    for name, value in headers:
        if isSayable(name, value, version if escaped else V10):
            if escaped:
                lines.append(f"{escape(name, version)}:{escape(value, version)}\n")
            else:
                lines.append(f"{name}:{value}\n")
    return "".join(lines).encode("utf-8", "replace")


def encode(command: str, headers: list[tuple[str, str]], body: bytes = b"", version: int = V12) -> bytes:
    """
    Write a frame. CONNECTED is not escaped, as the specifications demand.
    """
    lines = headerLines(headers, version or V10, command not in _UNESCAPED)
    return b"".join((command.encode("ascii"), b"\n", lines, b"\n", body, b"\0"))
