"""Sharded data parallel: each rank has some rows of every parameter, and gathers a block's weights while it computes.

FSDP2 (arXiv:2304.11277; torch.distributed.fsdp.fully_shard) does the gathering: a parameter is a DTensor of one axis of
the mesh, and inside a block's pass a plain tensor, so that the model and its kernels see nothing of it. Copies of the
shards, on other ranks along `replicate`, add their gradients once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from headwater.machine.parallel.data_parallel import DataParallel, GradientSum
from headwater.machine.ranks.exchange import GroupOfRanks, Ranks
from headwater.model.kernels.convert import keep_no_copies_
from headwater.model.transformer import Transformer

Method = Callable[[str], Callable[..., Tensor]]
"Of a name, that method of a model, in the way in which an evaluation has to call it."


def shard_(
    stages: Sequence[Transformer], roots: Sequence[Transformer], parallel: DataParallel, gather_dtype: torch.dtype
) -> list[Method]:
    """Divide models on the meta device, which then compute as `roots`; return how an evaluation calls their methods."""
    num_bytes = sum(parameter.nbytes for stage in stages for parameter in stage.parameters())
    gathers_once = parallel.ranks.mesh.gathers_once(num_bytes)
    for stage, root in zip(stages, roots, strict=True):
        _shard_(stage, root, parallel, gather_dtype, gathers_once=gathers_once)
    parallel.gradients = ShardedGradientSum(parallel.ranks, gathers_once=gathers_once)
    return [partial(_method, stage) for stage in stages]


def _shard_(
    model: Transformer, root: Transformer, parallel: DataParallel, gather_dtype: torch.dtype, *, gathers_once: bool
) -> None:
    shards = parallel.shards
    assert isinstance(shards, GroupOfRanks)
    model.forward = root.forward  # type: ignore[method-assign]
    if parallel.ranks.mesh.pipeline > 1 or not gathers_once:  # microbatches under way would have a copy each
        keep_no_copies_(model)
    device_mesh = shards.device_mesh
    for module in [*model.blocks.children(), model]:
        # what lies outside the blocks stays gathered from its pass to the backward pass, which is next
        is_kept = module is model or gathers_once
        fully_shard(module, mesh=device_mesh, reshard_after_forward=not is_kept)
        if not fully_shard.state(module)._fsdp_param_groups:  # type: ignore[attr-defined]
            continue  # of a stage between the first and the last
        # embeddings that are added to others before they are cast are used in fp32
        is_rounded = gather_dtype == torch.bfloat16 and not (module is model and model.settings.family == "gpt2")
        divided: Any = module
        # sums: the loss of a microbatch is divided by the targets of all ranks already
        divided.set_gradient_divide_factor(1.0)
        divided.set_force_sum_reduction_for_comms(True)
        divided.set_custom_all_gather(_all_gather(module, shards, is_rounded=is_rounded))
        divided.set_custom_reduce_scatter(ReduceScatter(shards))


def _all_gather(module: nn.Module, shards: GroupOfRanks, *, is_rounded: bool) -> AllGather:
    """Return what gathers a module's parameters, matrices rounded to bfloat16 or not."""
    group = fully_shard.state(module)._fsdp_param_group  # type: ignore[attr-defined]
    shapes = [parameter.padded_sharded_param_size for parameter in group.fsdp_params]
    return AllGather(shards, [shape.numel() for shape in shapes], [is_rounded and len(shape) == 2 for shape in shapes])


class ShardedGradientSum(GradientSum):
    """Gradients are added over the shards in a backward pass, of small models in the last, over copies at the end."""

    def __init__(self, ranks: Ranks, *, gathers_once: bool) -> None:
        super().__init__(ranks)
        self._gathers_once = gathers_once

    def begin_(self, model: nn.Module, *, is_last: bool) -> None:
        if self._gathers_once:
            divided = cast(FSDPModule, model)
            divided.set_is_last_backward(is_last)
            divided.set_requires_gradient_sync(is_last)
            divided.set_reshard_after_backward(is_last)


def _method(model: Transformer, name: str) -> Callable[..., Tensor]:
    """Return a method that gathers what it uses for each call, and gives it back: an update may come next."""
    gathered = f"gathered_{name}"
    setattr(model, gathered, getattr(model, name))
    register_fsdp_forward_method(model, gathered)
    method: Callable[..., Tensor] = getattr(model, gathered)

    def call(*inputs: Tensor) -> Tensor:
        result = method(*inputs)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
        return result

    return call


# ---- what FSDP calls, in place of torch's own: the run's own ranks say what it means when one of them is lost


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
    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, op: Any, async_op: bool = False
    ) -> dist.Work | None:
        return self.shards.scatter_sum_(output_tensor, input_tensor, is_queued=async_op)
