"""A model as these ranks hold it, with its optimizer: whole on each of them, or divided.

A stage is some consecutive blocks, whose parameters keep the names that they have in the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.machine.parallel.boxes import (
    blocks_of,
    box_of,
    num_recomputed,
    own_stages,
    shape_along_tensor,
    whole_shape,
)
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.parallel.sharded_optimizer import ShardedOptimizer
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import LAYER_AXES, STATE_AXES, Mesh
from headwater.model.init import FirstValue
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import PlainUpdates
from headwater.model.transformer import Blocks, Transformer


def prepare(
    build: Callable[[], Transformer],
    fastest_: Callable[[Transformer], Transformer],
    first_value: FirstValue,
    parallel: DataParallel,
    gather_dtype: torch.dtype = torch.float32,
) -> Prepared:
    """Return a model on the device, with its first values; `fastest_` makes of it what trains fast.

    `gather_dtype` is what matrices are rounded to before they are used for anything: divided ones are sent as that.
    """
    ranks, fill_ = parallel.ranks, partial(initialise_, first_value=first_value, ranks=parallel.ranks)
    if ranks.mesh.size("pipeline", *STATE_AXES) == 1:
        model = build()
        fill_(model)
        model.to(parallel.device.torch_device)
        fast_model = fastest_(model)
        return Prepared(model, fast_model, model, fast_model.hidden)
    with torch.device("meta"):  # no rank ever holds all weights
        numbers, last = own_stages(ranks.mesh, ranks.rank), ranks.mesh.num_stages - 1
        stages = stages_of(build, numbers, ranks.mesh.num_stages)
    roots = [_fast_root(stage, fastest_, ranks) for stage in stages]
    for root in (root for root, number in zip(roots, numbers, strict=True) if number < last):
        hand_on_(root)
    model, fast_model = joined(stages), joined(roots)
    methods: list[Callable[[str], Callable[..., Tensor]]] = [partial(getattr, stage) for stage in stages]
    if parallel.shards.world_size > 1:
        from headwater.machine.parallel.sharded import shard_  # here, for FSDP takes a second to import

        methods, roots, fast_model = shard_(stages, roots, parallel, gather_dtype), stages, model
    for stage in stages:
        stage.to_empty(device=parallel.device.torch_device)
    if ranks.mesh.pipeline > 1:
        from headwater.machine.parallel.pipeline import Pipeline  # here, for torch's schedules take a second to import

        parallel.pipeline = Pipeline(roots, methods, ranks, parallel.device)
        methods = [parallel.pipeline.method]
    fill_(model)
    measured = cast(Transformer, MeasuredModel(model, methods[0], ranks))
    return Prepared(model, fast_model, measured, measured.hidden)


def _fast_root(stage: Transformer, fastest_: Callable[[Transformer], Transformer], ranks: Ranks) -> Transformer:
    """Divide the layers of a model on the meta device, or of a stage, and return what trains fast."""
    mesh = ranks.mesh
    if mesh.tensor > 1:
        divide_weights_(stage, mesh)
    root = fastest_(stage)
    if mesh.size(*LAYER_AXES) > 1:
        from headwater.machine.parallel.layers import (
            divide_layers_,  # here, for torch's compiler takes a second to import
        )

        divide_layers_(stage, root, ranks)
    return root


def optimizer_for(
    model: Transformer, optim: OptimSettings, dtype: torch.dtype, updates: PlainUpdates, parallel: DataParallel
) -> Optimizer:
    given = model.named_parameters(), optim, dtype, updates
    if parallel.ranks.mesh.size(*STATE_AXES) > 1:
        return ShardedOptimizer(*given, parallel.replicas, parallel.ranks)
    return Optimizer(*given, parallel.replicas)


class MeasuredModel:
    """A divided model as evaluations call it, for sequences of any length: hidden states and scores are whole."""

    def __init__(self, model: Transformer, methods: Callable[[str], Callable[..., Tensor]], ranks: Ranks) -> None:
        """`methods` returns a model's method by its name, in whatever way it has to be called."""
        self.settings, self.device = model.settings, model.device
        self._hidden, self._logits, self.token_losses = map(methods, ("hidden", "logits", "token_losses"))
        self._ranks, self._tensor = ranks.along(*LAYER_AXES), ranks.along("tensor")

    def hidden(self, tokens_BT: Tensor, documents_BT: Tensor) -> Tensor:
        num_tokens = tokens_BT.shape[1]
        missing = -num_tokens % self._ranks.world_size
        # behind all others: no token sees them
        tokens_BT, documents_BT = F.pad(tokens_BT, (0, missing)), F.pad(documents_BT, (0, missing))
        return self._ranks.joined(self._hidden(tokens_BT, documents_BT), dim=1)[:, :num_tokens]

    def logits(self, x_D: Tensor) -> Tensor:
        return self._tensor.joined(self._logits(x_D), dim=-1)


