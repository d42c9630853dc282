"""Where each rank is along the axes, against torch's own mesh."""

from __future__ import annotations

import pytest
import torch

from headwater.machine.ranks.mesh import AXES, Mesh

MESHES = [Mesh(), Mesh(replicate=4), Mesh(pipeline=2, replicate=2, tensor=3), Mesh(replicate=2, shard=3, expert=2)]


@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_ranks_lie_along_the_axes_as_in_torchs_device_mesh(mesh):
    """Row by row: `init_device_mesh` numbers them so."""
    numbers = torch.arange(mesh.world_size).reshape([mesh.size(axis) for axis in AXES])
    for rank in range(mesh.world_size):
        found = [mesh.index(rank, axis) for axis in AXES]
        assert int(numbers[tuple(found)]) == rank
