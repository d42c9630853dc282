"""Linear maps whose forward product and input gradient are made in int8, at twice bfloat16's rate with VNNI or AMX;
and with VNNI the head's logits, whose gradients are made in bfloat16.

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
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from headwater.model.kernels.calls import SUFFIX, Kernels
from headwater.model.kernels.products import Products, stacked_bias

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
    """Return masters stacked, as `multiply` takes them: for x W^T, with a scale an output channel, and for dy W, with
    one an input channel.
    """
    if kernels.multiplies_int8:
        by_rows, by_columns = packed(weights, kernels, "both")
        return by_rows, by_columns
    stacked = torch.cat(list(weights)) if len(weights) > 1 else weights[0].detach().contiguous()
    (numbers, scales), by_columns = quantise_both(stacked, kernels)
    return (numbers.t(), scales), by_columns


def packed(weights: Sequence[Tensor], kernels: Kernels, scaled_by: Literal["rows", "both"]) -> list[Quantised]:
    """Return at most three masters stacked as int8.cpp multiplies by them, scaled by rows, and also by columns."""
    panel = kernels.int8_panel
    shape, missing = (sum(map(len, weights)), weights[0].shape[1]), [None] * (3 - len(weights))
    made = [
        (torch.empty(-(-outputs // panel) * panel * -(-depth // 4), dtype=torch.int32), torch.empty(outputs))
        for outputs, depth in [shape, shape[::-1]][: 1 if scaled_by == "rows" else 2]
    ]
    masters = [*(weight.detach().contiguous() for weight in weights), *missing]
    heights = [0 if master is None else len(master) for master in masters]
    places = [*chain(*made), None, None][:4]
    kernels("int8_pack", *masters, *heights, shape[1], *places, torch.empty(kernels.num_threads, shape[1]))
    return made


def multiply(x_NK: Tensor, right: Quantised, bias: Tensor | None, kernels: Kernels) -> Tensor:
    """Return x, rounded by rows, times a right factor, scaled back and with the bias added: (N, R) in x's dtype."""
    right_KR, column_scales = right
    out_NR = x_NK.new_empty(x_NK.shape[0], column_scales.shape[0])
    suffix, (num_rows, width) = SUFFIX[x_NK.dtype], out_NR.shape
    if kernels.multiplies_int8:
        shape = (*x_NK.shape, width)
        kernels(f"int8_product_{suffix}", x_NK, right_KR, column_scales, bias, *shape, out_NR)
        return out_NR
    left_NK, row_scales = quantise_rows(x_NK, kernels)
    chunk = min(num_rows, max(1, SUMS_CHUNK // width))
    sums = torch.empty(chunk, width, dtype=torch.int32)
    for start in range(0, num_rows, chunk):
        part = slice(start, min(start + chunk, num_rows))
        part_sums = sums[: part.stop - start]
        torch._int_mm(left_NK[part], right_KR, out=part_sums)
        scales = row_scales[part], column_scales
        kernels(f"scale_sums_{suffix}", part_sums, *scales, bias, *part_sums.shape, out_NR[part])
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

        def product() -> list[Tensor]:
            out = multiply(rows, by_rows, bias, kernels)
            return [out.resize_(*x.shape[:-1], out.shape[-1])]  # in place: a view is what FSDP warns of

        ctx.save_for_backward(rows, *(by_columns if again is None else weights))
        ctx.again = again
        ctx.heights = [weight.shape[0] for weight in weights]
        ctx.shape, ctx.has_bias, ctx.kernels = x.shape, bias is not None, kernels
        return kernels.once(product)[0]

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        rows, *saved = ctx.saved_tensors
        by_columns = saved if ctx.again is None else ctx.again(saved, ctx.kernels)[1]
        dy, dx = dout.reshape(-1, dout.shape[-1]).contiguous(), None
        if ctx.needs_input_grad[0]:
            dx = multiply(dy, by_columns, None, ctx.kernels).view(ctx.shape)
        dweight = torch.empty(sum(ctx.heights), rows.shape[1])
        ctx.kernels.weight_gradient_(dweight, dy, rows, fresh=True)
        dbias = dy.float().sum(0) if ctx.has_bias else None
        return dx, None, None, dbias, None, None, *dweight.split(ctx.heights)


class Int8Products(Products):
    """Training's linear maps are made in int8, and logits where that is faster; without a gradient, as exports do."""

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

    def logits_of(self, weight_VD: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        # torch's product between two passes over all logits gains little on bfloat16
        if not (self.is_rounding and self.kernels.multiplies_int8 and torch.is_grad_enabled()):
            return super().logits_of(weight_VD, dtype)
        [right] = self.copied(packed, [weight_VD], self.kernels, "rows")
        return lambda rows_ND: multiply(rows_ND, right, None, self.kernels)
