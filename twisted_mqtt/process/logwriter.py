"""
Writes log messages to one destination in a thread of its own: one that is slow or stuck holds up nothing else.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from twisted.logger import LogLevel

from twisted_mqtt.process.logrecord import RANKS, Record

if TYPE_CHECKING:
    from twisted_mqtt.process.logsinks import Sink

MOST_WAITING: Final = 10_000
"""
Messages that wait to be written.
"""

_Order: TypeAlias = Literal["reopen", "end", "close"]

_OURS: Final = "twisted_mqtt.process.logs"


class Writer:
    """
    See the module. Until L{start}, and after L{end}, whoever puts a message here writes it.

    @ivar sink: where it writes.
    @ivar left: how many messages were left out because writing could not keep up.
    @ivar lost: how many could not be written.
    @ivar problem: why the last one could not; C{""} if it could.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.left = 0
        self.lost = 0
        self.problem = ""
        # A signal handler logs too, and may come while another message is put here: a queue with a lock would wait for
        # itself then, for ever. This one allows it.
        self._waiting: SimpleQueue[Record | _Order] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stuck = False
        # Of those left out and lost, how many have been told of.
        self._toldLeft = 0
        self._toldLost = 0

    def put(self, record: Record) -> None:
        """
        Write a message, as soon as those before it are written.
        """
        if self._thread is not None:
            if self._waiting.qsize() < MOST_WAITING:
                self._waiting.put(record)
            else:
                self.left += 1
        elif not self._stuck:
            self._write(record)

    def reopen(self) -> None:
        """
        Open what is there now under the name of the destination.
        """
        if self._thread is not None:
            self._waiting.put("reopen")
        else:
            self._reopen()

    def start(self) -> None:
        """
        Write in a thread from now on. Not before the process is what it will be: a thread does not survive becoming a
        daemon.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """
        Have the thread write what waits, and end.
        """
        if self._thread is not None:
            self._waiting.put("end")

    def end(self, seconds: float) -> None:
        """
        Wait until the thread has ended after L{finish}.

        @param seconds: for how long. If it still hangs then, its destination takes nothing: writing there would hang
            too, and is not tried any more.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(seconds)
            self._stuck = thread.is_alive()
            while not self._stuck and not self._waiting.empty():
                # Another thread has logged something meanwhile.
                waiting = self._waiting.get()
                if isinstance(waiting, Record):
                    self._write(waiting)

    def close(self) -> None:
        """
        Close the destination when all that waits is written; do not wait for that.
        """
        if self._thread is not None:
            self._waiting.put("close")
        elif not self._stuck:
            self.sink.close()

    def _work(self) -> None:
        while True:
            waiting = self._waiting.get()
            if isinstance(waiting, Record):
                self._write(waiting)
            elif waiting == "reopen":
                self._reopen()
            else:
                if waiting == "close":
                    self.sink.close()
                return

    def _reopen(self) -> None:
        try:
            self.sink.reopen()
        except OSError as error:
            self.problem = error.strerror or str(error)

    def _write(self, record: Record) -> None:
        try:
            self.sink.write(record)
            if self.lost != self._toldLost:
                told, self._toldLost = self._toldLost, self.lost
                self._say(record, f"{self.lost - told} lines could not be written: {self.problem}")
            self.problem = ""
            if self.left != self._toldLeft:
                told, self._toldLeft = self._toldLeft, self.left
                self._say(
                    record, f"{self._toldLeft - told} lines were left out: they came faster than they could be written"
                )
        except OSError as error:
            # The disk is full, say. An alarm tells of it, and the log once it is not any more.
            self.lost += 1
            self.problem = error.strerror or str(error)
        except Exception as error:
            # There is nobody to tell: this is where one would say it.
            self.lost += 1
            self.problem = f"{type(error).__name__}: {error}"

    def _say(self, record: Record, text: str) -> None:
        rank = RANKS[LogLevel.warn]
        self.sink.write(Record(record.time, rank, _OURS, f"{_OURS}#warn", text, {}))
