"""The gradient of a step: of one microbatch after another on this rank, then of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headwater.machine.parallel.boxes import is_copied
from headwater.machine.parallel.fixed_point import FixedPointSum
from headwater.machine.ranks.exchange import Ranks, local


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

    def watch_(self) -> None:
        """Have what `own` returns when it is called next, where it isn't there anyway."""

    def own(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what this rank's microbatches of the step came to, to compare two passes by, before `reduce_`."""
        return gradients_of(model)

    def reduce_(self, model: nn.Module) -> None:
        """Leave the gradient of a step on all ranks at the parameters; call it once, after the last microbatch."""
        if self._tensor.world_size > 1:  # each has seen a part of the sequence, or some heads
            named = model.named_parameters()
            self._tensor.sum_tensors_([gradient_of(one) for name, one in named if is_copied(name, self._mesh)])
        if self._replicas.world_size > 1:
            self._replicas.sum_tensors_([gradient_of(parameter) for parameter in model.parameters()])


class ExactGradientSum(GradientSum):
    """Added as integers: the same bits in any order."""

    _total: FixedPointSum | None = None  # of the step under way

    def _take_total(self, model: nn.Module) -> FixedPointSum:
        # held by no attribute while it is worked on: what fails half-way leaves nothing for the next step
        total, self._total = self._total or FixedPointSum(model.parameters()), None
        return total

    def add_(self, model: nn.Module) -> None:
        total = self._take_total(model)
        total.take_()
        self._total = total

    def own(self, model: nn.Module) -> dict[str, Tensor]:
        return gradients_of(model) if self._total is None else self._total.named(model)

    def reduce_(self, model: nn.Module) -> None:
        self._take_total(model).give_(self._replicas.sum_tensors_)
