"""
Tests for L{gateways.lwm2m.objects.definitions} and L{gateways.lwm2m.objects.models}.
"""

from pathlib import Path

import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.values import FLOAT, INTEGER, OBJLNK, OPAQUE, STRING, TYPES, UNSIGNED
from gateways.lwm2m.objects.definitions import loadModels, parseDefinitions
from gateways.lwm2m.objects.models import ResourceModel

# As the registry has them, with what its files begin with.
TEMPERATURE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment -->
<LWM2M xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:noNamespaceSchemaLocation="http://www.openmobilealliance.org/tech/profiles/LWM2M-v1_1.xsd">
  <Object ObjectType="MODefinition">
    <Name>Temperature</Name>
    <Description1><![CDATA[Some <b>text</b> & more]]></Description1>
    <ObjectID>3303</ObjectID>
    <ObjectURN>urn:oma:lwm2m:ext:3303:VERSION</ObjectURN>
    <LWM2MVersion>1.0</LWM2MVersion>
    <ObjectVersion>VERSION</ObjectVersion>
    <MultipleInstances>Multiple</MultipleInstances>
    <Mandatory>Optional</Mandatory>
    <Resources>
      <Item ID="5700">
        <Name>
          Sensor
          Value</Name>
        <Operations>R</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Mandatory</Mandatory>
        <Type>Float</Type>
        <RangeEnumeration></RangeEnumeration>
        <Units>Cel</Units>
        <Description>&lt;none&gt;</Description>
      </Item>
      <Item ID="5605">
        <Name>Reset</Name>
        <Operations>E</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type/>
        <RangeEnumeration/>
        <Units/>
        <Description/>
      </Item>
    </Resources>
    <Description2/>
  </Object>
