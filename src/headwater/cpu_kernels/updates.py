"""The optimizer's passes on a processor, each one sweep over memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from headwater.cpu_kernels.calls import Kernels
from headwater.cpu_kernels.signatures import SUFFIX
from headwater.optim.updates import AdamW, PlainUpdates


class KernelUpdates(PlainUpdates):
    """Parameters, gradients and state are fp32 and contiguous."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._kernels = Kernels(library, num_threads)
        probe = (None, None, None, 0, 0, 0, 1.0, 0.0)
        self.multiplies_half = self._kernels("symmetric_product_bf16", *probe) == 0  # of a symmetric product in bf16
        self.blocks = KernelBlocks(self._kernels) if self.multiplies_half else None

    def adamw_(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        step: int,
        **numbers: Unpack[AdamW],
    ) -> None:
        lr, beta1, beta2 = numbers["lr"], numbers["beta1"], numbers["beta2"]
        rate, square_scale = lr / (1 - beta1**step), 1 / (1 - beta2**step)
        keep = 1.0 - lr * numbers["weight_decay"]
        rates = (1.0 - beta1, float(beta2), 1.0 - beta2, float(numbers["eps"]), keep, float(rate), float(square_scale))
        for parameter, gradient, mean, square in zip(parameters, gradients, means, squares, strict=True):
            self._kernels("adamw", parameter, gradient.contiguous(), mean, square, parameter.numel(), *rates)
        increment_version(list(parameters))

    def nesterov_(
        self, gradients: Sequence[Tensor], momenta: Sequence[Tensor], momentum: float, dtype: torch.dtype
    ) -> Tensor:
        ahead = torch.empty(len(gradients), *gradients[0].shape, dtype=dtype)
        for gradient, mean, place in zip(gradients, momenta, ahead, strict=True):
            count = gradient.numel()
            self._kernels(f"momentum_{SUFFIX[dtype]}", gradient.contiguous(), mean, count, float(momentum), place)
        return ahead

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor:
        if x_NRC.dtype == torch.bfloat16 and self.multiplies_half:
            x_NRC, plus_NRR = x_NRC.contiguous(), None if plus_NRR is None else plus_NRR.contiguous()
            out_NRR = x_NRC.new_empty(*x_NRC.shape[:2], x_NRC.shape[1])
            self._kernels("symmetric_product_bf16", x_NRC, plus_NRR, out_NRR, *x_NRC.shape, float(alpha), float(beta))
            return out_NRR
        return super().symmetric_product(x_NRC, alpha, plus_NRR, beta)

    def descend_(self, parameters: Sequence[Tensor], directions: Tensor, *, keep: float, rate: float) -> None:
        directions = directions.contiguous()
        for parameter, direction in zip(parameters, directions, strict=True):
            name = f"descend_{SUFFIX[directions.dtype]}"
            self._kernels(name, parameter, direction, parameter.numel(), float(keep), float(rate))
        increment_version(list(parameters))


class KernelBlocks:
    """Blocks of matrices without copies of them; parameters are fp32 and contiguous, x_NRC in bf16.

    A block is `size` of the indices of a matrix's shorter side, which are its rows here: of a matrix taller than wide
    the transposed.
    """

    largest = 256  # size: a thread takes a whole block, and packs of it what fits into its second cache

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def grams(self, x_NRC: Tensor, size: int) -> Tensor:
        """Return X X^T of every block, (blocks, size, size) in fp32."""
        rows, columns = x_NRC.shape[1:]
        grams = torch.empty(x_NRC.shape[0] * min(rows, columns) // size, size, size)
        self._kernels("block_grams_bf16", x_NRC, grams, *x_NRC.shape, size)
        return grams

    def descend_(
        self, parameters: Sequence[Tensor], x_NRC: Tensor, factors: Tensor, *, keep: float, rate: float
    ) -> None:
        """parameter = parameter × keep - rate × F X in place, F the symmetric factor in bf16 of each block."""
        numbers = (*x_NRC.shape[1:], factors.shape[1], float(keep), float(rate))
        for parameter, x_RC, own in zip(parameters, x_NRC, factors.chunk(len(parameters)), strict=True):
            self._kernels("descend_blocks_bf16", parameter, x_RC, own, *numbers)
        increment_version(list(parameters))
