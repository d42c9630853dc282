"""A model as these ranks hold it, with its optimizer: whole on each of them, or divided."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor

from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates
from headwater.parallel import weights
from headwater.parallel.data_parallel import DataParallel
from headwater.parallel.layers import MeasuredModel, divide_layers_, divide_weights_
from headwater.parallel.sharded_optimizer import ShardedOptimizer
from headwater.ranks.mesh import LAYER_AXES, STATE_AXES


def prepare(
    build: Callable[[], Transformer],
    fastest_: Callable[[Transformer], Transformer],
    seed: int,
    parallel: DataParallel,
    gather_dtype: torch.dtype = torch.float32,
) -> weights.Prepared:
    """Return a model on the device; `fastest_` makes of it what trains fast.

    `gather_dtype` is what matrices are rounded to before they are used for anything: divided ones are sent as that.
    """
    ranks, seeded = parallel.ranks, partial(weights.initialise_, seed=seed, ranks=parallel.ranks)
    if ranks.mesh.size(*STATE_AXES) == 1:
        model = build()
        seeded(model)
        model.to(parallel.device.torch_device)
        fast_model = fastest_(model)
        return weights.Prepared(model, fast_model, model, fast_model.hidden)
    with torch.device("meta"):  # no rank ever holds all weights
        model = build()
    if ranks.mesh.tensor > 1:
        divide_weights_(model, ranks.mesh)
    fast_model = fastest_(model)
    if ranks.mesh.size(*LAYER_AXES) > 1:
        divide_layers_(model, fast_model, ranks)
    methods: Callable[[str], Callable[..., Tensor]] = partial(getattr, model)
    if parallel.shards.world_size > 1:
        from headwater.parallel.sharded import shard_  # here, for FSDP takes a second to import

        methods, fast_model = shard_(model, fast_model, parallel, gather_dtype), model
    model.to_empty(device=parallel.device.torch_device)
    seeded(model)
    measured = cast(Transformer, MeasuredModel(model, methods, ranks))
    return weights.Prepared(model, fast_model, measured, measured.hidden)


def optimizer_for(
    model: Transformer, optim: OptimSettings, dtype: torch.dtype, updates: PlainUpdates, parallel: DataParallel
) -> Optimizer:
    given = model.named_parameters(), optim, dtype, updates
    if parallel.ranks.mesh.size(*STATE_AXES) > 1:
        return ShardedOptimizer(*given, parallel.replicas, parallel.ranks)
    return Optimizer(*given, parallel.replicas)
