"""A step's gradient: computed once; or twice, for the same bits; or beside one that isn't rounded to int8.

A machine that computes wrong now and then says nothing: an audit compares all bits. The same weights and rows give the
same bits here, so that a single bit of difference is a fault of the machine: Llama 3's training met six of them in 54
days on 16,384 GPUs (arXiv:2407.21783). After the exchange every rank has the wrong sum; what each computed before it
says whose fault it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from headwater.core.errors import TrainingError
from headwater.machine.parallel.data_parallel import DataParallel, gradients_of, norms
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import STATE_AXES, named
from headwater.model.kernels.convert import unrounded
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import Batch
from headwater.train.checkpoint.tensor_digest import tensor_digest

NumTargets = int | Tensor  # of a step: a number, or of several ranks a tensor on the device


def sum_own_gradients(
    model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
) -> Tensor:
    """Leave this rank's share of a step's gradient, not yet exchanged; return its summed loss, fp64 on the device."""
    if parallel.pipeline is not None:
        return parallel.pipeline.gradients(microbatches, num_targets)
    loss_total = torch.zeros((), dtype=torch.float64, device=parallel.device.torch_device)
    for number, batch in enumerate(microbatches, 1):
        parallel.gradients.begin_(model, is_last=number == len(microbatches))
        loss_sum = model(*map(parallel.device.place, (batch.tokens_BT, batch.documents_BT, batch.targets_BT)))
        (loss_sum / num_targets).backward()
        parallel.gradients.add_(model)
        loss_total += loss_sum.detach()
    return loss_total


def sum_gradients(
    model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
) -> Tensor:
    """Leave the gradient of a whole step at the parameters; return this rank's summed loss, fp64 on the device."""
    loss_total = sum_own_gradients(model, parallel, microbatches, num_targets)
    parallel.gradients.reduce_(model)
    return loss_total


Compute = Callable[[Transformer, DataParallel, list[Batch], NumTargets], Tensor]
"Compute a step's gradient, as `sum_gradients` does."


Digests = dict[str, str]  # by the name of a parameter


# ---- twice


@dataclass(frozen=True)
class Pass:
    """What one pass came to: this rank's loss, its own gradients with the loss, and the sums of all ranks'."""

    loss: Tensor
    own: Digests
    sums: Digests


class RecordDifference(Protocol):
    """Is told where two passes differ, before they are computed again: parameters, and ranks.

    The ranks are those that computed differently; none where the exchange did. They aren't known, None, where weights
    or layers are divided: what is wrong on one reaches all, and all compute differently.
    """

    def __call__(self, *, differing: list[str], ranks: list[int] | None, world_size: int) -> None: ...


class Audit:
    """Stands for `sum_gradients` in an audited step."""

    def __init__(self, record: RecordDifference) -> None:
        self._record = record

    def __call__(
        self, model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
    ) -> Tensor:
        """Leave gradients that two passes agree on, and return their loss; raise TrainingError when three disagree."""
        ranks, compute = parallel.ranks, partial(one_pass, model, parallel, microbatches, num_targets)
        first, second = compute(), compute()
        by_rank = ranks.gather([different(first.own, second.own), different(first.sums, second.sums)])
        names = list(dict.fromkeys(name for found in by_rank for part in found for name in part))
        if not names:
            return second.loss
        erring = [rank for rank, (of_rank, _) in enumerate(by_rank) if of_rank]
        self._record(differing=names, ranks=_known(erring, ranks), world_size=ranks.world_size)
        third = compute()
        found = ranks.gather([third.own in (first.own, second.own), third.sums in (first.sums, second.sums)])
        wrong = [rank for rank, (is_same, _) in enumerate(found) if not is_same]
        # where two ranks erred, each in a pass of its own, no two sums agree and the third is right all the same
        if not wrong and (erring or all(is_same for _, is_same in found)):
            return third.loss
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        raise TrainingError(
            f"{named(_known(wrong, ranks), ranks.world_size)} computed wrong: three passes over the same rows with the "
            f"same weights gave three gradients (of {shown}); nothing was done with them. Test its memory and "
            "processor, or resume elsewhere: the last checkpoint is from before this step"
        )


def one_pass(model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets) -> Pass:
    """Compute a step's gradients from nothing, and leave them at the parameters."""
    model.zero_grad(set_to_none=True)
    parallel.gradients.watch_()
    loss = sum_own_gradients(model, parallel, microbatches, num_targets)
    own = _digests(parallel.gradients.own(model) | {"loss": loss})
    parallel.gradients.reduce_(model)
    return Pass(loss, own, _digests(gradients_of(model)))


def _digests(tensors: dict[str, Tensor]) -> Digests:
    return {name: tensor_digest(tensor) for name, tensor in tensors.items()}


def different(one: Digests, other: Digests) -> list[str]:
    """Return the names under which two passes found different bits."""
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]


def _known(erring: list[int], ranks: Ranks) -> list[int] | None:
    """Return ranks whose own gradients differed, or None: ranks that hold a model together all share one's fault."""
    return erring if ranks.mesh.size("pipeline", *STATE_AXES) == 1 else None


# ---- beside one that isn't rounded


class GradientCheck:
    """Stands for `sum_gradients` in a step whose gradient is compared with that of bfloat16, unless it is that."""

    error: float | None = None
    """Distance of the two over the norm of bfloat16's, of the block matrix where it is largest: Muon's updates of all
    are of one scale, however small their gradients."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    def __call__(
        self, model: Transformer, parallel: DataParallel, microbatches: list[Batch], num_targets: NumTargets
    ) -> Tensor:
        without_rounding = unrounded(model)
        if without_rounding is None:
            return self._compute(model, parallel, microbatches, num_targets)
        with without_rounding:
            sum_gradients(model, parallel, microbatches, num_targets)
        expected = _matrices(model)
        model.zero_grad(set_to_none=True)
        loss = self._compute(model, parallel, microbatches, num_targets)
        found = _matrices(model)
        lengths = norms(expected, parallel.ranks)
        for name, tensor in expected.items():
            tensor.sub_(found[name])  # in place: copies would be as large as all gradients
        distances = norms(expected, parallel.ranks)
        largest = (distances / lengths).nan_to_num().max()  # 0 / 0: no gradient yet
        (self.error,) = parallel.device.read(parallel.ranks.along("pipeline").max_(largest))
        return loss


def _matrices(model: Transformer) -> dict[str, Tensor]:
    """Return this rank's part of the gradients of the blocks' matrices."""
    named = gradients_of(model)
    matrices = [name for name, one in model.named_parameters() if name.startswith("blocks.") and one.ndim == 2]
    return {name: named[name] for name in matrices if name in named}
