"""What FSDP calls to exchange tensors: by the run's own ranks, who say what it means when one of them is lost.

These objects take the place of torch's own in `fully_shard`'s modules (`set_custom_all_gather` and so on).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from headwater.machine.parallel.fixed_point import as_integers
from headwater.machine.ranks.exchange import GroupOfRanks


class Collective:
    def __init__(self, shards: GroupOfRanks) -> None:
        self.shards = shards

    def allocate(self, size: Iterable[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class AllGather(Collective):
    """Sends weights that are only used in bfloat16 as such, half the bytes, and all others as they are.

    FSDP's own way to do so (`MixedPrecisionPolicy`) would round the gains of norms, too.
    """

    def __init__(self, shards: GroupOfRanks, sizes: Sequence[int], are_rounded: Sequence[bool]) -> None:
        """`sizes` are the numbers that this rank sends of each parameter, in FSDP's order."""
        super().__init__(shards)
        self._sizes, self._are_rounded = list(sizes), list(are_rounded)

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False
    ) -> dist.Work | None:
        rounded = self._are_rounded
        if not any(rounded):
            return self.shards.gather_into_(output_tensor, input_tensor, is_queued=async_op)
        parts = zip(input_tensor.split(self._sizes), rounded, strict=True)
        sent = torch.cat([part.bfloat16() if is_rounded else part.view(torch.bfloat16) for part, is_rounded in parts])
        came = sent.new_empty(self.shards.world_size * sent.numel())
        self.shards.gather_into_(came, sent)
        sent_sizes = [size if is_rounded else 2 * size for size, is_rounded in zip(self._sizes, rounded)]
        world_size = self.shards.world_size  # a copy a parameter, however many ranks
        wholes = output_tensor.view(world_size, -1).split(self._sizes, dim=1)
        for whole, found, is_rounded in zip(wholes, came.view(world_size, -1).split(sent_sizes, dim=1), rounded):
            # made contiguous: what is read as numbers of twice the size begins at an even place
            whole.copy_(found if is_rounded else found.clone(memory_format=torch.contiguous_format).view(torch.float32))
        return None


class ReduceScatter(Collective):
    bits: Tensor | None = None  # in an audit, of the gradients so far, added up: what two passes must agree on

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> dist.Work | None:
        self._add_bits(input_tensor)
        return self.shards.scatter_sum_(output_tensor, input_tensor, is_queued=async_op)

    def _add_bits(self, gradients: Tensor) -> None:
        if self.bits is not None:
            self.bits = gradients.view(torch.int32).sum() + self.bits


class Total:
    """A step's gradient so far of the parameters of one module: integers, how many bad ones, where it belongs."""

    def __init__(self, gradients: Tensor) -> None:
        self.gradients = gradients
        self.integers = torch.zeros_like(gradients, dtype=torch.int64)
        self.num_bad = torch.zeros(1, dtype=torch.int64, device=gradients.device)


class ExactReduceScatter(ReduceScatter):
    """Adds as `ExactGradientSum` does. FSDP gets zeros; the first of them, of which it makes a step's gradients, are
    kept: at the end the sum is written there.
    """

    _total: Total | None = None

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> None:
        self._add_bits(input_tensor)
        total = self._total = self._total or Total(output_tensor)
        integers, is_good = as_integers(input_tensor)
        total.num_bad += ~is_good
        part = torch.empty_like(total.integers)
        self.shards.scatter_sum_(part, integers)
        total.integers += part
        output_tensor.zero_()

    def take_total(self) -> Total:
        """Return the sum over the step, and begin another."""
        total, self._total = self._total, None
        assert total is not None, "a module had no backward pass"
        return total
