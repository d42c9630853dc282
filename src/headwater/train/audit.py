"""Compute a step's gradients twice and compare all bits: a machine that computes wrong now and then says nothing.

The same weights and rows give the same bits here, so that a single bit of difference is a fault of the
machine: Llama 3's training met six of them in 54 days on 16,384 GPUs (arXiv:2407.21783).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.errors import TrainingError
from headwater.machine.machine import Machine
from headwater.train.step import Prepared, sum_gradients

Found = dict[str, Tensor]
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number


class Audit:
    """Stands for `step.sum_gradients` in an audited step."""

    def __init__(self, record: Callable[[list[str]], None]) -> None:
        """`record` is given the names of the parameters whose gradients differed, before they are computed again."""
        self._record = record

    def __call__(self, prepared: Prepared, machine: Machine, microbatches: list[Batch], num_targets: int) -> Tensor:
        """Leave gradients that two passes agree on, and return their loss; raise TrainingError when three disagree."""

        def compute() -> Found:
            for parameter in prepared.model.parameters():
                parameter.grad = None
            loss = sum_gradients(prepared, machine, microbatches, num_targets)
            gradients = {n: p.grad for n, p in prepared.model.named_parameters() if p.grad is not None}
            return gradients | {"loss": loss}

        first, second = compute(), compute()
        names = different(first, second)
        if not machine.sum_ranks(len(names)):
            return second["loss"]
        self._record(names)
        third = compute()
        if not machine.sum_ranks(len(different(first, third))) or not machine.sum_ranks(len(different(second, third))):
            return third["loss"]
        raise TrainingError(
            "this machine computes wrong: three passes over the same rows with the same weights gave three gradients "
            f"(of {', '.join(names[:4])}{', …' if len(names) > 4 else ''}); nothing was done with them. Test its "
            "memory and processor, or go on elsewhere: the last checkpoint is from before this step"
        )


def different(one: Found, other: Found) -> list[str]:
    """Return the names under which two passes found different bits; numbers that are none are compared by theirs."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(_bits(one[name]), _bits(other[name]))]


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(INTEGERS[tensor.element_size()])
