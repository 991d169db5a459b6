"""
Tests for L{gateways.lwm2m.formats.tlv}, with the examples of OMA-TS-LightweightM2M 1.0.2 6.4.3.
"""

import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.tlv import decodeTLV, encodeTLV
from gateways.lwm2m.formats.values import FLOAT, INTEGER, OBJLNK, OPAQUE, STRING, UNSIGNED, ObjectLink
from gateways.lwm2m.objects.models import Models, ObjectModel, ResourceModel
from gateways.lwm2m.objects.paths import Path
from tests.gateways.lwm2m.examples import ACCESS, ACCESS_TLV, DEVICE, DEVICE_TLV, MODELS


def test_instance() -> None:
    """
    A read of /3/0 (6.4.3.1), both ways.
    """
    assert decodeTLV(DEVICE_TLV, (3, 0), MODELS) == DEVICE
    assert encodeTLV((3, 0), DEVICE) == DEVICE_TLV


def test_object() -> None:
    """
    A read of /3 has the same in an instance, or without one where it is the only one.
    """
    whole = bytes.fromhex("080079") + DEVICE_TLV
    assert decodeTLV(whole, (3,), MODELS) == DEVICE
    assert encodeTLV((3,), DEVICE) == whole
    assert decodeTLV(DEVICE_TLV, (3,), MODELS) == DEVICE


def test_instances() -> None:
    """
    A read of /2 (6.4.3.2): several instances, an identifier of two bytes in them.
    """
    assert decodeTLV(ACCESS_TLV, (2,), MODELS) == ACCESS
    assert encodeTLV((2,), ACCESS) == ACCESS_TLV


def test_instanceInInstance() -> None:
    """
    A reader of one instance may get it with its own head.
    """
    assert decodeTLV(ACCESS_TLV[17:], (2, 2), MODELS) == ACCESS[4:]


def test_objectLinks() -> None:
    """
    Objects 65 and 66 (6.4.3.3): references, in a multiple resource and alone.
    """
    linking = _model(65, [(0, OBJLNK), (1, STRING), (2, UNSIGNED)])
    service = _model(66, [(0, STRING), (1, STRING), (2, OBJLNK)])
    models = Models([linking, service])
    data = bytes.fromhex(
        "88000C 440000420000 440100420001 C8010D 38363133383030373535353030 C40212345678".replace(" ", "")
    )
    entries = [
        ResourceValue((65, 0, 0, 0), OBJLNK, ObjectLink(66, 0)),
        ResourceValue((65, 0, 0, 1), OBJLNK, ObjectLink(66, 1)),
        ResourceValue((65, 0, 1), STRING, "8613800755500"),
        ResourceValue((65, 0, 2), UNSIGNED, 0x12345678),
    ]
    assert decodeTLV(data, (65, 0), models) == entries
    assert encodeTLV((65, 0), entries) == data
    data = bytes.fromhex(
        "080026 C8000B 6D79536572766963652031 C8010F 496E7465726E65742E31352E323334 C40200430000".replace(" ", "")
    )
    assert decodeTLV(data, (66,), models) == [
        ResourceValue((66, 0, 0), STRING, "myService 1"),
        ResourceValue((66, 0, 1), STRING, "Internet.15.234"),
        ResourceValue((66, 0, 2), OBJLNK, ObjectLink(67, 0)),
    ]


def _model(number: int, resources: list[tuple[int, str]]) -> ObjectModel:
    found = {id: ResourceModel(id, f"r{id}", "RW", False, False, type, "", "") for id, type in resources}
    return ObjectModel(number, f"o{number}", "1.0", "", True, False, found)


@pytest.mark.parametrize(
    ("base", "data", "entry"),
    [
        # A resource as itself, and inside of what has it.
        ((3, 0, 9), "c10964", ResourceValue((3, 0, 9), INTEGER, 100)),
        ((3, 0, 9), "080003c10964", ResourceValue((3, 0, 9), INTEGER, 100)),
        # A negative one, and the longest.
        ((3, 0, 9), "c109fb", ResourceValue((3, 0, 9), INTEGER, -5)),
        ((3, 0, 9), "c80908ffffffffffffff00", ResourceValue((3, 0, 9), INTEGER, -256)),
        # An instance of a resource, as itself, in its resource, and as if it were the resource.
        ((3, 0, 6), "4101 05", ResourceValue((3, 0, 6, 1), INTEGER, 5)),
        ((3, 0, 6), "8306 410105", ResourceValue((3, 0, 6, 1), INTEGER, 5)),
        ((3, 0, 6, 1), "410105", ResourceValue((3, 0, 6, 1), INTEGER, 5)),
        ((3, 0, 6, 1), "8306410105", ResourceValue((3, 0, 6, 1), INTEGER, 5)),
        ((3, 0, 6, 1), "c10605", ResourceValue((3, 0, 6, 1), INTEGER, 5)),
        # Floats of four and of eight bytes.
        ((6, 0, 0), "c400c0400000", ResourceValue((6, 0, 0), FLOAT, -3.0)),
        ((6, 0, 0), "c80008c008000000000000", ResourceValue((6, 0, 0), FLOAT, -3.0)),
        # Without a definition.
        ((3, 0, 200), "c1c861", ResourceValue((3, 0, 200), OPAQUE, b"a")),
        ((9999, 0, 300), "e1012c61", ResourceValue((9999, 0, 300), OPAQUE, b"a")),
        # With nothing in it.
        ((3, 0, 0), "c000", ResourceValue((3, 0, 0), STRING, "")),
    ],
)
def test_resource(base: Path, data: str, entry: ResourceValue) -> None:
    """
    A value where it was asked for.
    """
    assert decodeTLV(bytes.fromhex(data), base, MODELS) == [entry]


