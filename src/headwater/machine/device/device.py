"""The device that tensors live on: what is copied to it, read from it, timed on it; its memory, and its own limits.

Those are the matrix-multiply peak, which utilisation is measured against, and memory bandwidth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial

import numpy as np
import torch
from torch import Tensor


class Device:
    """A processor: its memory is the host's, nothing is queued, and a number of a tensor is at hand."""

    type = "cpu"
    reads_are_free = True

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.type)

    @property
    def name(self) -> str:
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        except OSError:
            names = []
        return names[0] if names else "CPU"

    def place(self, array: np.ndarray) -> Tensor:
        """Return an int64 tensor of `array` on the device; the host doesn't wait until it is there."""
        return torch.from_numpy(array.astype(np.int64))

    def read(self, *values: Tensor) -> list[float]:
        """Return numbers from the device, in one transfer; the host waits until all that is queued there is done."""
        return torch.stack([value.detach().double() for value in values]).tolist()

    def wait(self) -> None:
        """Return when all that is queued is done."""

    def seconds_of(self, work: Callable[[], None]) -> float | None:
        """Return how long `work` takes with all that it queues, or None when the memory can't hold it."""
        try:
            self.wait()
            started_at = time.perf_counter()
            work()
            self.wait()
            return time.perf_counter() - started_at
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        self._give_back_memory()  # not in the except clause: there the error still holds on to the tensors
        return None

    def _give_back_memory(self) -> None:
        pass

    def memory_bytes(self) -> int | None:
        """Return the memory of the device's own; None: it is the host's."""
        return None

    def peak_memory_bytes(self) -> int | None:
        """Return the most of its own memory that tensors held since `forget_peak_memory`; None: it is the host's."""
        return None

    def forget_peak_memory(self) -> None:
        pass

    def gpu_uuids(self) -> list[str]:
        """Return the names by which the driver knows the GPUs that this process sees; none of a processor."""
        return []


class Gpu(Device):
    """A GPU that CUDA knows, with memory of its own and a queue: what the host asks for is done later."""

    type = "cuda"
    reads_are_free = False

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.torch_device)

    def place(self, array: np.ndarray) -> Tensor:
        # a copy from memory that the system may move would wait for all that the device still has to do
        return super().place(array).pin_memory().to(self.torch_device, non_blocking=True)

    def wait(self) -> None:
        torch.cuda.synchronize(self.torch_device)

    def _give_back_memory(self) -> None:
        torch.cuda.empty_cache()

    def memory_bytes(self) -> int | None:
        return torch.cuda.get_device_properties(self.torch_device).total_memory

    def peak_memory_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated(self.torch_device)

    def forget_peak_memory(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.torch_device)

    def gpu_uuids(self) -> list[str]:
        return [f"GPU-{torch.cuda.get_device_properties(at).uuid}" for at in range(torch.cuda.device_count())]


def device_of(name: str) -> Device:
    """Return the device that torch calls "cpu" or "cuda"."""
    return {"cpu": Device, "cuda": Gpu}[name]()


def _is_out_of_memory(error: RuntimeError) -> bool:
    # a processor's allocator has no error class of its own
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


# tokens, outputs, inputs, by device; the peak is the best that any of them reaches. On a processor a square, and
# attention's and the MLP's maps of widths from 384 to 1024: on a matrix unit they differ by half, and without one of
# the shapes utilisation would be too high. A GPU is filled by large products alone.
SHAPES = {
    "cpu": (
        (4096, 384, 384),
        (1024, 1024, 1024),
        (4096, 1536, 384),
        (4096, 512, 512),
        (2048, 2048, 512),
        (2048, 768, 768),
        (2048, 2048, 768),
        (4096, 1024, 1024),
    ),
    "cuda": ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 8192, 2048)),
}
THREAD_SHAPES = ((1024, 384, 384), (1024, 1024, 1024))
"Enough for which dtype is faster: on Zen 5 int8 over bfloat16 was 1.8 to 2.2 in seven shapes under load (2026-11-30)."
QUEUED = {"cpu": 1, "cuda": 8}  # products, or copies, between two waits: launch and wait of one take a GPU 10 to 20 µs
COPY_BYTES = 1 << 28  # far more than most caches hold
REPEATS = 4  # after a first one to warm up
SHAPE_SECONDS = 0.1  # a dtype and shape: slow processors repeat less
MAX_SLOWDOWN = 4  # beside another dtype, after two products: a plain loop makes those that a processor doesn't have
MAX_SECONDS = 10.0  # of products, after which no further shape is begun: under load


