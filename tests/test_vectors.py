"""
The conformance vectors, run against this broker; and that they are complete and their document is fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.system.process import Broker, startTwistd
from tests.vectors.memory import MemoryBench
from tests.vectors.model import Failed, Vector, load
from tests.vectors.run import Run
from tests.vectors.sockets import SocketBench
from tests.vectors_doc import DOCUMENT, loadClauses, render, vectorsByClause

VECTORS = load()
OVER_TCP = [vector for vector in VECTORS if not vector.webSocket]
OVER_SOCKETS = [vector for vector in VECTORS if not vector.inMemoryOnly]
# A zone for each set of settings that some of them ask for, by how the set is written.
ZONES = {repr(vector.settings): vector.settings for vector in OVER_SOCKETS}
ZONE_NAMES = {settings: f"zone{number}" for number, settings in enumerate(ZONES)}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.key)
def test_inMemory(vector: Vector) -> None:
    """
    The broker does what the vector says.
    """
    bench = MemoryBench(vector)
    try:
        Run(vector, bench).run()
    finally:
        bench.close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("vector", OVER_TCP, ids=lambda vector: vector.key)
def test_overWebSocket(vector: Vector) -> None:
    """
    It does the same for a client that comes over WebSocket.
    """
    bench = MemoryBench(vector, webSocket=True)
    try:
        Run(replace(vector, webSocket=True), bench).run()
    finally:
        bench.close()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    One broker process with a listener, in a zone of its own, for each set of settings.
    """
    folder = tmp_path_factory.mktemp("vectors")
    zones = {ZONE_NAMES[written]: {"allow_anonymous": True, **settings} for written, settings in ZONES.items()}
    configuration = {
        "node": {"name": "vectors@127.0.0.1", "data_dir": str(folder / "data")},
        "zone": zones,
        "listener": {kind: {name: {"bind": "127.0.0.1:0", "zone": name} for name in zones} for kind in ("tcp", "ws")},
    }
    broker = startTwistd(folder, configuration, 2 * len(zones))
    yield broker
    broker.stop()


@pytest.mark.system
@pytest.mark.timeout(30)
@pytest.mark.parametrize("vector", OVER_SOCKETS, ids=lambda vector: vector.key)
def test_overSocket(process: Broker, vector: Vector) -> None:
    """
    A broker process does what the vector says, over TCP or WebSocket.
    """
    kind = "ws" if vector.webSocket else "tcp"
    port = process.ports[f"listener.{kind}.{ZONE_NAMES[repr(vector.settings)]}"]
    run = Run(vector, SocketBench(process.host, port))
    try:
        run.run()
    finally:
        run.cleanUp()


def test_everyServerClauseIsShownOrExplained() -> None:
    """
    A statement that binds a server has a vector, or a reason why none can show it, and never both.
    """
    shown = vectorsByClause(VECTORS)
    for clause in loadClauses():
        has = (clause.version, clause.clause) in shown
        if clause.who != "client":
            assert has != bool(clause.reason), f"{clause.clause} of version {clause.version}"


def test_everyCitedClauseExists() -> None:
    """
    Vectors cite statements that the specification of their version has.
    """
    known = {(clause.version, clause.clause) for clause in loadClauses()}
    assert set(vectorsByClause(VECTORS)) <= known


def test_namesAreUnique() -> None:
    """
    A failing vector can be found by its name.
    """
    keys = [vector.key for vector in VECTORS]
    assert len(keys) == len(set(keys))


def test_everyVectorEndsInAnExpectation() -> None:
    """
    Each vector ends with an expectation: a step after it could not fail.
    """
    assert [vector.key for vector in VECTORS if " < " not in vector.steps[-1]] == []


class DeafBench:
    """
    A broker that accepts connections and never says anything, or closes them all at once.
    """

    patience = 0.0
    concurrent = False

    def __init__(self, closes: bool) -> None:
        self._closes = closes

    def open(self) -> DeafBench:
        """
        Itself is the link too: no connection differs from another.
        """
        return self

    def send(self, data: bytes) -> None:
        """
        Lost.
        """

    def receive(self, wait: float) -> bytes | None:
        """
        Nothing, or the end.
        """
        return None if self._closes else b""

    def abort(self) -> None:
        """
        Nobody notices.
        """

    def advance(self, seconds: float) -> None:
        """
        Time changes nothing.
        """


def test_everyVectorFailsOnASilentBroker() -> None:
    """
    No vector is content with a broker that does nothing.
    """
    assert [vector.key for vector in VECTORS if _passes(vector, DeafBench(closes=False))] == []


def test_onlyRefusalsPassOnABrokerThatCloses() -> None:
    """
    Closing every connection at once satisfies only vectors about what is no CONNECT to answer.
    """
    content = [vector for vector in VECTORS if _passes(vector, DeafBench(closes=True))]
    expectations = {step.split(" < ")[1].split()[0] for vector in content for step in vector.steps if " < " in step}
    assert expectations <= {"closed", "ends", "refused"}


def _passes(vector: Vector, bench: DeafBench) -> bool:
    try:
        Run(vector, bench).run()
    except Failed:
        return False
    return True


def test_documentIsFresh() -> None:
    """
    C{docs/conformance.md} is what C{python -m tests.vectors_doc} writes.
    """
    assert DOCUMENT.read_text("utf-8") == render()
