"""The compiled functions: what each takes, in order, and how it is called with tensors and numbers.

In `SIGNATURES`, which a test compares with the sources and the compiled library, a pointer is named by what it points
to, T being the dtype in the function's name; `n` is an int64, `x` a float. Every function takes the number of threads,
an int, as its last argument, and returns nothing or an int.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from headwater.model.kernels.library import KernelError

SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}
POINTERS = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "i8": torch.int8,
    "i32": torch.int32,
    "i64": torch.int64,
}

OF_BOTH_DTYPES = {
    # x, y, weight, N, D, eps, sum, out, inverse_rms
    "add_norm": "T T f32 n n x T T f32",
    # dout, dsum, sum, weight, inverse_rms, N, D, dx, dweight, partials
    "add_norm_backward": "T T T f32 f32 n n T f32 f32",
    # qkv, query_weight, key_weight, table, B, T, table's T, H, G, K, eps, q, k, v
    "split_heads": "T f32 f32 f32 n n n n n n x T T T",
    # dq, dk, dv, qkv, query_weight, key_weight, table, B, T, table's T, H, G, K, eps, dqkv, dweights, partials
    "split_heads_backward": "T T T T f32 f32 f32 n n n n n n x T f32 f32",
    # q, k, v, first, out, log_sums, B, H, G, T, K, scale
    "attention_forward": "T T T i32 T f32 n n n n n x",
    # q, k, v, first, out, log_sums, dout, dq, dk, dv, B, H, G, T, K, scale
    "attention_backward": "T T T i32 T f32 T T T T n n n n n x",
    # gate_up, N, F, out
    "swiglu": "T n n T",
    # dout, gate_up, N, F, dgate_up
    "swiglu_backward": "T T n n T",
    # logits, targets, N, V, losses
    "loss_and_error": "T i64 n n f32",
    "losses": "T i64 n n f32",
    # x, N, K, out, scales
    "quantise_rows": "T n n i8 f32",
    # x, N, K, by_rows, row_scales, by_columns, column_scales, magnitudes
    "quantise_both": "T n n i8 f32 i8 f32 f32",
    # sums, row_scales, column_scales, bias, N, R, out
    "scale_sums": "i32 f32 f32 f32 n n T",
    # x, packed, scales, bias, N, K, R, out
    "int8_product": "T i32 f32 f32 n n n T",
    # gradient, mean, n, keep, out
    "momentum": "f32 f32 n x T",
    # parameter, direction, n, keep, rate
    "descend": "f32 T n x x",
}
OF_ONE_DTYPE = {
    # parameter, gradient, mean, square, n, mean_rate, square_keep, square_rate, eps, keep, rate, square_scale
    "adamw": "f32 f32 f32 f32 n x x x x x x x",
    # dy, x, out, N, R, C, is_fresh
    "weight_gradient_bf16": "bf16 bf16 f32 n n n n",
    # nothing
    "int8_panel": "",
    # three weights, their rows, K, by_rows, row_scales, by_columns, column_scales, magnitudes
    "int8_pack": "f32 f32 f32 n n n n i32 f32 i32 f32 f32",
    # x, plus, out, N, R, C, alpha, beta
    "symmetric_product_bf16": "bf16 bf16 bf16 n n n x x",
    # grams, coefficients, N, R, degrees
    "muon_factors": "f32 f32 n n n",
    # x, out, N, R, C, size
    "block_grams_bf16": "bf16 f32 n n n n",
    # parameter, x, factors, R, C, size, keep, rate
    "descend_blocks_bf16": "f32 bf16 bf16 n n n x x",
}

SIGNATURES = {name: tuple(kinds.split()) for name, kinds in OF_ONE_DTYPE.items()} | {
    f"{name}_{suffix}": tuple(kinds.replace("T", suffix).split())
    for name, kinds in OF_BOTH_DTYPES.items()
    for suffix in SUFFIX.values()
}
"The kinds of the arguments of hw_NAME, but for the threads."


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
