"""Data parallel: each rank computes the gradient of its own rows with the same weights, and all get the sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from headwater.device.device import Device
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates
from headwater.parallel.fixed_point import FixedPointSum, exact_norm
from headwater.ranks.exchange import Ranks


@dataclass(frozen=True)
class Sums:
    """What all ranks know of a step: loss summed over all targets, norm of the gradient, number of targets, flags."""

    loss: float
    norm: float
    num_targets: int
    flags: list[bool]


class DataParallel:
    """The gradient of one step after another; with `exact` summed as integers: the same bits at any number of ranks."""

    names_wrong_ranks = True
    "Whether `own_gradients` tell whose fault a difference is: a wrong weight that all ranks gather is wrong on all."

    def __init__(self, ranks: Ranks, device: Device, *, exact: bool = False) -> None:
        self.ranks, self.device = ranks, device
        self._exact = exact
        self._sum: FixedPointSum | None = None  # of the step under way

    def prepare(
        self, build: Callable[[], Transformer], fastest_: Callable[[Transformer], Transformer], seed: int
    ) -> tuple[Transformer, Transformer]:
        """Return a model with its first weights on the device, and what `fastest_` makes of it to train with."""
        model = build()
        self.initialise_(model, seed)
        model.to(self.device.torch_device)
        return model, fastest_(model)

    def initialise_(self, model: Transformer, seed: int) -> None:
        """Give a model its first weights."""
        initialise_(model, seed)

    def optimizer(
        self, model: Transformer, optim: OptimSettings, dtype: torch.dtype, updates: PlainUpdates
    ) -> Optimizer:
        return Optimizer(model.named_parameters(), optim, dtype, updates, self.ranks)

    def measurable(self, model: Transformer) -> Transformer:
        """Return the model as an evaluation may call it, all ranks together."""
        return model

    def total(self, num_targets: int) -> int | Tensor:
        """Return the targets of all ranks; of several a number on the device, which the host doesn't wait for."""
        if self.ranks.world_size == 1:
            return num_targets
        return self.ranks.sum_(torch.full((), num_targets, dtype=torch.int64, device=self.device.torch_device))

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Return which of the flags any rank has set; the host waits for it."""
        if self.ranks.world_size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int64, device=self.device.torch_device)
        return [count > 0 for count in self.ranks.sum_(raised).tolist()]

    def take_(self, model: nn.Module) -> None:
        """Take a microbatch's gradient, which lies at the parameters, to those of this rank before it."""
        if self._exact:
            # held by no attribute while it is worked on: what fails half-way leaves nothing for the next step
            total, self._sum = self._sum or FixedPointSum(model.parameters()), None
            total.take_()
            self._sum = total

    def keep_own_gradients_(self) -> None:
        """Have what `own_gradients` returns from here until `exchange_`, where it isn't there anyway."""

    def own_gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what this rank's microbatches of the step came to, to compare two passes by, before `exchange_`."""
        if self._sum is not None:
            return self._sum.named(model)
        return self.gradients(model)

    def exchange_(self, model: nn.Module) -> None:
        """Leave the gradient of a step on all ranks at the parameters; call it once, after the last microbatch."""
        if self._exact:
            total, self._sum = self._sum or FixedPointSum(model.parameters()), None
            total.give_(self.ranks.sum_tensors_)
        elif self.ranks.world_size > 1:
            self.ranks.sum_tensors_([gradient_of(parameter) for parameter in model.parameters()])

    def clip_(self, model: nn.Module, max_norm: float | None) -> Tensor:
        """Scale all gradients down to `max_norm` and return their norm before that, fp32 on the device."""
        gradients = list(self.gradients(model).values())
        norm = self._norm(model, gradients)
        # to compare the norm is free on a processor and spares a pass over the gradients; a GPU would have to be waited
        # for, and multiplies by 1 instead. A norm that is NaN clips nothing.
        if max_norm is not None and (not self.device.reads_are_free or norm > max_norm):
            torch._foreach_mul_(gradients, torch.where(norm > max_norm, max_norm / norm, 1.0))
        return norm

    def _norm(self, model: nn.Module, gradients: Sequence[Tensor]) -> Tensor:
        if self._exact:
            num_numbers = sum(parameter.numel() for parameter in model.parameters())
            return exact_norm(gradients, num_numbers, self.max_of_shards_, self.sum_of_shards_)
        return torch.linalg.vector_norm(self.norms(gradients)).float()

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what this rank has of the gradients, by parameter."""
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    def norms(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return each tensor's norm, the whole one's of those that are divided."""
        return torch.stack(torch._foreach_norm(list(tensors)))

    def max_of_shards_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its largest values over the ranks that have other parts of the weights; return it."""
        return tensor

    def sum_of_shards_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the ranks that have other parts of the weights; return it."""
        return tensor

    def read(self, loss: Tensor, norm: Tensor, num_targets: int | Tensor, flags: Sequence[bool] = ()) -> Sums:
        """Return what all ranks judge a step by, with the same bits: one exchange, and one wait for the device.

        `loss` is this rank's, fp64; the norm is the first rank's; a flag is set where any rank has set it.
        """
        if isinstance(num_targets, int):
            own_loss, own_norm = self.device.read(loss, norm)
            return Sums(own_loss, own_norm, num_targets, list(flags))
        norm_of_first = norm.double() if self.ranks.is_first else torch.zeros_like(loss)
        raised = self.device.place(np.array(flags, dtype=np.int64)).double()
        summed = self.ranks.sum_(torch.cat([torch.stack([loss, norm_of_first]), raised]))
        total, loss_sum, norm_sum, *counts = self.device.read(num_targets, *summed)
        return Sums(loss_sum, norm_sum, int(total), [count > 0 for count in counts])


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """Return a parameter's gradient, made of zeros where it has none: other ranks may have one."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
