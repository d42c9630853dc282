"""What is copied to a device, read from it and timed on it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from headwater.machine.device.device import Device, Gpu, device_of


def test_a_device_is_found_by_torchs_name():
    assert type(device_of("cpu")) is Device
    assert type(device_of("cuda")) is Gpu
    assert device_of("cuda").torch_device == torch.device("cuda")


def test_arrays_are_placed_as_int64_and_copied():
    array = np.array([[1, -1]], dtype=np.int32)
    tensor = Device().place(array)
    array[0, 0] = 7
    assert tensor.dtype == torch.int64
    assert tensor.tolist() == [[1, -1]]


def test_numbers_are_read_together_and_without_rounding():
    values = torch.tensor(1 / 3), torch.tensor(1e-200, dtype=torch.float64), torch.tensor(7), torch.tensor(float("nan"))
    third, tiny, seven, nothing = Device().read(*values)
    assert (third, tiny, seven) == (float(values[0]), 1e-200, 7.0)
    assert nothing != nothing


def test_work_is_timed():
    assert 0.01 <= Device().seconds_of(lambda: time.sleep(0.01)) < 5


def fill_the_memory() -> None:
    torch.empty(1 << 60)


def fill_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("work", [fill_the_memory, fill_a_gpu])
def test_work_that_the_memory_cannot_hold_has_no_time(work):
    assert Device().seconds_of(work) is None


def test_another_error_of_timed_work_is_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="size of tensor a"):
        Device().seconds_of(lambda: torch.ones(2) + torch.ones(3))
