"""Ranks that share the work of a layer compute what one rank does; `make parity` compares more layouts, for longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compared_ranks import DIVIDED, STATE, WITH_FAULTS, of_all

from headwater.machine.parallel.settings import ParallelSettings, layers_problem
from headwater.machine.ranks.mesh import Mesh
from headwater.model.settings import ModelSettings

CASES = """
cases = [
    Case("adamw", kernels=kernels, recompute="selective"),
    Case("muon", kernels=kernels, tied=False, variant="biases and a window"),
]
"""
CONTEXT_CASES = """
cases = [Case("muon", kernels=kernels, recompute=1), Case("adamw", variant="gpt2")]
"""
SHARDED_CASES = """
cases = [Case("muon", "bfloat16", kernels=kernels, tied=False)]
"""
COPIES = """
from headwater.machine.parallel.boxes import is_copied
from parity import Training

training = Training(Case("adamw"), ranks)
training.take_steps(0, 3)
tensors = dict(training.model.named_parameters()) | training.optimizer.state_tensors()
found["copies"] = [local(one).tolist() for name, one in tensors.items() if is_copied(name, ranks.mesh)]
"""
COMPILED = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
from unittest import mock
from compiled_plainly import compiled_where_divided_

with mock.patch.object(parity, "fastest_", compiled_where_divided_):
    found["compiled"] = compare(Case("adamw"), ranks, 1)[0]
"""


@pytest.fixture(scope="module")
def by_both(tmp_path_factory) -> list[dict[str, Any]]:
    """Two ranks along `context`, of which each are two along `tensor`."""
    folder = tmp_path_factory.mktemp("cp2xtp2")
    return of_all(Mesh(context=2, tensor=2), folder, CASES, DIVIDED, STATE)


@pytest.fixture(scope="module")
def by_context(tmp_path_factory) -> list[dict[str, Any]]:
    return of_all(Mesh(context=2), tmp_path_factory.mktemp("cp2"), CONTEXT_CASES, WITH_FAULTS)


@pytest.fixture(scope="module")
def by_tensor(tmp_path_factory) -> list[dict[str, Any]]:
    return of_all(Mesh(tensor=2), tmp_path_factory.mktemp("tp2"), "cases = []\n", WITH_FAULTS, COMPILED)


@pytest.fixture(scope="module")
def by_shards(tmp_path_factory) -> list[dict[str, Any]]:
    """Two shards of each of two ranks along `tensor`."""
    folder = tmp_path_factory.mktemp("tp2xfsdp2")
    return of_all(Mesh(shard=2, tensor=2), folder, SHARDED_CASES, DIVIDED, STATE, COPIES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["by_both", "by_context", "by_shards"])
def test_gradients_losses_norms_and_weights_are_those_of_one_rank(request, layout):
    for case, apart, too_far in request.getfixturevalue(layout)[0]["compared"]:
        assert not too_far, (case, apart)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_comparison_sees_every_planted_fault(by_context, by_tensor):
    found = by_context[0]["faults"] | by_tensor[0]["faults"]
    assert len(found) >= 4
    assert not [name for name, too_far in found.items() if not too_far]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_blocks_are_compiled_between_exchanges(by_tensor):
    found = by_tensor[0]["compiled"]
    assert max(found["gradients"], found["loss"]) < 1e-5 and found["parameters"] < 1e-4, found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["by_both", "by_shards"])
def test_each_rank_has_its_boxes_of_the_first_weights_and_evaluates_them_before_any_step(request, layout):
    found = [one["state"] for one in request.getfixturevalue(layout)]
    for one in found:
        assert one["alike"] and one["buffer"], "the weights differ from those of one rank"
        assert one["weights"] <= 1.05 * one["all weights"] / len(found)
        assert one["surprise"][1] == pytest.approx(one["surprise"][0], rel=1e-6)
        for expected, measured in zip(*one["prompts"], strict=True):
            assert measured == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ranks_that_have_the_same_gains_of_norms_keep_the_same_bits(by_shards):
    """A checkpoint has those of one of them."""
    found = [one["copies"] for one in by_shards]
    assert found[0] and found[0] == found[1] and found[2] == found[3]


MODEL = ModelSettings(
    vocab_size=512, num_layers=2, d_model=64, d_ff=192, num_heads=8, num_kv_heads=2, head_dim=8, seq_len=128
)


@pytest.mark.parametrize(
    ("given", "context", "tensor", "arithmetic"),
    [
        ({"num_heads": 6}, 1, 4, "tensor = 4 can't divide model.num_heads = 6 into 4 equal parts: 2 is left"),
        ({}, 1, 4, "tensor = 4 can't divide model.num_kv_heads = 2 into 4 equal parts: 2 is left"),
        ({"vocab_size": 511}, 1, 2, "tensor = 2 can't divide model.vocab_size = 511 into 2 equal parts: 1 is left"),
        ({"d_ff": 191}, 1, 2, "tensor = 2 can't divide model.d_ff = 191 into 2 equal parts: 1 is left"),
        ({"seq_len": 126}, 4, 1, "context = 4 can't divide the tokens of a row = 126 into 4 equal parts: 2 is left"),
        (
            {},
            4,
            4,
            "parallel.context = 4 × parallel.tensor = 4 can't divide model.num_heads = 8 into 16 equal parts: 8 is left",
        ),
        (
            {"num_heads": 12, "num_kv_heads": 6},
            4,
            1,
            "context = 4 shares model.num_kv_heads = 6 unevenly: 6 for 4 ranks",
        ),
        ({"family": "gpt2", "num_kv_heads": 8}, 1, 2, "family gpt2 can't be divided"),
    ],
)
def test_layers_that_do_not_divide_are_refused_with_the_arithmetic(given, context, tensor, arithmetic):
    model = ModelSettings.model_validate(MODEL.model_dump() | given)
    problem = layers_problem(model, ParallelSettings(context=context, tensor=tensor), model.seq_len, exact=False)
    assert arithmetic in problem


@pytest.mark.parametrize(("context", "tensor"), [(1, 1), (2, 2), (4, 2), (8, 1), (4, 1)])
def test_layers_that_divide_are_not_refused(context, tensor):
    parallel = ParallelSettings(context=context, tensor=tensor)
    assert layers_problem(MODEL, parallel, MODEL.seq_len, exact=False) == ""
    refused = layers_problem(MODEL, parallel, MODEL.seq_len, exact=True)
    assert ("train.exact has the same bits" in refused) == (context * tensor > 1)