def matmul_peaks(device: torch.device, dtypes: Collection[torch.dtype]) -> dict[torch.dtype, float]:
    """Return the highest matmul rate seen in each dtype, in FLOP/s, over a few shapes and repeats (0.4 to 1 s a dtype).

    The best of several, not the mean: other processes only ever make it slower, and a utilisation over 1 would be a lie
    of the denominator.
    """
    return _best_rates(device, dtypes, SHAPES[device.type], time.perf_counter)


def thread_rates(dtypes: Collection[torch.dtype]) -> dict[torch.dtype, float]:
    """Return the rates of products that this thread makes alone, in FLOP/s of its own time (0.2 s): whatever the load.

    torch must be set to one thread.
    """
    return _best_rates(torch.device("cpu"), dtypes, THREAD_SHAPES, time.thread_time)


def _best_rates(
    device: torch.device,
    dtypes: Collection[torch.dtype],
    shapes: Collection[tuple[int, int, int]],
    clock: Callable[[], float],
) -> dict[torch.dtype, float]:
    """Return the best rate of each dtype. For int8 it is multiplications and additions a second, with sums in int32.

    The dtypes take turns, so that a busy moment isn't one dtype's alone.
    """
    best, still, whole = dict.fromkeys(dtypes, 0.0), list(dtypes), 0.0
    for rows, columns, inner in shapes:
        if whole > MAX_SECONDS:
            break
        factors = {dtype: _factors(rows, columns, inner, device, dtype) for dtype in still}
        spent, rounds = 0.0, 0
        while rounds < 2 or (rounds <= REPEATS and spent < SHAPE_SECONDS * len(still)):
            rounds += 1
            for dtype in still:
                left, right = factors[dtype]
                multiply = torch._int_mm if dtype == torch.int8 else torch.mm
                seconds = _seconds_of_one(partial(multiply, left, right), device, clock)
                spent += seconds
                if seconds > 0:  # a coarse clock may not have moved
                    best[dtype] = max(best[dtype], 2 * rows * columns * inner / seconds)
            if rounds > 1:
                still = [dtype for dtype in still if best[dtype] >= max(best.values()) / MAX_SLOWDOWN]
        whole += spent
    return best


def _factors(
    rows: int, columns: int, inner: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a linear map has: an input, and a weight transposed."""
    left, weight = (torch.ones(size, inner, device=device, dtype=dtype) for size in (rows, columns))
    if device.type == "cuda":  # its clock falls with the bits that change: ones are multiplied faster than a model's
        generator = torch.Generator(device).manual_seed(0)
        left, weight = left.normal_(generator=generator), weight.normal_(generator=generator)
    return left, weight.t()


def memory_bandwidth(device: torch.device) -> float:
    """Return bytes read plus bytes written in a second by the fastest of several copies of 256 MB (0.3 s on a CPU)."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(REPEATS):
        best = max(best, 2 * COPY_BYTES / _seconds_of_one(partial(target.copy_, source), device, time.perf_counter))
    return best


def _seconds_of_one(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    wait, num_queued = device_of(device.type).wait, QUEUED[device.type]
    wait()
    started_at = clock()
    for _ in range(num_queued):
        work()
    wait()
    return (clock() - started_at) / num_queued
