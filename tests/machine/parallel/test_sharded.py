"""Ranks that divide the weights compute what one rank does; `make parity` compares more layouts, for longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from compared_ranks import AUDIT, DIVIDED, STATE, WITH_FAULTS, of_all

from headwater.machine.parallel.boxes import rows_by_rank
from headwater.machine.ranks.mesh import Mesh

LARGE = """
import headwater.machine.ranks.mesh
headwater.machine.ranks.mesh.SMALL_BYTES = 0  # block by block, as the weights of large models are gathered
"""
CASES = """
cases = [
    Case("adamw", kernels=kernels, recompute=2),
    Case("muon", tied=False, kernels=kernels, recompute="selective"),
    Case("muon", kernels=kernels, exact=True, block_rows=16),
    Case("adamw", "bfloat16", kernels=kernels, exact=True),
]
"""
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
from compiled_plainly import compiled_where_divided_

with mock.patch.object(parity, "fastest_", compiled_where_divided_):
    found["compiled"] = compare(Case("muon", recompute="selective"), ranks, 1)[0]
"""


@pytest.fixture(scope="module")
def by_two(tmp_path_factory) -> list[dict[str, Any]]:
    programs = [LARGE + CASES, WITH_FAULTS, BYTES, COMPILED, DIVIDED, AUDIT]
    return of_all(Mesh(shard=2), tmp_path_factory.mktemp("fsdp2"), *programs)


@pytest.fixture(scope="module")
def by_four(tmp_path_factory) -> list[dict[str, Any]]:
    return of_all(Mesh(replicate=2, shard=2), tmp_path_factory.mktemp("hsdp2x2"), CASES, DIVIDED, STATE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", ["by_two", "by_four"])
def test_gradients_losses_norms_and_weights_are_those_of_one_rank(request, layout):
    """With exact to the last bit, norm and clipping included."""
    for case, apart, too_far in request.getfixturevalue(layout)[0]["compared"]:
        assert not too_far, (case, apart)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_comparison_sees_every_planted_fault(by_two):
    found = by_two[0]["faults"]
    assert len(found) >= 4
    assert not [name for name, too_far in found.items() if not too_far]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_weights_that_are_used_in_bfloat16_are_sent_as_that_and_gains_of_norms_in_float32(by_two):
    whole, half = by_two[0]["bytes"]
    assert 0.5 * whole < half < 0.51 * whole


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_blocks_are_compiled_and_then_divided(by_two):
    found = by_two[0]["compiled"]
    assert max(found["gradients"], found["loss"], found["parameters"]) < 1e-5, found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_rank_has_its_share_of_the_first_weights_and_evaluates_them_before_any_step(by_four):
    found = [one["state"] for one in by_four]
    for one in found:
        assert one["alike"] and one["buffer"], "the weights differ from those of one rank"
        assert one["weights"] <= 0.52 * one["all weights"]
        assert one["surprise"][1] == pytest.approx(one["surprise"][0], rel=1e-6)
    assert sum(one["weights"] for one in found) == 2 * found[0]["all weights"]
    assert sum(one["state"] for one in found) == found[0]["all state"], "state is kept once"
    assert max(one["state"] for one in found) <= 0.4 * found[0]["all state"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_audit_of_divided_weights_names_blocks_and_no_rank(by_two):
    """Rank 1 has wrong weights for a pass, which all ranks gather; without an audit no bits are counted."""
    for counted, seen, error in (one["audit"] for one in by_two):
        assert not any(counted)
        for differing, ranks in seen:
            assert {"block 1", "outside the blocks"} <= set(differing)
            assert ranks is None
        assert len(seen) == 2
        assert error.startswith("one of 2 ranks, it isn't known which (they divide the weights), computed wrong")


@pytest.mark.parametrize("num_rows", [1, 2, 5, 66, 250])
@pytest.mark.parametrize("num_ranks", [1, 2, 4, 7])
def test_rows_are_divided_as_torch_cuts_a_tensor(num_rows, num_ranks):
    chunks = [len(chunk) for chunk in torch.zeros(num_rows).chunk(num_ranks)]
    assert rows_by_rank(num_rows, num_ranks) == chunks + [0] * (num_ranks - len(chunks))
