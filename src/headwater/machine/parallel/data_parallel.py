"""Data parallel: each rank computes the gradient of its own rows with the same weights, and all get the sum, clipped.

`parallel.prepare` builds models for it. Where weights are divided, the parts of a gradient are on several ranks, and
its norm is that of all of them.

A sum of floating-point numbers depends on its order, so the same step on 1, 2 or 4 ranks, or in other microbatches to a
rank, ends in other last bits. Added exactly, every microbatch's gradient is rounded to a multiple of 2^-48 and added as
a 64-bit integer. The rounding is 2e-15 at most, once a microbatch; the gradient is that of the mean loss over the
step's targets, so a microbatch's share of it is far below the limit of 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from headwater.machine.device.device import Device
from headwater.machine.parallel.boxes import is_copied
from headwater.machine.parallel.settings import MAX_EXACT_MICROBATCHES
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES, WEIGHT_AXES

if TYPE_CHECKING:
    from headwater.machine.parallel.pipeline import Pipeline

FRACTION_BITS = 48
NORM_BITS = 62  # of a sum of squares
LARGEST_SHARE = 2.0 ** (63 - FRACTION_BITS) / MAX_EXACT_MICROBATCHES  # as many fit into 63 bits


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

    def add_(self, model: nn.Module) -> None:
        """Add a microbatch's gradient, which lies at the parameters, to those of this rank before it."""

    def reduce_(self, model: nn.Module) -> None:
        """Leave the gradient of a step on all ranks at the parameters; call it once, after the last microbatch."""
        if self._tensor.world_size > 1:  # each has seen a part of the sequence, or some heads
            named = model.named_parameters()
            self._tensor.sum_tensors_([gradient_of(one) for name, one in named if is_copied(name, self._mesh)])
        if self._replicas.world_size > 1:
            self._replicas.sum_tensors_([gradient_of(parameter) for parameter in model.parameters()])


# ---- as integers, of which addition is associative


def as_integers(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return a gradient in units of 2^-48, and whether it is good; zeros where it is NaN or too large."""
    is_good = gradient.abs().max() < LARGEST_SHARE  # not "larger than": NaN is neither, and bad
    fractions = gradient.double().mul_(2.0**FRACTION_BITS).round_()
    return torch.where(is_good, fractions, 0.0).long(), is_good


def as_gradient(integers: Tensor, num_bad: Tensor) -> Tensor:
    """Return what a sum of integers stands for, fp64; NaN where one that was added was bad: the step is skipped."""
    return integers.double().mul_(2.0**-FRACTION_BITS) + torch.where(num_bad > 0, torch.nan, 0.0)


def exact_norm(
    tensors: Sequence[Tensor],
    num_numbers: int,
    max_: Callable[[Tensor], Tensor],
    sum_: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the norm, fp32, of tensors of `num_numbers` in all, with the same bits however they are divided.

    Squares are added as integers, at a scale by which the largest of them fills what the sum of all has room for.
    `max_` and `sum_` are over the ranks that hold the other parts. A number that isn't finite makes it NaN.
    """
    largest = torch.stack([tensor.abs().max() for tensor in tensors if tensor.numel()]).max().double()
    is_bad = ~largest.isfinite()
    largest, num_bad = max_(torch.stack([torch.where(is_bad, 0.0, largest), is_bad.double()])).unbind()
    exponent = NORM_BITS - math.ceil(math.log2(max(2, num_numbers))) - 2 * torch.frexp(largest).exponent.double()
    scale = torch.exp2(exponent)
    squares = [tensor.double().square_().mul_(scale).round_().long().sum() for tensor in tensors]
    norm = (sum_(torch.stack(squares).sum()).double() / scale).sqrt().float()
    return torch.where(num_bad > 0, torch.nan, norm)


class ExactGradientSum(GradientSum):
    """Added as integers: the same bits in any order."""

    _integers: dict[str, Tensor] | None = None  # of the step under way
    _num_bad: Tensor

    @torch.no_grad()
    def add_(self, model: nn.Module) -> None:
        # held by no attribute while it is worked on: what fails half-way leaves nothing for the next step
        sums, self._integers = self._integers, None
        named = dict(model.named_parameters())
        if sums is None:
            sums = {name: torch.zeros_like(parameter, dtype=torch.int64) for name, parameter in named.items()}
            self._num_bad = torch.zeros(1, dtype=torch.int64, device=next(iter(named.values())).device)
        for name, parameter in named.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None and gradient.numel():
                integers, is_good = as_integers(gradient)
                self._num_bad += ~is_good
                sums[name] += integers
        self._integers = sums

    @torch.no_grad()
    def reduce_(self, model: nn.Module) -> None:
        sums, self._integers = self._integers, None
        assert sums is not None, "a step had no microbatch"
        self._replicas.sum_tensors_([*sums.values(), self._num_bad])
        for name, parameter in model.named_parameters():
            parameter.grad = as_gradient(sums[name], self._num_bad).to(parameter.dtype)


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
