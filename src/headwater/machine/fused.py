"""The optimizer's passes on a GPU: few kernels over many tensors; `optim.updates` says what they mean.

N matrices · R rows · C columns
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FusedUpdates:
    """The same methods as `optim.updates.PlainUpdates`; parameters, gradients and state are fp32 on one device.

    The host waits for nothing: numbers that change from step to step go along as arguments, the count of steps as a
    tensor that the device fills.
    """

    blocks: None = None

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
        """Update all tensors in one pass over memory, where PyTorch's separate operations take eight."""
        count = torch.full((), step, dtype=torch.float32, device=parameters[0].device)
        torch._fused_adamw_(
            list(parameters),
            [gradient.contiguous() for gradient in gradients],
            list(means),
            list(squares),
            [],  # largest squares, which AMSGrad alone keeps
            [count] * len(parameters),
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )

    def look_ahead_(
        self, gradients: Sequence[Tensor], momenta: Sequence[Tensor], momentum: float, dtype: torch.dtype
    ) -> Tensor:
        means, slopes = list(momenta), list(gradients)
        torch._foreach_lerp_(means, slopes, 1 - momentum)
        ahead_NRC = torch.empty(len(means), *means[0].shape, dtype=dtype, device=means[0].device)
        torch._foreach_copy_(list(ahead_NRC.unbind()), torch._foreach_lerp(slopes, means, momentum))
        return ahead_NRC

    def symmetric_product(
        self, x_NRC: Tensor, alpha: float = 1.0, plus_NRR: Tensor | None = None, beta: float = 1.0
    ) -> Tensor:
        if plus_NRR is None:
            product_NRR = x_NRC @ x_NRC.mT
            return product_NRR if alpha == 1 else alpha * product_NRR
        return torch.baddbmm(plus_NRR, x_NRC, x_NRC.mT, beta=beta, alpha=alpha)

    def multiply_add(self, p_NRR: Tensor, x_NRC: Tensor, beta: float) -> Tensor:
        return torch.baddbmm(x_NRC, p_NRR, x_NRC, beta=beta)

    def descend_(self, parameters: Sequence[Tensor], directions: Tensor, *, keep: float, rate: float) -> None:
        # one cast of the stack: added in two dtypes, each matrix would be a kernel of its own
        torch._foreach_mul_(list(parameters), keep)
        torch._foreach_add_(list(parameters), list(directions.to(parameters[0].dtype).unbind()), alpha=-rate)
