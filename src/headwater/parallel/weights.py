"""What a prepared model is, and the first values of its weights, of which a rank may have some rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.model.init import initial_value
from headwater.model.transformer import Transformer
from headwater.parallel.gradient_sum import local
from headwater.parallel.sharded_optimizer import rows_by_rank
from headwater.ranks.exchange import Ranks


@dataclass(frozen=True)
class Prepared:
    """A model with its first weights; what trains it, and what evaluates it, all ranks together."""

    model: Transformer
    fast_model: Transformer
    "The same parameters, as they are trained with."
    measured: Transformer
    "What an evaluation calls for inputs of many shapes, and `hidden` for those of few."
    hidden: Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def initialise_(model: Transformer, seed: int, shards: Ranks) -> None:
    """Give this rank's rows of all parameters their first values."""
    model.fill_buffers_()
    for name, parameter in model.named_parameters():
        rows = rows_by_rank(parameter.shape[0], shards.world_size)
        first = sum(rows[: shards.rank])
        part = (slice(first, first + rows[shards.rank]),)
        tied = model.settings.tied_embeddings
        local(parameter).copy_(initial_value(name, parameter.shape, seed, tied=tied, part=part))
