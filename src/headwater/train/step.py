"""One update of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.train.guard import not_finite
from headwater.train.machine import Machine

Judge = Callable[[float, float], str | None]
"Return why a step of this loss and gradient norm is skipped, or None."

NO_TARGET = "its rows hold no token to predict"


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats per target, gradient norm before clipping, targets; why the step was skipped, or None."""

    loss: float
    grad_norm: float
    num_targets: int
    reason: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A model, and the same with the same parameters as this machine trains it (compiled on a GPU)."""

    model: Transformer
    fast: Transformer


def accumulate(prepared: Prepared, machine: Machine, batch: Batch, num_targets: int) -> Tensor:
    """Add a microbatch's share of the step's gradient; return its summed loss, a tensor on the device."""
    arrays = machine.place(batch.tokens_BT), machine.place(batch.documents_BT), machine.place(batch.targets_BT)
    with machine.microbatch(prepared.model):
        loss_sum = prepared.fast(*arrays)
        machine.backward(loss_sum / num_targets)
    return loss_sum.detach()


def sum_own_gradients(prepared: Prepared, machine: Machine, microbatches: list[Batch], num_targets: int) -> Tensor:
    """Leave this rank's share of a step's gradient with the machine; return its summed loss, fp64 on the device."""
    loss_total = torch.zeros((), dtype=torch.float64, device=machine.device)
    for batch in microbatches:
        loss_total += accumulate(prepared, machine, batch, num_targets)
    return loss_total


def sum_gradients(prepared: Prepared, machine: Machine, microbatches: list[Batch], num_targets: int) -> Tensor:
    """Leave the gradient of a whole step at the parameters; return this rank's summed loss, fp64 on the device."""
    loss_total = sum_own_gradients(prepared, machine, microbatches, num_targets)
    machine.exchange_gradients_(prepared.model)
    return loss_total


def train_step(
    prepared: Prepared,
    optimizer: Optimizer,
    microbatches: list[Batch],
    machine: Machine,
    lr_factor: float,
    max_grad_norm: float | None,
    judge: Judge = not_finite,
    compute: Callable[[Prepared, Machine, list[Batch], int], Tensor] = sum_gradients,
) -> StepResult:
    """Update the weights once.

    The loss is the sum over all target tokens divided by their number in the whole step on all ranks, so the
    gradient doesn't depend on how the step is split. A step for which `judge` has a reason is skipped:
    weights and optimizer state stay as they are.

    One rank waits for its device once, at `machine.read`, when all microbatches are queued; until then loss and norm
    are tensors. Of several ranks each waits for the number of targets, too. Waiting before the update costs a GPU the
    tens of microseconds in which its queue is empty; an update that is queued unseen would have to be undone by copies
    of all weights and state, and that takes longer.
    """
    num_targets = machine.sum_ranks(sum(batch.num_targets for batch in microbatches))
    loss_total = compute(prepared, machine, microbatches, num_targets)
    norm = machine.clip_gradients_(prepared.model, max_grad_norm)
    loss_total, norm = machine.of_all_ranks(loss_total, norm)
    loss, grad_norm = machine.read(loss_total / num_targets, norm)
    reason = NO_TARGET if num_targets == 0 else judge(loss, grad_norm)
    if reason is None:
        optimizer.step(lr_factor)
    optimizer.zero_grad()
    return StepResult(loss, grad_norm, num_targets, reason)
