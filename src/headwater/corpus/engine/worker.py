"""A process that does tasks: `python -m headwater.corpus.engine.worker`.

It is told on its standard input where it works and then its tasks; it says on its standard output that it lives, and
how each task ended. It ends when its input does, in the middle of a task, too.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from typing import IO, Any

from headwater.corpus.engine.tasks import Task, doer_of
from headwater.corpus.engine.workers import outcome_of
from headwater.corpus.read.processes import OUT_OF_MEMORY, limit_memory_, pack, receive

HEARTBEAT_SECONDS = 1.0


def main() -> None:
    """Do tasks until there are no more."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    place = receive()
    inbox: queue.SimpleQueue[Task] = queue.SimpleQueue()
    outbox = _Outbox(messages)
    threading.Thread(target=_receive, args=(inbox,), daemon=True).start()
    threading.Thread(target=outbox.beat, daemon=True).start()
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve a gigabyte immediately
    pa.set_cpu_count(1)  # a worker is a core; each thread more takes address space, which is limited
    import_module(place["maker"].partition(":")[0])  # before the memory of its tasks is counted
    limit_memory_(place["memory_bytes"])
    tempfile.tempdir = place["temporary"]
    do = cache(lambda: doer_of(place["maker"], place["given"], outbox.note_read, 1))

    def run(task: Task) -> None:
        do()(task)  # what it loads, too, may be at a store that is away

    while True:
        task = inbox.get()
        try:
            outbox.send(outcome_of(partial(run, task)))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


class _Outbox:
    """The way to the process that leads, used by two threads."""

    def __init__(self, messages: IO[bytes]) -> None:
        self._messages = messages
        self._lock = threading.Lock()
        self._num_bytes_read = 0

    def note_read(self, num_bytes: int) -> None:
        self._num_bytes_read += num_bytes

    def send(self, message: dict[str, Any]) -> None:
        try:
            with self._lock:
                self._messages.write(pack(message))
                self._messages.flush()
        except OSError:  # the other end is no more
            os._exit(1)

    def beat(self) -> None:
        """Say that the process lives, and how much text it has read, for ever."""
        while True:
            self.send({"read": self._num_bytes_read})
            threading.Event().wait(HEARTBEAT_SECONDS)


def _receive(inbox: queue.SimpleQueue[Task]) -> None:
    """Hand on tasks; end the process when there will be no more, whatever it does."""
    with suppress(EOFError):
        while True:
            message = receive()
            inbox.put(Task(message["stage"], message["number"]))
    os._exit(0)


if __name__ == "__main__":
    with suppress(EOFError):
        main()
