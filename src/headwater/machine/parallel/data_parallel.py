"""Data parallel: each rank computes the gradient of its own rows with the same weights, and all get the sum, clipped.

`parallel.prepare` builds models for it. Where weights are divided, the parts of a gradient are on several ranks, and
its norm is that of all of them.
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
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES, WEIGHT_AXES

if TYPE_CHECKING:
    from headwater.machine.parallel.pipeline import Pipeline


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Return what this rank has of the gradients, by parameter."""
    return {name: local(parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None}


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """Return what this rank has of a gradient, made of zeros where there is none: other ranks may have one."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return local(parameter.grad)


class GradientSum:
    """Microbatches pile up at the parameters; ranks that have the same weights then add theirs."""

    def __init__(self, ranks: Ranks) -> None:
        self._mesh, self._replicas, self._tensor = ranks.mesh, ranks.along("replicate"), ranks.along("tensor")

    def begin_(self, model: nn.Module, *, is_last: bool) -> None:
        """Prepare for a microbatch's passes; `is_last`: of the step."""

    def reduce_(self, model: nn.Module) -> None:
        """Leave the gradient of a step on all ranks at the parameters; call it once, after the last microbatch."""
        if self._tensor.world_size > 1:  # each has seen a part of the sequence, or some heads
            named = model.named_parameters()
            self._tensor.sum_tensors_([gradient_of(one) for name, one in named if is_copied(name, self._mesh)])
        if self._replicas.world_size > 1:
            self._replicas.sum_tensors_([gradient_of(parameter) for parameter in model.parameters()])


@dataclass(frozen=True)
class Sums:
    """What all ranks know of a step: loss summed over all targets, norm of the gradient, number of targets, flags."""

    loss: float
    norm: float
    num_targets: int
    flags: list[bool]


class DataParallel:
    """The ranks of a run in a step."""

    gradients: GradientSum
    pipeline: Pipeline | None = None  # of ranks that have some of the layers each

    def __init__(self, ranks: Ranks, device: Device) -> None:
        self.ranks, self.device = ranks, device
        # ranks that hold the other rows of the weights, and those that hold the same
        self.shards, self.replicas = ranks.along(*WEIGHT_AXES), ranks.along("replicate")
        self.gradients = GradientSum(ranks)

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
    squares = []
    for name, tensor in tensors.items():
        square = torch.linalg.vector_norm(local(tensor), dtype=torch.float64).square()
        squares.append(square / ranks.mesh.tensor if is_copied(name, ranks.mesh) else square)
    return holders.sum_(torch.stack(squares)).sqrt()


def of_all_stages(norm: Tensor, ranks: Ranks) -> Tensor:
    """Return the norm of what all ranks along `pipeline` have from those of what each has, in fp32."""
    stages = ranks.along("pipeline")
    return norm.float() if stages.world_size == 1 else stages.sum_(norm.double().square()).sqrt().float()


def clip_(model: nn.Module, max_norm: float | None, parallel: DataParallel) -> Tensor:
    """Scale all gradients down to `max_norm` and return their norm before that, fp32 on the device."""
    named = gradients_of(model)
    gradients = list(named.values())
    norm = of_all_stages(torch.linalg.vector_norm(norms(named, parallel.ranks)), parallel.ranks)
    # to compare the norm is free on a processor and spares a pass over the gradients; a GPU would have to be waited
    # for, and multiplies by 1 instead. A norm that is NaN clips nothing.
    if max_norm is not None and (not parallel.device.reads_are_free or norm > max_norm):
        torch._foreach_mul_(gradients, torch.where(norm > max_norm, max_norm / norm, 1.0))
    return norm