def test_nothing() -> None:
    """
    There may be no value at all.
    """
    assert decodeTLV(b"", (3, 0), MODELS) == []
    assert decodeTLV(bytes.fromhex("0000"), (3,), MODELS) == []
    assert decodeTLV(bytes.fromhex("8006"), (3, 0), MODELS) == []
    assert encodeTLV((5,), []) == b""


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, "c000"), (7, "c700"), (8, "c80008"), (255, "c800ff"), (256, "d0000100"), (65535, "d000ffff")]
    + [(65536, "d800010000")],
)
def test_lengths(length: int, head: str) -> None:
    """
    The length stands in the first byte or in one, two or three of its own.
    """
    entry = ResourceValue((5, 0, 0), OPAQUE, bytes(length))
    data = encodeTLV((5, 0, 0), [entry])
    assert data == bytes.fromhex(head) + bytes(length)
    assert decodeTLV(data, (5, 0, 0), MODELS) == [entry]


def test_longest() -> None:
    """
    More than three bytes can say is refused.
    """
    with pytest.raises(ContentError, match="16777216 bytes, 16777215 at most"):
        encodeTLV((5, 0, 0), [ResourceValue((5, 0, 0), OPAQUE, bytes(1 << 24))])


@pytest.mark.parametrize(("number", "data"), [(0, "c10061"), (255, "c1ff61"), (256, "e1010061"), (65534, "e1fffe61")])
def test_identifiers(number: int, data: str) -> None:
    """
    An identifier has one byte or two.
    """
    path = (3, 0, number)
    assert encodeTLV((3, 0), [ResourceValue(path, OPAQUE, b"a")]) == bytes.fromhex(data)


def test_written() -> None:
    """
    Content for an object has instances, content for an instance has resources, and content for a resource is itself or
    its instances; parts that belong together come together.
    """
    entries = [
        ResourceValue((1, 0, 1), INTEGER, 60),
        ResourceValue((1, 1, 1), INTEGER, 61),
        ResourceValue((1, 0, 2), INTEGER, 1),
    ]
    assert encodeTLV((1,), entries).hex() == "0600c1013cc10201" + "0301c1013d"
    instances = [ResourceValue((3, 0, 6, 0), INTEGER, 1), ResourceValue((3, 0, 6, 1), INTEGER, 5)]
    assert encodeTLV((3, 0, 6), instances).hex() == "8606410001410105"
    assert encodeTLV((3, 0, 6, 1), instances[1:]).hex() == "410105"
    assert encodeTLV((3, 0, 13), [ResourceValue((3, 0, 13), INTEGER, 12345)]).hex() == "c20d3039"


@pytest.mark.parametrize(
    ("base", "data", "reason"),
    [
        ((3, 0), "c1", "cut off"),
        ((3, 0), "e100", "cut off"),
        ((3, 0), "d00001", "cut off"),
        ((3, 0), "c800ff61", "255 bytes are said where 1 are"),
        ((3, 0), "c50061", "5 bytes are said where 1 are"),
        ((3, 0), "0300410061", "an element of kind 1 in an instance"),
        ((3,), "02000000", "an element of kind 0 in an instance"),
        ((3, 0), "8306c10061", "an element of kind 3 in the resource /3/0/6"),
        ((3, 0), "410061", "an instance of a resource that is not said"),
        ((3, 1), "080003c10964", "/3/0/9 where /3/1 was asked for"),
        ((3, 0, 9), "c10a0f", "/3/0/10 where /3/0/9 was asked for"),
        ((3, 0, 6, 0), "410105", "/3/0/6/1 where /3/0/6/0 was asked for"),
        ((3, 0, 9), "c30a010203", "where /3/0/9 was asked for"),
        ((3, 0), "c309010203", "/3/0/9: 3 bytes, 0x010203, are not a valid Integer"),
        ((3, 0), "c100ff", "/3/0/0: not UTF-8 at byte 0"),
        ((), "c10061", "the device as a whole"),
    ],
)
def test_wrong(base: Path, data: str, reason: str) -> None:
    """
    Malformed TLV, or TLV about another path, is refused; the error says what is wrong and where.
    """
    with pytest.raises(ContentError, match="TLV: .*" + reason):
        decodeTLV(bytes.fromhex(data), base, MODELS)


def test_many() -> None:
    """
    The smallest elements there are can't make more than 10,000 values.
    """
    assert len(decodeTLV(bytes.fromhex("c000") * 10_000, (3, 0), MODELS)) == 10_000
    with pytest.raises(ContentError, match="more than 10000 values"):
        decodeTLV(bytes.fromhex("c000") * 10_001, (3, 0), MODELS)
