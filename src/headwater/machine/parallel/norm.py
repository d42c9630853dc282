"""The norm of a gradient whose parts may lie on several ranks, and what is cut off where it is too long."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headwater.machine.parallel.boxes import is_copied
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.parallel.fixed_point import exact_norm
from headwater.machine.parallel.gradient_sum import gradients_of
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES


def norms(tensors: Mapping[str, Tensor], ranks: Ranks) -> Tensor:
    """Return the norm of each parameter's tensor, of divided ones of the whole: in fp64, at any cut nearly the same."""
    holders = ranks.along(*STATE_AXES)
    if holders.world_size == 1:
        return torch.stack(torch._foreach_norm(list(tensors.values())))
    of_rank = [torch.linalg.vector_norm(local(tensor), dtype=torch.float64) for tensor in tensors.values()]
    copies = [ranks.mesh.tensor if is_copied(name, ranks.mesh) else 1 for name in tensors]
    squares = torch.stack(of_rank).square() / torch.tensor(copies, device=of_rank[0].device)
    return holders.sum_(squares).sqrt()


def of_all_stages(norm: Tensor, ranks: Ranks) -> Tensor:
    """Return the norm of what all ranks along `pipeline` have from those of what each has, in fp32."""
    stages = ranks.along("pipeline")
    return norm.float() if stages.world_size == 1 else stages.sum_(norm.double().square()).sqrt().float()


def clip_(model: nn.Module, max_norm: float | None, parallel: DataParallel) -> Tensor:
    """Scale all gradients down to `max_norm` and return their norm before that, fp32 on the device."""
    named, shards = gradients_of(model), parallel.shards
    gradients = list(named.values())
    if parallel.exact:
        num_numbers = sum(parameter.numel() for parameter in model.parameters())
        norm = exact_norm(gradients, num_numbers, shards.max_, shards.sum_)
    else:
        norm = of_all_stages(torch.linalg.vector_norm(norms(named, parallel.ranks)), parallel.ranks)
    # to compare the norm is free on a processor and spares a pass over the gradients; a GPU would have to be waited
    # for, and multiplies by 1 instead. A norm that is NaN clips nothing.
    if max_norm is not None and (not parallel.device.reads_are_free or norm > max_norm):
        torch._foreach_mul_(gradients, torch.where(norm > max_norm, max_norm / norm, 1.0))
    return norm
