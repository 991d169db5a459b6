"""
A broker under siege.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.hostile.kit import PAIRS, RATE, Siege, StartSiege
from tests.system.conftest import StartBroker, broker, clientsCollected, name, startBroker
from tests.system.pairs import Pairs

_HERE = Path(__file__).parent

# Fixtures that are the same as those of the other tests with real processes.
__all__ = ["broker", "clientsCollected", "name", "startBroker", "startSiege"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark every test of this folder, and take no offence at sockets that other people's clients forget to close.
    """
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture
def startSiege(startBroker: StartBroker) -> Iterator[StartSiege]:
    """
    Start brokers, each with twenty clients that exchange messages of QoS 1 when they are asked to.
    """
    with ExitStack() as stack:

        def start(tables: Mapping[str, object] | None = None, listeners: int = 1) -> Siege:
            broker = startBroker(tables, listeners)
            return Siege(broker, stack.enter_context(closing(Pairs(broker, PAIRS, RATE, qos=1))))

        yield start
