"""Ranks that have some layers each compute what one rank does; `make parity` compares more layouts, for longer."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from compared_ranks import AUDIT, DIVIDED, STATE, WITH_FAULTS, of_all

from headwater.machine.parallel.boxes import blocks_of
from headwater.machine.parallel.prepare import stages_of
from headwater.machine.parallel.settings import ParallelSettings, layers_problem, microbatches_problem
from headwater.machine.ranks.mesh import Mesh
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

CASES = """
cases = [
    Case("adamw", kernels=kernels, recompute="selective", tied=False),
    Case("muon", tied=False, recompute=2),
    Case("muon", "bfloat16", kernels=kernels, tied=False),
]
"""
EVALUATED = """
from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.machine.ranks.exchange import Ranks
from parity import Training, rows

batches, token_bytes = [rows(0, first, 3) for first in (0, 1)], torch.arange(250).numpy() % 4
both = [Training(Case("adamw", tied=False), each, parity.model_for(ranks.mesh)) for each in (ranks, Ranks())]
found["evaluated"] = []
for step in range(3):
    losses = [one.take_steps(step, step + 1)[0].loss for one in both]
    scorers = [Scorer(one.prepared.measured, one.ranks, one.prepared.hidden) for one in both]
    found["evaluated"].append([losses, [measure_surprise(scorer, batches, token_bytes).nats for scorer in scorers]])
"""
CHECKED = """
from headwater.model.kernels.int8 import multiplies_int8_exactly
from headwater.train.gradients import GradientCheck, sum_gradients

found["checked"] = []
if kernels and multiplies_int8_exactly():
    for each in (ranks, Ranks()):
        one = Training(Case("muon", "int8", kernels=True, tied=False), each, parity.model_for(ranks.mesh))
        check = GradientCheck(sum_gradients)
        check(one.fast_model, one.parallel, [rows(0, row, 1) for row in range(4)], 128)
        found["checked"].append(check.error)
"""
FAILING = """
def fail(*_):
    raise ValueError("of a stage")

training = Training(Case("adamw", tied=False), ranks, parity.model_for(ranks.mesh))
for stage in training.parallel.pipeline.roots:
    stage.blocks.forward = fail
try:
    training.take_steps(0, 1)
except Exception as error:
    found["failed"] = [type(error).__name__, str(error)]
