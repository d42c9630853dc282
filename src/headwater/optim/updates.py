"""The passes over memory that an update is made of, in plain PyTorch: what any faster implementation must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from headwater.optim.adamw import adamw_update_


class BlockUpdates(Protocol):
    """What some machines do with blocks of bf16 matrices as they lie, without copies of them.

    A block is `size` of the indices of a matrix's shorter side, which are its rows here: of a matrix taller than wide
    the transposed.
    """

    largest: int  # size

    def grams(self, x_NRC: Tensor, size: int) -> Tensor:
        """Return X X^T of every block, (blocks, size, size) in fp32."""

    def descend_(
        self, parameters: Sequence[Tensor], x_NRC: Tensor, factors: Tensor, *, keep: float, rate: float
    ) -> None:
        """parameter = parameter × keep - rate × F X in place, F the symmetric factor in bf16 of each block."""


class Updates(Protocol):
    """What the optimizer asks of the machine; meanings as in `PlainUpdates`."""

    @property
    def blocks(self) -> BlockUpdates | None: ...

    def adamw_(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        step: int,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
    ) -> None: ...

    def look_ahead_(
        self, gradients: Sequence[Tensor], momenta: Sequence[Tensor], momentum: float, dtype: torch.dtype
    ) -> Tensor: ...

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor: ...

    def multiply_add(self, p_NRR: Tensor, x_NRC: Tensor, beta: float) -> Tensor: ...

    def descend_(self, parameters: Sequence[Tensor], directions: Tensor, *, keep: float, rate: float) -> None: ...


class PlainUpdates:
    """PyTorch's own operations over lists of tensors."""

    blocks: BlockUpdates | None = None

    def adamw_(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        step: int,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
    ) -> None:
        """Update parameters, means and squares in place by AdamW; `step` counts this update, from 1."""
        lists = (list(parameters), list(gradients), list(means), list(squares))
        adamw_update_(*lists, step, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def look_ahead_(
        self, gradients: Sequence[Tensor], momenta: Sequence[Tensor], momentum: float, dtype: torch.dtype
    ) -> Tensor:
        """Update n momenta of matrices of one shape; return Nesterov's look ahead, (n, R, C) in `dtype`."""
        means, slopes = list(momenta), list(gradients)
        torch._foreach_lerp_(means, slopes, 1 - momentum)
        return torch.stack(torch._foreach_lerp(slopes, means, momentum)).to(dtype)

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor:
        """Return alpha × X X^T + beta × `plus`, which is symmetric or absent, in the dtype of X."""
        if plus_NRR is None:
            product_NRR = x_NRC @ x_NRC.mT
            return product_NRR if alpha == 1 else alpha * product_NRR
        return torch.baddbmm(plus_NRR, x_NRC, x_NRC.mT, beta=beta, alpha=alpha)

    def multiply_add(self, p_NRR: Tensor, x_NRC: Tensor, beta: float) -> Tensor:
        """Return P X + beta × X, in the dtype of X."""
        return torch.baddbmm(x_NRC, p_NRR, x_NRC, beta=beta)

    def descend_(self, parameters: Sequence[Tensor], directions: Tensor, *, keep: float, rate: float) -> None:
        """parameter = parameter × keep - rate × direction, in place."""
        torch._foreach_mul_(list(parameters), keep)
        torch._foreach_add_(list(parameters), [one.to(parameters[0].dtype) for one in directions], alpha=-rate)
