"""
Tests for devices that do not say, or say wrongly, which content formats they want.
"""

from __future__ import annotations

import pytest

from gateways.coap.codes import CHANGED, CONTENT, CREATED, NOT_ACCEPTABLE, POST, UNSUPPORTED_CONTENT_FORMAT
from gateways.coap.message import CoAPMessage
from gateways.coap.options import ACCEPT, CONTENT_FORMAT, OBSERVE, uintOf, uintOption
from tests.kits.lwm2m import Kit, Peer


class Choosy:
    """
    A device's resources, which are written in a few formats only.
    """

    def __init__(self, *wanted: int) -> None:
        self.wanted = wanted
        self.formats: list[int | None] = []

    def __call__(self, request: CoAPMessage) -> CoAPMessage:
        form = uintOf(request.options, CONTENT_FORMAT)
        if form is None:
            return CoAPMessage(CONTENT, [], b"5")
        self.formats.append(form)
        if form not in self.wanted:
            return CoAPMessage(UNSUPPORTED_CONTENT_FORMAT)
        if uintOf(request.options, ACCEPT) is not None:
            return CoAPMessage(CONTENT, [uintOption(CONTENT_FORMAT, form)], b"[]" if form == 110 else b"\x80")
        return CoAPMessage(CREATED if request.code == POST else CHANGED)


WRITE = {"path": "/3/0/14", "type": "String", "value": "x"}
INSTANCE = {"basePath": "/3/0", "content": [{"path": "14", "type": "String", "value": "x"}]}
CREATE = {"basePath": "/5", "content": [{"path": "/0/1", "type": "String", "value": "x"}]}
PATHS = {"paths": ["/3/0", "/1/0"]}


@pytest.mark.parametrize(
    ("version", "links", "wanted", "kind", "data", "formats", "code"),
    [
        ("1.0", b"</1/0>", 11543, "write", WRITE, [11542, 11543], "2.04"),
        ("1.0", b"</1/0>", 0, "write", WRITE, [11542, 11543, 0], "2.04"),
        ("1.1", b"</>;ct=112,</1/0>", 112, "write", WRITE, [112], "2.04"),
        ("1.1", b'</>;ct=110;ct=112;rt="oma.lwm2m",</1/0>', 110, "write", INSTANCE, [112, 110], "2.01"),
        ("1.1", b"</1/0>", 112, "write", WRITE, [11542, 110, 112], "2.04"),
        ("1.1", b"</>;ct=0,</1/0>", 0, "write", WRITE, [0], "2.04"),
        ("1.1", b"</1/0>", 60, "write", WRITE, [11542, 110, 112, 0, 60], "2.04"),
        ("1.1", b"</5>", 110, "create", CREATE, [11542, 110], "2.01"),
        ("1.1", b"</1/0>", 112, "read-composite", PATHS, [110, 112], "2.05"),
        ("1.1", b"</1/0>", 1, "write", WRITE, [11542, 110, 112, 0, 60], "4.15"),
        ("1.0", b"</1/0>", 1, "write", INSTANCE, [11542, 11543], "4.15"),
    ],
)
def test_next(version: str, links: bytes, wanted: int, kind: str, data: object, formats: list[int], code: str) -> None:
    """
    After 4.15 the next format is tried, until one is right or none is left; that is one command with one answer.
    """
    kit = Kit()
    device = Choosy(wanted)
    peer = kit.device("ep1", device)
    assert peer.register(f"lt=86400&lwm2m={version}&b=U", links) == "2.01"
    kit.heard.clear()
    kit.command(kind, data, 1)  # type: ignore[arg-type]  # a dictionary, each
    kit.run(5)
    assert kit.codes() == [(1, kind, code)]
    assert device.formats == formats


def test_remembered() -> None:
    """
    A format that a device has refused comes last from then on, until the device tells another list of its formats.
    """
    kit = Kit()
    device = Choosy(112)
    peer = kit.registered("lt=86400&lwm2m=1.1&b=U", device)
    for number in (1, 2):
        kit.command("write", WRITE, number)
        kit.run(5)
    assert device.formats == [11542, 110, 112, 112]
    peer.update("", b"</3/0>,</5/0>")
    kit.command("write", WRITE, 3)
    kit.run(5)
    assert device.formats[4:] == [11542, 110, 112]


def test_order() -> None:
    """
    A command that is sent again in another format goes before those behind it.
    """
    kit = Kit()
    device = Choosy(110)
    kit.registered("lt=86400&lwm2m=1.1&b=U", device)
    kit.command("write", WRITE, 1)
    kit.command("read", "/3/0/9", 2)
    kit.run(5)
    assert [number for number, _, _ in kit.codes()] == [1, 2]


def test_notAcceptable() -> None:
    """
    A device that can't answer in a format is asked for another one.
    """
    kit = Kit()

    def serve(request: CoAPMessage) -> CoAPMessage:
        if uintOf(request.options, ACCEPT) != 112:
            return CoAPMessage(NOT_ACCEPTABLE)
        return CoAPMessage(CONTENT, [uintOption(CONTENT_FORMAT, 112)], b"\x80")

    kit.registered("lt=86400&lwm2m=1.1&b=U", serve)
    kit.command("read-composite", PATHS, 1)
    kit.run(5)
    assert kit.codes() == [(1, "read-composite", "2.05")]


def observedData(kit: Kit, links: bytes) -> Peer:
    """
    A device that is observed by the gateway's own accord, with bytes in all that it has.
    """

    def serve(request: CoAPMessage) -> CoAPMessage:
        return CoAPMessage(CONTENT, [(OBSERVE, b"\1"), uintOption(CONTENT_FORMAT, 42)], b"\1\2")

    peer = kit.device("ep1", serve)
    assert peer.register("lt=86400&lwm2m=1.0&b=U", links) == "2.01"
    kit.heard.clear()
    kit.run(5)
    return peer


@pytest.mark.parametrize("links", [b"</3/0>,</19/0>", b"</3/0>,</19>,</19/0>", b"</3/0>,</19/0>,</19/0/0>"])
def test_container(links: bytes) -> None:
    """
    Of an object that holds an application's bytes, the resource with these bytes is observed; of others, the instance,
    whose bytes are passed on although nobody knows what they mean.
    """
    kit = Kit(auto_observe=True)
    peer = observedData(kit, links)
    assert peer.asked == ["/3/0", "/19/0/0"]
    said = [what["data"]["content"][0] for what in kit.taken()]
    assert [(value["path"], value["value"], value["type"]) for value in said] == [
        ("/3/0", "AQI=", "Opaque"),
        ("/19/0/0", "AQI=", "Opaque"),
    ]
    peer.notify(b"\3", 5)
    kit.run(1)
    assert [what["msgType"] for what in kit.taken()] == ["notify"]


def test_listWithFaults() -> None:
    """
    A device whose list of objects is not quite one is registered with what can be read of it, and the log tells once
    what could not.
    """
    kit = Kit()
    peer = kit.device("ep1")
    assert peer.register("lt=86400&lwm2m=1.1&b=U", b'</>;ct=60 110;rt="oma.lwm2m",,</3/0>;\0') == "2.01"
    (said,) = kit.taken()
    assert said["data"]["objectList"] == ["/3/0"]
    assert peer.update("", b"</3/0>,,</5/0>") == "2.04"
    (said,) = kit.taken()
    assert said["data"]["objectList"] == ["/3/0", "/5/0"]