@dataclass(frozen=True)
class Prepared:
    """A model with its first weights; what trains it, and what evaluates it, all ranks together."""

    model: Transformer
    fast_model: Transformer
    "The same parameters, as they are trained with."
    measured: Transformer
    "What an evaluation calls for inputs of many shapes, and `hidden` for those of few."
    hidden: Callable[[Tensor, Tensor], Tensor]


def divide_weights_(model: Transformer, mesh: Mesh) -> None:
    """Leave of each parameter, on the meta device, what a rank along `tensor` has of it."""
    for module_name, module in model.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = shape_along_tensor(f"{module_name}.{name}", parameter.shape, mesh)
            setattr(module, name, nn.Parameter(torch.empty(shape, device="meta")))


@torch.no_grad()
def initialise_(model: Transformer, first_value: FirstValue, ranks: Ranks) -> None:
    """Give this rank's boxes of all parameters their first values."""
    model.fill_buffers_()
    for name, parameter in model.named_parameters():
        shape = whole_shape(name, parameter.shape, ranks.mesh)
        part = box_of(name, shape, ranks.mesh, ranks.rank).slices
        local(parameter).copy_(first_value(name, shape, part=part))


def stages_of(build: Callable[[], Transformer], numbers: Sequence[int], num_stages: int) -> list[Transformer]:
    """Return the stages of these numbers: each is what `build` makes, on the meta device, less what the others have.

    They share their buffers, which a rank fills once.
    """
    stages = [build() for _ in numbers]
    for stage, number in zip(stages, numbers, strict=True):
        _keep_stage_(stage, number, num_stages)
        stage._buffers = stages[0]._buffers
    return stages


def _keep_stage_(model: Transformer, number: int, num_stages: int) -> None:
    here = blocks_of(number, num_stages, model.settings.num_layers)
    for name in [name for name in model.blocks._modules if int(name) not in here]:  # those that stay keep their names
        del model.blocks._modules[name]
    if isinstance(recomputed := model.blocks.recompute, int):
        model.blocks.recompute = num_recomputed(here, recomputed, model.settings.num_layers)
    if number > 0:
        model.embed = nn.Identity()  # type: ignore[assignment]
        model._modules.pop("positions", None)
    if number < num_stages - 1:
        model.final_norm = nn.Identity()
        del model.head


def hand_on_(root: Transformer) -> None:
    """Have a stage that isn't the last one return its hidden states, for the next one, in place of a loss."""
    hidden = root.hidden
    root.forward = lambda x, documents_BT, targets_BT: hidden(x, documents_BT)  # type: ignore[method-assign, assignment]


def joined(stages: Sequence[Transformer]) -> Transformer:
    """Return a model of all parameters of a rank's stages, for all that goes by their names: nobody calls it."""
    if len(stages) == 1:
        return stages[0]
    root = copy.copy(stages[0])
    root._modules = stages[-1]._modules | {name: stages[0]._modules[name] for name in stages[0]._modules}
    root.final_norm = stages[-1].final_norm
    blocks: Blocks = copy.copy(stages[0].blocks)
    blocks._modules = {name: block for stage in stages for name, block in stage.blocks._modules.items()}
    root.blocks = blocks
    return root
