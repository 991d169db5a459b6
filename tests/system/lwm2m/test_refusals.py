"""
Commands that go wrong: what the device refuses, and what nobody can understand (gateways.md 5.5 and 5.7).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.formats import JSON, SENML_CBOR, SENML_JSON, TEXT, TLV
from tests.system.lwm2m.manager import Manager
from tests.system.process import Broker

CODES = {
    "4.00": "bad_request",
    "4.01": "unauthorized",
    "4.02": "bad_option",
    "4.03": "forbidden",
    "4.04": "not_found",
    "4.05": "method_not_allowed",
    "4.06": "not_acceptable",
    "4.12": "precondition_failed",
    "4.13": "request_entity_too_large",
    "4.15": "unsupported_content_format",
    "5.00": "internal_server_error",
    "5.01": "not_implemented",
    "5.02": "bad_gateway",
    "5.03": "service_unavailable",
    "5.04": "gateway_timeout",
    "5.05": "proxying_not_supported",
}


def test_codes(registered: Device, manager: Manager) -> None:
    """
    The device's code is passed on, with its name and without content, for every command.
    """
    for code, text in CODES.items():
        registered.refusals["/3/0/9"] = code
        data = manager.ask("read", {"path": "/3/0/9"})
        assert data == {"reqPath": "/3/0/9", "code": code, "codeMsg": text}, code
    registered.refusals["/3/0/14"] = "5.03"
    commands: list[tuple[str, dict[str, Any]]] = [
        ("discover", {}),
        ("write", {"type": "String", "value": "x"}),
        ("write-attr", {"pmin": 1}),
        ("execute", {"args": ""}),
        ("observe", {}),
    ]
    for kind, more in commands:
        data = manager.ask(kind, {"path": "/3/0/14", **more})
        assert data == {"reqPath": "/3/0/14", "code": "5.03", "codeMsg": "service_unavailable"}, kind


def test_refusedByTheDevice(registered: Device, manager: Manager) -> None:
    """
    Requests for something that the device has not or does not do.
    """
    assert manager.ask("read", {"path": "/3/1/0"})["code"] == "4.04"
    assert manager.ask("execute", {"path": "/3/0/0"})["code"] == "4.05"
    assert manager.ask("write", {"path": "/3/0/0", "type": "String", "value": "x"})["code"] == "4.05"
    assert manager.ask("delete", {"path": "/3/0"})["code"] == "4.05"


UNFIT: dict[str, dict[str, Any]] = {
    "an unknown object": {"msgType": "read", "data": {"path": "/12345/0/0"}},
    "no path": {"msgType": "read", "data": {}},
    "no numbers": {"msgType": "read", "data": {"path": "/a/b"}},
    "too many numbers": {"msgType": "read", "data": {"path": "/3/0/0/0/0"}},
    "too large a number": {"msgType": "read", "data": {"path": "/3/65536"}},
    "a path that is a number": {"msgType": "read", "data": {"path": 3}},
    "no value": {"msgType": "write", "data": {"path": "/3/0/14", "type": "String"}},
    "no such type": {"msgType": "write", "data": {"path": "/3/0/14", "type": "Word", "value": "x"}},
    "no number": {"msgType": "write", "data": {"path": "/1/0/1", "type": "Integer", "value": "x"}},
    "no truth": {"msgType": "write", "data": {"path": "/1/0/6", "type": "Boolean", "value": "perhaps"}},
    "no base64": {"msgType": "write", "data": {"path": "/5/0/0", "type": "Opaque", "value": "é"}},
    "too large for 64 bits": {"msgType": "write", "data": {"path": "/1/0/1", "type": "Integer", "value": 1 << 64}},
    "nothing to write": {"msgType": "write", "data": {"basePath": "/3/0", "content": []}},
    "no such command": {"msgType": "sing", "data": {"path": "/3/0/0"}},
    "data that is no object": {"msgType": "read", "data": "/3/0/0"},
    "an execute of an object": {"msgType": "execute", "data": {"path": "/3"}},
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit(registered: Device, manager: Manager, case: str) -> None:
    """
    A command that can't be understood is a bad request, and the device hears nothing of it.
    """
    manager.tell({"reqID": "x", **UNFIT[case]})
    answer = manager.next()
    assert (answer["reqID"], answer["msgType"]) == ("x", UNFIT[case]["msgType"])
    assert (answer["data"]["code"], answer["data"]["codeMsg"]) == ("4.00", "bad_request")
    assert answer["data"]["reason"]
    assert registered.asked.empty()


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"nonsense", b"[1, 2]", b"null", b"7", b"\xff\xfe", b'{"reqID": 1,}', b"[" * 20000]
)
def test_noJSON(registered: Device, manager: Manager, payload: bytes) -> None:
    """
    A payload that is no JSON object is not answered, and the next command is.
    """
    manager.tell(payload)
    assert manager.read("/3/0/9") == 100


@pytest.mark.parametrize("form", [TLV, SENML_JSON, SENML_CBOR, JSON, TEXT])
def test_undecodable(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, form: int) -> None:
    """
    If it can't be made out what a device answers, the answer is a bad request that says why.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    device.garbage = b"\xff\xc8\x00"
    data = manager.ask("read", {"path": "/3/0/9"})
    assert data.pop("reason")
    assert data == {"reqPath": "/3/0/9", "code": "4.00", "codeMsg": "bad_request"}
