"""One update of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.machine.machine import Machine
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats per target, gradient norm before clipping, targets; `taken` is False for a bad step."""

    loss: float
    grad_norm: float
    num_targets: int
    taken: bool


@dataclass(frozen=True)
class Prepared:
    """A model with its forward pass as this machine runs it (compiled, where that works)."""

    model: Transformer
    forward: Callable[[Tensor, Tensor], Tensor]


def accumulate(prepared: Prepared, machine: Machine, batch: Batch, num_targets: int, *, last: bool) -> Tensor:
    """Add a microbatch's share of the step's gradient; return its summed loss, a tensor on the device."""
    tokens_BT, documents_BT = machine.place(batch.tokens_BT), machine.place(batch.documents_BT)
    with machine.microbatch(prepared.model, last=last):
        x_BTD = prepared.forward(tokens_BT, documents_BT)
        loss_sum = prepared.model.loss_sum(x_BTD, machine.place(batch.targets_BT))
        machine.backward(loss_sum / num_targets)
    return loss_sum.detach()


def train_step(
    prepared: Prepared,
    optimizer: Optimizer,
    microbatches: list[Batch],
    machine: Machine,
    lr_factor: float,
    max_grad_norm: float | None,
) -> StepResult:
    """Update the weights once.

    The loss is the sum over all target tokens divided by their number in the whole step on all ranks, so the
    gradient doesn't depend on how the step is split. A step whose loss or gradient isn't finite is not taken:
    weights and optimizer state stay untouched.

    The host waits for the device once, at `machine.read`, when all microbatches are queued; until then loss and norm
    are tensors. Waiting before the update costs a GPU the tens of microseconds in which its queue is empty; an update
    that is queued unseen would have to be undone by copies of all weights and state, and that takes longer.
    """
    num_targets = machine.sum_ranks(sum(batch.num_targets for batch in microbatches))
    loss_total = torch.zeros((), dtype=torch.float64, device=machine.device)
    for batch in microbatches:
        loss_total += accumulate(prepared, machine, batch, num_targets, last=batch is microbatches[-1])
    norm = machine.clip_gradients_(prepared.model, max_grad_norm)
    loss, grad_norm = machine.read(machine.sum_ranks(loss_total) / num_targets, norm)
    taken = math.isfinite(loss) and math.isfinite(grad_norm)
    if taken:
        optimizer.step(lr_factor)
    optimizer.zero_grad()
    return StepResult(loss, grad_norm, num_targets, taken)
