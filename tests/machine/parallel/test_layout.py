"""What [parallel] makes of a number of ranks and of a model, and what it says where they don't fit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from golden_rows import rows
from pydantic import ValidationError

from headwater.core.errors import LayoutError
from headwater.machine.parallel.boxes import blocks_of, rows_by_rank
from headwater.machine.parallel.prepare import stages_of
from headwater.machine.parallel.settings import (
    ParallelSettings,
    fewest_ranks,
    layers_problem,
    meshes_of,
    microbatches_problem,
)
from headwater.machine.ranks.mesh import Mesh
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer


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
    ("given", "world_size", "arithmetic"), rows("a_layout_that_ranks_do_not_fill_is_refused_with_the")
)
def test_a_layout_that_ranks_do_not_fill_is_refused_with_the_arithmetic(given, world_size, arithmetic):
    with pytest.raises(LayoutError) as refused:
        meshes_of(ParallelSettings(**given), world_size)
    assert arithmetic in str(refused.value)
    assert "torchrun" in str(refused.value)


@pytest.mark.parametrize(("given", "expected"), [({}, 1), ({"shard": 2}, 2), ({"shard": 2, "replicate": 3}, 6)])
def test_the_fewest_ranks_are_those_of_the_numbers(given, expected):
    assert fewest_ranks(ParallelSettings(**given)) == expected


@pytest.mark.parametrize("value", [0, -1, True, "two", 1.5, "2"])
def test_an_axis_takes_a_number_of_ranks_or_auto(value):
    with pytest.raises(ValidationError):
        ParallelSettings(shard=value)


# ---- a model over ranks


MODEL = ModelSettings(
    vocab_size=512, num_layers=3, d_model=64, d_ff=192, num_heads=8, num_kv_heads=2, head_dim=8, seq_len=128
)
UNTIED = {"tied_embeddings": False}


@pytest.mark.parametrize(
    ("given", "parallel", "arithmetic"), rows("a_model_that_ranks_cannot_divide_is_refused_with_the")
)
def test_a_model_that_ranks_cannot_divide_is_refused_with_the_arithmetic(given, parallel, arithmetic):
    model = MODEL.model_copy(update=given)
    assert arithmetic in layers_problem(model, ParallelSettings(**parallel), model.seq_len)


@pytest.mark.parametrize("parallel", rows("a_model_that_divides_is_not_refused"))
def test_a_model_that_divides_is_not_refused(parallel):
    model, settings = MODEL.model_copy(update=UNTIED), ParallelSettings(**parallel)
    assert layers_problem(model, settings, model.seq_len) == ""


@pytest.mark.parametrize("num_rows", [1, 2, 5, 66, 250])
@pytest.mark.parametrize("num_ranks", [1, 2, 4, 7])
def test_rows_are_divided_as_torch_cuts_a_tensor(num_rows, num_ranks):
    chunks = [len(chunk) for chunk in torch.zeros(num_rows).chunk(num_ranks)]
    assert rows_by_rank(num_rows, num_ranks) == chunks + [0] * (num_ranks - len(chunks))


@pytest.mark.parametrize(
    ("num_stages", "num_layers"), [(1, 3), (3, 3), (2, 5), (8, 8), (7, 30), (4, 8), (8, 32), (16, 126)]
)
def test_each_block_is_in_one_stage_and_stages_differ_by_one_at_most(num_stages, num_layers):
    parts = [blocks_of(stage, num_stages, num_layers) for stage in range(num_stages)]
    assert [block for part in parts for block in part] == list(range(num_layers))
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_stages_recompute_as_many_blocks_as_the_model_would():
    model = MODEL.model_copy(update={"num_layers": 32, **UNTIED})
    with torch.device("meta"):
        stages = stages_of(partial(Transformer, model, recompute=8), range(16), 16)
    counts = [stage.blocks.recompute for stage in stages]
    assert sum(counts) == 8
    assert max(counts) == 1


def test_the_stages_of_llama_405b_are_those_it_was_trained_in():
    """Sixteen stages of eight blocks, one less in the first and in the last (arXiv:2407.21783, section 3.3.2)."""
    assert [len(blocks_of(stage, 16, 126)) for stage in range(16)] == [7, *[8] * 14, 7]


@pytest.mark.parametrize(
    ("stages_per_rank", "taken"), [(1, [2, 3, 4, 5, 6]), (2, [2, 4, 6])], ids=["1F1B", "interleaved 1F1B"]
)
def test_a_pipeline_of_two_takes_these_numbers_of_microbatches(stages_per_rank, taken):
    mesh = Mesh(pipeline=2, stages_per_rank=stages_per_rank)
    assert [number for number in range(1, 7) if microbatches_problem(mesh, number) == ""] == taken
    assert "microbatches a rank and step, and here are 1" in microbatches_problem(mesh, 1)
