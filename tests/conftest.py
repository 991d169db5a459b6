"""
Rules for every test: the core under test, the effort of property tests, and that nothing fails unseen.
"""

import gc
import importlib
import importlib.machinery
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import setup
from tests.kits.shown import called

# Everywhere: this suite shares two cores, so how long one example took says nothing.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples every time: a red run means that the change under test is at fault.
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, max_examples=100)
settings.load_profile("dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add C{--compiled} and C{--reference}.
    """
    parser.addoption("--compiled", action="store_true", help="fail unless the core under test is compiled")
    parser.addoption("--reference", action="store_true", help="drive Mosquitto with the system tests' clients instead")


def pytest_sessionstart(session: pytest.Session) -> None:
    """
    Refuse to start when the core is not the one that was asked for.
    """
    wanted = bool(session.config.getoption("--compiled"))
    for path in setup.modules():
        name = path.removesuffix(".py").replace("/", ".")
        loader = importlib.import_module(name).__loader__
        if isinstance(loader, importlib.machinery.ExtensionFileLoader) is not wanted:
            raise pytest.UsageError(f"{name} is {'not ' if wanted else ''}compiled")


@pytest.fixture(autouse=True)
def noErrorUnseen(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Fail a test during which an error was logged, a Deferred's unhandled failure among them.

    trial's own cases are left alone: they do the same, and let a test take errors it expects with C{flushLoggedErrors}.
    """
    case = getattr(request.node, "cls", None)
    if case is not None and issubclass(case, SynchronousTestCase):
        yield
        return
    errors: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("isError") or "log_failure" in event:
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
        # A Deferred tells of its failure only when it goes; collecting the youngest finds those of this test.
        gc.collect(0)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not errors, "\n".join(_describe(event) for event in errors)


@pytest.fixture(autouse=True)
def showsWhatItSays(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Fail a test that is said to show an operation of management and does not call it. What system tests call is not
    seen.
    """
    said = {name for mark in request.node.iter_markers("shows") for name in mark.args}
    called.clear()
    yield
    if said and request.node.get_closest_marker("system") is None:
        assert said <= called, f"the test does not call {', '.join(sorted(said - called))}"


def _describe(event: LogEvent) -> str:
    failure: Any = event.get("log_failure")
    text = formatEvent(event)
    return f"{text}\n{failure.getTraceback()}" if failure is not None else text
