from __future__ import annotations

import pytest
import torch

from headwater.device import peak
from headwater.device.peak import matmul_peaks


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch):
    monkeypatch.setattr(peak, "PEAK_SHAPES", ((64, 64, 64), (128, 32, 32)))


def test_the_peak_is_a_rate_that_a_machine_can_have():
    found = matmul_peaks(torch.device("cpu"), [torch.float32, torch.bfloat16, torch.int8])
    assert list(found) == [torch.float32, torch.bfloat16, torch.int8]
    assert all(1e6 < rate < 1e16 for rate in found.values()), found


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
    num_products = len(peak.PEAK_SHAPES) * (peak.REPEATS + 1) * len(dtypes)
    clock = {"now": 0.0, "calls": 0}

    def perf_counter() -> float:
        clock["calls"] += 1
        clock["now"] += 0.01 if clock["calls"] <= num_products else 0.001
        return clock["now"]

    monkeypatch.setattr(peak, "PEAK_SHAPES", ((64, 64, 64), (64, 64, 64)))
    monkeypatch.setattr(peak.time, "perf_counter", perf_counter)
    found = matmul_peaks(torch.device("cpu"), dtypes)
    assert list(found.values()) == pytest.approx([2 * 64**3 / 0.001] * 2)


def test_int8_by_a_plain_loop_is_given_up_after_one_shape(monkeypatch):
    called = []

    def slow(left, right):
        called.append(left.shape)
        peak.time.sleep(0.02)
        return left

    monkeypatch.setattr(torch, "_int_mm", slow)
    found = matmul_peaks(torch.device("cpu"), [torch.float32, torch.int8])
    assert 0 < found[torch.int8] < found[torch.float32] / peak.MAX_INT8_SLOWDOWN
    assert set(called) == {(64, 64)}, "the second shape has 128 rows"
