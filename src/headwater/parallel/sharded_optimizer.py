"""An update of parameters of which each rank has some rows: AdamW where they lie, Muon on whole matrices.

Muon needs a matrix whole. Each stack of matrices has an owner along `shard`: all ranks send it their rows of the
look-ahead, and get back their rows of its direction, in one exchange each way. Copies of the shards, along `replicate`,
divide the parameters among one another as ranks with whole weights do (`optim.owners`): none repeats another's work.

N matrices of one shape · R rows · C columns
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod

import torch
from torch import Tensor, nn

from headwater.optim.groups import Group
from headwater.optim.optimizer import Optimizer
from headwater.optim.owners import Exchange, Part, owners_of
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import Muon, PlainUpdates
from headwater.parallel.gradient_sum import local
from headwater.ranks.exchange import GroupOfRanks


def rows_by_rank(num_rows: int, num_ranks: int) -> list[int]:
    """Return how many rows FSDP gives each rank: equal parts, of which the last ones are smaller, or empty."""
    size = -(-num_rows // num_ranks)
    return [max(0, min(size, num_rows - rank * size)) for rank in range(num_ranks)]


class ShardedOptimizer(Optimizer):
    """The state of this rank's rows of the parameters that its replica owns."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        optim: OptimSettings,
        compute_dtype: torch.dtype,
        updates: PlainUpdates,
        shards: GroupOfRanks,
        replicas: Exchange,
    ) -> None:
        super().__init__(named_parameters, optim, compute_dtype, updates, replicas)
        self._shards = shards

    def _held(self, tensor: Tensor) -> Tensor:
        return local(tensor)

    def _muon(self, group: Group, parts: Sequence[Part], by: Muon) -> None:
        aheads = [
            self._updates.nesterov_(
                self._gradients(group, part.names), self._slots(part.names, "momentum"), by.momentum, by.compute_dtype
            )
            for part in parts
        ]
        for part, direction_NRC in zip(parts, self._directions(parts, aheads, by), strict=True):
            shape = group.parameters[part.names[0]].shape
            self._updates.descend_(
                self._parameters(group, part.names), direction_NRC, keep=by.keep, rate=by.rate(*shape)
            )

    def _directions(self, parts: Sequence[Part], aheads: Sequence[Tensor], by: Muon) -> list[Tensor]:
        """Return this rank's rows of all directions; each owner computes those of its stacks."""
        ranks = range(self._shards.world_size)
        owners = owners_of(parts, len(ranks))
        owned = [[number for number, owner in enumerate(owners) if owner == rank] for rank in ranks]
        own = [parts[number] for number in owned[self._shards.rank]]
        shapes = [(len(part.names), *part.group.parameters[part.names[0]].shape) for part in own]
        rows = [rows_by_rank(height, len(ranks)) for _, height, _ in shapes]
        own_shapes = [[(n, rows[i][rank], c) for i, (n, _, c) in enumerate(shapes)] for rank in ranks]
        to_owners = [[aheads[number] for number in numbers] for numbers in owned]
        own_aheads = self._all_to_all(to_owners, own_shapes, aheads[0])
        wholes = [torch.cat(of_ranks, dim=1) for of_ranks in zip(*own_aheads, strict=True)]
        found = [self._updates.orthogonal(x_NRC, by.size(*x_NRC.shape[1:])).to(x_NRC.dtype) for x_NRC in wholes]
        by_stack = [x_NRC.split(rows[i], dim=1) for i, x_NRC in enumerate(found)]
        from_owner = [[of_ranks[rank] for of_ranks in by_stack] for rank in ranks]
        back = self._all_to_all(from_owner, [[tuple(one.shape) for one in of_rank] for of_rank in to_owners], aheads[0])
        directions = dict(zip(chain(*owned), chain(*back), strict=True))
        return [directions[number] for number in range(len(parts))]

    def _all_to_all(
        self, sent: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[tuple[int, ...]]], like: Tensor
    ) -> list[list[Tensor]]:
        """Send rank r the tensors `sent[r]`; return what each sends here, tensors of `shapes[r]` and like `like`."""
        flat = torch.cat([like.new_empty(0), *(tensor.reshape(-1) for tensor in chain(*sent))])
        counts = [[prod(shape) for shape in of_rank] for of_rank in shapes]
        came = self._shards.swap(flat, [sum(t.numel() for t in one) for one in sent], [sum(one) for one in counts])
        pieces = iter(came.split(list(chain(*counts))))
        return [[next(pieces).view(shape) for shape in of_rank] for of_rank in shapes]
