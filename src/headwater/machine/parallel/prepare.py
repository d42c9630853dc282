"""A model as these ranks hold it, with its optimizer: whole on each of them, or divided."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.machine.parallel import weights
from headwater.machine.parallel.boxes import own_stages
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.parallel.sharded_optimizer import ShardedOptimizer
from headwater.machine.parallel.stages import hand_on_, joined, stages_of
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.mesh import LAYER_AXES, STATE_AXES
from headwater.model.init import FirstValue
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.updates import PlainUpdates
from headwater.model.transformer import Transformer


def prepare(
    build: Callable[[], Transformer],
    fastest_: Callable[[Transformer], Transformer],
    first_value: FirstValue,
    parallel: DataParallel,
    gather_dtype: torch.dtype = torch.float32,
) -> weights.Prepared:
    """Return a model on the device, with its first values; `fastest_` makes of it what trains fast.

    `gather_dtype` is what matrices are rounded to before they are used for anything: divided ones are sent as that.
    """
    ranks, fill_ = parallel.ranks, partial(weights.initialise_, first_value=first_value, ranks=parallel.ranks)
    if ranks.mesh.size("pipeline", *STATE_AXES) == 1:
        model = build()
        fill_(model)
        model.to(parallel.device.torch_device)
        fast_model = fastest_(model)
        return weights.Prepared(model, fast_model, model, fast_model.hidden)
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
    return weights.Prepared(model, fast_model, measured, measured.hidden)


def _fast_root(stage: Transformer, fastest_: Callable[[Transformer], Transformer], ranks: Ranks) -> Transformer:
    """Divide the layers of a model on the meta device, or of a stage, and return what trains fast."""
    mesh = ranks.mesh
    if mesh.tensor > 1:
        weights.divide_weights_(stage, mesh)
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
