"""
The promises of all stores, tried with each; and the real writer thread.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.kits.storemixin import StoreTestsMixin
from tests.kits.stores import Bed
from twisted_mqtt.stores.worker import ThreadWorker
from twisted_mqtt.testing.broker import makeBroker


class MemoryStoreTests(StoreTestsMixin, SynchronousTestCase):
    """
    Tests for L{MemoryStore<twisted_mqtt.stores.memory.MemoryStore>}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.broker, self.factory = makeBroker(self.clock)
        self.store = self.broker.store


class SQLiteStoreTests(StoreTestsMixin, SynchronousTestCase):
    """
    Tests for L{SQLiteStore<twisted_mqtt.stores.sqlite.SQLiteStore>}.
    """

    commit = "always"

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bed = Bed(Path(folder.name), self.commit)
        self.addCleanup(bed.crash)
        self.clock, self.broker, self.factory, self.store = bed.clock, bed.broker, bed.factory, bed.store


class IntervalTests(SQLiteStoreTests):
    """
    The same with C{commit = "interval"}.
    """

    commit = "interval"


class NeverTests(SQLiteStoreTests):
    """
    The same with C{commit = "never"}.
    """

    commit = "never"


class ThreadWorkerTests(TestCase):
    """
    Tests for L{ThreadWorker}.
    """

    def setUp(self) -> None:
        any_: Any = reactor
        self.worker = ThreadWorker(any_.callFromThread)
        self.addCleanup(self.worker.stop)

    def submit(self, job: Any) -> Deferred[Any]:
        """
        Have a job done.
        """
        done: Deferred[Any] = Deferred()
        self.worker.submit(job, done.callback)
        return done

    async def test_order(self) -> None:
        """
        Jobs are done one after the other, in another thread, and their results come back to this one.
        """
        threads: list[int] = []

        def job() -> int:
            threads.append(threading.get_ident())
            return len(threads)

        jobs = [self.submit(job) for _ in range(5)]
        self.assertEqual([await each for each in jobs], [1, 2, 3, 4, 5])
        self.assertEqual(len(set(threads)), 1)
        self.assertNotIn(threading.get_ident(), threads)

    async def test_failure(self) -> None:
        """
        A job that raises does not end the thread.
        """

        def job() -> None:
            raise OSError("no")

        done = self.submit(job)
        await self.assertFailure(done, OSError)
        self.assertEqual(await self.submit(lambda: 1), 1)
