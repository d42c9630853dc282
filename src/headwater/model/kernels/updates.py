"""The optimizer's passes on a processor, each one sweep over memory."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from headwater.model.kernels.calls import SUFFIX, Kernels
from headwater.model.optim.muon import POLAR_EXPRESS
from headwater.model.optim.settings import gram_is_cheaper
from headwater.model.optim.update_rules import AdamW, PlainUpdates, Tensors

LARGEST_BLOCK = 256  # rows: a thread takes a whole block, and packs of it what fits into its second cache


class KernelUpdates(PlainUpdates):
    """Parameters, gradients and state are fp32 and contiguous."""

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._kernels = Kernels(library, num_threads)
        probe = (None, None, None, 0, 0, 0, 1.0, 0.0)
        self.multiplies_half = self._kernels("symmetric_product_bf16", *probe) == 0  # of a symmetric product in bf16

    def adamw_(self, parameters: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, by: AdamW) -> None:
        rate, square_scale = by.lr / (1 - by.beta1**by.step), 1 / (1 - by.beta2**by.step)
        keep = 1.0 - by.lr * by.weight_decay
        rates = (1.0 - by.beta1, by.beta2, 1.0 - by.beta2, by.eps, keep, rate, square_scale)
        for parameter, gradient, mean, square in zip(parameters, gradients, means, squares, strict=True):
            self._kernels("adamw", parameter, gradient.contiguous(), mean, square, parameter.numel(), *rates)
        increment_version(list(parameters))

    def nesterov_(self, gradients: Tensors, momenta: Tensors, momentum: float, dtype: torch.dtype) -> Tensor:
        ahead = torch.empty(len(gradients), *gradients[0].shape, dtype=dtype)
        for gradient, mean, place in zip(gradients, momenta, ahead, strict=True):
            count = gradient.numel()
            self._kernels(f"momentum_{SUFFIX[dtype]}", gradient.contiguous(), mean, count, momentum, place)
        return ahead

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor:
        if x_NRC.dtype == torch.bfloat16 and self.multiplies_half:
            x_NRC, plus_NRR = x_NRC.contiguous(), None if plus_NRR is None else plus_NRR.contiguous()
            out_NRR = x_NRC.new_empty(*x_NRC.shape[:2], x_NRC.shape[1])
            self._kernels("symmetric_product_bf16", x_NRC, plus_NRR, out_NRR, *x_NRC.shape, alpha, beta)
            return out_NRR
        return super().symmetric_product(x_NRC, alpha, plus_NRR, beta)

    def descend_(self, parameters: Tensors, directions: Tensor, *, keep: float, rate: float) -> None:
        directions = directions.contiguous()
        for parameter, direction in zip(parameters, directions, strict=True):
            name = f"descend_{SUFFIX[directions.dtype]}"
            self._kernels(name, parameter, direction, parameter.numel(), keep, rate)
        increment_version(list(parameters))

    def descend_orthogonally_(self, parameters: Tensors, x_NRC: Tensor, size: int, *, keep: float, rate: float) -> None:
        is_known = self.multiplies_half and x_NRC.dtype == torch.bfloat16 and size <= LARGEST_BLOCK
        if is_known and gram_is_cheaper(size, max(x_NRC.shape[1:])):
            by = self.factors_(self.block_grams(x_NRC, size)).to(x_NRC.dtype)
            self.descend_blocks_(parameters, x_NRC, by, keep=keep, rate=rate)
        else:
            super().descend_orthogonally_(parameters, x_NRC, size, keep=keep, rate=rate)

    def block_grams(self, x_NRC: Tensor, size: int) -> Tensor:
        """Return X X^T of every block of `size` of the shorter side, (blocks, size, size) in fp32, without copies.

        A block's rows are the indices of the shorter side: of a matrix taller than wide it is a transposed one.
        """
        rows, columns = x_NRC.shape[1:]
        grams = torch.empty(x_NRC.shape[0] * min(rows, columns) // size, size, size)
        self._kernels("block_grams_bf16", x_NRC, grams, *x_NRC.shape, size)
        return grams

    def factors_(self, grams: Tensor) -> Tensor:
        """Return `optim.muon.factors`, in the memory of what it is given."""
        self._kernels("muon_factors", grams, torch.tensor(POLAR_EXPRESS), *grams.shape[:2], len(POLAR_EXPRESS))
        return grams

    def descend_blocks_(self, parameters: Tensors, x_NRC: Tensor, by: Tensor, *, keep: float, rate: float) -> None:
        """parameter = parameter × keep - rate × F X in place, F the symmetric factor in bf16 of each block."""
        numbers = (*x_NRC.shape[1:], by.shape[1], keep, rate)
        for parameter, x_RC, own in zip(parameters, x_NRC, by.chunk(len(parameters)), strict=True):
            self._kernels("descend_blocks_bf16", parameter, x_RC, own, *numbers)
        increment_version(list(parameters))