os._exit(0) if print(json.dumps(found), flush=True) is None else None
"""


@pytest.fixture(scope="module")
def in_turns(tmp_path_factory) -> list[dict[str, Any]]:
    """Two ranks with two stages each."""
    folder = tmp_path_factory.mktemp("pp2x2")
    mesh = Mesh(pipeline=2, stages_per_rank=2)
    return of_all(mesh, folder, CASES, WITH_FAULTS, DIVIDED, STATE, EVALUATED, CHECKED, AUDIT)


@pytest.fixture(scope="module")
def by_shards(tmp_path_factory) -> list[dict[str, Any]]:
    """Two stages, each divided by rows among two ranks."""
    return of_all(Mesh(pipeline=2, shard=2), tmp_path_factory.mktemp("pp2xfsdp2"), CASES, DIVIDED, STATE, EVALUATED)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["in_turns", "by_shards"])
def test_gradients_losses_norms_and_weights_of_a_pipeline_are_those_of_one_rank(request, layout):
    for case, apart, too_far in request.getfixturevalue(layout)[0]["compared"]:
        assert not too_far, (case, apart)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_comparison_sees_faults_of_a_pipeline(in_turns):
    found = in_turns[0]["faults"]
    assert len(found) == 2
    assert not [name for name, too_far in found.items() if not too_far]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["in_turns", "by_shards"])
def test_stages_begin_as_parts_of_one_model_and_hold_no_weight_twice(request, layout):
    states = [rank["state"] for rank in request.getfixturevalue(layout)]
    assert all(state["alike"] and state["buffer"] for state in states)
    assert sum(state["weights"] for state in states) == states[0]["all weights"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["in_turns", "by_shards"])
def test_every_rank_evaluates_a_pipeline_as_one_rank_its_model_also_between_updates(request, layout):
    for rank in request.getfixturevalue(layout):
        one, many = rank["state"]["surprise"]
        assert many == pytest.approx(one, rel=1e-6)
        of_one, of_many = rank["state"]["prompts"]
        for found, expected in zip(of_many, of_one, strict=True):
            assert found == [
                pytest.approx(values, rel=1e-4, abs=1e-6) for values in expected
            ] or found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        for losses, surprises in rank["evaluated"]:
            assert losses[0] == pytest.approx(losses[1], rel=1e-6)
            assert surprises[0] == pytest.approx(surprises[1], rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rounding_to_int8_is_as_far_off_over_all_stages_as_in_one_model(in_turns):
    if not in_turns[0]["checked"]:
        pytest.skip("this machine doesn't multiply int8 exactly")
    many, one = in_turns[1]["checked"]
    assert many == pytest.approx(one, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_audit_of_a_pipeline_names_no_rank(in_turns):
    """What one stage computes wrong is in the gradients of all."""
    for _, seen, error in (one["audit"] for one in in_turns):
        assert [ranks for _, ranks in seen] == [None, None]
        assert error.startswith("one of 2 ranks, it isn't known which")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_error_of_a_stage_is_said_as_it_is(tmp_path):
    found = of_all(Mesh(pipeline=2), tmp_path, "from parity import Training\ncases = []\n", FAILING)
    assert ["ValueError", "of a stage"] in [rank.get("failed") for rank in found]


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
    model = ModelSettings(
        vocab_size=64, num_layers=32, d_model=8, d_ff=8, num_heads=2, num_kv_heads=1, head_dim=4, seq_len=32,
        tied_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        stages = stages_of(partial(Transformer, model, recompute=8), range(16), 16)
    counts = [stage.blocks.recompute for stage in stages]
    assert sum(counts) == 8
    assert max(counts) == 1


def test_the_stages_of_llama_405b_are_those_it_was_trained_in():
    """Sixteen stages of eight blocks, one less in the first and in the last (arXiv:2407.21783, section 3.3.2)."""
    assert [len(blocks_of(stage, 16, 126)) for stage in range(16)] == [7, *[8] * 14, 7]


def test_what_a_pipeline_cannot_take_is_refused_with_the_arithmetic():
    model = ModelSettings(
        vocab_size=64, num_layers=3, d_model=8, d_ff=8, num_heads=2, num_kv_heads=1, head_dim=4, seq_len=32,
        tied_embeddings=False,
    )  # fmt: skip
    tied = model.model_copy(update={"tied_embeddings": True})
    two, four = ParallelSettings(pipeline=2), ParallelSettings(pipeline=2, stages_per_rank=2)
    assert layers_problem(model, two, 32, exact=False) == ""
    assert "model.tied_embeddings to false" in layers_problem(tied, two, 32, exact=False)
    assert "parallel.pipeline × stages_per_rank = 2 × 2 = 4 stages" in layers_problem(model, four, 32, exact=False)
    assert "train.exact" in layers_problem(model, two, 32, exact=True)
    assert "set parallel.pipeline" in layers_problem(model, ParallelSettings(stages_per_rank=2), 32, exact=False)


@pytest.mark.parametrize(
    ("stages_per_rank", "taken"), [(1, [2, 3, 4, 5, 6]), (2, [2, 4, 6])], ids=["1F1B", "interleaved 1F1B"]
)
def test_a_pipeline_of_two_takes_these_numbers_of_microbatches(stages_per_rank, taken):
    mesh = Mesh(pipeline=2, stages_per_rank=stages_per_rank)
    assert [number for number in range(1, 7) if microbatches_problem(mesh, number) == ""] == taken
    assert "microbatches a rank and step, and here are 1" in microbatches_problem(mesh, 1)
