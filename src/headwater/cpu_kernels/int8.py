"""Linear maps whose forward product and input gradient are made in int8, at twice bfloat16's rate with VNNI or AMX.

Each row of the left factor and each column of the right one is scaled by its own largest magnitude, so that a scale
stands outside of every sum (LLM.int8(), arXiv:2208.07339; for training, SwitchBack, arXiv:2304.13013):

    y  = x W^T     x by token, W by output channel
    dx = dy W      dy by token, W by input channel
    dW = dy^T x    in bfloat16, as SwitchBack keeps it: its sums run over tokens, and rounding's noise grows with them

Sums are int32, exact and the same in any order. N tokens · D width of the input · R width of the output
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from headwater.cpu_kernels.calls import Kernels
from headwater.cpu_kernels.products import Products, stacked_bias
from headwater.cpu_kernels.signatures import SUFFIX

SUMS_CHUNK = 1 << 21  # int32 sums made at a time: 8 MB, near enough when they are scaled back


def multiplies_int8_exactly() -> bool:
    """Return whether int8 products of the largest numbers are right here.

    Processors with AVX2 and without VNNI shift one factor to 0 … 255 and add pairs of products in 16 bits, which hold
    no two of 255 × 127.
    """
    large = torch.full((64, 256), 127, dtype=torch.int8)
    large[1::2, ::3] = -127
    return torch.equal(torch._int_mm(large, large.t()).double(), large.double() @ large.double().t())


Quantised = tuple[Tensor, Tensor]  # int8 and its scales


def quantise_rows(x: Tensor, kernels: Kernels) -> Quantised:
    """Return x (N, K) in int8 with a scale a row."""
    quantised = torch.empty(x.shape, dtype=torch.int8), torch.empty(x.shape[0])
    kernels(f"quantise_rows_{SUFFIX[x.dtype]}", x, *x.shape, *quantised)
    return quantised


def quantise_both(x: Tensor, kernels: Kernels) -> tuple[Quantised, Quantised]:
    """Return x (N, K) in int8 with a scale a row, and with a scale a column."""
    by_rows, by_columns = ((torch.empty(x.shape, dtype=torch.int8), torch.empty(size)) for size in x.shape)
    magnitudes = torch.empty(kernels.num_threads, x.shape[1])
    kernels(f"quantise_both_{SUFFIX[x.dtype]}", x, *x.shape, *by_rows, *by_columns, magnitudes)
    return by_rows, by_columns


def quantised_weights(weights: Sequence[Tensor], kernels: Kernels) -> tuple[Quantised, Quantised]:
    """Return masters stacked, in int8 with a scale an output channel and with one an input channel."""
    whole = (weights[0].detach() if len(weights) == 1 else torch.cat(list(weights))).contiguous()
    return quantise_both(whole, kernels)


def multiply(
    left: Quantised, right_KR: Tensor, column_scales: Tensor, bias: Tensor | None, like: Tensor, kernels: Kernels
) -> Tensor:
    """Return left (N, K) @ right, both int8, scaled back and with the bias added, in the dtype of `like`."""
    left_NK, row_scales = left
    out_NR = like.new_empty(left_NK.shape[0], right_KR.shape[1])
    num_rows, width = out_NR.shape
    chunk = min(num_rows, max(1, SUMS_CHUNK // width))
    sums = torch.empty(chunk, width, dtype=torch.int32)
    for start in range(0, num_rows, chunk):
        part = slice(start, min(start + chunk, num_rows))
        part_sums = sums[: part.stop - start]
        torch._int_mm(left_NK[part], right_KR, out=part_sums)
        name = f"scale_sums_{SUFFIX[out_NR.dtype]}"
        kernels(name, part_sums, row_scales[part], column_scales, bias, *part_sums.shape, out_NR[part])
    return out_NR


class Int8Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        by_rows: Quantised,
        by_columns: Quantised,
        bias: Tensor | None,
        kernels: Kernels,
        again: Callable[..., Any] | None,
        *weights: Tensor,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        weight, scales = by_rows

        def product() -> list[Tensor]:
            out = multiply(quantise_rows(rows, kernels), weight.t(), scales, bias, rows, kernels)
            return [out.resize_(*x.shape[:-1], out.shape[-1])]  # in place: a view is what FSDP warns of

        ctx.save_for_backward(rows, *(by_columns if again is None else weights))
        ctx.again = again
        ctx.heights = [weight.shape[0] for weight in weights]
        ctx.shape, ctx.has_bias, ctx.kernels = x.shape, bias is not None, kernels
        return kernels.once(product)[0]

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        rows, *saved = ctx.saved_tensors
        weight, scales = saved if ctx.again is None else ctx.again(saved, ctx.kernels)[1]
        dy, dx = dout.reshape(-1, dout.shape[-1]).contiguous(), None
        if ctx.needs_input_grad[0]:
            dx = multiply(quantise_rows(dy, ctx.kernels), weight, scales, None, dy, ctx.kernels).view(ctx.shape)
        dweight = torch.empty(weight.shape)
        ctx.kernels.weight_gradient_(dweight, dy, rows, fresh=True)
        dbias = dy.float().sum(0) if ctx.has_bias else None
        return dx, None, None, dbias, None, None, *dweight.split(ctx.heights)


class Int8Products(Products):
    """Training's linear maps multiply in int8; without a gradient they are what is exported."""

    is_rounding = True

    @contextmanager
    def unrounded(self) -> Iterator[None]:
        """Multiply as Products does, inside: what rounding is compared with."""
        self.is_rounding = False
        try:
            yield
        finally:
            self.is_rounding = True

    def __call__(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        if not (self.is_rounding and torch.is_grad_enabled()):
            return super().__call__(x_BTD, maps)
        weights = [one.weight for one in maps]
        copies = self.copied(quantised_weights, weights, self.kernels)
        again = None if self.keeps_copies else quantised_weights
        return Int8Project.apply(x_BTD, *copies, stacked_bias(maps), self.kernels, again, *weights)
