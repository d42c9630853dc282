"""What [parallel] makes of a number of ranks, and what it says where they don't fit."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headwater.core.errors import LayoutError
from headwater.machine.parallel.settings import ParallelSettings, fewest_ranks, meshes_of
from headwater.machine.ranks.mesh import Mesh


@pytest.mark.parametrize(
    ("given", "world_size", "expected"),
    [
        ({}, 1, Mesh()),
        ({"shard": 1}, 4, Mesh(replicate=4)),
        ({"shard": 2}, 2, Mesh(shard=2)),
        ({"shard": 2}, 8, Mesh(replicate=4, shard=2)),
        ({"replicate": 1}, 8, Mesh(shard=8)),
        ({"replicate": 2}, 8, Mesh(replicate=2, shard=4)),
        ({"shard": 2, "replicate": 3}, 6, Mesh(replicate=3, shard=2)),
        ({"tensor": 2, "shard": 1}, 4, Mesh(replicate=2, tensor=2)),
        ({"tensor": 2, "context": 2, "replicate": 1}, 8, Mesh(shard=2, context=2, tensor=2)),
    ],
)
def test_ranks_lie_as_requested_and_auto_takes_what_is_left(given, world_size, expected):
    assert meshes_of(ParallelSettings(**given), world_size) == [expected]


@pytest.mark.parametrize(
    ("world_size", "local", "shards"),
    [(4, 4, [1, 2, 4]), (12, 6, [1, 2, 3, 6, 4, 12]), (8, 1, [1, 2, 4, 8]), (6, 4, [1, 2, 3, 6]), (7, 7, [1, 7])],
)
def test_what_is_left_open_is_every_division_of_the_ranks_within_a_machine_first(world_size, local, shards):
    found = meshes_of(ParallelSettings(), world_size, local)
    assert [mesh.shard for mesh in found] == shards
    assert {mesh.world_size for mesh in found} == {world_size}


@pytest.mark.parametrize(
    ("given", "world_size", "arithmetic"),
    [
        ({"shard": 3}, 8, "parallel.shard = 3 needs 3 ranks or a multiple of 3, and there are 8; start 9 with"),
        ({"shard": 2}, 1, "needs 2 ranks or a multiple of 2, and this process is alone; start 2 with"),
        ({"replicate": 3}, 4, "parallel.replicate = 3 needs 3 ranks or a multiple of 3, and there are 4; start 3 with"),
        (
            {"shard": 2, "tensor": 2},
            2,
            "parallel.shard = 2 × parallel.tensor = 2 needs 4 ranks or a multiple of 4, and",
        ),
        ({"shard": 3, "tensor": 2}, 8, "needs 6 ranks or a multiple of 6, and there are 8; start 6 with"),
        ({"shard": 1, "replicate": 1, "context": 2}, 4, "1 × 1 × 2 = 2 ranks, and there are 4; start 2 with"),
        ({"shard": 2, "replicate": 2}, 8, "2 × 2 = 4 ranks, and there are 8"),
    ],
)
def test_a_layout_that_ranks_do_not_fill_is_refused_with_the_arithmetic(given, world_size, arithmetic):
    with pytest.raises(LayoutError) as refused:
        meshes_of(ParallelSettings(**given), world_size)
    assert arithmetic in str(refused.value)
    assert "torchrun" in str(refused.value)


@pytest.mark.parametrize(("given", "expected"), [({}, 1), ({"shard": 2}, 2), ({"shard": 2, "replicate": 3}, 6)])
def test_the_fewest_ranks_are_those_of_the_numbers(given, expected):
    assert fewest_ranks(ParallelSettings(**given)) == expected


def test_an_axis_that_is_not_built_is_refused_in_words():
    assert ParallelSettings(expert=1).expert == 1
    with pytest.raises(ValidationError, match="only 1 is built, and 2 is requested"):
        ParallelSettings(expert=2)


@pytest.mark.parametrize("value", [0, -1, True, "two", 1.5, "2"])
def test_an_axis_takes_a_number_of_ranks_or_auto(value):
    with pytest.raises(ValidationError):
        ParallelSettings(shard=value)
