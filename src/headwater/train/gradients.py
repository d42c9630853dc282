"""A step's gradient: computed once; or twice, for the same bits; or beside one that isn't rounded to int8.

A machine that computes wrong now and then says nothing: an audit compares all bits. The same weights and rows give the
same bits here, so that a single bit of difference is a fault of the machine: Llama 3's training met six of them in 54
days on 16,384 GPUs (arXiv:2407.21783). After the exchange every rank has the wrong sum; what each computed before it
says whose fault it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.batches.assemble import Batch
from headwater.checkpoint.tensor_digest import tensor_digest
from headwater.cpu_kernels.convert import unrounded
from headwater.errors import TrainingError
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import Ranks
from headwater.ranks.place import named
from headwater.train.state import Prepared

Count = int | Tensor
"Of targets: a number, or of several ranks a tensor on the device."
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number


def accumulate(prepared: Prepared, parallel: DataParallel, batch: Batch, num_targets: Count) -> Tensor:
    """Add a microbatch's share of the step's gradient; return its summed loss, a tensor on the device."""
    tensors = map(parallel.device.place, (batch.tokens_BT, batch.documents_BT, batch.targets_BT))
    loss_sum = prepared.fast(*tensors)
    (loss_sum / num_targets).backward()
    parallel.take_(prepared.model)
    return loss_sum.detach()


def sum_own_gradients(
    prepared: Prepared, parallel: DataParallel, microbatches: list[Batch], num_targets: Count
) -> Tensor:
    """Leave this rank's share of a step's gradient, not yet exchanged; return its summed loss, fp64 on the device."""
    loss_total = torch.zeros((), dtype=torch.float64, device=parallel.device.torch_device)
    for batch in microbatches:
        loss_total += accumulate(prepared, parallel, batch, num_targets)
    return loss_total


def sum_gradients(prepared: Prepared, parallel: DataParallel, microbatches: list[Batch], num_targets: Count) -> Tensor:
    """Leave the gradient of a whole step at the parameters; return this rank's summed loss, fp64 on the device."""
    loss_total = sum_own_gradients(prepared, parallel, microbatches, num_targets)
    parallel.exchange_(prepared.model)
    return loss_total


Compute = Callable[[Prepared, DataParallel, list[Batch], Count], Tensor]
"Compute a step's gradient, as `sum_gradients` does."


# ---- twice


@dataclass(frozen=True)
class Difference:
    """Where two passes differ: parameters, and the ranks that computed differently; none where the exchange did."""

    names: list[str]
    ranks: list[int]
    world_size: int


@dataclass(frozen=True)
class Pass:
    """What one pass came to: digests of this rank's own gradients, and the sums of all ranks' with this one's loss."""

    own: dict[str, str]
    sums: dict[str, Tensor]


class Audit:
    """Stands for `sum_gradients` in an audited step."""

    def __init__(self, record: Callable[[Difference], None]) -> None:
        """`record` is told where two passes differed, before they are computed again."""
        self._record = record

    def __call__(
        self, prepared: Prepared, parallel: DataParallel, microbatches: list[Batch], num_targets: Count
    ) -> Tensor:
        """Leave gradients that two passes agree on, and return their loss; raise TrainingError when three disagree."""

        def compute() -> Pass:
            return one_pass(prepared, parallel, microbatches, num_targets)

        first, second = compute(), compute()
        own = [name for name in first.own if first.own[name] != second.own[name]]
        summed = different(first.sums, second.sums)
        by_rank = parallel.ranks.gather([own, summed])
        names = {name: None for found in by_rank for part in found for name in part}
        if not names:
            return second.sums["loss"]
        ranks = [rank for rank, (of_rank, _) in enumerate(by_rank) if of_rank]
        seen = Difference(list(names), ranks, parallel.ranks.world_size)
        self._record(seen)
        third = compute()
        _require_agreement(parallel.ranks, seen, [first, second], third)
        return third.sums["loss"]


class GradientCheck:
    """Stands for `sum_gradients` in a step whose gradient is compared with that of bfloat16, unless it is that."""

    error: float | None = None
    """Distance of the two over the norm of bfloat16's, of the block matrix where it is largest: Muon's updates of all
    are of one scale, however small their gradients."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    def __call__(
        self, prepared: Prepared, parallel: DataParallel, microbatches: list[Batch], num_targets: Count
    ) -> Tensor:
        without_rounding = unrounded(prepared.model)
        if without_rounding is None:
            return self._compute(prepared, parallel, microbatches, num_targets)
        with without_rounding:
            sum_gradients(prepared, parallel, microbatches, num_targets)
        matrices = [p for p in prepared.model.blocks.parameters() if p.ndim == 2 and p.grad is not None]
        expected: list[Tensor] = [parameter.grad for parameter in matrices]  # type: ignore[misc]
        prepared.model.zero_grad(set_to_none=True)
        loss = self._compute(prepared, parallel, microbatches, num_targets)
        found: list[Tensor] = [parameter.grad for parameter in matrices]  # type: ignore[misc]
        differences = torch._foreach_sub(found, expected)
        distances, norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (differences, expected))
        (self.error,) = parallel.device.read((distances / norms).nan_to_num().max())  # 0 / 0: no gradient yet
        return loss


def one_pass(prepared: Prepared, parallel: DataParallel, microbatches: list[Batch], num_targets: Count) -> Pass:
    """Compute a step's gradients from nothing, and leave them at the parameters."""
    for parameter in prepared.model.parameters():
        parameter.grad = None
    loss = sum_own_gradients(prepared, parallel, microbatches, num_targets)
    own = {name: tensor_digest(gradient) for name, gradient in parallel.own_gradients(prepared.model).items()}
    parallel.exchange_(prepared.model)
    sums = {n: p.grad for n, p in prepared.model.named_parameters() if p.grad is not None}
    return Pass(own | {"loss": tensor_digest(loss)}, sums | {"loss": loss})


def _require_agreement(ranks: Ranks, seen: Difference, before: list[Pass], third: Pass) -> None:
    """Raise TrainingError unless each rank found once more what it had found in one of the passes before."""
    same_own = any(third.own == one.own for one in before)
    same_sums = any(not different(third.sums, one.sums) for one in before)
    found = ranks.gather([same_own, same_sums])
    wrong = [rank for rank, (is_same, _) in enumerate(found) if not is_same]
    # where two ranks erred, each in a pass of its own, no two sums agree and the third is right all the same
    if not wrong and (seen.ranks or all(is_same for _, is_same in found)):
        return
    raise TrainingError(
        f"{named(wrong, seen.world_size)} computed wrong: three passes over the same rows with the same weights gave "
        f"three gradients (of {', '.join(seen.names[:4])}{', …' if len(seen.names) > 4 else ''}); nothing was done "
        "with them. Test its memory and processor, or resume elsewhere: the last checkpoint is from before this step"
    )


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Return the names under which two passes found different bits; numbers that are none are compared by theirs."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(_bits(one[name]), _bits(other[name]))]


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(INTEGERS[tensor.element_size()])
