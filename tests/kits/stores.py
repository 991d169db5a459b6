"""
A broker in memory with a store on disk, that is stopped or killed and started again, as often as a test likes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.stores.packing import Pack
from twisted_mqtt.stores.sqlite import SQLiteStore
from twisted_mqtt.stores.worker import DirectWorker
from twisted_mqtt.testing.peer import Peer

START = 1_700_000_000.0


class HeldWorker(DirectWorker):
    """
    Does its jobs when it is told to, so that a test can look at what waits for them.

    @ivar held: whether jobs wait; until then each is done at once.
    """

    def __init__(self) -> None:
        self.held = False
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """
        See L{Worker<twisted_mqtt.stores.worker.Worker>}.
        """
        if self.held:
            self.jobs.append((job, done))
        else:
            super().submit(job, done)

    def step(self) -> None:
        """
        Do the first of what waits, and hold on.
        """
        job, done = self.jobs.pop(0)
        super().submit(job, done)

    def release(self) -> None:
        """
        Do what waits, and hold no more.
        """
        self.held = False
        jobs, self.jobs = self.jobs, []
        for job, done in jobs:
            super().submit(job, done)


class Bed:
    """
    A broker that can be started again.

    @ivar broker: the one that runs.
    @ivar worker: the one that its store has.
    @ivar ahead: by how many seconds the wall clock was set forward since the broker started.
    """

    ahead = 0.0

    def __init__(
        self,
        folder: Path,
        commit: str = "always",
        retainer: Any = None,
        retained: str = "disc",
        reserve: int = 0,
        **zoneKeys: Any,
    ) -> None:
        """
        @param retained: where retained messages are kept.
        @param reserve: how many bytes are kept for a full disk.
        @param zoneKeys: keys of the zone that all clients are in.
        """
        self.path = folder / "store.db"
        self.clock = Clock()
        self.clock.advance(START)
        self.commit = commit
        self.retainer = retainer
        self.retained = retained
        self.reserve = reserve
        self.zoneKeys = {"max_mqueue_len": 0, **zoneKeys}
        self.start()

    def start(self, **storeKeys: Any) -> None:
        """
        Start a broker with what the file holds.
        """
        settings = settingsFrom({"zone": {"external": self.zoneKeys}})
        self.worker = HeldWorker()
        # A process begins with what the wall clock says.
        self.clock.rightNow += self.ahead
        self.ahead = 0.0
        dates = Dates(self.clock.seconds, lambda: self.clock.seconds() + self.ahead)
        self.store = SQLiteStore(
            self.path,
            self.clock,
            self.worker,
            self.commit,
            retained=self.retained,
            reserve=self.reserve,
            dates=dates,
            **storeKeys,
        )
        self.broker = Broker(settings, self.clock, self.store, lambda: 0.0, self.retainer, dates)
        self.broker.startService()
        opened: list[Any] = []
        self.broker.open().addBoth(opened.append)
        while not opened:
            self.clock.advance(0)
        if opened[0] is not None:
            opened[0].raiseException()
        self.factory = MQTTFactory(self.broker, ListenerProfile("tcp.external", settings.resolveZone("external")))

    def stop(self) -> None:
        """
        Stop the broker in order.
        """
        stopped: list[Any] = []
        self.broker.stopService().addBoth(stopped.append)
        self.clock.advance(0)
        assert stopped == [None], stopped

    def crash(self) -> None:
        """
        End the broker as a killed process ends: what was not committed is lost, and nobody says goodbye.
        """
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.worker.held = True
        self.store._database.close()

    def restart(self, crash: bool = False, pause: float = 0.0, **storeKeys: Any) -> None:
        """
        Stop or kill the broker and start it again.

        @param pause: seconds in which it does not run.
        """
        if crash:
            self.crash()
        else:
            self.stop()
        self.clock.advance(pause)
        self.start(**storeKeys)

    def peer(self, version: int = 5) -> Peer:
        """
        A client that has not connected yet.
        """
        return Peer(self.factory, self.clock, version)

    def client(self, clientID: str, version: int = 5, clean: bool = False, expiry: int = 3600, **fields: Any) -> Peer:
        """
        A client with a session that outlives it.
        """
        peer = self.peer(version)
        if version == 5:
            fields["sessionExpiry"] = expiry
        peer.connect(clientID, cleanStart=clean, **fields)
        return peer

    def rows(self, table: str) -> int:
        """
        How many rows a table of the store has.
        """
        return self._count(f"SELECT count(*) FROM {table}")

    @property
    def entries(self) -> int:
        """
        How many entries the store has that are not settled.
        """
        return self._count("SELECT coalesce(sum(total), 0) FROM run") - self._count(
            "SELECT coalesce(sum(total), 0) FROM gone"
        )

    @property
    def messages(self) -> int:
        """
        How many messages the store has, settled or not.
        """
        connection = self.store._database.connection
        packs = connection.execute("SELECT messages FROM parcel UNION ALL SELECT messages FROM run")
        return sum(Pack(data).count for (data,) in packs if data)

    def _count(self, statement: str) -> int:
        count: int = self.store._database.connection.execute(statement).fetchone()[0]
        return count
