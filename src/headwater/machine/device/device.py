"""The device that tensors live on: what is copied to it, read from it, timed on it, and how much memory it has."""

from __future__ import annotations

import time
from collections.abc import Callable

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


def device_of(name: str) -> Device:
    """Return the device that torch calls "cpu" or "cuda"."""
    return {"cpu": Device, "cuda": Gpu}[name]()


def _is_out_of_memory(error: RuntimeError) -> bool:
    # a processor's allocator has no error class of its own
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
