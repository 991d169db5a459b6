"""
Features of autobahn that its public interface does not have: receive without logging, take options from a class, and
unmask with its extension module.

It is the only module that uses private names of autobahn. When it is imported, it finds out whether they exist:
L{HAVE_DIRECT}, L{HAVE_OPTIONS} and L{HAVE_MASKER} tell the result. Without them everything works through the public
interface, but slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import USES_NVX

from twisted_mqtt.net.websocket.frames import Unmask, unmaskAsNumber

Served = TypeVar("Served", bound=WebSocketServerProtocol)

Receive = Callable[[WebSocketServerProtocol, bytes], object]

HAVE_DIRECT: Final = callable(getattr(WebSocketServerProtocol, "_dataReceived", None))
"""
Whether there is what C{dataReceived} calls once it has formatted a line of the log.
"""

HAVE_OPTIONS: Final = isinstance(getattr(WebSocketServerProtocol, "CONFIG_ATTRS", None), list | tuple) and hasattr(
    WebSocketServerProtocol, "log"
)
"""
Whether autobahn lists the options that it copies from a factory to each connection, and leaves those alone that a class
has; and whether a class has its log.
"""

_SAMPLE: Final = (b"\x01\x20\x03\x40", b"\x00" * 9, b"\x01\x20\x03\x40\x01\x20\x03\x40\x01")


def unmaskNatively(mask: bytes, masked: bytes) -> bytes:
    """
    Unmask a payload by autobahn's extension module.
    """
    unmasked: bytes = create_xor_masker(mask, len(masked)).process(masked)
    return unmasked


def _maskerWorks() -> bool:
    # Without its extension module autobahn unmasks byte by byte.
    if not USES_NVX:
        return False
    mask, masked, expected = _SAMPLE
    try:
        return unmaskNatively(mask, masked) == expected
    except (TypeError, AttributeError, NameError):  # pragma: no cover - not with any autobahn of the range in setup.cfg
        return False


try:
    from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]  # native or not
except ImportError:  # pragma: no cover - as above
    pass

HAVE_MASKER: Final = _maskerWorks()
"""
Whether L{unmaskNatively} works.
"""


class _Quiet:
    """
    Autobahn's log: strangers' faults are no warnings, and formatting for nobody takes longer than the rest.
    """

    def debug(self, *_: object, **__: object) -> None:
        """
        Say nothing.
        """

    trace = info = warn = error = debug


class Ways:
    """
    How autobahn is used: by its private parts as far as they are there, or by its public interface alone.

    @ivar receive: hands bytes to a connection.
    @ivar unmask: unmasks a long payload, given the mask and the masked.
    """

    def __init__(self, isPrivate: bool = True) -> None:
        """
        @param isPrivate: whether private parts may be used.
        """
        served = WebSocketServerProtocol
        # Not through a function of ours, which would cost as much again as the whole shortcut saves.
        self.receive: Receive = served._dataReceived if isPrivate and HAVE_DIRECT else served.dataReceived
        self.unmask: Unmask = unmaskNatively if isPrivate and HAVE_MASKER else unmaskAsNumber
        self._withOptions = isPrivate and HAVE_OPTIONS

    def protocolOf(self, factory: WebSocketServerFactory, base: type[Served]) -> type[Served]:
        """
        The class of the connections of a factory whose options are set.

        By its public interface autobahn copies its options to each connection, and formats them for a log that nobody
        reads: 2 KB and 0.1 ms. A class that has them is left alone.
        """
        if not self._withOptions:
            return base
        names = WebSocketServerProtocol.CONFIG_ATTRS
        if not all(hasattr(factory, name) for name in names):
            return base
        options = {name: getattr(factory, name) for name in names}
        accept = options.get("perMessageCompressionAccept")
        if callable(accept):
            options["perMessageCompressionAccept"] = staticmethod(accept)
        return type(base.__name__, (base,), {**options, "CONFIG_ATTRS": [], "log": _Quiet()})

    def forget(self, protocol: WebSocketServerProtocol) -> None:
        """
        Forget what autobahn remembers of a handshake that is done: some hundred bytes of each connection.
        """
        if self._withOptions:
            for name, empty in (("http_request_data", b""), ("http_response_data", "")):
                if hasattr(protocol, name):
                    setattr(protocol, name, empty)


BEST: Final = Ways()
"""
By everything that is there.
"""