</LWM2M>
"""


def definition(version: str = "1.0", **exchanged: str) -> bytes:
    """
    The file above, with other text for some.
    """
    text = TEMPERATURE.replace("VERSION", version)
    for old, new in exchanged.items():
        text = text.replace(old, new)
    return text.encode()


def test_standard() -> None:
    """
    The objects 0 to 7 are there, with the names and types of the specification (LwM2M 1.1.1 core, appendix E).
    """
    models, problems = loadModels()
    assert problems == []
    assert len(models) == 8
    found = [models.object(number) for number in range(8)]
    assert [(model.name, model.multiple, model.mandatory, len(model.resources)) for model in found if model] == [
        ("LWM2M Security", True, True, 18),
        ("LwM2M Server", True, True, 24),
        ("LwM2M Access Control", True, False, 4),
        ("Device", False, True, 23),
        ("Connectivity Monitoring", False, False, 13),
        ("Firmware Update", False, False, 9),
        ("Location", False, False, 7),
        ("Connectivity Statistics", False, False, 9),
    ]
    assert models.resource((3, 0, 9)) == ResourceModel(9, "Battery Level", "R", False, False, INTEGER, "0..100", "/100")
    assert models.resource((3, 0, 4)) == ResourceModel(4, "Reboot", "E", False, True, "", "", "")
    assert models.resource((5, 0, 0)) == ResourceModel(0, "Package", "W", False, True, OPAQUE, "", "")
    assert models.typeOf((6, 0, 0)) == FLOAT
    assert models.typeOf((3, 0, 22, 7)) == OBJLNK
    assert models.typeOf((0, 0, 16, 1)) == UNSIGNED
    assert models.typeOf((3, 0, 4)) == models.typeOf((3, 0, 99)) == models.typeOf((99, 0, 0)) == ""
    assert models.resource((3, 0, 99)) is models.resource((99, 0, 0)) is models.object(99) is None
    for model in found:
        assert model is not None
        for number, resource in model.resources.items():
            assert number == resource.id
            assert resource.name
            assert resource.type in TYPES or resource.operations == "E"
            assert resource.operations or model.id == 0


def test_folder(tmp_path: Path) -> None:
    """
    Files of a folder add objects and override standard ones; what is no XML file is left alone.
    """
    (tmp_path / "3303.xml").write_bytes(definition())
    (tmp_path / "mine.XML").write_bytes(definition("1.1", Temperature="My device", **{"<ObjectID>3303": "<ObjectID>3"}))
    (tmp_path / "README").write_text("nothing")
    models, problems = loadModels(str(tmp_path))
    assert problems == []
    assert len(models) == 9
    assert models.resource((3303, 0, 5700)) == ResourceModel(5700, "Sensor Value", "R", False, True, FLOAT, "", "Cel")
    model = models.object(3)
    assert model is not None
    assert (model.name, sorted(model.resources)) == ("My device", [5605, 5700])


def test_broken(tmp_path: Path) -> None:
    """
    A file that can't be used is told of, with its name and the line; the others are.
    """
    (tmp_path / "a.xml").write_bytes(definition(Float="Flot"))
    (tmp_path / "b.xml").write_bytes(definition()[:-20])
    (tmp_path / "c.xml").mkdir()
    (tmp_path / "d.xml").write_bytes(definition())
    models, problems = loadModels(str(tmp_path))
    assert models.object(3303) is not None
    assert problems == [
        f"{tmp_path}/a.xml, line 15: <Type>: there is no type 'Flot'",
        f"{tmp_path}/b.xml, line 39: no element found",
        f"{tmp_path}/c.xml: Is a directory",
    ]
    models, problems = loadModels(str(tmp_path / "nowhere"))
    assert len(models) == 8
    assert problems == [f"{tmp_path}/nowhere: No such file or directory"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "line 1: no element found"),
        (b"<LWM2M/>", "line 1: no <Object>"),
        (b"<DDF><Object/></DDF>", "line 1: <DDF> where <LWM2M> is wanted"),
        (b"<LWM2M>\n<Object/></LWM2M>", "line 2: <Object> has no <ObjectID>"),
        (
            definition(**{"<ObjectID>3303": "<ObjectID>65535"}),
            "line 5: <ObjectID>: '65535' is not a number from 0 to 65534",
        ),
        (definition(**{"<ObjectID>3303": "<ObjectID>-1"}), "line 5: <ObjectID>: '-1' is not a number"),
        (definition(**{'ID="5700"': 'ID="x"'}), "line 15: ID: 'x' is not a number"),
        (definition(**{'ID="5700"': ""}), "line 15: ID: '' is not a number"),
        (definition(**{"5605": "5700"}), "line 27: resource 5700 for the second time"),
        (definition("x"), "line 5: <ObjectVersion>: 'x' is not a version"),
        (definition(**{"<Name>Reset</Name>": ""}), "line 27: <Item> has no <Name>"),
        (
            definition(**{">Multiple<": ">Many<"}),
            "line 5: <MultipleInstances>: 'Many' where single or multiple is wanted",
        ),
        (definition(**{">E<": ">X<"}), "line 27: <Operations>: 'X'"),
        (b'<!DOCTYPE LWM2M [<!ENTITY a "b">]><LWM2M/>', "line 1: a document type"),
        (b'<!DOCTYPE LWM2M SYSTEM "file:///etc/passwd"><LWM2M/>', "line 1: a document type"),
        (b"<LWM2M>&a;</LWM2M>", "line 1: undefined entity"),
        (b"<LWM2M>" + b"<a>" * 100_000, "line 1: elements in more than 16 others"),
        (b"<LWM2M>\xff</LWM2M>", "line 1: not well-formed"),
        (b'<?xml version="1.0" encoding="x-none"?><LWM2M/>', "line 1: unknown encoding"),
        (b" " * 1_048_577, "more than 1048576 bytes"),
    ],
)
def test_wrong(data: bytes, reason: str) -> None:
    """
    A malformed definition is refused, and the error says where; document types and entities are not allowed.
    """
    with pytest.raises(ContentError, match=r"^file\.xml(, |: )" + reason):
        parseDefinitions(data, "file.xml")


def test_versionOfName() -> None:
    """
    An old definition tells its version in its name, or is of version 1.0.
    """
    none = {"<ObjectVersion>1.3</ObjectVersion>": "<ObjectVersion/>"}
    assert parseDefinitions(definition("1.3", **none), "f")[0].version == "1.3"
    none["ext:3303:1.3"] = "ext:3303"
    assert parseDefinitions(definition("1.3", **none), "f")[0].version == "1.0"


def test_versions(tmp_path: Path) -> None:
    """
    Of several versions the one holds that a device has told, or the newest like it.
    """
    for version in ("1.0", "1.9", "1.10", "2.0"):
        (tmp_path / f"{version}.xml").write_bytes(definition(version, Temperature=f"T{version}"))
    models, _ = loadModels(str(tmp_path))

    def name(version: str | None) -> str:
        chosen = models if version is None else models.choose({3303: version, 12345: "1.0", 3: "9.9"})
        model = chosen.object(3303)
        assert model is not None
        assert chosen.typeOf((3, 0, 0)) == STRING
        return model.name

    assert name(None) == "T1.10"
    assert name("1.0") == "T1.0"
    assert name("1.9") == "T1.9"
    assert name("1.5") == "T1.10"
    assert name("2.7") == "T2.0"
    assert name("3.0") == "T2.0"
    assert name("") == "T2.0"
    # A device that tells no version has 1.0 and its additions (LwM2M 1.1.1 core 7.2.2), if there are any.
    (tmp_path / "4.xml").write_bytes(definition("3.1", **{"<ObjectID>3303": "<ObjectID>4444"}))
    (tmp_path / "5.xml").write_bytes(definition("2.1", **{"<ObjectID>3303": "<ObjectID>4444"}))
    found = loadModels(str(tmp_path))[0].object(4444)
    assert found is not None
    assert found.version == "3.1"


def test_shared() -> None:
    """
    Devices that tell what holds anyway share what is known of objects.
    """
    models, _ = loadModels()
    assert models.choose({}) is models
    assert models.choose({3: "1.1", 1: "1.0", 77: "1.0"}) is models
