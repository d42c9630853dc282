"""One update of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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
    """
    num_targets = machine.sum_ranks(sum(batch.num_targets for batch in microbatches))
    loss = 0.0
    for batch in microbatches:
        tokens_BT, documents_BT = machine.place(batch.tokens_BT), machine.place(batch.documents_BT)
        with machine.microbatch(prepared.model, last=batch is microbatches[-1]):
            x_BTD = prepared.forward(tokens_BT, documents_BT)
            loss_sum = prepared.model.loss_sum(x_BTD, machine.place(batch.targets_BT))
            machine.backward(loss_sum / num_targets)
        loss += float(loss_sum.detach())
    loss = machine.sum_ranks(loss) / num_targets
    grad_norm = machine.clip_gradients_(prepared.model, max_grad_norm)
    taken = math.isfinite(loss) and math.isfinite(grad_norm)
    if taken:
        optimizer.step(lr_factor)
    optimizer.zero_grad()
    return StepResult(loss, grad_norm, num_targets, taken)
