"""The compiled functions, called with tensors and numbers."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from headwater.model.kernels.library import KernelError
from headwater.model.kernels.signatures import POINTERS, SIGNATURES


class Kernels:
    """The functions of one compiled library, and the number of threads that each call is given."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._library = library
        self.num_threads = num_threads
        self.int8_panel = self("int8_panel")  # outputs that int8.cpp packs together
        self.multiplies_int8 = self.int8_panel > 0
        self._multiplies_bf16 = self("weight_gradient_bf16", None, None, None, 0, 0, 0, 0) == 0

    def once(self, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return what `compute` does, tensors that no other holds; inside `selective_contexts` it is called once."""
        return compute()

    def selective_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return two contexts, of a pass and of its repetition, in which `once` gives what it gave in the first."""
        outputs = deque[list[Tensor]]()

        def first(compute: Callable[[], list[Tensor]]) -> list[Tensor]:
            found = compute()
            outputs.append([one.detach() for one in found])  # before they get a history
            return found

        return self._with_once(first), self._with_once(lambda compute: outputs.popleft())

    @contextmanager
    def _with_once(self, once: Callable[[Callable[[], list[Tensor]]], list[Tensor]]) -> Iterator[None]:
        self.once = once  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            del self.once

    def __call__(self, name: str, *arguments: Tensor | int | float | None) -> int:
        """Call hw_NAME; tensors go as pointers, ints as int64, the last as the thread count.

        A kernel reads memory as what it declares. Tensors of another dtype, or with gaps, are an AssertionError.
        """
        kinds = SIGNATURES[name]
        assert len(arguments) == len(kinds), f"{name} takes {len(kinds)} arguments and the threads"
        values = [_argument(value, kind, name) for value, kind in zip(arguments, kinds, strict=True)]
        return getattr(self._library, f"hw_{name}")(*values, ctypes.c_int(self.num_threads))

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


def require_plain(tensor: Tensor) -> None:
    """Raise KernelError for a tensor that is spread over several processes (DTensor): its memory isn't its value."""
    if hasattr(tensor, "placements"):
        raise KernelError(
            f'the kernels read plain tensors and found a {type(tensor).__name__}; set machine.compile = "off"'
        )


def _argument(value: Tensor | int | float | None, kind: str, name: str) -> Any:
    if kind == "n":
        assert isinstance(value, int), f"the kernel {name} takes a whole number here, and was given {value!r}"
        return ctypes.c_int64(value)
    if kind == "x":
        assert isinstance(value, int | float), f"the kernel {name} takes a number here, and was given {value!r}"
        return ctypes.c_float(value)
    if value is None:
        return ctypes.c_void_p(None)
    dtype = POINTERS[kind]
    assert isinstance(value, Tensor), f"the kernel {name} takes a tensor here, and was given {value!r}"
    require_plain(value)
    if value.dtype != dtype or not value.is_contiguous():
        found = f"{value.dtype} of shape {tuple(value.shape)} and strides {value.stride()}"
        raise AssertionError(f"the kernel {name} reads contiguous {dtype} here, and was given {found}")
    return ctypes.c_void_p(value.data_ptr())
