"""An update of parameters of which each rank has some rows: AdamW where they lie, Muon on whole matrices.

Muon needs a matrix whole. Each stack of matrices has an owner along `shard`: all ranks send it their rows of the
look-ahead, and get back their rows of its direction, in one exchange each way. Copies of the shards, along `replicate`,
divide the parameters among one another as ranks with whole weights do (`optim.owners`): none repeats another's work.

N matrices of one shape · R rows · C columns
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from headwater.optim.groups import Group
from headwater.optim.optimizer import Optimizer
from headwater.optim.owners import Exchange, Part, owners_of
from headwater.optim.settings import OptimSettings
from headwater.optim.updates import Muon, PlainUpdates
from headwater.ranks.exchange import GroupOfRanks


def held(tensor: Tensor) -> Tensor:
    """Return what this rank has of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


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
        return held(tensor)

    def _muon(self, group: Group, parts: Sequence[Part], by: Muon) -> None:
        owners = owners_of(parts, self._shards.world_size)
        aheads = [
            self._updates.nesterov_(
                self._gradients(group, part.names), self._slots(part.names, "momentum"), by.momentum, by.compute_dtype
            )
            for part in parts
        ]
        directions = self._by_owners(parts, aheads, owners, by)
        for part, direction_NRC in zip(parts, directions, strict=True):
            shape = group.parameters[part.names[0]].shape
            self._updates.descend_(
                self._parameters(group, part.names), direction_NRC, keep=by.keep, rate=by.rate(*shape)
            )

    def _by_owners(
        self, parts: Sequence[Part], aheads: Sequence[Tensor], owners: Sequence[int], by: Muon
    ) -> list[Tensor]:
        """Return this rank's rows of all directions; each owner computes those of its stacks."""
        num_ranks, dtype = self._shards.world_size, by.compute_dtype
        by_owner = [[number for number, owner in enumerate(owners) if owner == rank] for rank in range(num_ranks)]
        sent = [sum(aheads[number].numel() for number in numbers) for numbers in by_owner]
        own = [parts[number] for number in by_owner[self._shards.rank]]
        shapes = [(len(part.names), *part.group.parameters[part.names[0]].shape) for part in own]
        rows = [rows_by_rank(shape[1], num_ranks) for shape in shapes]
        received = [sum(n * rows[i][rank] * c for i, (n, _, c) in enumerate(shapes)) for rank in range(num_ranks)]
        flat = _joined([aheads[number] for numbers in by_owner for number in numbers], aheads[0])
        came = self._shards.swap(flat, sent, received).split(received)
        by_rank = [
            _separated(piece, [(n, rows[i][rank], c) for i, (n, _, c) in enumerate(shapes)])
            for rank, piece in enumerate(came)
        ]
        wholes = [torch.cat([pieces[i] for pieces in by_rank], dim=1) for i in range(len(own))]
        done = [self._updates.orthogonal(x_NRC, by.size(*x_NRC.shape[1:])).to(dtype) for x_NRC in wholes]
        cut = [x_NRC.split(rows[i], dim=1) for i, x_NRC in enumerate(done)]
        back = _joined([pieces[rank] for rank in range(num_ranks) for pieces in cut], aheads[0])
        directions = list(aheads)
        for numbers, piece in zip(by_owner, self._shards.swap(back, received, sent).split(sent), strict=True):
            for number, direction in zip(
                numbers, _separated(piece, [tuple(aheads[number].shape) for number in numbers]), strict=True
            ):
                directions[number] = direction
        return directions


def _joined(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors] or [like.new_empty(0)])


def _separated(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)] if shapes else []
