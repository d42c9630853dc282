from __future__ import annotations

import threading
import time

import pytest

from headwater.batches.prefetch import Prefetcher


def test_items_come_in_order_and_then_end():
    with Prefetcher(range(20), depth=3) as items:
        assert list(items) == list(range(20))
        assert list(items) == []


def test_an_exception_of_the_producer_reaches_the_consumer_in_its_place():
    def produce():
        yield 1
        raise ValueError("the disk is gone")

    with Prefetcher(produce()) as items:
        assert next(items) == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="the disk is gone"):
                next(items)


def test_no_more_than_depth_items_wait_and_one_is_being_made():
    made = []

    def produce():
        for number in range(100):
            made.append(number)
            yield number

    with Prefetcher(produce(), depth=2):
        deadline = time.monotonic() + 10
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(made) == 3


def test_close_ends_the_thread_of_an_endless_producer():
    def produce():
        while True:
            yield 0

    before = threading.active_count()
    items = Prefetcher(produce(), depth=1)
    next(items)
    items.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        next(items)


def test_waiting_is_measured_by_the_clock_that_was_passed():
    ticks = iter(range(100))
    with Prefetcher(range(5), clock=lambda: next(ticks)) as items:
        list(items)
        assert items.wait_seconds == 6  # five items and the end, one tick each
