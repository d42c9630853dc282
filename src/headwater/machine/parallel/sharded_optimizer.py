"""An update of parameters of which each rank has a box: AdamW where they lie, Muon on whole matrices.

Muon needs a matrix whole. Each stack of matrices has an owner among the ranks that have its boxes: all send it theirs
of the look-ahead, and get back theirs of its direction, in one exchange each way. Copies, along `replicate`, divide the
parameters among one another as ranks with whole weights do (`optim.groups`): none repeats another's work.

N matrices of one shape · R rows · C columns
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, cycle
from math import prod

import torch
from torch import Tensor, nn

from headwater.machine.parallel.boxes import Box, box_of, whole_shape
from headwater.machine.ranks.exchange import GroupOfRanks, Ranks, local
from headwater.machine.ranks.mesh import STATE_AXES
from headwater.model.optim.groups import Exchange, ParameterGroup, ParameterPart, owners_of
from headwater.model.optim.optimizer import Optimizer
from headwater.model.optim.settings import OptimSettings
from headwater.model.optim.update_rules import Muon, PlainUpdates


class ShardedOptimizer(Optimizer):
    """The state of this rank's boxes of the parameters that its replica owns."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        optim: OptimSettings,
        compute_dtype: torch.dtype,
        updates: PlainUpdates,
        replicas: Exchange,
        ranks: Ranks,
    ) -> None:
        shape = partial(whole_shape, mesh=ranks.mesh)
        super().__init__(named_parameters, optim, compute_dtype, updates, replicas, shape)
        holders = ranks.along(*STATE_AXES)
        assert isinstance(holders, GroupOfRanks)
        self._mesh, self._holders = ranks.mesh, holders

    def _held(self, tensor: Tensor) -> Tensor:
        return local(tensor)

    def _muon(self, group: ParameterGroup, parts: Sequence[ParameterPart], by: Muon) -> None:
        aheads = [
            self._updates.nesterov_(
                self._gradients(group, part.names), self._slots(part.names, "momentum"), by.momentum, by.compute_dtype
            )
            for part in parts
        ]
        for part, direction_NRC in zip(parts, self._directions(parts, aheads, by), strict=True):
            rate = by.rate(*group.shapes[part.names[0]])
            self._updates.descend_(self._parameters(group, part.names), direction_NRC, keep=by.keep, rate=rate)

    def _directions(self, parts: Sequence[ParameterPart], aheads: Sequence[Tensor], by: Muon) -> list[Tensor]:
        """Return this rank's boxes of all directions; each owner computes those of its stacks."""
        ranks = range(self._holders.world_size)
        owners = owners_of(parts, len(ranks))
        owned = [[number for number, owner in enumerate(owners) if owner == rank] for rank in ranks]
        own = [parts[number] for number in owned[self._holders.rank]]
        boxes = [[self._box(part, rank) for part in own] for rank in ranks]
        to_owners = [[aheads[number] for number in numbers] for numbers in owned]
        shapes = [[(len(part.names), *box.shape) for part, box in zip(own, of_rank)] for of_rank in boxes]
        pieces = self._all_to_all(to_owners, shapes, aheads[0])
        found = [aheads[0].new_empty(len(part.names), *part.group.shapes[part.names[0]]) for part in own]
        for piece, x_NRC, box in zip(chain(*pieces), cycle(found), chain(*boxes)):
            x_NRC[:, *box.slices] = piece
        found = [self._updates.orthogonal(x_NRC, by.size(*x_NRC.shape[1:])).to(x_NRC.dtype) for x_NRC in found]
        from_owner = [[x_NRC[:, *box.slices] for x_NRC, box in zip(found, of_rank)] for of_rank in boxes]
        back = self._all_to_all(from_owner, [[tuple(one.shape) for one in of_rank] for of_rank in to_owners], aheads[0])
        directions = dict(zip(chain(*owned), chain(*back), strict=True))
        return [directions[number] for number in range(len(parts))]

    def _box(self, part: ParameterPart, rank: int) -> Box:
        """Return what one of the holders has of each matrix of a stack."""
        # the first ranks of the mesh are the holders of its first copy, and those of another have the same
        name = part.names[0]
        return box_of(name, part.group.shapes[name], self._mesh, rank)

    def _all_to_all(
        self, sent: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[tuple[int, ...]]], like: Tensor
    ) -> list[list[Tensor]]:
        """Send rank r the tensors `sent[r]`; return what each sends here, tensors of `shapes[r]` and like `like`."""
        flat = torch.cat([like.new_empty(0), *(tensor.reshape(-1) for tensor in chain(*sent))])
        counts = [[prod(shape) for shape in of_rank] for of_rank in shapes]
        came = self._holders.swap(flat, [sum(t.numel() for t in one) for one in sent], [sum(one) for one in counts])
        pieces = iter(came.split(list(chain(*counts))))
        return [[next(pieces).view(shape) for shape in of_rank] for of_rank in shapes]
