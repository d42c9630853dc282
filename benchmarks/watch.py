"""What a contender's training loop reports to: its model once, then every finished step."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from torch import nn

from job import Job, Shape


class Watch(Protocol):
    """A contender calls `model` before its first step and `step` after each one; `step` may end the process."""

    def model(self, num_parameters: int, flops_per_token: float) -> None: ...

    def step(self, loss: float, **measures: float) -> None:
        """Take the mean loss of the step, and what the trainer itself measured (mfu, data_wait_fraction)."""
        ...


def count(model: nn.Module, shape: Shape) -> tuple[int, float]:
    """Return the parameters of a peer's model, a shared one once, and the model FLOPs of one trained token.

    FLOPs as headwater counts its own: 6 for every weight of a linear map (the head's, too, where it is tied), and the
    causal half of attention; nothing that is recomputed.
    """
    matmul_weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return num_parameters, 6 * matmul_weights + shape.attention_flops_per_token


def train(job: Job, watch: Watch) -> Any:
    """Run the job's contender until `watch` ends it."""
    return importlib.import_module(f"contenders.{job.module}").train(job, watch)
