"""
Messages about configuration files that are wrong.
"""

from pathlib import Path

import pytest

from twisted_mqtt.config import ConfigurationError, readSettings


def cases() -> list[tuple[str, list[str]]]:
    """
    The table: text of the file, messages.
    """
    table = (Path(__file__).parent / "wrong_files.txt").read_text(encoding="utf-8")
    found = []
    for case in table.split("-----\n")[1:]:
        lines = [line for line in case.splitlines() if not line.startswith("#")]
        text = "".join(f"{line}\n" for line in lines if not line.startswith("-> "))
        found.append((text, [line[3:] for line in lines if line.startswith("-> ")]))
    return found


CASES = cases()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A folder of its own as working folder, with a certificate and a key that can at least be opened.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    return tmp_path


def refusal(text: str | bytes, environ: dict[str, str] | None = None) -> ConfigurationError:
    """
    Why a file is refused.
    """
    Path("broker.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        readSettings("broker.toml", environ or {})
    return caught.value


@pytest.mark.parametrize(("text", "messages"), CASES, ids=[text.strip().replace("\n", " ") for text, _ in CASES])
def test_says(here: Path, text: str, messages: list[str]) -> None:
    """
    Each wrong file gets exactly its messages, one a line.
    """
    assert str(refusal(text)).splitlines() == [message.replace("$HERE", str(here)) for message in messages]


def test_tableIsLongEnough() -> None:
    """
    The table has the cases it had: reading it did not skip any.
    """
    assert len(CASES) > 100
    assert all(text and messages for text, messages in CASES)


def test_saysAllAtOnce(here: Path) -> None:
    """
    Every fault is in one error, in the order of lines: of values, unknown keys, between keys, of the environment.
    """
    error = refusal(
        """
        nonsense = 1
        [zone.external]
        max_inflight = "many"
        [listener.tcp.external]
        zone = "externl"
        [listener.ws.external]
        mqtt_path = "x"
        """,
        {"MQTTBROKER__NODE__NAME": "x", "MQTTBROKER__NODE__NAM": "y"},
    )
    assert [(problem.file, problem.line, problem.key) for problem in error.problems] == [
        ("broker.toml", 2, "nonsense"),
        ("broker.toml", 4, "zone.external.max_inflight"),
        ("broker.toml", 6, "listener.tcp.external.zone"),
        ("broker.toml", 8, "listener.ws.external.mqtt_path"),
        ("environment variable MQTTBROKER__NODE__NAM", None, "node.nam"),
        ("environment variable MQTTBROKER__NODE__NAME", None, "node.name"),
    ]
    assert [problem.value for problem in error.problems] == [1, "many", "externl", "x", "y", "x"]


def test_missingFile(here: Path) -> None:
    """
    A file that is not there is a problem like any other.
    """
    with pytest.raises(ConfigurationError) as caught:
        readSettings("absent.toml", {})
    assert str(caught.value) == "absent.toml: cannot be read (No such file or directory): name an existing file"


def test_notText(here: Path) -> None:
    """
    Bytes that are no UTF-8 text are reported with their line.
    """
    assert str(refusal(b"# fine\n# \xff\n")) == "broker.toml:2: is not UTF-8 text: save it as UTF-8"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[" * 5000, "too many brackets within brackets"),
        ("{a = " * 5000, "too many brackets within brackets"),
        ("9" * 5000, "a number has too many digits"),
    ],
    ids=["lists", "tables", "digits"],
)
def test_beyondPython(here: Path, value: str, says: str) -> None:
    """
    What Python's parser gives up on is a message, and no traceback.
    """
    assert str(refusal(f"max_inflight = {value}")) == f"broker.toml: this is not TOML: {says}"


def test_secretsAreNotShown(here: Path) -> None:
    """
    A secret that is wrong does not get into a log.
    """
    for text in ("[mqtt.sn]\npassword = 12345\n", "[stomp.default_user]\npasscode = [12345]\n"):
        assert "12345" not in str(refusal(text))


def test_longValuesAreCut(here: Path) -> None:
    """
    A message stays on a line, however long the value.
    """
    [line] = str(refusal(f'acl_nomatch = "{"x" * 1000}\\n"')).splitlines()
    assert len(line) < 200


def test_environmentIsNamed(here: Path) -> None:
    """
    A problem of an environment variable names it, and nothing else.
    """
    error = refusal("", {"MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT": "many"})
    assert str(error) == (
        "environment variable MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT: "
        'zone.external.max_inflight = "many": must be a whole number from 1 to 65535'
    )


def test_misspeltVariable(here: Path) -> None:
    """
    A variable for a key that does not exist is refused like the key.
    """
    error = refusal("", {"MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGT": "64"})
    assert str(error).endswith('there is no such key; the nearest is "max_inflight"')
