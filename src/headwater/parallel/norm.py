"""The norm of a gradient whose parts may lie on several ranks, and what is cut off where it is too long."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headwater.parallel.data_parallel import DataParallel
from headwater.parallel.fixed_point import exact_norm
from headwater.parallel.gradient_sum import gradients_of, local
from headwater.ranks.exchange import Ranks


def norms(tensors: Sequence[Tensor], shards: Ranks) -> Tensor:
    """Return each tensor's norm; of divided ones that of the whole, in fp64: at any cut nearly the same bits."""
    if shards.world_size == 1:
        return torch.stack(torch._foreach_norm(list(tensors)))
    of_rank = [torch.linalg.vector_norm(local(tensor), dtype=torch.float64) for tensor in tensors]
    return shards.sum_(torch.stack(of_rank).square()).sqrt()


def clip_(model: nn.Module, max_norm: float | None, parallel: DataParallel) -> Tensor:
    """Scale all gradients down to `max_norm` and return their norm before that, fp32 on the device."""
    gradients, shards = list(gradients_of(model).values()), parallel.shards
    if parallel.exact:
        num_numbers = sum(parameter.numel() for parameter in model.parameters())
        norm = exact_norm(gradients, num_numbers, shards.max_, shards.sum_)
    else:
        norm = torch.linalg.vector_norm(norms(gradients, shards)).float()
    # to compare the norm is free on a processor and spares a pass over the gradients; a GPU would have to be waited
    # for, and multiplies by 1 instead. A norm that is NaN clips nothing.
    if max_norm is not None and (not parallel.device.reads_are_free or norm > max_norm):
        torch._foreach_mul_(gradients, torch.where(norm > max_norm, max_norm / norm, 1.0))
    return norm
