"""The optimizer's passes on a GPU: few kernels over many tensors. N matrices · R rows · C columns"""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.model.optim.updates import AdamW, PlainUpdates, Tensors


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
