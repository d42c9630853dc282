"""A model as these ranks hold it, with its optimizer: whole on each of them, or divided."""

from __future__ import annotations

from collections.abc import Callable

import torch

from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import PlainUpdates
from headwater.parallel import weights
from headwater.parallel.data_parallel import DataParallel
from headwater.parallel.sharded_optimizer import ShardedOptimizer
from headwater.ranks.exchange import GroupOfRanks


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
    if parallel.shards.world_size > 1:
        from headwater.parallel.sharded import prepare_sharded  # here, for FSDP takes a second to import

        return prepare_sharded(build, fastest_, seed, parallel, gather_dtype)
    model = build()
    weights.initialise_(model, seed, parallel.shards)
    model.to(parallel.device.torch_device)
    fast_model = fastest_(model)
    return weights.Prepared(model, fast_model, model, fast_model.hidden)


def optimizer_for(
    model: Transformer, optim: OptimSettings, dtype: torch.dtype, updates: PlainUpdates, parallel: DataParallel
) -> Optimizer:
    given = model.named_parameters(), optim, dtype, updates
    if isinstance(parallel.shards, GroupOfRanks):
        return ShardedOptimizer(*given, parallel.shards, parallel.replicas)
    return Optimizer(*given, parallel.replicas)
