"""Sharded data parallel: each rank has some rows of every parameter, and gathers a block's weights while it computes.

FSDP2 (arXiv:2304.11277; torch.distributed.fsdp.fully_shard) does the gathering: a parameter is a DTensor of one axis of
the mesh, and inside a block's pass a plain tensor, so that the model and its kernels see nothing of it. Copies of the
shards, on other ranks along `replicate`, add their gradients once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from headwater.cpu_kernels.convert import keep_no_copies_
from headwater.device.device import Device
from headwater.device.settings import NOT_DIVIDED
from headwater.model.init import initial_value
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates
from headwater.parallel.collectives import ExactSum, Gather, Sum
from headwater.parallel.data_parallel import DataParallel, gradient_of
from headwater.parallel.fixed_point import FRACTION_BITS
from headwater.parallel.sharded_optimizer import ShardedOptimizer, held, rows_by_rank
from headwater.ranks.exchange import GroupOfRanks, ManyRanks, Ranks


class ShardedDataParallel(DataParallel):
    """As `DataParallel`, with parameters, gradients and optimizer state divided along `shard`."""

    names_wrong_ranks = False

    def __init__(self, ranks: Ranks, device: Device, *, exact: bool = False) -> None:
        super().__init__(ranks, device, exact=exact)
        self._shards, self._replicas = cast(GroupOfRanks, ranks.along("shard")), ranks.along("replicate")
        self._reductions: list[Sum] = []
        self._root: Root | None = None

    def prepare(
        self, build: Callable[[], Transformer], fastest_: Callable[[Transformer], Transformer], seed: int
    ) -> tuple[Transformer, Transformer]:
        """Build on the meta device, divide, and fill this rank's rows alone: no rank ever holds all weights."""
        with torch.device("meta"):
            model = build()
        fastest = fastest_(model)
        assert fastest is model, NOT_DIVIDED
        keep_no_copies_(model)
        root = self._root = Root(model)
        for module in (*model.blocks, root):
            self._divide_(module, stays_gathered=module is root)
        root.to_empty(device=self.device.torch_device)
        self.initialise_(model, seed)
        root.end_passes_divided_()
        return model, cast(Transformer, root)

    def _divide_(self, module: nn.Module, *, stays_gathered: bool) -> None:
        """Divide a module's parameters; the root's stay gathered from its pass to the backward pass, which is next."""
        mesh = cast(ManyRanks, self.ranks).device_mesh
        assert mesh is not None
        fully_shard(module, mesh=mesh["shard"], reshard_after_forward=not stays_gathered)
        divided = cast(FSDPModule, module)
        # sums: the loss of a microbatch is divided by the targets of all ranks already
        divided.set_gradient_divide_factor(1.0)
        divided.set_force_sum_reduction_for_comms(True)
        reduction = ExactSum(self._shards) if self._exact else Sum(self._shards)
        divided.set_custom_all_gather(Gather(self._shards))  # type: ignore[arg-type]
        divided.set_custom_reduce_scatter(reduction)  # type: ignore[arg-type]
        self._reductions.append(reduction)

    def initialise_(self, model: Transformer, seed: int) -> None:
        model.fill_buffers_()
        tied = model.settings.tied_embeddings
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                first = sum(rows_by_rank(parameter.shape[0], self._shards.world_size)[: self._shards.rank])
                own = held(parameter)
                rows = slice(first, first + own.shape[0])
                own.copy_(initial_value(name, parameter.shape, seed, tied=tied, part=(rows,)))

    def optimizer(
        self, model: Transformer, optim: OptimSettings, dtype: torch.dtype, updates: PlainUpdates
    ) -> Optimizer:
        return ShardedOptimizer(model.named_parameters(), optim, dtype, updates, self._shards, self._replicas)

    def measurable(self, model: Transformer) -> Transformer:
        return cast(Transformer, self._root)

    def take_(self, model: nn.Module) -> None:
        """Do nothing: the backward pass has added the microbatch's gradient, over ranks as well."""

    def keep_own_gradients_(self) -> None:
        for reduction in self._reductions:
            reduction.bits = torch.zeros((), dtype=torch.int64, device=self.device.torch_device)

    def own_gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Return sums of the bits: the gradients are gone when a block's backward pass has ended."""
        names = [*(f"block {number}" for number in range(len(self._reductions) - 1)), "outside the blocks"]
        bits = [reduction.bits for reduction in self._reductions]
        return {name: found for name, found in zip(names, bits, strict=True) if found is not None}

    def exchange_(self, model: nn.Module) -> None:
        for reduction in self._reductions:
            reduction.bits = None
        if self._exact:
            self._give_exact_sums_(model)
        elif self._replicas.world_size > 1:
            self._replicas.sum_tensors_([held(gradient_of(parameter)) for parameter in model.parameters()])

    def _give_exact_sums_(self, model: nn.Module) -> None:
        totals = [cast(ExactSum, reduction).take_total() for reduction in self._reductions]
        num_bad = self.ranks.sum_(torch.stack([total.num_bad for total in totals]).sum(0))
        self._replicas.sum_tensors_([total.integers for total in totals])
        spoilt = torch.where(num_bad > 0, torch.nan, 0.0)
        for total in totals:
            total.gradients.copy_(total.integers.double().mul_(2.0**-FRACTION_BITS) + spoilt)
        flats = {total.gradients.untyped_storage().data_ptr() for total in totals}
        for parameter in model.parameters():
            gradient = held(gradient_of(parameter))
            assert not gradient.numel() or gradient.untyped_storage().data_ptr() in flats, "FSDP copied a gradient"

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        return {name.removeprefix("model."): held(gradient) for name, gradient in super().gradients(model).items()}

    def norms(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return each tensor's norm, of all its shards, in fp64: however it is divided, nearly the same bits."""
        of_rank = [torch.linalg.vector_norm(held(tensor), dtype=torch.float64) for tensor in tensors]
        return self._shards.sum_(torch.stack(of_rank).square()).sqrt()

    def max_of_shards_(self, tensor: Tensor) -> Tensor:
        return self._shards.max_(tensor)

    def sum_of_shards_(self, tensor: Tensor) -> Tensor:
        return self._shards.sum_(tensor)


class Root(nn.Module):
    """A model whose weights outside of its blocks, too, are gathered for as long as one of its passes takes."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model, self.settings = model, model.settings

    @property
    def embed(self) -> nn.Module:
        return self.model.embed

    @property
    def blocks(self) -> nn.Module:
        return self.model.blocks

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(*inputs)

    def hidden(self, *inputs: Tensor) -> Tensor:
        return self.model.hidden(*inputs)

    def token_losses(self, *inputs: Tensor) -> Tensor:
        return self.model.token_losses(*inputs)

    def logits(self, x_D: Tensor) -> Tensor:
        return self.model.logits(x_D)

    def end_passes_divided_(self) -> None:
        """Let what an evaluation calls gather the weights as training's pass does, and give them back at its end."""
        for name in ("hidden", "token_losses", "logits"):
            register_fsdp_forward_method(self, name)
            setattr(self, name, _then(getattr(self, name), cast(FSDPModule, self).reshard))


def _then(method: Callable[..., Tensor], end: Callable[[], None]) -> Callable[..., Tensor]:
    def call(*inputs: Tensor) -> Tensor:
        result = method(*inputs)
        end()
        return result

    return call
