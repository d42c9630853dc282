"""A pipeline: ranks compute consecutive stages of a model, each on another microbatch than the others.

torch's schedules say who computes what and when (torch.distributed.pipelining): one stage a rank by 1F1B
(arXiv:1806.03377), several by interleaved 1F1B (arXiv:2104.04473). Every stage takes documents and targets from its own
rank's rows.

B batch · T time of this rank's part of the sequence · D model width
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from headwater.machine.device.device import Device
from headwater.machine.parallel.boxes import own_stages
from headwater.machine.ranks.exchange import GroupOfRanks, Ranks
from headwater.machine.ranks.mesh import LAYER_AXES
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import Batch

# where a rank is lost, torch would print the whole schedule
logging.getLogger("torch.distributed.pipelining").setLevel(logging.CRITICAL)


class Pipeline:
    """This rank's stages, trained and evaluated together with those of the others."""

    def __init__(
        self, roots: Sequence[Transformer], methods: Sequence[Callable[[str], Any]], ranks: Ranks, device: Device
    ) -> None:
        """Take this rank's stages in order: `roots` as they are trained, `methods` by name as evaluations call them."""
        along = ranks.along("pipeline")
        assert isinstance(along, GroupOfRanks)
        self._ranks, self._mesh, self._device = along, ranks.mesh, device
        numbers = own_stages(ranks.mesh, ranks.rank)
        self._roots = dict(zip(numbers, roots, strict=True))
        self._methods = dict(zip(numbers, methods, strict=True))
        self._settings, self._dtype = roots[0].settings, roots[0].compute_dtype
        self._scheduled: tuple[tuple[int, int, int] | None, Any] = None, None
        self._num_targets: int | Tensor = 1
        self._loss_total = torch.zeros((), dtype=torch.float64)

    @property
    def roots(self) -> list[Transformer]:
        return list(self._roots.values())

    def gradients(self, microbatches: Sequence[Batch], num_targets: int | Tensor) -> Tensor:
        """Leave the gradients of a step's microbatches at the parameters of this rank's stages.

        Returns their summed loss in nats, fp64, on the ranks of the last stage, and 0 on all others.
        """
        self._num_targets = num_targets
        self._loss_total = torch.zeros((), dtype=torch.float64, device=self._device.torch_device)
        schedule = self._schedule(len(microbatches), *microbatches[0].tokens_BT.shape)
        tokens, documents, targets = (
            self._device.place(np.concatenate([getattr(batch, name) for batch in microbatches]))
            for name in ("tokens_BT", "documents_BT", "targets_BT")
        )
        inputs = [tokens] if 0 in self._roots else []
        try:
            with self._ranks.exchange():
                schedule.step(*inputs, documents_BT=documents, targets_BT=targets, target=targets, return_outputs=False)
        except StageError as error:
            raise error.reason from None
        return self._loss_total

    def _share_of_loss(self, loss_sum: Tensor, targets_BT: Tensor) -> Tensor:
        self._loss_total += loss_sum.detach()
        return loss_sum / self._num_targets

    def _schedule(self, num_microbatches: int, num_rows: int, num_tokens: int) -> Any:
        """Return the schedule for microbatches of a shape, whose stages keep the memory that they receive them in."""
        key = num_microbatches, num_rows, num_tokens
        if self._scheduled[0] != key:  # one is kept: the length of rows changes once a run
            x_BTD = torch.empty(self._shape(num_rows, num_tokens), dtype=self._dtype, device="meta", requires_grad=True)
            stages: list[Any] = [
                ModelStage(root, number, x_BTD, self._ranks, self._mesh.num_stages, self._device)
                for number, root in self._roots.items()
            ]
            given: Any = {"n_microbatches": num_microbatches, "loss_fn": self._share_of_loss, "scale_grads": False}
            in_turns = len(stages) > 1
            schedule = ScheduleInterleaved1F1B(stages, **given) if in_turns else Schedule1F1B(stages[0], **given)
            self._scheduled = key, schedule
        return self._scheduled[1]

    def _shape(self, num_rows: int, num_tokens: int) -> tuple[int, int, int]:
        return num_rows, num_tokens // self._mesh.size(*LAYER_AXES), self._settings.d_model

    # ---- as an evaluation calls it

    def method(self, name: str) -> Callable[..., Tensor]:
        """Return a method of the whole model, which all ranks call together and have the result of."""
        return getattr(self, name)

    def hidden(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        x, shape = tokens_BT, self._shape(*tokens_BT.shape)
        for number in range(self._mesh.num_stages):
            x = self._shared(number, "hidden", shape, self._dtype, x, documents_BT)
        return x

    def token_losses(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        last = self._mesh.num_stages - 1
        return self._shared(last, "token_losses", targets_BT.shape, torch.float32, x_BTD, targets_BT)

    def logits(self, x_D: Tensor) -> Tensor:
        last, width = self._mesh.num_stages - 1, self._settings.vocab_size // self._mesh.tensor
        return self._shared(last, "logits", (*x_D.shape[:-1], width), torch.float32, x_D)

    def _shared(self, stage: int, name: str, shape: Sequence[int], dtype: torch.dtype, *inputs: Tensor) -> Tensor:
        """Return what a stage's method returns, on all ranks."""
        owner, found = stage % self._ranks.world_size, torch.empty(shape, dtype=dtype, device=inputs[0].device)
        if owner == self._ranks.rank:
            found = self._methods[stage](name)(*inputs)
        self._ranks.share_([[found] if rank == owner else [] for rank in range(self._ranks.world_size)])
        return found


class StageError(Exception):
    """What a stage raised: a RuntimeError of torch's around it would be taken for a lost connection."""

    def __init__(self, error: Exception) -> None:
        cause = error.__cause__
        self.reason = cause if isinstance(cause, Exception) else error


class ModelStage(PipelineStage):
    """A stage as schedules call it; all time outside of its passes is waiting for other ranks."""

    def __init__(
        self, root: Transformer, number: int, x_BTD: Tensor, ranks: GroupOfRanks, num_stages: int, device: Device
    ) -> None:
        """`x_BTD` stands, on the meta device, for the hidden states that a stage hands on."""
        whole = torch.empty((), device="meta")
        super().__init__(
            root,
            number,
            num_stages,
            device.torch_device,
            input_args=whole.long() if number == 0 else x_BTD,
            output_args=whole if number == num_stages - 1 else x_BTD,
            group=ranks.group,
        )
        self._progress = ranks.progress

    def forward_one_chunk(self, *given: Any, **named: Any) -> Any:
        return self._computed(partial(super().forward_one_chunk, *given, **named))

    def backward_one_chunk(self, *given: Any, **named: Any) -> Any:
        return self._computed(partial(super().backward_one_chunk, *given, **named))

    def _computed(self, work: Callable[[], Any]) -> Any:
        with self._progress.computing():
            try:
                return work()
            except Exception as error:
                raise StageError(error) from error
