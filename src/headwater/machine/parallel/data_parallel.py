"""Data parallel: each rank computes the gradient of its own rows with the same weights, and all get the sum.

`parallel.prepare` builds models for it, `gradient_sum` adds their gradients, `norm` clips them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from headwater.machine.device.device import Device
from headwater.machine.parallel.gradient_sum import ExactGradientSum, GradientSum
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import WEIGHT_AXES

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
