"""Which box of each tensor a rank has. No torch.

Along `tensor` matrices are divided by rows or columns, as a table here says, so that a rank has some heads, some
channels of the MLP and some of the vocabulary (arXiv:1909.08053); norms are whole. Of what is left, ranks along `shard`
and `context` have some rows each, as FSDP divides them. Along `pipeline` a rank has the tensors of some blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from headwater.machine.ranks.mesh import WEIGHT_AXES, Mesh

ROWS, COLUMNS = 0, 1
DIVIDED_ALONG_TENSOR = {
    "embed": ROWS,
    "query": ROWS,
    "key": ROWS,
    "value": ROWS,
    "out": COLUMNS,
    "gate": ROWS,
    "up": ROWS,
    "down": COLUMNS,
    "head": ROWS,
}
_MODULE = re.compile(r"(\w+)\.(?:weight|bias)\b")


@dataclass(frozen=True)
class Box:
    """A part of a tensor: where it begins along each dimension, and how long it is there."""

    offsets: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(start, start + size) for start, size in zip(self.offsets, self.shape, strict=True))


def tensor_dimension(name: str) -> int | None:
    """Return the dimension in which ranks along `tensor` divide a parameter, or state of it, None where it is whole.

    Raises AssertionError for one without a rule.
    """
    found = _MODULE.search(name)
    module = found[1] if found else ""
    if module.endswith("norm"):
        return None
    assert module in DIVIDED_ALONG_TENSOR, f"no rule divides the parameter {name}"
    return DIVIDED_ALONG_TENSOR[module]


def is_copied(name: str, mesh: Mesh) -> bool:
    """Return whether ranks along `tensor` have the same numbers of a tensor."""
    return mesh.tensor > 1 and tensor_dimension(name) is None


def whole_shape(name: str, shape: Sequence[int], mesh: Mesh) -> tuple[int, ...]:
    """Return the shape of the whole of a tensor of which a rank along `tensor` has a part of `shape`."""
    divided = tensor_dimension(name) if mesh.tensor > 1 else None
    return tuple(size * mesh.tensor if dimension == divided else size for dimension, size in enumerate(shape))


def shape_along_tensor(name: str, shape: Sequence[int], mesh: Mesh) -> tuple[int, ...]:
    """Return the shape of what a rank along `tensor` has of a tensor of the whole `shape`."""
    divided = tensor_dimension(name) if mesh.tensor > 1 else None
    return tuple(size // mesh.tensor if dimension == divided else size for dimension, size in enumerate(shape))


def box_of(name: str, shape: Sequence[int], mesh: Mesh, rank: int) -> Box:
    """Return what a rank has of a tensor of the whole `shape`."""
    sizes, number = list(shape_along_tensor(name, shape, mesh)), mesh.index(rank, "tensor")
    offsets = [number * size if size < whole else 0 for size, whole in zip(sizes, shape, strict=True)]
    if shape and mesh.size(*WEIGHT_AXES) > 1:
        rows, number = rows_by_rank(sizes[0], mesh.size(*WEIGHT_AXES)), mesh.index(rank, *WEIGHT_AXES)
        offsets[0] += sum(rows[:number])
        sizes[0] = rows[number]
    return Box(tuple(offsets), tuple(sizes))


def rows_by_rank(num_rows: int, num_ranks: int) -> list[int]:
    """Return how many rows FSDP gives each rank: equal parts, of which the last ones are smaller, or empty."""
    size = -(-num_rows // num_ranks)
    return [max(0, min(size, num_rows - rank * size)) for rank in range(num_ranks)]


def own_stages(mesh: Mesh, rank: int) -> range:
    """Return the numbers of a rank's stages: one in each round through the ranks."""
    return range(mesh.index(rank, "pipeline"), mesh.num_stages, mesh.pipeline)


def blocks_of(stage: int, num_stages: int, num_layers: int) -> range:
    """Return the blocks of a stage: equally many in all, and what is left one by one from the second stage on.

    The first has the embedding and the last the head: they are the last to have one more.
    """
    size, left = divmod(num_layers, num_stages)
    sizes = [size] * num_stages
    for larger in [*range(1, num_stages - 1), 0][:left]:
        sizes[larger] += 1
    return range(sum(sizes[:stage]), sum(sizes[: stage + 1]))


def num_recomputed(blocks: range, num_of_model: int, num_layers: int) -> int:
    """Return how many of a stage's blocks are recomputed, where of the whole model so many are."""
    before, after = (ceil(num_of_model * end / num_layers) for end in (blocks.start, blocks.stop))
    return after - before
