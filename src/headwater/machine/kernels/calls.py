"""The compiled functions, called with tensors and numbers."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}


class Kernels:
    """The compiled functions, called with tensors and numbers."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._library = library
        self.num_threads = num_threads
        self._multiplies_bf16 = self("weight_gradient_bf16", None, None, None, 0, 0, 0, 0) == 0

    def __call__(self, name: str, *arguments: Tensor | int | float | None) -> int:
        """Call hw_NAME; tensors go as pointers and must be contiguous, ints as int64, the last as the thread count."""
        return getattr(self._library, f"hw_{name}")(*map(_argument, arguments), ctypes.c_int(self.num_threads))

    def weight_gradient_(self, gradient: Tensor, dout: Tensor, rows: Tensor, *, fresh: bool) -> None:
        """Write (`fresh`) or add to a gradient (R, C) in fp32 the sum over tokens of dout (N, R) times rows (N, C)."""
        if rows.dtype == torch.bfloat16 and self._multiplies_bf16:
            shape = (dout.shape[0], *gradient.shape)
            self("weight_gradient_bf16", dout.contiguous(), rows.contiguous(), gradient, *shape, int(fresh))
        elif fresh and rows.dtype == gradient.dtype:
            torch.mm(dout.t(), rows, out=gradient)
        elif fresh:
            gradient.copy_(torch.mm(dout.t(), rows))
        else:
            gradient += torch.mm(dout.t(), rows)


def _argument(value: Tensor | int | float | None) -> Any:
    if isinstance(value, Tensor):
        assert value.is_contiguous()
        return ctypes.c_void_p(value.data_ptr())
    if value is None:
        return ctypes.c_void_p(None)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)
