"""
The conformance vectors, run against this broker; and that they are complete and their document is fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.process import Broker, startTwistd
from tests.vectors.doc import DOCUMENT, loadClauses, render, vectorsByClause
from tests.vectors.memory import MemoryBench
from tests.vectors.model import Vector, load
from tests.vectors.packets import parse
from tests.vectors.run import Run
from tests.vectors.sockets import SocketBench

VECTORS = load()
OVER_SOCKETS = [vector for vector in VECTORS if not vector.inMemoryOnly]


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


def zoneNames(vectors: list[Vector]) -> dict[str, str]:
    """
    A zone for each set of settings that vectors ask for.
    """
    return {repr(settings): f"zone{number}" for number, settings in enumerate(_distinct(vectors))}


def _distinct(vectors: list[Vector]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for vector in vectors:
        if vector.settings not in found:
            found.append(vector.settings)
    return found


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    One broker process with a listener, in a zone of its own, for each set of settings.
    """
    folder = tmp_path_factory.mktemp("vectors")
    names = zoneNames(OVER_SOCKETS)
    zones = {names[repr(settings)]: {"allow_anonymous": True, **settings} for settings in _distinct(OVER_SOCKETS)}
    configuration = {
        "node": {"name": "vectors@127.0.0.1", "data_dir": str(folder / "data")},
        "zone": zones,
        "listener": {"tcp": {name: {"bind": "127.0.0.1:0", "zone": name} for name in zones}},
    }
    broker = startTwistd(folder, configuration, len(zones))
    yield broker
    broker.stop()


@pytest.mark.system
@pytest.mark.parametrize("vector", OVER_SOCKETS, ids=lambda vector: vector.key)
def test_overSocket(process: Broker, vector: Vector) -> None:
    """
    A broker process does what the vector says, over TCP.
    """
    name = zoneNames(OVER_SOCKETS)[repr(vector.settings)]
    run = Run(vector, SocketBench(process.host, process.ports[f"listener.tcp.{name}"]))
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


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.key)
def test_everyVectorCanFail(vector: Vector) -> None:
    """
    A vector ends by expecting something: what follows the last expectation could not fail.
    """
    assert " < " in vector.steps[-1]


def test_documentIsFresh() -> None:
    """
    C{docs/conformance.md} is what C{python -m tests.vectors.doc} writes.
    """
    assert Path(DOCUMENT).read_text("utf-8") == render()


@pytest.mark.parametrize("line", ["PUBLISH", "NONSENSE 1", "publish a b"])
def test_parseRefusesOtherWords(line: str) -> None:
    """
    A line that is not of the notation is the vector's fault and says so.
    """
    with pytest.raises((ValueError, IndexError)):
        parsed = parse(line)
        parsed.words[0]
