from __future__ import annotations

import pytest
import torch

from headwater.machine import peak
from headwater.machine.peak import matmul_peak


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch):
    monkeypatch.setattr(peak, "PEAK_SHAPES", ((64, 64, 64), (128, 32, 32)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_a_rate_that_a_machine_can_have(dtype):
    assert 1e6 < matmul_peak(torch.device("cpu"), dtype) < 1e16


def test_the_peak_is_the_best_of_all_repeats(monkeypatch):
    """Other processes only ever make a matmul slower."""
    seconds = iter(range(10**6))
    clock = {"now": 0.0, "calls": 0}

    def perf_counter() -> float:
        clock["calls"] += 1
        # the last repeat of the first shape ends
        clock["now"] += 0.001 if clock["calls"] == 2 * peak.REPEATS else float(next(seconds) + 1)
        return clock["now"]

    monkeypatch.setattr(peak.time, "perf_counter", perf_counter)
    assert matmul_peak(torch.device("cpu"), torch.float32) == pytest.approx(2 * 64**3 / 0.001)
