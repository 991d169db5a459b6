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
        self.rounds = 0
        self.broker = self._start()
        subscribers = [*self.online, *self.reconnecting, *self.offline]
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
            self.broker.end(signal.SIGKILL)
            self.rounds += 1
            for client in self._clients():
                client.close()
            self.broker = self._start()
            self._look()
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
        return [*self.publishers, *self.online, *self.reconnecting, *self.offline]

    def _open(self, clients: Iterable[Client]) -> None:
        for client in clients:
            client.connect(self.broker)

    def _load(self) -> None:
        """
        Publish for a random time.
        """
        for publisher in self.publishers:
            publisher.publishing = True
            publisher.fill()
            if publisher.socket is None:
                publisher.connect(self.broker)
        end = time.monotonic() + self.random.uniform(0.02, self.longest)
        while (left := end - time.monotonic()) > 0:
            self._turn(min(left, 0.05))
            for subscriber in self.reconnecting:
                if self.random.random() < 0.02:
                    subscriber.connect(self.broker)
        for publisher in self.publishers:
            publisher.publishing = False

    def _look(self) -> None:
        """
        Let everybody come back, and see whether what was acknowledged is there.
        """
        self._newcomer()
        present = [*self.online, *self.reconnecting]
        if self.rounds % self.offlineRounds == 0:
            present += self.offline
        self._open([*present, *self.publishers])
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
