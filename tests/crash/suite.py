"""
Rounds of the crash suite: load, SIGKILL at a random moment, start again, look.
"""

from __future__ import annotations

import random
import select
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.crash.checker import Checker, Stream
from tests.crash.clients import Client, Newcomer, Publisher, Subscriber
from tests.crash.lasting import SHORT, WRITTEN, Expiring, Late, Present, ShortSubscriber, Watcher
from tests.system.process import Broker, startTwistd

# Something is lost if nothing comes for so long: much longer than the broker needs on a busy machine.
_SILENCE = 4.0


class Suite:
    """
    A broker, its clients, and what they have seen.

    @cvar listeners: how many the broker has.
    @cvar longest: for how many seconds there is load, at most, before it is killed.
    @cvar offlineRounds: once in so many rounds those come that are away else.
    """

    listeners = 1
    longest = 0.7
    offlineRounds = 4

    def __init__(self, folder: Path, commit: str = "always", seed: int = 1, interval: str = "1s") -> None:
        self.folder = folder
        self.commit = commit
        self.interval = interval
        self.checker = Checker()
        self.random = random.Random(seed)
        self.publishers: list[Any] = []
        self.online: list[Any] = []
        self.reconnecting: list[Any] = []
        self.offline: list[Any] = []
        self.makeClients()
        self.short = [ShortSubscriber(f"short-{number}", self.checker) for number in range(2)]
        self.online += self.short
        self.late = Late("late")
        self.present = [Present(f"present{version}", version) for version in (4, 5)]
        self.expiring = Expiring("expiring")
        self.watcher = Watcher()
        self.rounds = 0
        # Whether the wills of those that were there must be in the store.
        self.wills = False
        self.broker = self._start()
        subscribers = [*self.online, *self.reconnecting, *self.offline, self.watcher]
        self._open(subscribers)
        self._until(subscribers, lambda: all(subscriber.subscribed for subscriber in subscribers))
        assert all(subscriber.subscribed for subscriber in subscribers)
        for subscriber in self.offline:
            subscriber.close()

    def makeClients(self) -> None:
        """
        Make those that publish, and those that subscribe: some stay, some reconnect, some come but now and then.
        """
        checker = self.checker
        self.publishers = [
            Publisher(checker.stream(f"crash/{number}/{qos}", qos), window, version)
            for number, (qos, window, version) in enumerate(
                [(1, 20, 4), (1, 1, 5), (1, 50, 5), (2, 10, 4), (2, 1, 5), (2, 20, 5)]
            )
        ]
        # A delayed message is a record of a table until it is due: the acknowledgement promises that it comes, and that
        # the record goes in the batch in which its subscribers get it.
        for delay in (0, 1):
            stream = checker.stream(f"crash/delayed/{delay}", 2)
            self.publishers.append(Publisher(stream, 5, 4 + delay, prefix=f"$delayed/{delay}/"))
        for number in range(2):
            stream = checker.retained[f"retained/{number}"] = Stream(f"retained/{number}", 1)
            self.publishers.append(Publisher(stream, 2, 4 + number, retain=True))
        self.online = [Subscriber(f"online {version}", checker, version) for version in (4, 5)]
        self.reconnecting = [Subscriber(f"reconnecting {version}", checker, version) for version in (4, 5)]
        self.offline = [Subscriber(f"offline {version}", checker, version) for version in (4, 5)]

    def configuration(self) -> dict[str, Any]:
        """
        Get the broker's settings.
        """
        return {
            "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
            "zone": {"external": {"max_mqueue_len": 0, "session_expiry_interval": "1d", "max_awaiting_rel": 1000}},
            "node": {"data_dir": str(self.folder / "data")},
            "plugins": {"load": ["delayed_publish"]},
            "persistence": {"store": "sqlite", "commit": self.commit, "interval": self.interval},
            # They may change with each start.
            "retainer": {"storage_type": ("disc", "disc_only")[self.rounds % 2]},
        }

    def _start(self) -> Broker:
        return startTwistd(self.folder, self.configuration(), self.listeners)

    def run(self, rounds: int) -> None:
        """
        So many rounds, or until there is a problem.
        """
        for _ in range(rounds):
            self._load()
            # In every other round there is some.
            self._rest((self.rounds % 2 + self.random.random()) / 2)
            self.broker.end(signal.SIGKILL)
            self.rounds += 1
            for client in self._clients():
                client.close()
            self.broker = self._start()
            self._look()
            self.wills = False
            if self.checker.problems:
                break

    def stop(self) -> None:
        """
        End the broker and close everything.
        """
        for client in self._clients():
            client.close()
        self.broker.end(signal.SIGKILL)

    def _clients(self) -> list[Client]:
        lasting = [self.late, *self.present, self.expiring, self.watcher]
        return [*self.publishers, *self.online, *self.reconnecting, *self.offline, *lasting]

    def _open(self, clients: Iterable[Client]) -> None:
        for client in clients:
            client.connect(self.broker)

    def _load(self) -> None:
        """
        Publish for a random time.
        """
        self.expiring.leave()
        for publisher in self.publishers:
            publisher.publishing = True
            publisher.fill()
            if publisher.socket is None:
                publisher.connect(self.broker)
        self._open(client for client in (self.late, *self.present) if client.socket is None)
        end = time.monotonic() + self.random.uniform(0.02, self.longest)
        while (left := end - time.monotonic()) > 0:
            self._turn(min(left, 0.05))
            for subscriber in self.reconnecting:
                if self.random.random() < 0.02:
                    subscriber.connect(self.broker)
        for publisher in self.publishers:
            publisher.publishing = False

    def _rest(self, chance: float) -> None:
        """
        Let the broker rest, or not: nobody publishes any more. Sometimes that is longer than a session lasts whose
        client is there; mostly it is nothing, so that the kill falls into the load. Once in a while all that nobody
        waits for is written, so that wills are there.
        """
        if chance < 0.5:
            return
        self._until(self.present, lambda: self.late.open and all(client.ready for client in self.present))
        rest = WRITTEN if chance < 0.8 else self.random.uniform(WRITTEN, 1.5) if chance < 0.93 else SHORT + 0.5
        self.checker.counts["quiet phases"] += 1
        self.checker.counts["quiet phases longer than a session"] += rest > SHORT
        end = time.monotonic() + rest
        while (left := end - time.monotonic()) > 0:
            self._turn(left)
        self.wills = True

    def _lookAtWills(self) -> None:
        """
        The wills of those that did not come back are published, of those that did are not.
        """
        for client in self.short:
            for _ in self.watcher.wills.pop(f"wills/{client.clientID}", ()):
                self.checker.problems.append(f"{client.clientID}: its will is published, though it came back in time")
        if self.wills:
            late = self.late
            self._until([self.watcher], lambda: late.number in self.watcher.wills[late.topic])
            self.checker.counts["delayed wills"] += 1
            if late.number not in self.watcher.wills[late.topic]:
                self.checker.problems.append(f"{late.clientID}: its will {late.number} is not published")
        if self.expiring.isDue:
            self.expiring.connect(self.broker)
            self._until([self.expiring], lambda: self.expiring.open)
        self.checker.counts["sessions that had to end"] = self.expiring.count
        if self.expiring.problem:
            self.checker.problems.append(self.expiring.problem)

    def _look(self) -> None:
        """
        Let everybody come back, and see whether what was acknowledged is there.
        """
        # Their time counts from the start.
        self._open([*self.short, self.watcher])
        self._newcomer()
        present = [*self.online, *self.reconnecting]
        if self.rounds % self.offlineRounds == 0:
            present += self.offline
        self._open([client for client in present if client not in self.short] + self.publishers)
        self._until(self.publishers, lambda: all(publisher.isQuiet for publisher in self.publishers))
        self._until(present, lambda: all(self.checker.isDone(subscriber.clientID) for subscriber in present))
        # A little longer: what comes twice comes late.
        self._turn(0.05)
        for client in [*present, *self.publishers]:
            self.checker.counts["sessions resumed"] += 1
            if client.sessionLost:
                client.sessionLost = False
                self.checker.problems.append(f"{client.clientID}: its session is lost")
        for publisher in self.publishers:
            if not publisher.isQuiet:
                self.checker.problems.append(f"{publisher.clientID}: what it sent again is not acknowledged")
        for subscriber in present:
            self.checker.check(subscriber.clientID)
        self._lookAtWills()
        self._forget(present)

    def _forget(self, present: list[Any]) -> None:
        """
        Messages that all have are not examined again: else each round would take longer than the one before.
        """
        if len(present) < len(self.online) + len(self.reconnecting) + len(self.offline):
            return
        for stream in self.checker.streams.values():
            stream.promised.clear()
        for receipts in self.checker.receipts.values():
            for one in receipts.values():
                one.forget()
        for subscriber in self.offline:
            subscriber.close()

    def _newcomer(self) -> None:
        newcomer = Newcomer()
        newcomer.connect(self.broker, clean=True)
        wanted = {topic for topic, stream in self.checker.retained.items() if stream.promised}
        self._until([newcomer], lambda: wanted <= set(newcomer.values))
        self.checker.checkRetained(newcomer.values)
        if self.wills:
            gone = {client.topic: client.number + 1 for client in self.present}
            self._until([newcomer], lambda: gone.items() <= newcomer.values.items())
            for client in self.present:
                self.checker.counts["wills of clean sessions"] += 1
                if newcomer.values.get(client.topic) != client.number + 1:
                    self.checker.problems.append(f"{client.topic}: says that its client is there, which is gone")
        newcomer.close()

    def _until(self, clients: Iterable[Client], condition: Callable[[], bool]) -> None:
        """
        Wait for something, but not longer than nothing comes.
        """
        also = [client for client in clients if client not in self._clients()]
        last = time.monotonic()
        while not condition() and time.monotonic() - last < _SILENCE:
            if self._turn(0.1, also):
                last = time.monotonic()

    def _turn(self, seconds: float, also: Iterable[Client] = ()) -> bool:
        """
        Read what has come; returns whether anything has.
        """
        byNumber = {client.socket.fileno(): client for client in [*self._clients(), *also] if client.socket is not None}
        ready = select.select(list(byNumber), [], [], seconds)[0]
        for number in ready:
            byNumber[number].read()
        return bool(ready)
