"""
Brokers for the system tests: one that most tests share, others as a test wants them.
"""

import gc
import itertools
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.system.commandline import Ctl, run
from tests.system.process import Broker, startMosquitto, startTwistd

_HERE = Path(__file__).parent
_numbers = itertools.count(1)

# Starts a broker with these tables added to the usual ones; C{listeners} says how many listeners they make.
StartBroker = Callable[..., Broker]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark every test of this folder, and take no offence at sockets that other people's clients forget to close.
    """
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


def pytest_collection_finish() -> None:
    """
    Imported modules stay, and need not be searched for garbage after each test: that takes a tenth of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clientsCollected() -> Iterator[None]:
    """
    Collect what a client left behind here, not during somebody else's test.
    """
    yield
    gc.collect()


def configuration(folder: Path) -> dict[str, object]:
    """
    One plain listener on a port that the kernel picks.
    """
    return {
        "allow_anonymous": True,
        "mqtt": {"max_topic_alias": 100},
        "node": {"name": "test@127.0.0.1", "data_dir": str(folder / "data")},
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
    }


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    The broker that tests share; they keep out of each other's way by C{name}.
    """
    folder = tmp_path_factory.mktemp("broker")
    reference = request.config.getoption("--reference")
    broker = startMosquitto(folder) if reference else startTwistd(folder, configuration(folder))
    yield broker
    broker.stop()


@pytest.fixture
def startBroker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartBroker]:
    """
    Start brokers of a test's own, which are stopped after it unless the test has done so.
    """
    if request.config.getoption("--reference"):
        pytest.skip("needs a broker configured for it, and the reference is not")
    started: list[Broker] = []

    def start(tables: Mapping[str, object] | None = None, listeners: int = 1) -> Broker:
        folder = tmp_path / f"broker{len(started)}"
        folder.mkdir()
        broker = startTwistd(folder, {**configuration(folder), **(tables or {})}, listeners)
        started.append(broker)
        return broker

    yield start
    for broker in started:
        if broker.process.poll() is None:
            broker.stop()


@pytest.fixture
def managed(startBroker: StartBroker, tmp_path: Path) -> tuple[Broker, Ctl]:
    """
    A broker with management, and the program that calls it.
    """
    broker = startBroker(
        {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}, 2
    )
    broker.waitFor("listening: ctl:http")
    (path,) = tmp_path.rglob("ctl.sock")

    def ctl(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run("--socket", str(path), *words, **more)

    return broker, ctl


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """
    A word of this test's own, to begin client identifiers and topics with; short enough for MQTT 3.1.
    """
    word = re.sub(r"\W", "", request.node.originalname.removeprefix("test_"))[:10]
    return f"{word}{next(_numbers)}"
