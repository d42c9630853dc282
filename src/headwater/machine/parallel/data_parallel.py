"""Data parallel: each rank computes the gradient of its own rows with the same weights, and all get the sum, clipped.

`parallel.prepare` builds models for it, `gradient_sum` adds their gradients. Where weights are divided, the parts of a
gradient lie on several ranks, and its norm is that of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from headwater.machine.device.device import Device
from headwater.machine.parallel.boxes import is_copied
from headwater.machine.parallel.gradient_sum import ExactGradientSum, GradientSum, exact_norm, gradients_of
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES, WEIGHT_AXES

if TYPE_CHECKING:
    from headwater.machine.parallel.pipeline import Pipeline


@dataclass(frozen=True)
class Sums:
    """What all ranks know of a step: loss summed over all targets, norm of the gradient, number of targets, flags."""

    loss: float
    norm: float
    num_targets: int
    flags: list[bool]


class DataParallel:
    """The ranks of a run in a step; with `exact` it has the same bits at any number of them."""

    gradients: GradientSum
    pipeline: Pipeline | None = None  # of ranks that have some of the layers each

    def __init__(self, ranks: Ranks, device: Device, *, exact: bool = False) -> None:
        self.ranks, self.device, self.exact = ranks, device, exact
        # ranks that hold the other rows of the weights, and those that hold the same
        self.shards, self.replicas = ranks.along(*WEIGHT_AXES), ranks.along("replicate")
        self.gradients = (ExactGradientSum if exact else GradientSum)(ranks)

    def total(self, num_targets: int) -> int | Tensor:
        """Return the targets of all ranks; of several a number on the device, which the host doesn't wait for."""
        if self.ranks.world_size == 1:
            return num_targets
        own = num_targets if self.ranks.is_first_of_its_rows else 0
        return self.ranks.sum_(torch.full((), own, dtype=torch.int64, device=self.device.torch_device))

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return which of the flags any rank has set; the host waits for it."""
        if self.ranks.world_size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int64, device=self.device.torch_device)
        return [count > 0 for count in self.ranks.sum_(raised).tolist()]

    def read(self, loss: Tensor, norm: Tensor, num_targets: int | Tensor, flags: Sequence[bool] = ()) -> Sums:
        """Return what all ranks judge a step by, with the same bits: one exchange, and one wait for the device.

        `loss` is this rank's, fp64; the norm is the first rank's; a flag is set where any rank has set it.
        """
        if isinstance(num_targets, int):
            own_loss, own_norm = self.device.read(loss, norm)
            return Sums(own_loss, own_norm, num_targets, list(flags))
        if self.ranks.mesh.index(self.ranks.rank, "tensor"):  # the first along it has the same
            loss = torch.zeros_like(loss)
        norm_of_first = norm.double() if self.ranks.is_first else torch.zeros_like(loss)
        raised = self.device.place(np.array(flags, dtype=np.int64)).double()
        summed = self.ranks.sum_(torch.cat([torch.stack([loss, norm_of_first]), raised]))
        total, loss_sum, norm_sum, *counts = self.device.read(num_targets, *summed)
        return Sums(loss_sum, norm_sum, int(total), [count > 0 for count in counts])


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
