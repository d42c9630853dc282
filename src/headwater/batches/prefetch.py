"""One background thread makes the next batches while the model works on this one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.05


class _End:
    """The last thing in the queue: the producer is done, or failed with `error`."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """An iterator over `items`, at most `depth` of them made ahead of time; their order is unchanged.

    An exception of the producer is raised at the place in the order where it happened. Use it as a context manager or
    call `close`, which waits for the thread.
    """

    def __init__(self, items: Iterable[T], depth: int = 2, clock: Callable[[], float] = time.perf_counter) -> None:
        self._queue: Queue[T | _End] = Queue(maxsize=depth)
        self._stop = threading.Event()
        self._ended: _End | None = None
        self._clock = clock
        self.wait_seconds = 0.0
        """Time that the consumer has spent waiting for data."""
        self._thread = threading.Thread(target=self._produce, args=(items,), name="prefetch", daemon=True)
        self._thread.start()

    def _produce(self, items: Iterable[T]) -> None:
        end = _End(None)
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:  # handed to the consumer, whatever it is
            end = _End(error)
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended is None and self._stop.is_set():
            raise RuntimeError("this prefetcher is closed")
        item = self._ended or self._timed_get()
        if not isinstance(item, _End):
            return item
        self._ended = item
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _timed_get(self) -> T | _End:
        started_at = self._clock()
        try:
            return self._queue.get()
        finally:
            self.wait_seconds += self._clock() - started_at

    def close(self) -> None:
        """Stop the producer and wait until its thread has ended."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except Empty:
                self._thread.join(timeout=_POLL_SECONDS)

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
