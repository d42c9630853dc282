"""Ranks in any layout compute what one rank does; `make parity` compares more of them, for longer.

Each layout is started once, for all tests of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from compared_ranks import DIVIDED, STATE, WITH_FAULTS, of_all

from headwater.machine.ranks.mesh import Mesh

pytestmark = [pytest.mark.timeout(900)]

LARGE = """
import headwater.machine.ranks.mesh
headwater.machine.ranks.mesh.SMALL_BYTES = 0  # block by block, as the weights of large models are gathered
"""
BY_SHARDS = """
cases = [
    Case("adamw", kernels=kernels, recompute=2),
    Case("muon", tied=False, kernels=kernels, recompute="selective"),
    Case("muon", kernels=kernels, block_rows=16),
    Case("adamw", "bfloat16", kernels=kernels),
]
"""
BY_COPIES = """
cases = [Case("muon", kernels=kernels, block_rows=16)]
"""
BY_STAGES = """
cases = [
    Case("adamw", kernels=kernels, recompute="selective", tied=False),
    Case("muon", tied=False, recompute=2),
    Case("muon", "bfloat16", kernels=kernels, tied=False),
]
"""
BY_STAGES_OF_SHARDS = """
cases = [Case("adamw", kernels=kernels, recompute="selective", tied=False)]
"""
BY_BOTH = """
cases = [
    Case("adamw", kernels=kernels, recompute="selective"),
    Case("muon", kernels=kernels, tied=False, variant="biases and a window"),
]
"""
BY_CONTEXT = """
cases = [Case("muon", kernels=kernels, recompute=1), Case("adamw", variant="gpt2")]
"""
BY_TENSOR_AND_SHARDS = """
cases = [Case("muon", "bfloat16", kernels=kernels, tied=False)]
"""
NO_CASES = "cases = []\n"
BYTES = """
from unittest import mock
from headwater.machine.ranks.exchange import GroupOfRanks
from parity import trained

gather_into_, found["bytes"] = GroupOfRanks.gather_into_, []

def counted(group, whole, part, **more):
    found["bytes"][-1] += whole.nbytes
    return gather_into_(group, whole, part, **more)

with mock.patch.object(GroupOfRanks, "gather_into_", counted):
    for dtype in ("float32", "bfloat16"):
        found["bytes"].append(0)
        trained(Case("adamw", dtype), ranks, 1)
