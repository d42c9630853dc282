"""The passes over memory that an update is made of, in plain PyTorch; a machine may compute some of them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor


class AdamW(TypedDict):
    """The numbers of one update by AdamW."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float


class PlainUpdates:
    """PyTorch's own operations over lists of tensors: what a subclass must equal.

    `blocks` is what some machines do with blocks of bf16 matrices as they lie (`cpu_kernels.updates.KernelBlocks`).
    """

    blocks: Any = None

    def adamw_(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        means: Sequence[Tensor],
        squares: Sequence[Tensor],
        step: int,
        **numbers: Unpack[AdamW],
    ) -> None:
        """Update parameters, means and squares in place (arXiv:1711.05101); `step` counts this update, from 1."""
        lr, beta1, beta2 = numbers["lr"], numbers["beta1"], numbers["beta2"]
        weights, slopes = list(parameters), list(gradients)
        torch._foreach_lerp_(list(means), slopes, 1 - beta1)
        torch._foreach_mul_(list(squares), beta2)
        torch._foreach_addcmul_(list(squares), slopes, slopes, 1 - beta2)
        roots = torch._foreach_sqrt(list(squares))
        torch._foreach_div_(roots, (1 - beta2**step) ** 0.5)
        torch._foreach_add_(roots, numbers["eps"])
        torch._foreach_mul_(weights, 1 - lr * numbers["weight_decay"])
        torch._foreach_addcdiv_(weights, list(means), roots, -lr / (1 - beta1**step))

    def nesterov_(
        self, gradients: Sequence[Tensor], momenta: Sequence[Tensor], momentum: float, dtype: torch.dtype
    ) -> Tensor:
        """Update n momenta of matrices of one shape; return Nesterov's gradients, (n, R, C) in `dtype`."""
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
