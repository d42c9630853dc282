"""A GPU's queue: copies that the host doesn't wait for, reads and times that wait for all, memory, and the peak."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwater.machine.device.device import Gpu, matmul_peaks, memory_bandwidth

CYCLES = 1_000_000_000  # of the GPU's clock: about half a second
MODEL_SHAPES = ((8192, 768, 768), (8192, 3072, 768), (16384, 1024, 1024), (16384, 4096, 1024), (8192, 2048, 2048))


def queue_something_long() -> torch.cuda.Event:
    torch.cuda._sleep(CYCLES)
    ended = torch.cuda.Event()
    ended.record()
    return ended


def test_an_array_is_copied_while_the_gpu_is_still_busy(forbid_waits):
    ended, array = queue_something_long(), np.arange(1 << 16, dtype=np.int32).reshape(4, -1)
    forbid_waits()
    tensor = Gpu().place(array)
    assert not ended.query(), "the host waited for what was queued before"
    torch.cuda.set_sync_debug_mode("default")
    assert (tensor.dtype, tensor.device.type) == (torch.int64, "cuda")
    assert np.array_equal(tensor.cpu().numpy(), array)


def test_a_number_is_read_when_all_before_it_is_done():
    ended = queue_something_long()
    assert Gpu().read(torch.ones((), device="cuda"), torch.zeros((), device="cuda")) == [1.0, 0.0]
    assert ended.query()


def test_a_time_is_that_of_all_that_was_queued(gpu):
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def work() -> None:
        begun.record()
        torch.cuda._sleep(CYCLES)
        ended.record()

    assert Gpu().seconds_of(work) >= begun.elapsed_time(ended) / 1000


def test_work_that_the_memory_cannot_hold_has_no_time_and_leaves_the_memory_free(gpu):
    device = Gpu()

    def fill() -> None:
        torch.empty(2 * device.memory_bytes(), dtype=torch.uint8, device=gpu)

    assert device.seconds_of(fill) is None
    assert device.seconds_of(lambda: torch.ones(8, device=gpu)) is not None


def test_the_peak_of_memory_is_of_what_came_after_it_was_forgotten(gpu):
    device = Gpu()
    device.forget_peak_memory()
    before = device.peak_memory_bytes()
    ballast = torch.ones(1 << 24, device=gpu)  # 64 MiB
    assert device.peak_memory_bytes() - before >= ballast.nbytes
    del ballast
    assert device.peak_memory_bytes() - before >= 64 << 20
    device.forget_peak_memory()
    assert device.peak_memory_bytes() == pytest.approx(before, abs=1 << 20)
    assert device.peak_memory_bytes() < device.memory_bytes()


@pytest.mark.parametrize("shape", MODEL_SHAPES, ids=str)
def test_no_product_of_a_model_is_faster_than_the_peak(gpu, shape):
    """Else utilisation would come out too high; 3 % are for the clock, which moves."""
    rows, columns, inner = shape
    (peak,) = matmul_peaks(gpu, [torch.bfloat16]).values()
    left, right = (torch.randn(size, inner, device=gpu).bfloat16() for size in (rows, columns))

    def work() -> None:
        for _ in range(32):
            left @ right.t()

    seconds = min(Gpu().seconds_of(work) for _ in range(4))
    assert 32 * 2 * rows * columns * inner / seconds <= 1.03 * peak


def test_a_wait_is_a_small_part_of_what_is_timed_between_two(gpu):
    """The peak of a shape ten times as large isn't much higher: what a launch and a wait take would show there."""
    (peak,) = matmul_peaks(gpu, [torch.bfloat16]).values()
    left = torch.randn(16384, 16384, device=gpu).bfloat16()
    seconds = min(Gpu().seconds_of(lambda: left @ left) for _ in range(4))
    assert 2 * 16384**3 / seconds <= 1.05 * peak


def test_bandwidth_is_not_that_of_a_cache_or_of_the_bus(gpu):
    assert 1e11 < memory_bandwidth(gpu) < 2e13