"""
COMPILED = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
from unittest import mock
from compiled_plainly import compiled_where_divided_

with mock.patch.object(parity, "fastest_", compiled_where_divided_):
    found["compiled"] = compare(compiled, ranks, 1)[0]
"""
COPIES = """
from headwater.machine.parallel.boxes import is_copied
from parity import Training

training = Training(Case("adamw"), ranks)
training.take_steps(0, 3)
tensors = dict(training.model.named_parameters()) | training.optimizer.state_tensors()
found["copies"] = [local(one).tolist() for name, one in tensors.items() if is_copied(name, ranks.mesh)]
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
        check = GradientCheck()
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

LAYOUTS = {
    "shards": (
        Mesh(shard=2),
        LARGE + BY_SHARDS,
        WITH_FAULTS,
        BYTES,
        'compiled = Case("muon", recompute="selective")\n' + COMPILED,
        DIVIDED,
    ),
    "copies of shards": (Mesh(replicate=2, shard=2), BY_COPIES, DIVIDED, STATE),
    "stages in turns": (
        Mesh(pipeline=2, stages_per_rank=2),
        BY_STAGES,
        WITH_FAULTS,
        DIVIDED,
        STATE,
        EVALUATED,
        CHECKED,
    ),
    "stages of shards": (Mesh(pipeline=2, shard=2), BY_STAGES_OF_SHARDS, DIVIDED, STATE, EVALUATED),
    "a stage that fails": (Mesh(pipeline=2), "from parity import Training\n" + NO_CASES, FAILING),
    "context": (Mesh(context=2), BY_CONTEXT, WITH_FAULTS),
    "context and tensor": (Mesh(context=2, tensor=2), BY_BOTH, DIVIDED, STATE),
    "tensor": (Mesh(tensor=2), NO_CASES, WITH_FAULTS, 'compiled = Case("adamw")\n' + COMPILED),
    "tensor and shards": (Mesh(shard=2, tensor=2), BY_TENSOR_AND_SHARDS, DIVIDED, STATE, COPIES),
}

Found = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Found:
    """What each rank of a layout found."""

    @cache
    def of_layout(layout: str) -> list[dict[str, Any]]:
        mesh, *programs = LAYOUTS[layout]
        return of_all(mesh, tmp_path_factory.mktemp("ranks"), *programs)

    return of_layout


@pytest.mark.parametrize("layout", [name for name, (_, cases, *_) in LAYOUTS.items() if not cases.endswith(NO_CASES)])
def test_gradients_losses_norms_and_weights_are_those_of_one_rank(found, layout):
    """Norm and clipping included. The first one takes over 5 s: two ranks, four cases."""
    compared = found(layout)[0]["compared"]
    assert compared
    for case, apart, too_far in compared:
        assert not too_far, (case, apart)


@pytest.mark.parametrize(
    ("layouts", "at_least"), [(["shards"], 4), (["stages in turns"], 2), (["context", "tensor"], 4)]
)
def test_the_comparison_sees_every_planted_fault(found, layouts, at_least):
    faults = {name: too_far for layout in layouts for name, too_far in found(layout)[0]["faults"].items()}
    assert len(faults) >= at_least
    assert all(faults.values()), faults


# how often all ranks together have the weights (gains of norms are on every rank along `tensor`), and the most of one
SHARES = [
    ("copies of shards", 2, 0.52),
    ("stages in turns", 1, 1),
    ("stages of shards", 1, 1),
    ("context and tensor", None, 1.05 / 4),
    ("tensor and shards", None, 1.05 / 4),
]


@pytest.mark.parametrize(("layout", "copies", "share"), SHARES)
def test_ranks_begin_as_parts_of_one_model_and_evaluate_it_before_any_step(found, layout, copies, share):
    states = [rank["state"] for rank in found(layout)]
    for one in states:
        assert one["alike"] and one["buffer"], "the weights differ from those of one rank"
        assert one["weights"] <= share * one["all weights"]
        assert one["surprise"][1] == pytest.approx(one["surprise"][0], rel=1e-6)
        for expected, measured in zip(*one["prompts"], strict=True):
            assert measured == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert copies is None or sum(one["weights"] for one in states) == copies * states[0]["all weights"]


def test_copies_of_the_weights_keep_optimizer_state_once(found):
    states = [rank["state"] for rank in found("copies of shards")]
    assert sum(one["state"] for one in states) == states[0]["all state"]
    assert max(one["state"] for one in states) <= 0.4 * states[0]["all state"]


@pytest.mark.parametrize("layout", ["stages in turns", "stages of shards"])
def test_every_rank_evaluates_a_pipeline_as_one_rank_its_model_also_between_updates(found, layout):
    for rank in found(layout):
        for losses, surprises in rank["evaluated"]:
            assert losses[0] == pytest.approx(losses[1], rel=1e-6)
            assert surprises[0] == pytest.approx(surprises[1], rel=1e-6)


@pytest.mark.parametrize(("layout", "of_parameters"), [("shards", 1e-5), ("tensor", 1e-4)])
def test_blocks_are_compiled_and_then_divided_or_between_exchanges(found, layout, of_parameters):
    apart = found(layout)[0]["compiled"]
    assert max(apart["gradients"], apart["loss"]) < 1e-5 and apart["parameters"] < of_parameters, apart


def test_weights_that_are_used_in_bfloat16_are_sent_as_that_and_gains_of_norms_in_float32(found):
    whole, half = found("shards")[0]["bytes"]
    assert 0.5 * whole < half < 0.51 * whole


def test_ranks_that_have_the_same_gains_of_norms_keep_the_same_bits(found):
    """A checkpoint has those of one of them."""
    copies = [rank["copies"] for rank in found("tensor and shards")]
    assert copies[0] and copies[0] == copies[1] and copies[2] == copies[3]


def test_rounding_to_int8_is_as_far_off_over_all_stages_as_in_one_model(found):
    checked = found("stages in turns")[1]["checked"]
    if not checked:
        pytest.skip("this machine doesn't multiply int8 exactly")
    assert checked[0] == pytest.approx(checked[1], rel=1e-3)


def test_an_error_of_a_stage_is_said_as_it_is(found):
    assert ["ValueError", "of a stage"] in [rank.get("failed") for rank in found("a stage that fails")]
