from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headwater.machine.compute import MachineFacts
from headwater.machine.device import device as peak
from headwater.machine.device.device import Device, matmul_peaks, thread_rates


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch):
    monkeypatch.setitem(peak.SHAPES, "cpu", ((64, 64, 64), (128, 32, 32)))
    monkeypatch.setattr(peak, "SHAPE_SECONDS", 1e9)


def test_every_dtype_has_a_peak_in_the_order_they_were_given_in():
    found = matmul_peaks(torch.device("cpu"), [torch.float32, torch.bfloat16, torch.int8])
    assert list(found) == [torch.float32, torch.bfloat16, torch.int8]


FACTS = MachineFacts("cpu", "made up", "float32", False, 1, 4.0, "2", "")


@pytest.mark.parametrize(("rate", "fraction"), [(1.0, 0.25), (4.0, 1.0), (4.1, None)])
def test_a_rate_above_the_peak_has_no_utilisation(rate, fraction):
    """The peak was measured too low then: raising it would hide that, and a fraction over 1 is none."""
    assert FACTS.utilisation(rate) == fraction


def test_a_peak_that_was_measured_under_load_has_no_utilisation():
    assert replace(FACTS, load="a core").utilisation(1.0) is None


def test_products_that_are_queued_together_share_one_wait(monkeypatch):
    """On a GPU: there a wait takes longer than a product of a processor's shapes."""
    waits, products = [], []
    clock = iter(range(1000))
    monkeypatch.setitem(peak.QUEUED, "cpu", 8)
    monkeypatch.setitem(peak.SHAPES, "cpu", ((64, 64, 64),))
    monkeypatch.setattr(Device, "wait", lambda device: waits.append(len(products)))
    monkeypatch.setattr(torch, "mm", lambda *factors: products.append(1))
    monkeypatch.setattr(peak.time, "perf_counter", lambda: float(next(clock)))
    assert matmul_peaks(torch.device("cpu"), [torch.float32]) == {torch.float32: 2 * 64**3 * 8}
    assert waits == [8 * (i // 2 + i % 2) for i in range(2 * (peak.REPEATS + 1))], "before and after each eight"


def test_the_peak_is_the_best_of_all_repeats(monkeypatch):
    """Other processes only ever make a matmul slower."""
    seconds = iter(range(10**6))
    clock = {"now": 0.0, "calls": 0}

    def perf_counter() -> float:
        clock["calls"] += 1
        # the last repeat of the first shape ends
        clock["now"] += 0.001 if clock["calls"] == 2 * (peak.REPEATS + 1) else float(next(seconds) + 1)
        return clock["now"]

    monkeypatch.setattr(peak.time, "perf_counter", perf_counter)
    found = matmul_peaks(torch.device("cpu"), [torch.float32])
    assert found == {torch.float32: pytest.approx(2 * 64**3 / 0.001)}


def test_a_busy_time_slows_every_dtype(monkeypatch):
    """The first half of all products takes ten times as long, whichever dtype's they are: both peaks are of the second."""
    dtypes = [torch.float32, torch.bfloat16]
    num_products = len(peak.SHAPES["cpu"]) * (peak.REPEATS + 1) * len(dtypes)
    clock = {"now": 0.0, "calls": 0}

    def perf_counter() -> float:
        clock["calls"] += 1
        clock["now"] += 0.01 if clock["calls"] <= num_products else 0.001
        return clock["now"]

    monkeypatch.setitem(peak.SHAPES, "cpu", ((64, 64, 64), (64, 64, 64)))
    monkeypatch.setattr(peak.time, "perf_counter", perf_counter)
    found = matmul_peaks(torch.device("cpu"), dtypes)
    assert list(found.values()) == pytest.approx([2 * 64**3 / 0.001] * 2)


def test_which_dtype_is_faster_is_told_by_the_threads_own_time(monkeypatch):
    """However long the products take by the clock: on a busy machine a thread computes for a part of it."""
    seconds_of, own = {torch.float32: 0.004, torch.int8: 0.001}, {"now": 0.0}

    def multiply(left, right):
        own["now"] += seconds_of[left.dtype]

    monkeypatch.setattr(peak, "THREAD_SHAPES", ((64, 64, 64),))
    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr(torch, "_int_mm", multiply)
    monkeypatch.setattr(peak.time, "thread_time", lambda: own["now"])
    monkeypatch.setattr(peak.time, "perf_counter", lambda: pytest.fail("the clock goes on while others compute"))
    assert thread_rates(list(seconds_of)) == {key: pytest.approx(2 * 64**3 / each) for key, each in seconds_of.items()}


def test_a_dtype_by_a_plain_loop_is_given_up_after_two_products(monkeypatch):
    called = []

    def slow(left, right):
        called.append(left.shape)
        peak.time.sleep(0.02)
        return left

    monkeypatch.setattr(torch, "_int_mm", slow)
    found = matmul_peaks(torch.device("cpu"), [torch.float32, torch.int8])
    assert 0 < found[torch.int8] < found[torch.float32] / peak.MAX_SLOWDOWN
    assert called == [(64, 64)] * 2
