"""The two update rules, over lists of tensors, in plain PyTorch; a machine may compute some of their passes otherwise:
a GPU in few kernels over many tensors.

N matrices of one shape · R rows · C columns
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.model.optim import muon
from headwater.model.optim.settings import rows_of_block

Tensors = Sequence[Tensor]


@dataclass(frozen=True)
class AdamW:
    """The numbers of an update by AdamW (arXiv:1711.05101); `step` counts it, from 1."""

    step: int
    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float


@dataclass(frozen=True)
class Muon:
    """The numbers of an update by Muon (see `optim.muon`); `block_rows` None: whole matrices are made orthogonal."""

    lr: float
    momentum: float
    weight_decay: float
    block_rows: int | None
    compute_dtype: torch.dtype

    @property
    def keep(self) -> float:
        """Return what weight decay leaves of a weight."""
        return 1 - self.lr * self.weight_decay

    def rate(self, rows: int, columns: int) -> float:
        """Return the length of an update's step: its scale is such that one learning rate serves every shape."""
        return self.lr * max(1.0, rows / columns) ** 0.5

    def size(self, rows: int, columns: int) -> int:
        """Return the rows of the blocks of a matrix's shorter side."""
        return rows_of_block(min(rows, columns), self.block_rows)


class PlainUpdates:
    """PyTorch's own operations: what a subclass, which overrides the passes that it computes faster, must equal."""

    def adamw_(self, parameters: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, by: AdamW) -> None:
        """Update parameters, means and squares in place."""
        weights, slopes = list(parameters), list(gradients)
        torch._foreach_lerp_(list(means), slopes, 1 - by.beta1)
        torch._foreach_mul_(list(squares), by.beta2)
        torch._foreach_addcmul_(list(squares), slopes, slopes, 1 - by.beta2)
        roots = torch._foreach_sqrt(list(squares))
        torch._foreach_div_(roots, (1 - by.beta2**by.step) ** 0.5)
        torch._foreach_add_(roots, by.eps)
        torch._foreach_mul_(weights, 1 - by.lr * by.weight_decay)
        torch._foreach_addcdiv_(weights, list(means), roots, -by.lr / (1 - by.beta1**by.step))

    def muon_(self, parameters: Tensors, gradients: Tensors, momenta: Tensors, by: Muon) -> None:
        """Update matrices of one shape and their momenta in place.

        The update's scale is sqrt(max(1, rows/columns)), so that one learning rate serves every shape; a matrix in
        blocks has the same: its entries are as large.
        """
        shape = parameters[0].shape
        ahead_NRC = self.nesterov_(gradients, momenta, by.momentum, by.compute_dtype)
        self.descend_orthogonally_(parameters, ahead_NRC, by.size(*shape), keep=by.keep, rate=by.rate(*shape))

    def nesterov_(self, gradients: Tensors, momenta: Tensors, momentum: float, dtype: torch.dtype) -> Tensor:
        """Update n momenta of matrices of one shape; return Nesterov's gradients, (n, R, C) in `dtype`."""
        means, slopes = list(momenta), list(gradients)
        torch._foreach_lerp_(means, slopes, 1 - momentum)
        return torch.stack(torch._foreach_lerp(slopes, means, momentum)).to(dtype)

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor:
        """Return alpha × X X^T + beta × `plus`, which is symmetric or absent, in the dtype of X."""
        return muon.symmetric_product(x_NRC, alpha, plus_NRR, beta)

    def descend_orthogonally_(self, parameters: Tensors, x_NRC: Tensor, size: int, *, keep: float, rate: float) -> None:
        """parameter = parameter × keep - rate × X in place, with blocks of `size` of X's shorter side orthogonal."""
        self.descend_(parameters, self.orthogonal(x_NRC, size), keep=keep, rate=rate)

    def orthogonal(self, x_NRC: Tensor, size: int) -> Tensor:
        """Return X with blocks of `size` of its shorter side orthogonal."""
        return muon.orthogonalise_blocks(x_NRC, size, self.symmetric_product)

    def descend_(self, parameters: Tensors, directions: Tensor, *, keep: float, rate: float) -> None:
        """parameter = parameter × keep - rate × direction, in place."""
        torch._foreach_mul_(list(parameters), keep)
        torch._foreach_add_(list(parameters), [one.to(parameters[0].dtype) for one in directions], alpha=-rate)


class FusedUpdates(PlainUpdates):
    """Parameters, gradients and state are fp32 on one device.

    The host waits for nothing: numbers that change from step to step go along as arguments, the count of steps as a
    tensor that the device fills.
    """

    def adamw_(self, parameters: Tensors, gradients: Tensors, means: Tensors, squares: Tensors, by: AdamW) -> None:
        """Update all tensors in one pass over memory, where PyTorch's separate operations take eight."""
        counts = [torch.full((), by.step, dtype=torch.float32, device=parameters[0].device)] * len(parameters)
        slopes = [gradient.contiguous() for gradient in gradients]
        largest_squares: list[Tensor] = []  # which AMSGrad alone keeps
        state = (list(means), list(squares), largest_squares, counts)
        torch._fused_adamw_(
            list(parameters),
            slopes,
            *state,
            lr=by.lr,
            beta1=by.beta1,
            beta2=by.beta2,
            weight_decay=by.weight_decay,
            eps=by.eps,
            amsgrad=False,
            maximize=False,
        )

    def nesterov_(self, gradients: Tensors, momenta: Tensors, momentum: float, dtype: torch.dtype) -> Tensor:
        means, slopes = list(momenta), list(gradients)
        torch._foreach_lerp_(means, slopes, 1 - momentum)
        ahead_NRC = torch.empty(len(means), *means[0].shape, dtype=dtype, device=means[0].device)
        torch._foreach_copy_(list(ahead_NRC.unbind()), torch._foreach_lerp(slopes, means, momentum))
        return ahead_NRC

    def descend_(self, parameters: Tensors, directions: Tensor, *, keep: float, rate: float) -> None:
        # one cast of the stack: added in two dtypes, each matrix would be a kernel of its own
        torch._foreach_mul_(list(parameters), keep)
        torch._foreach_add_(list(parameters), list(directions.to(parameters[0].dtype).unbind()), alpha=-rate)
