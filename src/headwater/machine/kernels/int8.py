"""Linear maps whose three matrix products are made in int8, at twice bfloat16's rate on processors with VNNI or AMX.

Each row of the left factor and each column of the right one is scaled by its own largest magnitude, so that a scale
stands outside of every sum (LLM.int8(), arXiv:2208.07339; for training, SwitchBack, arXiv:2304.13013):

    y  = x W^T     x by token, W by output channel
    dx = dy W      dy by token, W by input channel
    dW = dy^T x    x as it is kept for this, by token; its scales go into dy, which is then scaled by output channel

Sums are int32, exact and the same in any order. Inputs are kept in int8 for the backward pass:
half of bfloat16's memory.
N tokens · D width of the input · R width of the output
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headwater.machine.kernels.calls import SUFFIX, Kernels
from headwater.machine.kernels.ops import KernelOps

MAX_SUMMED = 1 << 17  # products of two numbers up to 127 that int32 surely holds the sum of
SUMS_CHUNK = 1 << 21  # int32 sums made at a time: 8 MB, near enough when they are scaled back


def multiplies_int8_exactly() -> bool:
    """Return whether int8 products of the largest numbers are right here.

    Processors with AVX2 and without VNNI shift one factor to 0 … 255 and add pairs of products in 16 bits, which hold
    no two of 255 × 127.
    """
    large = torch.full((64, 256), 127, dtype=torch.int8)
    large[1::2, ::3] = -127
    return torch.equal(torch._int_mm(large, large.t()).double(), large.double() @ large.double().t())


class _Int8Weights:
    """Masters stacked and rounded to int8 both ways, again only after one of them has changed."""

    @torch.inference_mode(False)
    def __init__(self, weights: Sequence[Tensor], kernels: Kernels) -> None:
        self._weights, self._kernels = list(weights), kernels
        height, width = sum(weight.shape[0] for weight in weights), weights[0].shape[1]
        self.by_rows_RD, self.by_columns_RD = (torch.empty(height, width, dtype=torch.int8) for _ in range(2))
        self.row_scales_R, self.column_scales_D = torch.empty(height), torch.empty(width)
        self._versions: list[int] = []

    @torch.no_grad()
    def current(self) -> _Int8Weights:
        versions = [weight._version for weight in self._weights]
        if versions != self._versions:
            stacked = self._weights[0].detach() if len(self._weights) == 1 else torch.cat(self._weights)
            quantise_both(
                stacked.contiguous(),
                None,
                (self.by_rows_RD, self.row_scales_R),
                (self.by_columns_RD, self.column_scales_D),
                self._kernels,
            )
            self._versions = versions
        return self


def quantise_both(
    x: Tensor,
    factors: Tensor | None,
    by_rows: tuple[Tensor, Tensor],
    by_columns: tuple[Tensor, Tensor],
    kernels: Kernels,
) -> None:
    """Write x (N, K) in int8 with a scale a row, and x · factors[:, None] with a scale a column."""
    magnitudes = torch.empty(kernels.num_threads, x.shape[1])
    kernels(f"quantise_both_{SUFFIX[x.dtype]}", x, factors, *x.shape, *by_rows, *by_columns, magnitudes)


def multiply(
    left_NK: Tensor,
    right_KR: Tensor,
    row_scales: Tensor,
    column_scales: Tensor,
    bias: Tensor | None,
    out_NR: Tensor,
    kernels: Kernels,
) -> Tensor:
    """Write left @ right, both int8, scaled back and with the bias added; return it."""
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
        ctx: Any, x: Tensor, int8: _Int8Weights, bias: Tensor | None, kernels: Kernels, *weights: Tensor
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        quantised, scales = torch.empty(rows.shape, dtype=torch.int8), torch.empty(rows.shape[0])
        kernels(f"quantise_rows_{SUFFIX[x.dtype]}", rows, *rows.shape, quantised, scales)
        out = rows.new_empty(rows.shape[0], int8.by_rows_RD.shape[0])
        multiply(quantised, int8.by_rows_RD.t(), scales, int8.row_scales_R, bias, out, kernels)
        ctx.save_for_backward(quantised, scales, int8.by_columns_RD, int8.column_scales_D)
        ctx.heights = [weight.shape[0] for weight in weights]
        ctx.shape, ctx.has_bias, ctx.kernels = x.shape, bias is not None, kernels
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> Any:  # type: ignore[override]
        x, x_scales, weight, weight_scales = ctx.saved_tensors
        dy = dout.reshape(-1, dout.shape[-1]).contiguous()
        by_tokens, token_scales = torch.empty(dy.shape, dtype=torch.int8), torch.empty(dy.shape[0])
        by_channels, channel_scales = torch.empty(dy.shape, dtype=torch.int8), torch.empty(dy.shape[1])
        quantise_both(dy, x_scales, (by_tokens, token_scales), (by_channels, channel_scales), ctx.kernels)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dy.new_empty(x.shape)
            multiply(by_tokens, weight, token_scales, weight_scales, None, dx, ctx.kernels)
            dx = dx.view(ctx.shape)
        dweight = _weight_gradient(by_channels, x, channel_scales, ctx.kernels)
        dbias = dy.float().sum(0) if ctx.has_bias else None
        return dx, None, dbias, None, *dweight.split(ctx.heights)


def _weight_gradient(by_channels: Tensor, x: Tensor, channel_scales: Tensor, kernels: Kernels) -> Tensor:
    """Return the sum over tokens of dy (N, R) times x (N, D), scaled back, in fp32."""
    parts = []
    for start in range(0, x.shape[0], MAX_SUMMED):
        tokens = slice(start, start + MAX_SUMMED)
        sums = torch._int_mm(by_channels[tokens].t(), x[tokens])
        parts.append(torch.empty(sums.shape))
        kernels("scale_sums_f32", sums, channel_scales, None, None, *sums.shape, parts[-1])
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


class Int8Ops(KernelOps):
    """As KernelOps, but training's linear maps multiply in int8; without a gradient they are what is exported."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        super().__init__(library, num_threads)
        self._int8_weights: dict[tuple[int, ...], _Int8Weights] = {}

    def project(self, x_BTD: Tensor, maps: Sequence[nn.Linear]) -> Tensor:
        if not torch.is_grad_enabled():
            return super().project(x_BTD, maps)
        weights = [one.weight for one in maps]
        biases: list[Tensor] = [one.bias for one in maps if one.bias is not None]
        bias = torch.cat(biases) if biases else None
        return Int8Project.apply(x_BTD, self._int8(weights), bias, self._kernels, *weights)

    def _int8(self, weights: Sequence[Tensor]) -> _Int8Weights:
        key = tuple(map(id, weights))
        if key not in self._int8_weights:
            self._int8_weights[key] = _Int8Weights(weights, self._kernels)
        return self._int8_weights[key].current()
