"""What [parallel] makes of a number of ranks, and what it says where they don't fit."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headwater.errors import ConfigError
from headwater.parallel.settings import ParallelSettings, mesh_of
from headwater.ranks.mesh import Mesh


@pytest.mark.parametrize(
    ("given", "world_size", "expected"),
    [
        ({}, 1, Mesh()),
        ({}, 4, Mesh(replicate=4)),
        ({"shard": 2}, 2, Mesh(shard=2)),
        ({"shard": 2}, 8, Mesh(replicate=4, shard=2)),
        ({"shard": "auto"}, 1, Mesh()),
        ({"shard": "auto"}, 8, Mesh(shard=8)),
        ({"shard": "auto", "replicate": 2}, 8, Mesh(replicate=2, shard=4)),
        ({"shard": 2, "replicate": 3}, 6, Mesh(replicate=3, shard=2)),
    ],
)
def test_ranks_are_mesh_of_as_requested_and_auto_takes_what_is_left(given, world_size, expected):
    assert mesh_of(ParallelSettings(**given), world_size) == expected


@pytest.mark.parametrize(
    ("given", "world_size", "arithmetic"),
    [
        ({"shard": 3}, 8, "8 = 2 × 3 + 2"),
        ({"shard": 2}, 1, "1 = 0 × 2 + 1"),
        ({"shard": "auto", "replicate": 3}, 4, "4 = 1 × 3 + 1"),
        ({"shard": 2, "replicate": 2}, 8, "2 × 2 = 4 ranks, and 8 started"),
    ],
)
def test_a_layout_that_ranks_do_not_fill_is_refused_with_the_arithmetic(given, world_size, arithmetic):
    with pytest.raises(ConfigError) as refused:
        mesh_of(ParallelSettings(**given), world_size)
    assert arithmetic in str(refused.value)
    assert "torchrun" in str(refused.value)


@pytest.mark.parametrize("axis", ["context", "tensor", "pipeline", "expert"])
def test_an_axis_that_is_not_built_is_refused_in_words(axis):
    assert getattr(ParallelSettings(**{axis: 1}), axis) == 1
    with pytest.raises(ValidationError, match="only 1 is built, and 2 is requested"):
        ParallelSettings(**{axis: 2})


@pytest.mark.parametrize("value", [0, -1, True, "two", 1.5, "2"])
def test_an_axis_takes_a_number_of_ranks_or_auto(value):
    with pytest.raises(ValidationError):
        ParallelSettings(shard=value)
